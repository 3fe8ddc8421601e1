"""Requests stay near where a Service wishes it: in the zone, or on the node, as long as somebody is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.lab import Machine
from deploy.shell import wait_for
from tests.e2e import network
from tests.e2e.cluster import Cluster, ready_pods
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import deployment, service

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

ZONE = "topology.kubernetes.io/zone"
ASKED = 24
"""So many requests that by chance alone one of three pods would hardly be missed."""


@contextmanager
def zones(cluster: Cluster, *names: str) -> Iterator[None]:
    """The nodes are in these zones, in their order."""
    for node, zone in zip(cluster.nodes, names, strict=True):
        cluster.kubectl("label", "node", node.name, f"{ZONE}={zone}")
    try:
        yield
    finally:
        for node in cluster.nodes:
            cluster.kubectl("label", "node", node.name, f"{ZONE}-")


def answering(machine: Machine, address: str) -> set[str]:
    """Who answers some requests of a machine."""

    def ask() -> set[str]:
        return {network.pod_of(network.page(address, 80)) for _ in range(ASKED)}

    return network.on(machine, ask)


def test_requests_stay_near(cluster: Cluster, kubectl: Kubectl) -> None:
    first, second, third = cluster.nodes
    with zones(cluster, "a", "a", "b"):
        kubectl.apply(deployment("web", len(cluster.nodes)), service("web", trafficDistribution="PreferSameZone"))
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        at = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in ready_pods(kubectl, "web")}
        assert set(at) == {node.name for node in cluster.nodes}
        address = kubectl.get("service", "web")["spec"]["clusterIP"]

        def near(machine: Machine, *nodes: Machine) -> None:
            wanted = {at[node.name] for node in nodes}
            said = f"{machine.name} to be answered by {sorted(wanted)}"
            wait_for(said, lambda: answering(machine, address) == wanted, 20)

        near(first, first, second)
        near(second, first, second)
        near(third, third)
        kubectl("patch", "service", "web", "-p", '{"spec":{"trafficDistribution":"PreferSameNode"}}')
        for node in cluster.nodes:
            near(node, node)
        kubectl("cordon", third.name)
        try:
            kubectl("delete", "pod", at.pop(third.name), "--wait=false")
            kubectl("scale", "deployment/web", "--replicas=2")
            near(third, first, second)
        finally:
            kubectl("uncordon", third.name)
        kubectl("patch", "service", "web", "-p", '{"spec":{"trafficDistribution":null}}')
        near(first, first, second)
