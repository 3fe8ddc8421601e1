"""Two control planes on one etcd: both serve, one leads, and when that one dies the other goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from deploy import commands
from deploy.images import demo
from deploy.lab import Lab, Machine
from deploy.lab.cluster import AGENT, DATA, SERVER
from deploy.shell import CommandFailed, wait_for
from tests.e2e.cluster import FLAGS, ready_pods, restarts
from tests.e2e.kubectl import Kubectl, programs
from tests.e2e.manifests import deployment, pod, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

TTL_S = 3
"""Of the leader; see FLAGS."""
ETCD = "etcd"
LEADS = re.compile(r'^leader_election_master_status\{name="controllers"\} 1', re.MULTILINE)


@dataclass(frozen=True)
class Plane:
    """One control plane."""

    machine: Machine
    kubectl: Kubectl

    def leads(self) -> bool:
        """Whether it decides."""
        said = self.kubectl.tries("get", "--raw", "/metrics", "--request-timeout=5s").stdout
        return LEADS.search(said) is not None


@dataclass(frozen=True)
class Planes:
    """Both of them, and a node."""

    lab: Lab
    first: Plane
    second: Plane
    node: Machine


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    """An etcd on the first machine, control planes on the next two, a node that joined at the first of them."""
    if not programs():
        pytest.skip("no kubectl on the path: see https://kubernetes.io/docs/tasks/tools")
    with Lab(tmp_path_factory.mktemp("planes") / "lab").up(nodes=3) as lab:
        yield started(lab)


def started(lab: Lab) -> Planes:
    """The cluster on the machines of a lab; nobody but its tests uses it."""
    one, other, node = lab.nodes
    node.load_image(demo.build(lab.folder / "images"))
    url = f"http://{lab.server.address}:2379"
    lab.server.install(
        ETCD, ["etcd", "--data-dir", f"{DATA}/etcd", "--listen-client-urls", url, "--advertise-client-urls", url]
    )
    first = start(one, url)
    assert_refused(first, other, url)
    for name in ("pki/ca.crt", "pki/ca.key", "secrets.key"):  # as the manual says
        copy = other.path(f"{DATA}/{name}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch(mode=0o600)
        copy.write_bytes(one.path(f"{DATA}/{name}").read_bytes())
    second = start(other, url)
    token = one.path(f"{DATA}/{commands.TOKEN_FILE}").read_text().strip()
    node.install(AGENT, commands.agent_command(DATA, one.address, token))
    commands.wait_for_nodes(first.kubectl.kubeconfig, 1, lambda: node.pid(AGENT) is not None)
    return Planes(lab, first, second, node)


def start(machine: Machine, etcd: str) -> Plane:
    """A control plane on a machine."""
    machine.install(SERVER, [*commands.server_command(DATA, machine.address), *FLAGS, "--etcd", etcd])
    kubeconfig = machine.folder / "kubeconfig"
    kubeconfig.write_bytes(
        commands.wait_until_written(
            lambda: machine.path(f"{DATA}/{commands.KUBECONFIG_FILE}"),
            lambda: machine.pid(SERVER) is not None,
            machine.log(SERVER),
        )
    )
    return Plane(machine, Kubectl(programs()[-1], kubeconfig, "default"))


def assert_refused(first: Plane, second: Machine, etcd: str) -> None:
    """A control plane without the first one's files says what it lacks."""
    data = "/var/lib/mizzen-refused"
    argv = [*commands.server_command(data, second.address), "--etcd", etcd]
    with pytest.raises(CommandFailed, match="another encryption key wrote it"):
        second.run(*argv, timeout_s=30)
    second.path(f"{data}/secrets.key").write_bytes(first.machine.path(f"{DATA}/secrets.key").read_bytes())
    lease = ("-n", "kube-system", "get", "lease", f"apiserver-{first.machine.address}")
    wait_for("the first one's lease", lambda: first.kubectl.tries(*lease).returncode == 0, 10)
    with pytest.raises(CommandFailed, match=f"not that of the control plane at {first.machine.address}"):
        second.run(*argv, timeout_s=30)


def addresses(kubectl: Kubectl) -> list[str]:
    """Where the service `kubernetes` leads."""
    (found,) = kubectl.items("endpointslices", "-l", "kubernetes.io/service-name=kubernetes")
    return [address for endpoint in found["endpoints"] for address in endpoint["addresses"]]


def test_the_other_takes_over(planes: Planes, figure: Callable[[str], None]) -> None:
    node = planes.node
    first, second = leader_and_other(planes)
    both = sorted(plane.machine.address for plane in (first, second))
    early = both_serve(first, second)

    # The leader dies right after it has taken an order; another order comes while nobody leads.
    first.kubectl.apply(deployment("late", 3, {"containers": [web_container()]}))
    first.machine.kill(SERVER)
    began = time.monotonic()
    second.kubectl.apply(deployment("orphan", 2, {"containers": [web_container()]}))
    wait_for("the other to lead", second.leads, TTL_S + 15)
    figure(f"the other leads {time.monotonic() - began:.1f} s after the leader's death (time to live: {TTL_S} s)")
    for app in ("late", "orphan"):
        second.kubectl("rollout", "status", f"deployment/{app}", "--timeout=60s")
    figure(
        f"what was ordered just before and after is complete {time.monotonic() - began:.1f} s after the leader's death"
    )
    assert "serves on port" in second.kubectl("logs", "deploy/late")
    assert restarts_of(second.kubectl, early) == [0, 0]
    wait_for("the dead one to leave the service", lambda: addresses(second.kubectl) == [second.machine.address], 30)

    # An agent that starts now has joined at the dead one and knows the other from the cluster.
    node.kill(AGENT)
    node.start(AGENT)
    second.kubectl.apply(pod("later", web_container()))
    second.kubectl("wait", "--for=condition=Ready", "pod/later", "--timeout=30s")

    # Back again, it follows.
    start_again(first)
    wait_for("both to be endpoints", lambda: addresses(first.kubectl) == both, 15)
    leads, follows = leader_and_other(planes)

    # One that is asked to end says so, and is not waited for.
    leads.machine.stop(SERVER)
    began = time.monotonic()
    wait_for("the other to lead", follows.leads, TTL_S + 15)
    wait_for("it to leave the service", lambda: addresses(follows.kubectl) == [follows.machine.address], 10)
    figure(f"after an end as asked for, the other leads and has the service {time.monotonic() - began:.1f} s later")
    follows.kubectl("delete", "deployment,pod", "--all", "--timeout=60s")
    wait_for("all to go", lambda: not follows.kubectl.items("pods"), 30)
    wait_for("the node to clear up", lambda: node.docker("ps", "-aq", "-f", "label=mizzen.dev/type") == "", 15)
    start_again(leads)


def test_a_leader_that_is_cut_off(planes: Planes, figure: Callable[[str], None]) -> None:
    """Nobody tells the nodes and the other; the lost one finds out for itself that it leads no more."""
    wait_for("both to serve", lambda: len(addresses(planes.first.kubectl)) == 2, 20)
    lost, other = leader_and_other(planes)
    other.kubectl.apply(deployment("before", 2, {"containers": [web_container()]}))
    other.kubectl("rollout", "status", "deployment/before", "--timeout=40s")
    before = ready_pods(other.kubectl, "before")
    lost.machine.cut()
    began = time.monotonic()
    try:
        wait_for("the other to lead", other.leads, TTL_S + 15)
        other.kubectl.apply(deployment("after", 2, {"containers": [web_container()]}))
        other.kubectl("rollout", "status", "deployment/after", "--timeout=60s")
        figure(f"a new deployment is complete {time.monotonic() - began:.1f} s after the leader was cut off")
        assert "serves on port" in other.kubectl("logs", "deploy/after")
        wait_for("it to leave the service", lambda: addresses(other.kubectl) == [other.machine.address], 30)
    finally:
        lost.machine.heal()
    wait_for("both to serve again", lambda: len(addresses(other.kubectl)) == 2, 30)
    leader_and_other(planes)
    lost.kubectl("scale", "deployment/after", "--replicas=3")
    for plane in (lost, other):
        plane.kubectl("rollout", "status", "deployment/after", "--timeout=40s")
    assert restarts_of(other.kubectl, before) == [0, 0]
    (node,) = other.kubectl.items("nodes")
    ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True"
    lost.kubectl("delete", "deployment", "--all", "--timeout=60s")
    wait_for("all to go", lambda: not other.kubectl.items("pods"), 30)


def start_again(plane: Plane) -> None:
    """Returns when it serves."""
    plane.machine.start(SERVER)
    wait_for("it to serve", lambda: plane.kubectl.tries("get", "pods").returncode == 0, 30)


def both_serve(first: Plane, second: Plane) -> list[dict[str, Any]]:
    """What one is told the other shows, and serves; gives the pods that run then."""
    both = sorted(plane.machine.address for plane in (first, second))
    for plane in (first, second):
        wait_for("both to be endpoints", lambda plane=plane: addresses(plane.kubectl) == both, 15)
    second.kubectl.apply(deployment("early", 2, {"containers": [web_container()]}))
    for plane in (first, second):
        plane.kubectl("rollout", "status", "deployment/early", "--timeout=40s")
        plane.kubectl(
            "patch", "deployment", "early", "-p", f'{{"metadata": {{"labels": {{"{plane.machine.name}": "x"}}}}}}'
        )
    labels = first.kubectl.get("deployment", "early")["metadata"]["labels"]
    assert labels == {first.machine.name: "x", second.machine.name: "x"}
    early = ready_pods(first.kubectl, "early")
    name = early[0]["metadata"]["name"]
    for plane in (first, second):
        said = wait_for("logs", lambda plane=plane: plane.kubectl.tries("logs", name).stdout, 15)
        assert "serves on port" in said
        assert plane.kubectl("exec", name, "--", "hostname").strip() == name
    return early


def leader_and_other(planes: Planes) -> tuple[Plane, Plane]:
    """Who leads and who does not, as soon as that is so."""

    def look() -> tuple[Plane, Plane] | None:
        match planes.first.leads(), planes.second.leads():
            case True, False:
                return planes.first, planes.second
            case False, True:
                return planes.second, planes.first
        return None

    return wait_for("one of two to lead", look, TTL_S + 15)


def restarts_of(kubectl: Kubectl, pods: list[dict[str, Any]]) -> list[int]:
    """The restarts of pods, as they are now; those that are gone raise."""
    return [restarts(kubectl.get("pod", str(p["metadata"]["name"]))) for p in pods]
