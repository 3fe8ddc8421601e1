"""What a node itself looks at before it takes a pod that was assigned to it, and what it is told to confine it with."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import Manifest, pod, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

GPU = "example.com/gpu"


def runtime_class(name: str, handler: str) -> Manifest:
    """A class of pods that run in one of the engine's ways."""
    return {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": handler}


def setting(name: str, value: str) -> Manifest:
    """A security context that sets a kernel parameter."""
    return {"sysctls": [{"name": name, "value": value}]}


def test_what_belongs_elsewhere_fails(cluster: Cluster, kubectl: Kubectl) -> None:
    """Pods that were assigned past the scheduler fail with the kubelet's reasons and words."""
    node = cluster.nodes[0].name
    port = {"ports": [{"containerPort": 80, "hostPort": 18080}]}
    kubectl.apply(pod("first", shell(**port), nodeName=node))
    kubectl("wait", "--for=condition=Ready", "pod/first", "--timeout=30s")
    kubectl.apply(
        pod("choosy", shell(), nodeName=node, nodeSelector={"disk": "tape"}),
        pod("greedy", shell(resources={"requests": {"cpu": "500"}}), nodeName=node),
        pod("second", shell(**port), nodeName=node),
        pod("tuner", shell(), nodeName=node, securityContext=setting("kernel.msgmax", "65536")),
    )
    kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod", "choosy", "greedy", "second", "tuner")
    said = {name: kubectl.get("pod", name)["status"] for name in ("choosy", "greedy", "second", "tuner")}
    assert {name: status["reason"] for name, status in said.items()} == {
        "choosy": "NodeAffinity",
        "greedy": "OutOfcpu",
        "second": "NodePorts",
        "tuner": "SysctlForbidden",
    }
    assert said["choosy"]["message"] == (
        "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    )
    assert said["tuner"]["message"] == 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted'


def test_taints_that_end_pods(cluster: Cluster, kubectl: Kubectl) -> None:
    """Only who tolerates the taint is taken."""
    node = cluster.nodes[1].name
    kubectl("taint", "node", node, "broken=yes:NoExecute")
    try:
        bears = {"tolerations": [{"key": "broken", "operator": "Exists"}]}
        kubectl.apply(pod("bears", shell(), nodeName=node, **bears), pod("does-not", shell(), nodeName=node))
        kubectl("wait", "--for=condition=Ready", "pod/bears", "--timeout=30s")

        def refused() -> bool:
            # The control plane ends pods over the same taint, and may have been faster.
            found = kubectl.tries("get", "pod", "does-not", "-o", "jsonpath={.status.reason}")
            return found.returncode != 0 or found.stdout == "TaintToleration"

        wait_for("the pod to be refused", refused, 20)
    finally:
        kubectl("taint", "node", node, "broken-")


def test_ways_to_run_and_to_confine(cluster: Cluster, kubectl: Kubectl) -> None:
    """RuntimeClasses, profiles of the node, kernel parameters that are safe; what the node has not is said."""
    machine = cluster.nodes[0]
    kubectl.apply(runtime_class("plain", "runc"), runtime_class("odd", "no-such-handler"))
    where: dict[str, Any] = {"nodeName": machine.name}
    try:
        missing = {"type": "Localhost", "localhostProfile": "none.json"}
        kubectl.apply(
            pod("classy", shell(), runtimeClassName="plain", **where),
            pod("tuned", shell(), securityContext=setting("net.ipv4.ip_unprivileged_port_start", "80"), **where),
            pod("odd", shell(), runtimeClassName="odd", **where),
            pod("apart", shell(), hostUsers=False, **where),
            pod("filtered", shell(securityContext={"seccompProfile": missing}), **where),
        )
        kubectl("wait", "--for=condition=Ready", "pod", "classy", "tuned", "--timeout=30s")
        assert cluster.container(kubectl.get("pod", "classy"))["HostConfig"]["Runtime"] == "runc"
        assert kubectl("exec", "tuned", "--", "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start") == "80\n"
        for name, words in {
            "odd": "no-such-handler",
            "apart": "hostUsers: false is not supported by this node",
            "filtered": "seccomp profile 'none.json' cannot be read on this node",
        }.items():
            wait_for(f"{name} to say why", lambda n=name, w=words: w in kubectl("describe", "pod", n), 20)
        handlers = [
            handler.get("name", "") for handler in kubectl.get("node", machine.name)["status"]["runtimeHandlers"]
        ]
        assert {"", "runc"} <= set(handlers)
    finally:
        kubectl("delete", "pod", "--all", "--now")
        kubectl("delete", "runtimeclass", "plain", "odd")


def test_resources_that_others_give_a_node(cluster: Cluster, kubectl: Kubectl) -> None:
    """What an operator writes into a node's capacity stays, can be asked for, and runs out."""
    node = cluster.nodes[0].name
    patch = f'[{{"op": "add", "path": "/status/capacity/{GPU.replace("/", "~1")}", "value": "1"}}]'
    kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", patch)
    wants = {"resources": {"limits": {GPU: "1"}}}
    try:
        wait_for("it to be for pods", lambda: kubectl.get("node", node)["status"]["allocatable"].get(GPU) == "1", 30)
        kubectl.apply(pod("trained", shell(**wants)))
        kubectl("wait", "--for=condition=Ready", "pod/trained", "--timeout=30s")
        kubectl.apply(pod("too-late", shell(**wants), nodeName=node))
        kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/too-late", "--timeout=20s")
        assert kubectl.get("pod", "too-late")["status"]["reason"] == f"OutOf{GPU}"
    finally:
        undo = f'[{{"op": "remove", "path": "/status/capacity/{GPU.replace("/", "~1")}"}}]'
        kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", undo)
