"""Network policies on a running cluster: who is let in follows labels, pods and policies within moments."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import PORT, Manifest, pod, shell, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

SOON_S = 5


def policy(name: str, **spec: Any) -> Manifest:
    """A policy."""
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip


def test_who_is_let_in(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    first, second = cluster.nodes[0].name, cluster.nodes[1].name
    kubectl.apply(
        pod("db", web_container(), nodeName=first),
        pod("near", shell(), nodeName=first),
        pod("far", shell(), nodeName=second),
    )
    kubectl("wait", "--for=condition=Ready", "pod/db", "pod/near", "pod/far", "--timeout=40s")
    address = kubectl.get("pod", "db")["status"]["podIP"]

    def reaches(name: str) -> bool:
        url = f"http://{address}:{PORT}"
        return kubectl.tries("exec", name, "--", "timeout", "0.5", "wget", "-qO-", url).returncode == 0

    def wait_until(name: str, wanted: bool) -> float:
        began = time.monotonic()
        wait_for(f"{name} to be let in: {wanted}", lambda: reaches(name) is wanted, SOON_S)
        return time.monotonic() - began

    assert reaches("near")
    assert reaches("far")
    kubectl.apply(policy("closed", podSelector={}, policyTypes=["Ingress", "Egress"]))
    shut = max(wait_until(name, False) for name in ("near", "far"))
    friends = {"matchLabels": {"friend": "yes"}}
    kubectl.apply(
        policy("db", podSelector={"matchLabels": {"app": "db"}}, ingress=[
            {"from": [{"podSelector": friends}], "ports": [{"port": PORT}]},
        ]),
        policy("friends", podSelector=friends, egress=[{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}]}]),
    )  # fmt: skip
    kubectl("label", "pod", "far", "friend=yes")
    opened = wait_until("far", True)
    assert not reaches("near")
    figure(f"closed {shut:.2f} s after kubectl, open to a labelled pod after {opened:.2f} s, an exec included")
    # A pod that comes later is let in as soon as it has an address, and is itself closed from its first moment.
    kubectl.apply(pod("late", shell(), nodeName=second) | {"metadata": {"name": "late", "labels": {"friend": "yes"}}})
    kubectl("wait", "--for=condition=Ready", "pod/late", "--timeout=40s")
    wait_until("late", True)
    assert kubectl("get", "pod", "db", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}") == "True", (
        "the node's probes are let in"
    )
    said = kubectl("exec", "far", "--", "nslookup", "-type=a", "kubernetes.default.svc.cluster.local")
    assert "10.96.0.1" in said, "names are answered by the node, which policies don't shut out"
    kubectl("label", "pod", "far", "friend-")
    wait_until("far", False)
    kubectl("delete", "networkpolicy", "--all")
    wait_until("near", True)
