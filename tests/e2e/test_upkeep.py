"""A node that keeps itself well: pods that take too much of its disk go, and all go in order when its power fails."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from deploy.lab import Machine
from deploy.lab.cluster import AGENT
from deploy.shell import wait_for
from tests.e2e.cluster import Cluster, restarts
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import FOREVER, pod, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

SPILL = f"head -c 5000000 /dev/zero >/v/file; {FOREVER}"


def reason(kubectl: Kubectl, name: str) -> str:
    """Phase and reason of a pod."""
    return kubectl("get", "pod", name, "-o", "jsonpath={.status.phase} {.status.reason}")


@contextmanager
def agent_with(machine: Machine, *flags: str) -> Iterator[None]:
    """The machine's agent runs with further flags while the block does."""
    argv = machine._state.services[AGENT].argv
    machine.stop(AGENT)
    machine.install(AGENT, [*argv, *flags])
    try:
        yield
    finally:
        machine.stop(AGENT)
        machine.install(AGENT, argv)


def test_who_has_too_much_on_the_disk_goes(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    """Folders and containers with a bound, and only those that are above it."""
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    small, large = ([{"name": "v", "emptyDir": {"sizeLimit": size}}] for size in ("1Mi", "100Mi"))
    limits = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    kubectl.apply(
        pod("spills", shell(SPILL, **mounts), volumes=small),
        pod("fits", shell(SPILL, **mounts), volumes=large),
        pod("writes", shell(f"mkdir /v; {SPILL}", **limits)),
    )
    began = time.monotonic()
    kubectl("wait", "--for=jsonpath={.status.reason}=Evicted", "pod", "spills", "writes", "--timeout=60s")
    figure(f"pods above their bounds are gone {time.monotonic() - began:.1f} s after they were made")
    assert kubectl.get("pod", "spills")["status"]["message"] == (
        'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    )
    assert reason(kubectl, "fits") == "Running "
    assert "exceeds the total limit of containers 1Mi" in kubectl("describe", "pod", "writes")


def test_a_node_whose_disk_is_full(cluster: Cluster, kubectl: Kubectl) -> None:
    """It says so, lets pods go one after the other, and takes nobody; then it is well again."""
    machine = cluster.nodes[2]
    here = {"nodeName": machine.name}
    kubectl.apply(pod("first", shell(), **here), pod("second", shell(), **here))
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
    path = 'jsonpath={.status.conditions[?(@.type=="DiskPressure")].status}'
    with agent_with(machine, "--eviction-hard", "nodefs.available<100%", "--eviction-pressure-transition-period", "1"):
        for name in ("first", "second"):
            kubectl("wait", "--for=jsonpath={.status.reason}=Evicted", f"pod/{name}", "--timeout=60s")
        said = kubectl.get("pod", "first")["status"]
        assert said["message"].startswith("The node was low on resource: ephemeral-storage. Threshold quantity: ")
        assert [c["reason"] for c in said["conditions"] if c["type"] == "DisruptionTarget"] == ["TerminationByKubelet"]
        assert kubectl("get", "node", machine.name, "-o", path) == "True"
        bears = [{"operator": "Exists"}]
        kubectl.apply(pod("third", shell(), tolerations=bears, **here))
        kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/third", "--timeout=20s")
        assert kubectl.get("pod", "third")["status"]["message"] == (
            "Pod was rejected: The node had condition: [DiskPressure]. "
        )
    wait_for("it to be well", lambda: kubectl("get", "node", machine.name, "-o", path) == "False", 40)
    wait_for("the taint to go", lambda: "disk-pressure" not in kubectl("describe", "node", machine.name), 20)


def test_the_power_fails(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    """All pods of the machine end in order and are told of; after the boot they stay as they ended."""
    machine = cluster.nodes[2]
    here = {"nodeName": machine.name}
    last_words = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done"
    kubectl.apply(
        pod("web", shell(last_words), restartPolicy="Always", **{**here, "terminationGracePeriodSeconds": 10}),
        pod("dns", shell(), priorityClassName="system-node-critical", **here),
    )
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
    began = time.monotonic()
    machine.kill(AGENT, signal.SIGPWR)
    wait_for("the agent to end", lambda: machine.pid(AGENT) is None, 40)
    figure(f"two pods and the agent have ended {time.monotonic() - began:.1f} s after the power began to fail")
    assert [reason(kubectl, name) for name in ("web", "dns")] == ["Failed Terminated"] * 2
    ends = [
        kubectl.get("pod", name)["status"]["containerStatuses"][0]["state"]["terminated"] for name in ("web", "dns")
    ]
    assert ends[0]["exitCode"] == 0
    assert ends[0]["finishedAt"] <= ends[1]["finishedAt"], "critical pods are the last"
    ready = [c for c in kubectl.get("node", machine.name)["status"]["conditions"] if c["type"] == "Ready"]
    assert "node is shutting down" in ready[0]["message"] or ready[0]["status"] == "Unknown"
    machine.power_off()
    machine.boot()
    cluster.wait_for_node(machine.name, "True")
    assert [reason(kubectl, name) for name in ("web", "dns")] == ["Failed Terminated"] * 2
    assert restarts(kubectl.get("pod", "web")) == 0
