"""A machine loses its power: its pods go elsewhere, and what it finds when it is back is put in order."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from deploy.shell import wait_for
from tests.e2e import network
from tests.e2e.cluster import Cluster, ready_pods, restarts
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import deployment, leaving_dead_nodes, pod, service, shell, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

GRACE_S = 10
"""Of the control plane under test, for a silent node."""
TOLERATED_S = 3


def test_power_off_and_boot(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    template = {"containers": [web_container()], "tolerations": leaving_dead_nodes(TOLERATED_S)}
    faithful = pod("faithful", shell(), nodeName="node-2", restartPolicy="Always")
    kubectl.apply(deployment("web", 6, template), service("web"), faithful)
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("wait", "--for=condition=Ready", "pod/faithful", "--timeout=30s")
    lost = cluster.lab.machine("node-2")
    stranded = {p["metadata"]["name"] for p in ready_pods(kubectl, "web") if p["spec"]["nodeName"] == lost.name}
    assert len(stranded) == 2
    address = kubectl.get("service", "web")["spec"]["clusterIP"]
    with network.Requests(cluster.nodes[0], address, 80) as requests:
        lost.power_off()
        began, before = time.monotonic(), requests.seconds
        cluster.wait_for_node(lost.name, "Unknown", timeout_s=GRACE_S + 15)
        noticed_s = time.monotonic() - began

        def elsewhere() -> bool:
            pods = ready_pods(kubectl, "web")
            return len(pods) == 6 and all(p["spec"]["nodeName"] != lost.name for p in pods)

        wait_for("all pods to run elsewhere", elsewhere, TOLERATED_S + 20)
        replaced_s = time.monotonic() - began
        figure(f"lost node is noticed after {noticed_s:.1f} s, its pods run elsewhere after {replaced_s:.1f} s")
        requests.go_on(100)
        late = [failure for failure in requests.failures if failure[0] > before + noticed_s + 1]
        figure(f"requests meanwhile: {requests}, {len(late)} later than 1 s after the node was noticed")
        assert not late
        rest = {p["metadata"]["uid"]: restarts(p) for p in ready_pods(kubectl, "web")}

        began = time.monotonic()
        lost.boot()
        cluster.wait_for_node(lost.name, "True")
        figure(f"node is Ready {time.monotonic() - began:.1f} s after its power is back")
        kubectl("wait", "--for=condition=Ready", "pod/faithful", "--timeout=30s")
        assert restarts(kubectl.get("pod", "faithful")) == 1
        kubectl("rollout", "restart", "deployment/web")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        used = {p["spec"]["nodeName"] for p in ready_pods(kubectl, "web")}
        assert used == {node.name for node in cluster.nodes}
    assert all(count == 0 for count in rest.values())
    names = {p["metadata"]["name"] for p in ready_pods(kubectl, "web")}
    # Those that the last rollout has replaced may still be serving for a moment.
    wait_for("the machine to see all others", lambda: network.answering(lost, address, 80, 6) == names, 10)
    left = lost.docker("ps", "-a", "--format", "{{.Names}}", "-f", "label=mizzen.dev/type=container").split()
    assert not [name for name in left if any(pod in name for pod in stranded)], "leftovers of pods that went elsewhere"
