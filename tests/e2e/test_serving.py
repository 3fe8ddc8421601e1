"""Thirty pods on three machines, and everybody reaches every one of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from deploy.shell import wait_for
from tests.e2e import network
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import PORT, deployment, service

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

REPLICAS = 30


def test_everybody_reaches_every_pod(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    began = time.monotonic()
    kubectl.apply(deployment("web", REPLICAS), service("web", type="NodePort"))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    figure(f"{REPLICAS} replicas are available after {time.monotonic() - began:.1f} s")
    pods = kubectl.items("pods")
    assert Counter(pod["spec"]["nodeName"] for pod in pods) == {node.name: 10 for node in cluster.nodes}
    assert all(pod["status"]["podIP"] for pod in pods)
    names = {pod["metadata"]["name"] for pod in pods}

    spec = kubectl.get("service", "web")["spec"]
    address, node_port = spec["clusterIP"], spec["ports"][0]["nodePort"]
    for machine in cluster.nodes:
        assert network.answering(machine, address, 80, REPLICAS) == names
        for other in cluster.nodes:
            assert network.answering(machine, other.address, node_port, REPLICAS) == names
    assert network.answering(cluster.lab.server, cluster.nodes[0].address, node_port, REPLICAS) == names
    assert seen_from_a_pod(kubectl, "http://web") == names
    assert seen_from_a_pod(kubectl, f"http://web.{kubectl.namespace}.svc.cluster.local:80") == names
    assert seen_from_a_pod(kubectl, f"http://{cluster.nodes[2].address}:{node_port}") == names


def test_endpoints_written_by_hand(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(deployment("web", 2), service("web"))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    pods = kubectl.items("pods")
    shown = kubectl("get", "endpoints", "web").splitlines()[1].split()[1]
    assert shown == ",".join(f"{address}:{PORT}" for address in sorted(pod["status"]["podIP"] for pod in pods))
    plain = service("by-hand")
    del plain["spec"]["selector"]
    subset = {"addresses": [{"ip": pods[0]["status"]["podIP"]}], "ports": [{"port": PORT}]}
    written = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "by-hand"}, "subsets": [subset]}
    kubectl.apply(plain, written)
    address = kubectl("get", "service", "by-hand", "-o", "jsonpath={.spec.clusterIP}")
    for machine in cluster.nodes:
        assert network.answering(machine, address, 80, 1) == {pods[0]["metadata"]["name"]}


def seen_from_a_pod(kubectl: Kubectl, url: str) -> set[str]:
    """Who answers to requests that are made inside a pod."""
    names: set[str] = set()

    def complete() -> bool:
        script = f"for i in $(seq 100); do wget -qO- {url}; done"
        names.update(map(network.pod_of, kubectl("exec", "deploy/web", "--", "sh", "-c", script).splitlines()))
        return len(names) >= REPLICAS

    wait_for(f"{REPLICAS} pods behind {url} seen from a pod", complete, 30)
    return names
