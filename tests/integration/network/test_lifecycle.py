"""Starting beside a firewall, restarting under traffic, and leaving nothing behind."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest

from tests.integration.network.netlab import (
    CLUSTER_DNS,
    Machine,
    NetLab,
    Pod,
    ask_tcp,
    attachment,
    endpoints,
    eventually,
    service,
)

pytestmark = pytest.mark.lab

DOCKER_RULES = """
iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN; iptables -I FORWARD -j DOCKER-USER
iptables -P FORWARD DROP; iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
"""
VIP, NODE_PORT = "10.96.7.1", 30080


def offer(lab: NetLab, *backends: Pod) -> None:
    """One service on all machines."""
    port = {"port": 80, "protocol": "TCP", "nodePort": NODE_PORT}
    lab.services([service("web", VIP, port, type="NodePort")], [endpoints("web", 8080, *backends)])


def traces(machine: Machine) -> str:
    """Everything that a network can leave in a namespace."""
    commands = (
        "ip -o link",
        "ip -o -4 addr",
        "ip rule",
        "ip -4 route show table all",
        "ip neigh show nud permanent",
        "bridge fdb",
        "nft list ruleset",
        "iptables -S; iptables -t nat -S",
    )
    text = machine.sh("; echo; ".join(commands))
    return re.sub(r"packets \d+ bytes \d+", "", text)


def pods_and_services_work(lab: NetLab, pods: list[Pod]) -> None:
    """Between pods of two machines, and from pods, machines and outside through a service."""
    assert ask_tcp(pods[0].netns, pods[1].ip, 8080)
    assert ask_tcp(pods[1].netns, pods[0].ip, 8080)
    assert ask_tcp(pods[0].netns, VIP, 80)
    assert ask_tcp(lab.machines[0].netns, VIP, 80)
    assert ask_tcp(lab.outside, lab.machines[0].address, NODE_PORT)


@pytest.mark.parametrize(
    "firewall",
    [
        "true",
        "iptables -P FORWARD DROP",
        DOCKER_RULES,
        "iptables -A FORWARD -j REJECT",
    ],
    ids=["no-firewall", "policy-drop", "docker", "reject-rule"],
)
def test_removal_leaves_nothing(fresh: Callable[[int], NetLab], firewall: str) -> None:
    """With all it can have (routes, tunnel, pods, services, firewall rules), before and after are the same."""
    lab = fresh(3)
    for machine in lab.machines:
        machine.sh(firewall)
    before = [traces(machine) for machine in lab.machines]
    lab.start()
    pods = [lab.pod(lab.machines[0]), lab.pod(lab.machines[2])]
    offer(lab, *pods)
    pods_and_services_work(lab, pods)
    for machine in lab.machines:
        machine.agent.call("stop", remove=True)
    for machine, was in zip(lab.machines, before, strict=True):
        assert traces(machine).splitlines() == was.splitlines()


def test_firewall_that_comes_later(fresh: Callable[[int], NetLab]) -> None:
    """Docker may start after the agent; the next check lets pods through again."""
    lab = fresh(2)
    lab.start()
    pods = [lab.pod(machine) for machine in lab.machines]
    offer(lab, *pods)
    for machine in lab.machines:
        machine.sh("iptables -P FORWARD DROP")

    def all_let_through() -> bool:
        return all("MIZZEN-FORWARD" in machine.sh("iptables -S FORWARD") for machine in lab.machines)

    eventually(all_let_through, "pods are let through")
    pods_and_services_work(lab, pods)


def test_crash_and_restart_under_traffic(fresh: Callable[[int], NetLab]) -> None:
    """Connections through pods and services never fail while the agent is away and comes back."""
    lab = fresh(2)
    lab.start()
    pods = [lab.pod(machine) for machine in lab.machines]
    offer(lab, *pods)
    failures: list[str] = []
    ended = threading.Event()

    def client() -> None:
        while not ended.is_set():
            try:
                ask_tcp(pods[0].netns, VIP, 80)
                ask_tcp(lab.outside, lab.machines[0].address, NODE_PORT)
            except OSError as error:
                failures.append(repr(error))

    traffic = threading.Thread(target=client)
    traffic.start()
    try:
        machine = lab.machines[0]
        machine.crash()
        machine.start()
        found = machine.agent.call("adopt")
        machine.agent.call("attach", pods=[attachment(pods[0])])
        lab.introduce(lab.machines)
        offer(lab, *pods)
    finally:
        ended.set()
        traffic.join()
    assert failures == []
    assert {uid: pod["ip"] for uid, pod in found.items()} == {pods[0].uid: pods[0].ip}


def test_orphans_are_found_and_removed(fresh: Callable[[int], NetLab]) -> None:
    """After a crash the new agent sees what belongs to nobody; a dead sandbox has taken its own part along."""
    lab = fresh(1)
    lab.start()
    machine = lab.machines[0]
    kept, orphan, dead = lab.pods(machine, 3)
    machine.crash()
    machine.start()
    machine.sh(f"ip link del $(ip -o route get {dead.ip} | sed 's/.* dev \\([^ ]*\\).*/\\1/')")
    assert set(machine.agent.call("adopt")) == {kept.uid, orphan.uid}
    machine.agent.call("detach", uids=[orphan.uid, dead.uid])
    assert set(machine.agent.call("adopt")) == {kept.uid}
    assert ask_tcp(machine.netns, kept.ip, 8080)


def test_nodes_come_and_go(fresh: Callable[[int], NetLab]) -> None:
    """Routes, tunnel entries and the tunnel itself follow the list of nodes."""
    lab = fresh(3)
    lab.start()
    machine = lab.machines[0]
    lab.introduce(lab.machines[:2])
    assert "mz-vxlan" not in machine.sh("ip -o link")
    assert "10.244.3.0/24" not in machine.sh("ip route")
    lab.introduce(lab.machines)
    pods = [lab.pod(each) for each in lab.machines]
    assert ask_tcp(pods[2].netns, pods[0].ip, 8080)
    lab.introduce([])
    assert "proto 77 via" not in machine.sh("ip route")
    lab.introduce(lab.machines)
    assert ask_tcp(pods[2].netns, pods[1].ip, 8080)


def test_overlay_always(fresh: Callable[[int], NetLab]) -> None:
    """Machines of one L2 can be told to use the tunnel; pods get the smaller MTU, full packets still pass."""
    lab = fresh(2)
    lab.start(overlay="always")
    pods = [lab.pod(machine) for machine in lab.machines]
    offer(lab, *pods)
    assert "via 10.244.2.0 dev mz-vxlan proto 77 onlink" in lab.machines[0].sh("ip route")
    assert "mtu 1450" in lab.machines[0].sh(f"ip -n {pods[0].netns} link show eth0")
    pods_and_services_work(lab, pods)


def test_a_wrong_node_address_is_named(fresh: Callable[[int], NetLab]) -> None:
    """The error says which address and what to check."""
    lab = fresh(1)
    with pytest.raises(AssertionError, match=r"no network device has the node's address 10\.77\.0\.99"):
        lab.machines[0].start(node_ip="10.77.0.99")


def test_a_taken_dns_port_is_named(fresh: Callable[[int], NetLab]) -> None:
    """Another name server on all addresses is in the way; the network can be started once it is gone."""
    lab = fresh(1)
    machine = lab.machines[0]
    lab.servers.serve(machine.netns, "other", 53)
    with pytest.raises(AssertionError, match=rf"cannot listen on {CLUSTER_DNS}:53"):
        machine.start()


def test_many_pods_at_once(fresh: Callable[[int], NetLab]) -> None:
    """Forty attachments side by side, all reachable."""
    lab = fresh(1)
    lab.start()
    pods = lab.pods(lab.machines[0], 40)
    assert [ask_tcp(lab.machines[0].netns, pod.ip, 8080) for pod in pods]
    assert len(lab.machines[0].agent.call("adopt")) == 40
