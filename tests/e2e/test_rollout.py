"""A new version arrives, and goes again, while requests never cease."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from deploy.shell import wait_for
from tests.e2e import network
from tests.e2e.cluster import Cluster, ready_pods
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import deployment, service

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

REPLICAS, UNAVAILABLE, SURGE = 8, 2, 2
"""A quarter of eight may be missing, a quarter may be too many: Kubernetes' defaults."""

COUNTS = "jsonpath={.status.availableReplicas} {.status.replicas} {.status.observedGeneration}{'\\n'}"


def test_update_and_rollback_under_requests(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    kubectl.apply(deployment("web", REPLICAS), service("web"))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    address = kubectl.get("service", "web")["spec"]["clusterIP"]
    with (
        kubectl.going("get", "deployment", "web", "-w", "-o", COUNTS) as seen,
        network.Requests(cluster.nodes[0], address, 80) as near,
        network.Requests(cluster.nodes[1], address, 80) as other,
    ):
        wait_for("the watch to begin", seen.read_text, 10)
        for change, version in (
            (["set", "image", "deployment/web", "web=demo:v2"], "v2"),
            (["rollout", "undo", "deployment/web"], "v1"),
            (["rollout", "restart", "deployment/web"], "v1"),
        ):
            began = time.monotonic()
            before = {pod["metadata"]["name"] for pod in ready_pods(kubectl, "web")}
            kubectl(*change)
            kubectl("rollout", "status", "deployment/web", "--timeout=60s")
            figure(f"{' '.join(change[:2])} of {REPLICAS} replicas: {time.monotonic() - began:.1f} s")
            pods = ready_pods(kubectl, "web")
            assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {f"demo:{version}"}
            assert not before & {pod["metadata"]["name"] for pod in pods}
            near.go_on(50)
        counts = [[int(word) for word in line.split()] for line in seen.read_text().splitlines()]
    figure(f"requests meanwhile: {near}; {other}")
    assert not near.failures + other.failures
    assert min(available for available, _, _ in counts) >= REPLICAS - UNAVAILABLE
    assert max(present for _, present, _ in counts) <= REPLICAS + SURGE
    history = kubectl("rollout", "history", "deployment/web").splitlines()[2:]
    assert [line.split()[0] for line in history if line] == ["2", "3", "4"]
    assert "demo:v2" in kubectl("rollout", "history", "deployment/web", "--revision=2")


def test_a_version_that_never_gets_ready_takes_nothing_away(
    cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]
) -> None:
    kubectl.apply(deployment("web", 4, progressDeadlineSeconds=5), service("web"))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    address = kubectl.get("service", "web")["spec"]["clusterIP"]
    with network.Requests(cluster.nodes[2], address, 80) as requests:
        kubectl("set", "image", "deployment/web", "web=demo:v9")
        said = kubectl.fails("rollout", "status", "deployment/web", "--timeout=40s")
        assert "exceeded its progress deadline" in said
        assert len(ready_pods(kubectl, "web")) == 3  # a quarter may be missing
        kubectl("rollout", "undo", "deployment/web")
        kubectl("rollout", "status", "deployment/web", "--timeout=40s")
        requests.go_on(50)
    figure(f"requests meanwhile: {requests}")
    assert not requests.failures
    assert len(ready_pods(kubectl, "web")) == 4
