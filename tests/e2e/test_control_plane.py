"""The control plane or its store dies: the nodes go on by themselves, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from deploy.lab import Machine
from deploy.lab.cluster import SERVER
from deploy.shell import wait_for
from mizzen.api import errors, kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.client import config
from mizzen.client.client import Client
from tests.e2e import network
from tests.e2e.cluster import Cluster, is_ready, ready_pods, restarts, untouched
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import deployment, leaving_dead_nodes, service, shell, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

AWAY_S = 60
"""Much longer than a node may be silent and a pod bears a lost node, together."""
LOOK = "nslookup -type=a web.$SPACE.svc.cluster.local >/dev/null"
NAMES = f"trap exit TERM; while sleep 0.2; do {LOOK} && echo found || echo lost; done"


def test_nodes_go_on_without_a_control_plane(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    template = {
        "containers": [web_container(), shell(NAMES.replace("$SPACE", kubectl.namespace), "names")],
        "tolerations": leaving_dead_nodes(2),
        "terminationGracePeriodSeconds": 2,
    }
    kubectl.apply(deployment("web", 6, template), service("web"))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    before = ready_pods(kubectl, "web")
    victim, asker = before[0], before[-1]
    address = kubectl.get("service", "web")["spec"]["clusterIP"]
    with network.Requests(cluster.nodes[0], address, 80) as requests:
        began = time.monotonic()
        cluster.lab.server.kill(SERVER)
        wait_for("etcd to go with it", lambda: not etcd_of(cluster.lab.server), 5)
        cluster.kill(victim, "web")
        machine = cluster.node_of(victim)
        mark = f"label=mizzen.dev/pod-uid={victim['metadata']['uid']}"
        again = ("ps", "-q", "-f", mark, "-f", "label=mizzen.dev/container=web", "-f", "label=mizzen.dev/attempt=1")
        wait_for("the agent to start it again", lambda: machine.docker(*again), 20)
        figure(f"without a control plane, a killed container runs again after {time.monotonic() - began:.1f} s")
        failed = len(requests.failures)  # connections that the killed container took with it
        wait_for("time to pass", lambda: time.monotonic() - began > AWAY_S, AWAY_S + 5)
        assert len(requests.failures) == failed <= 5
        away = str(requests)

        began = time.monotonic()
        cluster.lab.server.start(SERVER)
        wait_for("the API", lambda: kubectl.tries("get", "nodes").returncode == 0, 30)
        figure(f"the API answers {time.monotonic() - began:.1f} s after the start of the server")

        def settled() -> bool:
            pod = kubectl.get("pod", victim["metadata"]["name"])
            return restarts(pod) == 1 and is_ready(pod)

        wait_for("the restart to be told", settled, 30)
        figure(f"status has converged after {time.monotonic() - began:.1f} s; requests meanwhile: {away}")
        kubectl("scale", "deployment/web", "--replicas=9")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        requests.go_on(20)
        assert len(requests.failures) == failed
    asked = kubectl("logs", asker["metadata"]["name"], "-c", "names").split()
    assert asked.count("lost") == 0
    figure(f"{len(asked)} names found meanwhile")
    for node in cluster.nodes:
        cluster.wait_for_node(node.name, "True", timeout_s=1)
    assert untouched(before, kubectl.items("pods"), but=victim)


def test_no_acknowledged_write_is_lost_with_etcd(
    cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]
) -> None:
    kubectl.apply(deployment("web", 6), service("web"))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    before = ready_pods(kubectl, "web")
    server = cluster.lab.server
    with writing(cluster, kubectl.namespace) as written:
        for _ in range(2):
            written.go_on(200)
            dead = etcd_of(server)
            server.run("kill", "-9", dead)
            wait_for("another etcd", lambda dead=dead: etcd_of(server) not in ("", dead), 10)
        written.go_on(200)
    figure(f"{len(written.acknowledged)} writes acknowledged over two deaths of etcd, {len(written.refused)} refused")
    present = {item["metadata"]["name"] for item in kubectl.items("configmaps")}
    assert not set(written.acknowledged) - present
    assert untouched(before, kubectl.items("pods"))


def etcd_of(server: Machine) -> str:
    """The number of the etcd process that runs on a machine; empty when there is none."""
    return server.run("pgrep", "-x", "etcd", check=False).strip()


class Written:
    """What a writer was told of its writes."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.stop = threading.Event()

    def go_on(self, count: int) -> None:
        """Returns after so many more acknowledged writes."""
        enough = len(self.acknowledged) + count
        wait_for(f"{count} more writes", lambda: len(self.acknowledged) >= enough, 40)


@contextmanager
def writing(cluster: Cluster, namespace: str) -> Iterator[Written]:
    """Eight writers that create one ConfigMap after the other over gRPC, until the block is left."""
    written = Written()

    async def write(client: Client, writer: int) -> None:
        number = 0
        while not written.stop.is_set():
            number += 1
            name = f"written-{writer}-{number}"
            made = core.ConfigMap(metadata=meta.ObjectMeta(namespace=namespace, name=name), data={"n": str(number)})
            try:
                await client.create(made)
                written.acknowledged.append(name)
            except (errors.ServiceUnavailable, errors.Timeout, errors.ServerTimeout):
                written.refused.append(name)
            await asyncio.sleep(0.02)

    async def run() -> None:
        async with (
            Client(config.load(cluster.kubectl.kubeconfig), deadline_s=5) as client,
            asyncio.TaskGroup() as group,
        ):
            assert (await client.list(kinds.CONFIG_MAP, namespace)).items is not None
            for writer in range(8):
                group.create_task(write(client, writer))

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="writers")
    thread.start()
    try:
        yield written
    finally:
        written.stop.set()
        thread.join()
