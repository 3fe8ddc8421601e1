"""The cluster under test: the lab's machines, who runs where, and how to wait for what it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import commands
from deploy.images import demo
from deploy.lab import Lab, Machine, cluster
from deploy.shell import wait_for
from tests.e2e.kubectl import Kubectl, programs

NODES = 3
FLAGS = ("--heartbeat-interval", "2s", "--node-grace-period", "10s", "--leader-ttl", "3")
"""A lost node is noticed after seconds, not after most of a minute."""


@dataclass(frozen=True)
class Cluster:
    """A control plane and nodes on the machines of a lab."""

    lab: Lab
    kubectl: Kubectl

    @property
    def nodes(self) -> list[Machine]:
        """The machines that are nodes from the beginning."""
        return self.lab.nodes[:NODES]

    def node_of(self, pod: dict[str, Any]) -> Machine:
        """The machine that a pod runs on."""
        return self.lab.machine(str(pod["spec"]["nodeName"]))

    def container(self, pod: dict[str, Any], name: str = "") -> dict[str, Any]:
        """What Docker says about a pod's container (its only one, if not named)."""
        status = next(s for s in pod["status"]["containerStatuses"] if name in ("", s["name"]))
        found = json.loads(self.node_of(pod).docker("inspect", status["containerID"].removeprefix("docker://")))
        assert isinstance(found[0], dict)
        return found[0]

    def kill(self, pod: dict[str, Any], name: str = "") -> None:
        """SIGKILL to the first process of a pod's container (its only one, if not named)."""
        self.node_of(pod).run("kill", "-9", str(self.container(pod, name)["State"]["Pid"]))

    def routed(self) -> bool:
        """Whether every node has a route to the pods of every other."""
        ranges = {node["metadata"]["name"]: node["spec"].get("podCIDR", "?") for node in self.kubectl.items("nodes")}
        return all(
            f"{range_} via" in node.run("ip", "-4", "route")
            for node in self.nodes
            for name, range_ in ranges.items()
            if name != node.name
        )

    def mend(self) -> None:
        """Switches on what a test that failed half-way has left switched off."""
        for machine in (self.lab.server, *self.nodes):
            machine.heal()
            machine.boot()
        wait_for("the API", lambda: self.kubectl.tries("get", "--raw", "/readyz").returncode == 0, 30)

    def wait_for_node(self, name: str, ready: str, timeout_s: float = 40) -> None:
        """Returns when a node's condition Ready is `ready`: True, False or Unknown."""
        jsonpath = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
        said = f"{name} to be Ready={ready}"
        wait_for(said, lambda: self.kubectl("get", "node", name, "-o", jsonpath) == ready, timeout_s)


def ready_pods(kubectl: Kubectl, app: str) -> list[dict[str, Any]]:
    """The pods of an application that are ready and not on their way out, by name."""
    return [pod for pod in kubectl.items("pods", "-l", f"app={app}") if is_ready(pod)]


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod takes requests."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def fewest_ready(watched: str) -> int:
    """The smallest number of ready pods that a watch has shown once it had shown all of them."""
    decoder, text, place = json.JSONDecoder(), watched, 0
    ready: dict[str, bool] = {}
    counts: list[int] = []
    while (place := text.find("{", place)) >= 0:
        try:
            event, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError:
            break  # the last one is still being written
        shown = event["object"]
        ready[shown["metadata"]["name"]] = event["type"] != "DELETED" and is_ready(shown)
        counts.append(sum(ready.values()))
    assert counts, "the watch has shown nothing"
    return min(counts[counts.index(max(counts)) :])


def restarts(pod: dict[str, Any]) -> int:
    """How often containers of a pod have been started again."""
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))


def untouched(before: list[dict[str, Any]], after: list[dict[str, Any]], but: dict[str, Any] | None = None) -> bool:
    """Whether all pods are still there and Ready, with the containers that they had (`but` may have new ones)."""
    present = {pod["metadata"]["uid"]: pod for pod in after}
    for pod in before:
        now = present.get(pod["metadata"]["uid"])
        if now is None or not is_ready(now) or (pod is not but and _containers(now) != _containers(pod)):
            return False
    return True


def _containers(pod: dict[str, Any]) -> list[tuple[str, int]]:
    return [(status["containerID"], status["restartCount"]) for status in pod["status"]["containerStatuses"]]


def pool(lab: Lab) -> str:
    """Addresses of the machines' Ethernet that none of them has."""
    network = lab.server.address.rpartition(".")[0]
    return f"{network}.240-{network}.247"


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Three nodes behind a control plane, and a fourth machine on another Ethernet that has not joined."""
    with Lab(folder).up(nodes=NODES + 1, far=[NODES + 1]) as lab:
        for version in ("v1", "v2"):
            lab.load_image(demo.build(lab.folder / "images", version))
        kubeconfig = cluster.start_server(lab, (*FLAGS, "--load-balancer-pool", pool(lab)))
        nodes = lab.nodes[:NODES]
        for node in nodes:
            cluster.join_agent(lab, node.name)
        commands.wait_for_nodes(kubeconfig, NODES, lambda: all(node.pid(cluster.AGENT) for node in nodes))
        commands.offer_storage(kubeconfig)
        made = Cluster(lab, Kubectl(programs()[-1], kubeconfig, "default"))
        wait_for("the nodes to know the way to each other", made.routed, 30)
        yield made
