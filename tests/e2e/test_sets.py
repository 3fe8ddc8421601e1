"""StatefulSets and DaemonSets on a running cluster, with kubectl."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster, ready_pods
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import Manifest, deployment, leaving_dead_nodes, pod, service, shell, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

STAYS = {"terminationGracePeriodSeconds": 2, "containers": [web_container()]}


def of_kind(kind: str, name: str, template: Manifest = STAYS, **spec: Any) -> Manifest:
    """A StatefulSet or DaemonSet of web servers."""
    made = deployment(name, 3, template, **spec)
    made["kind"] = kind
    if kind == "DaemonSet":
        del made["spec"]["replicas"]
    return made


def images(kubectl: Kubectl, app: str) -> dict[str, str]:
    """The images of an application's ready pods by the pods' names."""
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in ready_pods(kubectl, app)}


def test_stateful_set(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(of_kind("StatefulSet", "db", serviceName="db"), service("db", clusterIP="None"))
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert list(images(kubectl, "db")) == ["db-0", "db-1", "db-2"]
    started = [pod["metadata"]["creationTimestamp"] for pod in ready_pods(kubectl, "db")]
    assert started == sorted(started)

    names = [f"db-{n}.db.{kubectl.namespace}.svc.cluster.local" for n in range(3)]
    script = "; ".join(f"until nslookup -type=a {name} >/dev/null; do sleep 0.2; done" for name in names)
    kubectl.apply(pod("asker", shell(script), restartPolicy="Never"))
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/asker", "--timeout=30s")

    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in ready_pods(kubectl, "db")}
    kubectl("patch", "statefulset", "db", "-p", '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}')
    kubectl("set", "image", "statefulset/db", "web=demo:v2")
    assert "partitioned roll out complete: 1 new pods" in kubectl("rollout", "status", "statefulset/db")
    assert images(kubectl, "db") == {"db-0": "demo:v1", "db-1": "demo:v1", "db-2": "demo:v2"}
    kubectl("patch", "statefulset", "db", "-p", '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}')
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert set(images(kubectl, "db").values()) == {"demo:v2"}
    kubectl("rollout", "undo", "statefulset/db")
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert set(images(kubectl, "db").values()) == {"demo:v1"}
    assert not set(before.values()) & {pod["metadata"]["uid"] for pod in ready_pods(kubectl, "db")}
    history = kubectl("rollout", "history", "statefulset/db").splitlines()[2:]
    assert [line.split()[0] for line in history if line] == ["2", "3"]

    kubectl("scale", "statefulset/db", "--replicas=1")
    wait_for(
        "the others to go",
        lambda: [p["metadata"]["name"] for p in kubectl.items("pods", "-l", "app=db")] == ["db-0"],
        30,
    )
    kubectl("delete", "statefulset", "db", "--timeout=30s")
    wait_for("all to go", lambda: not kubectl.items("pods", "-l", "app=db"), 30)


def test_a_lost_node_gets_no_second_pod_of_an_ordinal(cluster: Cluster, kubectl: Kubectl) -> None:
    """Kubernetes' promise: not before somebody says that the node is really gone, or it comes back."""
    template = {**STAYS, "tolerations": leaving_dead_nodes(1)}
    kubectl.apply(of_kind("StatefulSet", "db", template, serviceName="db", podManagementPolicy="Parallel"))
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    victim = ready_pods(kubectl, "db")[0]
    machine, name = cluster.node_of(victim), victim["metadata"]["name"]
    machine.power_off()
    wait_for("it to be sent away", lambda: "deletionTimestamp" in kubectl.get("pod", name)["metadata"], 40)
    assert kubectl.get("pod", name)["metadata"]["uid"] == victim["metadata"]["uid"]
    kubectl("delete", "pod", name, "--force", "--grace-period=0")
    kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")
    elsewhere = kubectl.get("pod", name)
    assert elsewhere["spec"]["nodeName"] != machine.name
    machine.boot()
    cluster.wait_for_node(machine.name, "True")
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert kubectl.get("pod", name)["metadata"]["uid"] == elsewhere["metadata"]["uid"]


def misplaced(kubectl: Kubectl) -> int:
    """How many daemons run where they should not."""
    found: int = kubectl.get("daemonset", "agent")["status"]["numberMisscheduled"]
    return found


def test_daemon_set(cluster: Cluster, kubectl: Kubectl) -> None:
    everywhere = {node.name for node in cluster.nodes}
    kubectl.apply(of_kind("DaemonSet", "agent"))
    kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert {pod["spec"]["nodeName"] for pod in ready_pods(kubectl, "agent")} == everywhere
    assert kubectl("get", "daemonset", "agent", "--no-headers").split()[1:6] == ["3", "3", "3", "3", "3"]

    kubectl("set", "image", "daemonset/agent", "web=demo:v2")
    kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert set(images(kubectl, "agent").values()) == {"demo:v2"}
    kubectl("rollout", "undo", "daemonset/agent")
    kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert set(images(kubectl, "agent").values()) == {"demo:v1"}

    closed = cluster.nodes[0].name
    kubectl("cordon", closed)
    victim = next(pod for pod in ready_pods(kubectl, "agent") if pod["spec"]["nodeName"] == closed)
    kubectl("delete", "pod", victim["metadata"]["name"])
    wait_for("another on the closed node", lambda: len(ready_pods(kubectl, "agent")) == 3, 30)
    kubectl("taint", "node", closed, "own=yes:NoExecute")
    wait_for("it to leave", lambda: len(ready_pods(kubectl, "agent")) == 2, 30)
    wait_for("none to be where none should", lambda: not misplaced(kubectl), 30)
    kubectl("taint", "node", closed, "own-")
    kubectl("uncordon", closed)
    wait_for("it to come back", lambda: len(ready_pods(kubectl, "agent")) == 3, 30)
    kubectl("delete", "daemonset", "agent", "--timeout=30s")
    wait_for("all to go", lambda: not kubectl.items("pods", "-l", "app=agent"), 30)
