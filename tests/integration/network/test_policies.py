"""Network policies in the kernel: who reaches a guarded pod, and whom it reaches, over real interfaces."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.network.netlab import NetLab, Pod, ask_tcp, endpoints, inside, service

pytestmark = pytest.mark.lab

VIP, NODE_PORT = "10.96.7.1", 30080
ALL = {"podSelector": {}}


@pytest.fixture(scope="module")
def pods(lab: NetLab) -> list[Pod]:
    """Two pods on each machine."""
    return [pod for machine in lab.machines for pod in lab.pods(machine, 2)]


@pytest.fixture(autouse=True)
def nothing_left(lab: NetLab) -> Iterator[None]:
    """Every test starts without services and policies."""
    yield
    lab.services([], [])


def enforce(lab: NetLab, guarded: Pod, types: list[str], with_service: bool = False, **rules: Any) -> None:
    """One policy for one pod, with or without a service in front of it."""
    port = {"port": 80, "protocol": "TCP", "nodePort": NODE_PORT}
    services = [service("web", VIP, port, type="NodePort")] if with_service else []
    slices = [endpoints("web", 8080, guarded)] if with_service else []
    policy = {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"podSelector": {}, "policyTypes": types, **rules},
    }
    own = {"metadata": {"name": guarded.uid, "namespace": "default"}, "spec": {"containers": []}}
    for machine in lab.machines:
        pods = [[own, guarded.ip]] if machine is guarded.machine else []
        machine.agent.call("services", services=services, slices=slices, host_ports=[], policies=[policy], guarded=pods)


def reaches(source: str, address: str, port: int = 8080) -> bool:
    """Whether a connection comes about; a drop is silence."""
    try:
        ask_tcp(source, address, port, timeout=0.4)
    except TimeoutError:
        return False
    return True


def cidr(*pods: Pod) -> list[dict[str, Any]]:
    """Peers by address."""
    return [{"ipBlock": {"cidr": f"{pod.ip}/32"}} for pod in pods]


def test_closed_to_everybody_but_its_node(lab: NetLab, pods: list[Pod]) -> None:
    """Pods of the same and another machine, and other machines; what it asks for itself is answered."""
    enforce(lab, pods[0], ["Ingress"])
    sources = (pods[1].netns, pods[2].netns, lab.machines[1].netns)
    assert [reaches(source, pods[0].ip) for source in sources] == [False] * 3
    assert reaches(lab.machines[0].netns, pods[0].ip), "probes come from the node"
    assert reaches(pods[0].netns, pods[2].ip)
    assert reaches(pods[1].netns, pods[2].ip), "others are not concerned"
    lab.services([], [])
    assert all(reaches(source, pods[0].ip) for source in sources)


def test_some_senders_and_ports(lab: NetLab, pods: list[Pod]) -> None:
    """By address, by range without a part, by port."""
    enforce(lab, pods[0], ["Ingress"], ingress=[{"from": cidr(pods[1], pods[2]), "ports": [{"port": 8080}]}])
    assert [reaches(pod.netns, pods[0].ip) for pod in pods[1:5]] == [True, True, False, False]
    enforce(lab, pods[0], ["Ingress"], ingress=[{"from": cidr(pods[1], pods[2]), "ports": [{"port": 81}]}])
    assert [reaches(pod.netns, pods[0].ip) for pod in pods[1:3]] == [False, False]
    block = {"cidr": "10.244.0.0/16", "except": [f"{pods[2].ip}/32", f"{pods[3].ip}/32"]}
    enforce(
        lab, pods[0], ["Ingress"], ingress=[{"from": [{"ipBlock": block}], "ports": [{"port": 8000, "endPort": 8100}]}]
    )
    assert [reaches(pod.netns, pods[0].ip) for pod in pods[1:5]] == [True, False, False, True]


def test_what_a_pod_may_reach(lab: NetLab, pods: list[Pod]) -> None:
    """Its own node always; a pod that may not leave is still reached."""
    enforce(lab, pods[0], ["Egress"], egress=[{"to": cidr(pods[2])}])
    assert [reaches(pods[0].netns, pod.ip) for pod in (pods[1], pods[2], pods[4])] == [False, True, False]
    assert reaches(pods[4].netns, pods[0].ip)


def test_through_a_service_the_pods_count(lab: NetLab, pods: list[Pod]) -> None:
    """The sender's own address and the receiver's real one are compared, also for a pod that asks itself."""
    enforce(lab, pods[0], ["Ingress"], with_service=True, ingress=[{"from": cidr(pods[2])}])
    assert [reaches(pod.netns, VIP, 80) for pod in pods[:4]] == [True, False, True, False]
    enforce(lab, pods[0], ["Egress"], with_service=True, egress=[])
    assert reaches(pods[3].netns, VIP, 80)


def test_flows_that_stand_end_with_a_new_policy(lab: NetLab, pods: list[Pod]) -> None:
    """What a sender of before still sends is dropped."""
    client = inside(pods[2].netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with client:
        client.settimeout(3)
        client.connect((pods[0].ip, 8080))
        client.send(b"?")
        assert client.recv(100)
        enforce(lab, pods[0], ["Ingress"])
        client.settimeout(0.4)
        client.send(b"?")
        with pytest.raises(TimeoutError):
            client.recv(100)


def test_rules_of_others_and_restarts_leave_them_in_force(lab: NetLab, pods: list[Pod]) -> None:
    """An agent that starts again takes nothing away before it is told."""
    enforce(lab, pods[0], ["Ingress"])
    machine = lab.machines[0]
    machine.crash()
    assert not reaches(pods[2].netns, pods[0].ip)
    machine.start()
    lab.introduce(lab.machines)
    assert not reaches(pods[2].netns, pods[0].ip)
    lab.services([], [])
    assert reaches(pods[2].netns, pods[0].ip)
