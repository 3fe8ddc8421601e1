"""Pods reach each other on one machine, across machines by route and by tunnel, and the world outside."""

from __future__ import annotations

import socket

import pytest

from tests.integration.network.netlab import NetLab, ask_tcp, ask_udp, attachment, inside, run

pytestmark = pytest.mark.lab


def test_same_machine(lab: NetLab) -> None:
    """Two pods of one machine see each other's own address."""
    one, two = lab.pods(lab.machines[0], 2)
    assert ask_tcp(one.netns, two.ip, 8080) == f"{two.ip} {one.ip}"


@pytest.mark.parametrize("there", [1, 2], ids=["same-l2", "behind-a-router"])
def test_other_machine(lab: NetLab, there: int) -> None:
    """Across machines too, both ways, also for packets of full size."""
    one, two = lab.pod(lab.machines[0]), lab.pod(lab.machines[there])
    assert ask_tcp(one.netns, two.ip, 8080) == f"{two.ip} {one.ip}"
    assert ask_tcp(two.netns, one.ip, 8080) == f"{one.ip} {two.ip}"
    assert ask_udp(one.netns, two.ip, 8080, b"x" * 4000) == f"{two.ip} {one.ip}".encode()


def test_ways(lab: NetLab) -> None:
    """The kernel has a plain route on one L2 and the tunnel elsewhere."""
    routes = lab.machines[0].sh("ip route show proto 77")
    assert "10.244.2.0/24 via 10.77.0.2 dev eth0" in routes
    assert "10.244.3.0/24 via 10.244.3.0 dev mz-vxlan onlink" in routes


def test_node_reaches_pods(lab: NetLab) -> None:
    """A machine's own processes reach pods here and elsewhere."""
    for machine in lab.machines:
        pod = lab.pod(machine)
        for other in lab.machines:
            assert ask_tcp(other.netns, pod.ip, 8080).startswith(pod.ip)


def test_outside(lab: NetLab) -> None:
    """A pod reaches hosts that know nothing of pods, by its node's address."""
    lab.servers.serve(lab.outside, "world", 9000)
    for machine in lab.machines:
        assert ask_tcp(lab.pod(machine).netns, "10.77.0.100", 9000) == f"world {machine.address}"


def test_a_pod_cannot_borrow_an_address(lab: NetLab) -> None:
    """Packets with another source than the pod's own are dropped."""
    one, two = lab.pods(lab.machines[0], 2)
    run(["ip", "-n", one.netns, "addr", "add", "10.244.1.250/32", "dev", "eth0"])
    client = inside(one.netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver = inside(two.netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with client, receiver:
        receiver.bind((two.ip, 9999))
        receiver.settimeout(3)
        client.bind(("10.244.1.250", 0))
        client.sendto(b"forged", (two.ip, 9999))
        with inside(one.netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as honest:
            honest.bind((one.ip, 0))
            honest.sendto(b"honest", (two.ip, 9999))
        assert receiver.recv(100) == b"honest"


def test_attach_again_changes_nothing(lab: NetLab) -> None:
    """A second attach finds the first one's work and leaves connections alone."""
    machine = lab.machines[0]
    pod = lab.pod(machine)
    before = machine.sh("ip -o link")
    machine.agent.call("attach", pods=[attachment(pod)])
    assert machine.sh("ip -o link") == before


def test_attach_to_a_new_sandbox_replaces_the_old(lab: NetLab) -> None:
    """A pod whose sandbox was made anew keeps its address."""
    machine = lab.machines[0]
    old, other = lab.pods(machine, 2)
    new = lab.pod(machine)
    machine.agent.call("detach", uids=[new.uid])
    machine.agent.call("attach", pods=[attachment(old) | {"netns": f"/run/netns/{new.netns}"}])
    assert ask_tcp(other.netns, old.ip, 8080) == f"{new.ip} {other.ip}"


def test_missing_namespace(lab: NetLab) -> None:
    """A sandbox that died in between is told apart from other failures."""
    pod = lab.pod(lab.machines[0])
    with pytest.raises(AssertionError, match=r"NamespaceGone: .*/run/netns/none"):
        lab.machines[0].agent.call("attach", pods=[attachment(pod) | {"netns": "/run/netns/none"}])
