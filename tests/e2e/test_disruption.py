"""Draining under a disruption budget, and the oldest kind of workload, on a running cluster."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster, fewest_ready, ready_pods
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import Manifest, deployment, pod, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]


def budget(name: str, **spec: Any) -> Manifest:
    """A disruption budget for the pods of an application."""
    metadata = {"name": name}
    selector = {"matchLabels": {"app": name}}
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata,
        "spec": {"selector": selector, **spec},
    }  # fmt: skip


def allowed(kubectl: Kubectl, name: str) -> str:
    """How many evictions a budget allows."""
    return kubectl("get", "pdb", name, "-o", "jsonpath={.status.disruptionsAllowed}")


def test_a_drain_holds_the_budget(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    kubectl.apply(deployment("web", 3), budget("web", minAvailable=2))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    wait_for("the budget to be counted", lambda: allowed(kubectl, "web") == "1", 20)
    columns = kubectl("get", "pdb", "web").splitlines()[1].split()
    assert columns[:4] == ["web", "2", "N/A", "1"]
    node = cluster.node_of(ready_pods(kubectl, "web")[0]).name
    # Everything on one node, so that a drain without regard would end it all at once.
    for other in cluster.nodes:
        if other.name != node:
            kubectl("cordon", other.name)
    try:
        kubectl("rollout", "restart", "deployment/web")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        assert {cluster.node_of(pod).name for pod in ready_pods(kubectl, "web")} == {node}
        for other in cluster.nodes:
            kubectl("uncordon", other.name)
        with kubectl.going("get", "pods", "-l", "app=web", "--output-watch-events", "-w", "-o", "json") as watched:
            wait_for("the watch to begin", lambda: watched.stat().st_size > 0, 10)
            said = kubectl.tries("drain", node, "--ignore-daemonsets", "--timeout=90s", timeout_s=100)
            assert said.returncode == 0, said.stderr
            wait_for("three on other nodes", lambda: len(ready_pods(kubectl, "web")) == 3, 30)
            assert fewest_ready(watched.read_text()) >= 2
        figure(f"a drain waited {said.stderr.count('will retry after')} times for the budget of 2 of 3 pods")
        assert node not in {cluster.node_of(pod).name for pod in ready_pods(kubectl, "web")}
    finally:
        for other in cluster.nodes:
            kubectl("uncordon", other.name)


def test_a_budget_that_allows_none(kubectl: Kubectl) -> None:
    kubectl.apply(pod("only", web_container()), budget("only", minAvailable=1))
    kubectl("wait", "--for=condition=Ready", "pod/only", "--timeout=30s")
    wait_for("the budget to be counted", lambda: allowed(kubectl, "only") == "0", 20)
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "only"}})
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/only/eviction"
    said = kubectl.fails("create", "--raw", path, "-f", "-", stdin=eviction)
    assert "Cannot evict pod as it would violate the pod's disruption budget." in said
    kubectl("delete", "pdb", "only")
    kubectl("create", "--raw", path, "-f", "-", stdin=eviction)
    wait_for("it to go", lambda: not kubectl.items("pods"), 20)


def test_a_node_that_may_be_used_again_gets_its_share(cluster: Cluster, kubectl: Kubectl) -> None:
    away = cluster.nodes[0].name
    web = deployment("web", 3)
    web["metadata"]["annotations"] = {"mizzen.dev/rebalance": "true"}
    kubectl("cordon", away)
    try:
        kubectl.apply(web, budget("web", maxUnavailable=0))
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        with kubectl.going("get", "pods", "-l", "app=web", "--output-watch-events", "-w", "-o", "json") as watched:
            wait_for("the watch to begin", lambda: watched.stat().st_size > 0, 10)
            kubectl("uncordon", away)
            # At once, where the node has been ready for two minutes; a lab that has just come up makes it wait.
            wait_for("one of them on it", lambda: spread(cluster, kubectl) == {1: 3}, 140)
            assert fewest_ready(watched.read_text()) >= 3
    finally:
        kubectl("uncordon", away)
    said = kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()
    assert {"Rebalancing", "Rebalanced"} <= set(said)


def spread(cluster: Cluster, kubectl: Kubectl) -> Counter[int]:
    """How many nodes have how many ready pods, where none is on its way out."""
    pods = ready_pods(kubectl, "web")
    if len(pods) != len(kubectl.items("pods", "-l", "app=web")):
        return Counter()
    return Counter(Counter(cluster.node_of(pod).name for pod in pods).values())


def test_a_replication_controller(kubectl: Kubectl) -> None:
    made = deployment("old", 2)
    made |= {"apiVersion": "v1", "kind": "ReplicationController"}
    made["spec"]["selector"] = {"app": "old"}
    kubectl.apply(made)
    wait_for("two pods", lambda: len(ready_pods(kubectl, "old")) == 2, 40)
    kubectl("scale", "rc/old", "--replicas=1")
    wait_for("one pod", lambda: len(kubectl.items("pods")) == 1, 30)
    assert kubectl("get", "rc", "old").splitlines()[1].split()[:4] == ["old", "1", "1", "1"]
    kubectl("delete", "rc", "old", "--cascade=orphan")
    assert len(ready_pods(kubectl, "old")) == 1
    kubectl.apply(made)
    wait_for(
        "it to be adopted",
        lambda: (
            [
                pod["metadata"]["ownerReferences"][0]["kind"]
                for pod in ready_pods(kubectl, "old")
                if "ownerReferences" in pod["metadata"]
            ]
            == ["ReplicationController"] * 2
        ),
        30,
    )
