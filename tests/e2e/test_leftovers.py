"""An agent that is killed in the middle of its work: the next one neither doubles nor leaves anything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from deploy.lab import Machine
from deploy.lab.cluster import AGENT
from deploy.shell import wait_for
from tests.e2e.cluster import Cluster, ready_pods, restarts
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import deployment, pod, shell, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

REPLICAS = 8
MARK = "label=mizzen.dev/pod-namespace={}"


def test_agent_killed_while_pods_come_and_go(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    machine = cluster.nodes[0]
    template = {
        "containers": [web_container(volumeMounts=[{"name": "v", "mountPath": "/v"}])],
        "nodeSelector": {"kubernetes.io/hostname": machine.name},
        "terminationGracePeriodSeconds": 5,
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
    }
    kubectl.apply(deployment("web", 0, template))
    for present in (1, REPLICAS // 2, REPLICAS - 1):
        kubectl("scale", "deployment/web", f"--replicas={REPLICAS}")
        wait_for(f"{present} containers", lambda n=present: len(made(machine, kubectl.namespace)) >= n, 20)
        took = killed(machine, lambda: kubectl("rollout", "status", "deployment/web", "--timeout=60s"))
        pods = ready_pods(kubectl, "web")
        assert [restarts(pod) for pod in pods] == [0] * REPLICAS
        figure(f"killed at {present} of {REPLICAS} containers, all are Ready {took:.1f} s later")
        wanted = Counter({(pod["metadata"]["name"], kind): 1 for pod in pods for kind in ("sandbox", "container")})
        assert Counter(made(machine, kubectl.namespace)) == wanted
        kubectl("scale", "deployment/web", "--replicas=0")
        left = 2 * (REPLICAS - present)
        wait_for("some to end", lambda n=left: len(made(machine, kubectl.namespace)) <= n, 20)
        took = killed(machine, lambda: kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=40s"))
        figure(f"killed at {left} of {2 * REPLICAS} containers left, all are gone {took:.1f} s later")
        assert made(machine, kubectl.namespace) == []


def test_pods_that_go_while_their_agent_is_away(cluster: Cluster, kubectl: Kubectl) -> None:
    """One is deleted as usual, one by force, one dies; the next agent clears up, and starts nothing anew."""
    machine = cluster.nodes[0]
    kubectl.apply(
        *(pod(name, shell(), nodeName=machine.name) for name in ("stays", "deleted", "forced")),
        pod("dies", shell(), nodeName=machine.name, restartPolicy="Never"),
    )
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
    machine.kill(AGENT)
    kubectl("delete", "pod", "deleted", "--grace-period=1", "--wait=false")
    kubectl("delete", "pod", "forced", "--force", "--grace-period=0", "--wait=false")
    cluster.kill(kubectl.get("pod", "dies"))
    assert len(made(machine, kubectl.namespace)) == 8
    machine.start(AGENT)
    kubectl("wait", "--for=delete", "pod/deleted", "--timeout=30s")
    kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/dies", "--timeout=30s")
    wait_for("the rest to go", lambda: {name for name, _ in made(machine, kubectl.namespace)} == {"stays", "dies"}, 20)
    assert restarts(kubectl.get("pod", "stays")) == 0
    ended = kubectl.get("pod", "dies")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")


def killed(machine: Machine, then: Callable[[], object]) -> float:
    """Kills the agent, starts it again and waits as it is told; for how many seconds."""
    machine.kill(AGENT)
    began = time.monotonic()
    machine.start(AGENT)
    then()
    return time.monotonic() - began


def made(machine: Machine, namespace: str) -> list[tuple[str, str]]:
    """Pod and kind of every container that a machine has for a namespace, whatever its state."""
    look = '{{.Label "mizzen.dev/pod-name"}} {{.Label "mizzen.dev/type"}}'
    lines = machine.docker("ps", "-a", "--format", look, "-f", MARK.format(namespace)).splitlines()
    return [(name, kind) for name, _, kind in (line.partition(" ") for line in lines)]
