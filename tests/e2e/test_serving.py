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


def test_a_load_balancer(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    kubectl.apply(deployment("web", 2), service("web", type="LoadBalancer"))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    names = {pod["metadata"]["name"] for pod in kubectl.items("pods")}
    shown = kubectl("get", "service", "web").splitlines()[1].split()
    address = shown[3]
    assert address in [f"{cluster.lab.server.address.rpartition('.')[0]}.{last}" for last in range(240, 248)]
    assert "EnsuredLoadBalancer" in kubectl("describe", "service", "web")

    def announcer() -> str:
        marked = kubectl.get("service", "web")["metadata"]["annotations"]
        return str(marked.get("mizzen.dev/announced-by", ""))

    # The control plane's machine is no node: it learns by ARP where the address is.
    assert network.answering(cluster.lab.server, address, 80, 2) == names
    before = announcer()
    kubectl("label", "node", before, "node.kubernetes.io/exclude-from-external-load-balancers=")
    try:
        began = time.monotonic()
        wait_for("another node to announce it", lambda: announcer() not in ("", before), 20)
        assert network.answering(cluster.lab.server, address, 80, 2) == names
        figure(f"another node answers for a load balancer's address after {time.monotonic() - began:.1f} s")
    finally:
        kubectl("label", "node", before, "node.kubernetes.io/exclude-from-external-load-balancers-")
    kubectl("patch", "service", "web", "-p", '{"spec":{"type":"ClusterIP"}}')
    released = "jsonpath={.status.loadBalancer}{.metadata.finalizers}"
    wait_for("the address to be given back", lambda: kubectl("get", "service", "web", "-o", released) == "{}", 10)


def seen_from_a_pod(kubectl: Kubectl, url: str) -> set[str]:
    """Who answers to requests that are made inside a pod."""
    names: set[str] = set()

    def complete() -> bool:
        script = f"for i in $(seq 100); do wget -qO- {url}; done"
        names.update(map(network.pod_of, kubectl("exec", "deploy/web", "--", "sh", "-c", script).splitlines()))
        return len(names) >= REPLICAS

    wait_for(f"{REPLICAS} pods behind {url} seen from a pod", complete, 30)
    return names
