"""A process of the cluster is killed: what it held goes on, and what has to come back comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from deploy.lab import Machine
from deploy.lab.cluster import AGENT
from deploy.lab.machine import DOCKERD
from deploy.shell import wait_for
from tests.e2e import network
from tests.e2e.cluster import Cluster, is_ready, ready_pods, restarts, untouched
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import deployment, service, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def test_killed_container_is_started_again(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    kubectl.apply(deployment("web", 1))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    (before,) = ready_pods(kubectl, "web")
    began = time.monotonic()
    cluster.kill(before)

    def again() -> dict[str, Any] | None:
        pod = kubectl.get("pod", before["metadata"]["name"])
        return pod if restarts(pod) == 1 and is_ready(pod) else None

    after = wait_for("the container to be Ready again", again, 30)
    figure(f"killed container is Ready again after {time.monotonic() - began:.1f} s")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["podIP"] == before["status"]["podIP"]
    (status,) = after["status"]["containerStatuses"]
    ended = status["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    assert "serves on port" in kubectl("logs", after["metadata"]["name"], "--previous")


def test_killed_agent_is_not_noticed(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    kubectl.apply(deployment("web", 6), service("web"))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    pods = ready_pods(kubectl, "web")
    machine, other = cluster.nodes[:2]
    address = kubectl.get("service", "web")["spec"]["clusterIP"]
    containers = running_on(machine)
    with network.Requests(other, address, 80) as outside, network.Requests(machine, address, 80) as inside:
        machine.kill(AGENT)
        outside.go_on(50)
        began = time.monotonic()
        machine.start(AGENT)
        pod = next(pod for pod in pods if pod["spec"]["nodeName"] == machine.name)
        assert "serves on port" in logs(kubectl, pod)
        figure(f"the agent serves logs again {time.monotonic() - began:.1f} s after its start")
        assert kubectl("exec", pod["metadata"]["name"], "--", "hostname").strip() == pod["metadata"]["name"]
        changed = kubectl("scale", "deployment/web", "--replicas=9")
        assert "scaled" in changed
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        outside.go_on(50)
    assert not outside.failures + inside.failures
    assert containers <= running_on(machine)
    assert untouched(pods, ready_pods(kubectl, "web"))


def test_killed_engine_is_not_noticed(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    kubectl.apply(deployment("web", 6), service("web"))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    pods = ready_pods(kubectl, "web")
    machine, other = cluster.nodes[:2]
    containers = running_on(machine)
    address = kubectl.get("service", "web")["spec"]["clusterIP"]
    with network.Requests(other, address, 80) as requests:
        machine.kill(DOCKERD)
        requests.go_on(100)
        machine.start(DOCKERD)
        machine.wait_for_docker()
        began = time.monotonic()
        pod = next(pod for pod in pods if pod["spec"]["nodeName"] == machine.name)
        wait_for(
            "exec to work", lambda: kubectl.tries("exec", pod["metadata"]["name"], "--", "true").returncode == 0, 30
        )
        figure(f"exec works {time.monotonic() - began:.1f} s after the Engine is back; requests meanwhile: {requests}")
    assert not requests.failures
    assert running_on(machine) == containers
    assert untouched(pods, ready_pods(kubectl, "web"))
    # And the pods are in its hands again: one that is killed comes back.
    cluster.kill(pod)
    wait_for("the restart", lambda: restarts(kubectl.get("pod", pod["metadata"]["name"])) == 1, 30)


def test_killed_sandbox_gives_the_pod_a_new_start(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(deployment("web", 1, {"containers": [web_container()]}))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    (before,) = ready_pods(kubectl, "web")
    machine = cluster.node_of(before)
    uid = before["metadata"]["uid"]
    sandbox = machine.docker("ps", "-q", "-f", f"label=mizzen.dev/pod-uid={uid}", "-f", "label=mizzen.dev/type=sandbox")
    machine.docker("kill", sandbox.strip())

    def again() -> bool:
        pod = kubectl.get("pod", before["metadata"]["name"])
        return restarts(pod) == 1 and is_ready(pod)

    wait_for("the pod to be Ready again", again, 40)
    assert network.on(machine, lambda: network.page(kubectl_ip(kubectl, before), 8080)).startswith("demo v1")


def kubectl_ip(kubectl: Kubectl, pod: dict[str, Any]) -> str:
    """The present address of a pod."""
    return str(kubectl.get("pod", pod["metadata"]["name"])["status"]["podIP"])


def logs(kubectl: Kubectl, pod: dict[str, Any]) -> str:
    """A pod's output, as soon as it can be had."""
    return wait_for("the logs", lambda: kubectl.tries("logs", pod["metadata"]["name"]).stdout, 30)


def running_on(machine: Machine) -> set[str]:
    """The ids of the containers that run on a machine."""
    return set(machine.docker("ps", "-q", "--no-trunc").split())
