"""What pods use, and an autoscaler that goes by it, on a running cluster with a stock kubectl."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import Manifest, deployment, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

BUSY = "trap exit TERM; while [ ! -e /tmp/rest ]; do :; done; sleep 1000 & wait"


def autoscaler(name: str) -> Manifest:
    """One that goes up and down without waiting."""
    target = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1, "maxReplicas": 3, "metrics": [target],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }  # fmt: skip


def assert_pages_tell_of_it(kubectl: Kubectl) -> None:
    """A busy container and its pod are on its node's pages, with figures of real control groups and interfaces."""
    oldest = "jsonpath={.items[0].metadata.name} {.items[0].spec.nodeName}"
    name, node = kubectl("get", "pods", "--sort-by=.metadata.creationTimestamp", "-o", oldest).split()
    families: dict[str, float] = {}
    for page in ("resource", "cadvisor"):
        for line in kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/{page}").splitlines():
            if f'pod="{name}"' in line:
                families[f"{page} {line.partition('{')[0]}"] = float(line.rpartition("} ")[2].split()[0])
    assert families["resource container_cpu_usage_seconds_total"] > 0.1
    assert families["resource pod_cpu_usage_seconds_total"] >= families["resource container_cpu_usage_seconds_total"]
    assert 0 < families["cadvisor container_memory_working_set_bytes"] <= 32 << 20
    assert families["cadvisor container_network_receive_packets_total"] > 0


def test_a_busy_deployment_grows_and_shrinks(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    limits = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "32Mi"}}
    template = {"terminationGracePeriodSeconds": 1, "containers": [shell(BUSY, resources=limits)]}
    kubectl.apply(deployment("busy", 1, template), autoscaler("busy"))

    def wanted() -> int:
        return int(kubectl("get", "deployment", "busy", "-o", "jsonpath={.spec.replicas}"))

    began = time.monotonic()
    wait_for("kubectl to show usage", lambda: kubectl.tries("top", "pods").stdout.count("busy-") == 1, 40)
    figure(f"usage is shown after {time.monotonic() - began:.1f} s")
    assert kubectl("top", "nodes").count("node-") == len(cluster.nodes)
    assert_pages_tell_of_it(kubectl)
    wait_for("it to grow", lambda: wanted() > 1, 60)
    figure(f"it grows after {time.monotonic() - began:.1f} s")
    wait_for("its event", lambda: "SuccessfulRescale" in kubectl("describe", "hpa", "busy"), 10)

    def resting() -> bool:
        for name in kubectl("get", "pods", "-o", "name").split():
            kubectl.tries("exec", name, "--", "touch", "/tmp/rest")
        return wanted() == 1

    wait_for("it to shrink", resting, 90)
