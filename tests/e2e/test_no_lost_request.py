"""No request is lost while pods are replaced, moved and taken away, or while the cluster's own programs start anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from deploy.lab import Machine
from deploy.lab.cluster import AGENT, SERVER
from deploy.shell import wait_for
from tests.e2e import network
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import deployment, service, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

REPLICAS = 6
CLIENTS = 2
"""On each machine."""
CHANGING, RESTARTING = 20_000, 10_000
"""How many requests are made meanwhile; at most so many seconds are given to them."""
LIMIT_S = 300

DEAF = """
mkdir -p /tmp/www; echo ok >/tmp/www/healthz
echo "demo v1 on $(hostname)" >/tmp/www/index.html
httpd -f -p 8080 -h /tmp/www &
server=$!
trap 'kill $server; sleep 0.3; exit 0' TERM
wait $server
"""
"""Asked to end, this server refuses new connections at once; those that it has it goes on with."""


class Load:
    """Clients on all machines that connect anew for every request."""

    def __init__(self, clients: list[network.Requests]) -> None:
        self._clients = clients

    @property
    def answered(self) -> int:
        """How many requests were answered."""
        return sum(client.answered for client in self._clients)

    @property
    def failures(self) -> list[tuple[float, str]]:
        """All that failed."""
        return [failure for client in self._clients for failure in client.failures]

    def go_on(self, count: int) -> None:
        """Returns after so many more answers."""
        enough = self.answered + count
        wait_for(f"{count} more answers", lambda: self.answered >= enough, 60)

    def __str__(self) -> str:
        slowest_s = max(client.slowest_s for client in self._clients)
        return f"{self.answered} answered, {len(self.failures)} failed, slowest {slowest_s * 1000:.0f} ms"


@contextmanager
def loaded(cluster: Cluster, kubectl: Kubectl) -> Iterator[Load]:
    """A service of pods that refuse connections from the moment on at which they are asked to end, under load."""
    container = web_container(command=["sh", "-c", DEAF])
    template = {"terminationGracePeriodSeconds": 20, "containers": [container]}
    kubectl.apply(deployment("web", REPLICAS, template), service("web"))
    settled(kubectl)
    address = kubectl.get("service", "web")["spec"]["clusterIP"]
    with ExitStack() as stack:
        clients = [
            stack.enter_context(network.Requests(machine, address, 80))
            for machine in cluster.nodes
            for _ in range(CLIENTS)
        ]
        yield Load(clients)


def settled(kubectl: Kubectl) -> None:
    """Returns when all that was wanted of the deployment is there."""
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def leaving(kubectl: Kubectl) -> str:
    """Since when pods of the deployment have been on their way out."""
    return kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.deletionTimestamp}")


def test_updates_drains_and_scaling_lose_nothing(
    cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]
) -> None:
    def update() -> None:
        kubectl("rollout", "restart", "deployment/web")
        settled(kubectl)

    def drain() -> None:
        node = cluster.nodes[1].name
        kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
        kubectl("uncordon", node)
        settled(kubectl)

    def scale() -> None:
        for replicas in (2, REPLICAS):
            kubectl("scale", "deployment/web", f"--replicas={replicas}")
            settled(kubectl)
            wait_for("those too many to go", lambda: not leaving(kubectl), 40)

    rounds, deadline = 0, time.monotonic() + LIMIT_S
    with loaded(cluster, kubectl) as load:
        while rounds == 0 or load.answered < CHANGING:
            assert time.monotonic() < deadline, f"{load} after {LIMIT_S} s"
            for change in (update, drain, scale):
                change()
                assert not load.failures, f"{change.__name__} in round {rounds}: {load.failures}"
            rounds += 1
        load.go_on(100)
    figure(f"requests during {rounds} updates, drains and scale-downs: {load}")
    assert not load.failures


@pytest.mark.parametrize("program", [AGENT, SERVER])
def test_the_clusters_programs_start_anew(
    cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None], program: str
) -> None:
    machine = cluster.nodes[0] if program == AGENT else cluster.lab.server
    restarts, deadline = 0, time.monotonic() + LIMIT_S
    with loaded(cluster, kubectl) as load:
        while restarts == 0 or load.answered < RESTARTING:
            assert time.monotonic() < deadline, f"{load} after {LIMIT_S} s"
            restart(machine, program)
            load.go_on(1000)
            wait_for("the API", lambda: kubectl.tries("get", "--raw", "/readyz").returncode == 0, 30)
            assert not load.failures, f"after restart {restarts}: {load.failures}"
            restarts += 1
        for node in cluster.nodes:
            cluster.wait_for_node(node.name, "True")
    figure(f"requests during {restarts} restarts of {program}: {load}")
    assert not load.failures


def restart(machine: Machine, program: str) -> None:
    """The program is ended as its service manager does it, and begins again."""
    machine.stop(program)
    machine.start(program)
