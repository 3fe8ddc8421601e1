"""A machine behind a router joins, does what its near fellows do, and is taken out again without a trace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deploy.lab import Machine
from deploy.lab.cluster import AGENT, DATA, join_agent, reset_command
from deploy.shell import wait_for
from tests.e2e import network, traces
from tests.e2e.cluster import Cluster, ready_pods
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import PORT, deployment, pod, service, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

BIG = 300_000
"""Bytes of a page that needs many packets of full size."""
PINGS = (1460, 3000)
"""Bytes of a packet that fits the Ethernet but not the tunnel, and of one that fits neither."""


def test_a_node_behind_a_router(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    # There before the first tunnel, with the MTU of the Ethernet.
    kubectl.apply(pod("old", web_container(), nodeName=cluster.nodes[0].name))
    kubectl("wait", "--for=condition=Ready", "pod/old", "--timeout=30s")
    before = {machine.name: traces.of(machine) for machine in cluster.lab.nodes}
    began = time.monotonic()
    with member(cluster) as far:
        figure(f"a machine behind a router has joined after {time.monotonic() - began:.1f} s")
        everybody = [*cluster.nodes, far]
        ways_are_right(cluster, kubectl, far)
        kubectl.apply(deployment("web", len(everybody)), service("web", type="NodePort"))
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        pods = {p["spec"]["nodeName"]: p for p in ready_pods(kubectl, "web")}
        assert set(pods) == {machine.name for machine in everybody}
        there, here = pods[far.name], pods[cluster.nodes[1].name]
        for one, other in ((there, here), (here, there), (kubectl.get("pod", "old"), there)):
            assert_reach(kubectl, one, other)
            assert_reach(kubectl, other, one)
        services_work(cluster, kubectl, far, {p["metadata"]["name"] for p in pods.values()})
        kubectl("delete", "deployment/web", "service/web", "--timeout=60s")
        kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=40s")
    left = {machine.name: traces.of(machine) for machine in cluster.lab.nodes}
    for name, text in before.items():
        assert left[name].splitlines() == text.splitlines(), f"left on {name}"


@contextmanager
def member(cluster: Cluster) -> Iterator[Machine]:
    """The machine on the other Ethernet as a node while the block runs; taken away as the manual says."""
    machine = cluster.lab.nodes[-1]
    join_agent(cluster.lab, machine.name)
    try:
        wait_for("the node", lambda: cluster.kubectl.tries("get", "node", machine.name).returncode == 0, 30)
        cluster.wait_for_node(machine.name, "True")
        yield machine
    finally:
        cluster.kubectl("drain", machine.name, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=40s")
        cluster.kubectl("delete", "node", machine.name)
        machine.remove(AGENT)
        machine.run(*reset_command())
    assert machine.run("ls", "-A", DATA) == ""
    wait_for("the others to forget it", lambda: not any(tunnelled(node) for node in cluster.nodes), 10)


def ways_are_right(cluster: Cluster, kubectl: Kubectl, far: Machine) -> None:
    """Near nodes reach each other by plain routes; everything to and from the far one goes through VXLAN."""
    cidrs = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in kubectl.items("nodes")}
    for machine in (*cluster.nodes, far):
        wanted = {}
        for other in (*cluster.nodes, far):
            if far in (machine, other) and machine is not other:
                wanted[cidrs[other.name]] = ("mz-vxlan", cidrs[other.name].partition("/")[0])
            elif machine is not other:
                wanted[cidrs[other.name]] = ("eth0", other.address)
        wait_for(f"the routes of {machine.name}", lambda m=machine, w=wanted: gateways(m) == w, 10)
        (link,) = json.loads(machine.run("ip", "-j", "-d", "link", "show", "mz-vxlan"))
        assert (link["linkinfo"]["info_kind"], link["mtu"]) == ("vxlan", 1450)


def gateways(machine: Machine) -> dict[str, tuple[str, str]]:
    """Where Mizzen's routes to other machines' pods lead: device and gateway by destination."""
    routes = json.loads(machine.run("ip", "-j", "-4", "route", "show", "proto", "77"))
    return {route["dst"]: (route["dev"], route["gateway"]) for route in routes if "gateway" in route}


def tunnelled(machine: Machine) -> bool:
    """Whether a machine has an end of the tunnel."""
    return "mz-vxlan" in machine.run("ip", "-o", "link")


def assert_reach(kubectl: Kubectl, one: dict[str, Any], other: dict[str, Any]) -> None:
    """A pod fetches from another what needs many full packets, and sends it some that don't fit the way."""
    client, target, address = name_of(one), name_of(other), str(other["status"]["podIP"])
    made = f"head -c {BIG} /dev/urandom >/tmp/www/big; md5sum </tmp/www/big"
    sent = kubectl("exec", target, "--", "sh", "-c", made)
    got = kubectl("exec", client, "--", "sh", "-c", f"wget -qO- http://{address}:{PORT}/big | md5sum")
    assert got == sent, f"from {target} to {client}"
    for size in PINGS:
        # The first one may be what teaches the sender how much fits.
        said = kubectl("exec", client, "--", "ping", "-c", "3", "-i", "0.2", "-W", "2", "-s", str(size), address)
        assert " 0 packets received" not in said, said


def name_of(obj: dict[str, Any]) -> str:
    """The name of an object."""
    return str(obj["metadata"]["name"])


def services_work(cluster: Cluster, kubectl: Kubectl, far: Machine, names: set[str]) -> None:
    """By cluster address, node port and name; from machines and from a pod on the far one."""
    spec = kubectl.get("service", "web")["spec"]
    address, node_port = spec["clusterIP"], spec["ports"][0]["nodePort"]
    for machine in (far, cluster.nodes[0]):
        assert network.answering(machine, address, 80, len(names)) == names
        for pod_ip in (p["status"]["podIP"] for p in ready_pods(kubectl, "web")):
            assert network.answering(machine, pod_ip, PORT, 1) < names
    for machine, other in ((far, cluster.nodes[0]), (cluster.nodes[0], far), (far, far), (cluster.lab.server, far)):
        assert network.answering(machine, other.address, node_port, len(names)) == names
    client = next(name_of(p) for p in ready_pods(kubectl, "web") if p["spec"]["nodeName"] == far.name)
    for url in (
        "http://web",
        f"http://web.{kubectl.namespace}.svc.cluster.local",
        f"http://{address}",
        f"http://{cluster.nodes[2].address}:{node_port}",
        f"http://{far.address}:{node_port}",
    ):
        script = f"for i in $(seq 60); do wget -qO- {url}; done"
        answers = kubectl("exec", client, "--", "sh", "-c", script).splitlines()
        assert len(answers) == 60
        assert set(map(network.pod_of, answers)) == names, url
    said = kubectl("exec", client, "--", "nslookup", "-type=a", f"web.{kubectl.namespace}.svc.cluster.local")
    assert address in said
