"""Services from pods, from machines and from the outside, and what happens when their endpoints change."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.integration.network.netlab import (
    Machine,
    NetLab,
    Pod,
    ask_tcp,
    ask_udp,
    endpoints,
    eventually,
    inside,
    service,
)

pytestmark = pytest.mark.lab

VIP, NODE_PORT, HEALTH_PORT = "10.96.7.1", 30080, 30081


@pytest.fixture(scope="module")
def pods(lab: NetLab) -> list[Pod]:
    """Two pods on each machine."""
    return [pod for machine in lab.machines for pod in lab.pods(machine, 2)]


@pytest.fixture(autouse=True)
def nothing_left(lab: NetLab) -> Iterator[None]:
    """Every test starts without services."""
    yield
    lab.services([], [])


def web(lab: NetLab, *backends: Pod, **spec: object) -> None:
    """One TCP service on port 80 and a node port, led to these."""
    port = {"port": 80, "protocol": "TCP", "nodePort": NODE_PORT}
    lab.services([service("web", VIP, port, **{"type": "NodePort", **spec})], [endpoints("web", 8080, *backends)])


def test_cluster_ip_from_everywhere(lab: NetLab, pods: list[Pod]) -> None:
    """From pods of every machine and from the machines themselves; pods are seen with their own address."""
    web(lab, *pods)
    for pod in pods:
        answers = [ask_tcp(pod.netns, VIP, 80).split() for _ in range(6)]
        assert {client for server, client in answers if server != pod.ip} <= {pod.ip}
    for machine in lab.machines:
        assert all(ask_tcp(machine.netns, VIP, 80) for _ in range(6))


def test_connections_spread(lab: NetLab, pods: list[Pod]) -> None:
    """Every endpoint gets some of them."""
    web(lab, *pods)
    seen = Counter(ask_tcp(pods[0].netns, VIP, 80).split()[0] for _ in range(90))
    assert set(seen) == {pod.ip for pod in pods}
    assert max(seen.values()) < 45


def test_hairpin(lab: NetLab, pods: list[Pod]) -> None:
    """A pod reaches itself through its own service, by both its addresses."""
    web(lab, pods[0])
    for _ in range(3):
        assert ask_tcp(pods[0].netns, VIP, 80).startswith(pods[0].ip)
        assert ask_tcp(pods[0].netns, lab.machines[0].address, NODE_PORT).startswith(pods[0].ip)


def test_node_port(lab: NetLab, pods: list[Pod]) -> None:
    """On every machine's address, from the outside, from machines and from pods, wherever the endpoint is."""
    web(lab, pods[2])
    for machine in lab.machines:
        for source in (lab.outside, *(other.netns for other in lab.machines), pods[0].netns, pods[5].netns):
            assert ask_tcp(source, machine.address, NODE_PORT).startswith(pods[2].ip)


def test_external_traffic_policy_local(lab: NetLab, pods: list[Pod]) -> None:
    """Clients outside are seen as they are, and machines without an endpoint stay silent for them only."""
    web(lab, pods[0], externalTrafficPolicy="Local")
    assert ask_tcp(lab.outside, lab.machines[0].address, NODE_PORT) == f"{pods[0].ip} 10.77.0.100"
    with pytest.raises(TimeoutError):
        ask_tcp(lab.outside, lab.machines[1].address, NODE_PORT, timeout=0.5)
    assert ask_tcp(pods[2].netns, lab.machines[1].address, NODE_PORT).startswith(pods[0].ip)
    assert ask_tcp(lab.machines[1].netns, lab.machines[1].address, NODE_PORT).startswith(pods[0].ip)


def test_health_check_ports(lab: NetLab, pods: list[Pod]) -> None:
    """Balancers outside learn which machines have endpoints, on a port that goes with its service."""
    asked = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": HEALTH_PORT}
    web(lab, pods[0], pods[1], **asked)
    near, far = (health(lab, machine) for machine in lab.machines[:2])
    assert near.startswith("HTTP/1.0 200 ")
    assert "X-Load-Balancing-Endpoint-Weight: 2" in near
    told = {"service": {"namespace": "default", "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": True}
    assert json.loads(near.splitlines()[-1]) == told
    assert far.startswith("HTTP/1.0 503 ")
    assert '"localEndpoints": 0' in far
    web(lab, pods[2], **asked)
    assert [health(lab, machine)[9:12] for machine in lab.machines[:2]] == ["503", "200"]
    web(lab, pods[2])
    with pytest.raises(ConnectionRefusedError):
        health(lab, lab.machines[0])


def health(lab: NetLab, machine: Machine) -> str:
    """What a machine says from the outside about its endpoints."""

    def ask() -> str:
        with socket.create_connection((machine.address, HEALTH_PORT), 2) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode()

    return inside(lab.outside, ask)


def test_internal_traffic_policy_local(lab: NetLab, pods: list[Pod]) -> None:
    """Clients inside stay on their machine."""
    web(lab, pods[0], pods[2], internalTrafficPolicy="Local")
    assert {ask_tcp(pods[3].netns, VIP, 80).split()[0] for _ in range(10)} == {pods[2].ip}


def test_session_affinity(lab: NetLab, pods: list[Pod]) -> None:
    """A client stays with its endpoint, also while others come and go, and moves when its own goes."""
    web(lab, *pods[1:], sessionAffinity="ClientIP")
    first = ask_tcp(pods[0].netns, VIP, 80).split()[0]
    assert {ask_tcp(pods[0].netns, VIP, 80).split()[0] for _ in range(20)} == {first}
    others = [pod for pod in pods[1:] if pod.ip != first]
    web(lab, *others[1:], *(pod for pod in pods if pod.ip == first), sessionAffinity="ClientIP")
    assert {ask_tcp(pods[0].netns, VIP, 80).split()[0] for _ in range(20)} == {first}
    web(lab, *others, sessionAffinity="ClientIP")
    second = ask_tcp(pods[0].netns, VIP, 80).split()[0]
    assert second != first
    assert {ask_tcp(pods[0].netns, VIP, 80).split()[0] for _ in range(20)} == {second}


def test_refused_without_endpoints(lab: NetLab, pods: list[Pod]) -> None:
    """At once, over TCP and UDP, inside and outside; and so is a service address that is nobody's."""
    udp = {"port": 53, "protocol": "UDP", "name": "dns"}
    web(lab)
    lab.services(
        [service("web", VIP, {"port": 80, "protocol": "TCP", "nodePort": NODE_PORT}, udp, type="NodePort")], []
    )
    for source in (pods[0].netns, lab.machines[0].netns):
        for address in (VIP, "10.96.9.9"):
            with pytest.raises(ConnectionRefusedError):
                ask_tcp(source, address, 80)
            # A sender on the machine itself learns it from the failing call, any other by ICMP.
            with pytest.raises((ConnectionRefusedError, PermissionError)):
                ask_udp(source, address, 53)
    for source in (lab.outside, pods[0].netns, lab.machines[0].netns):
        with pytest.raises(ConnectionRefusedError):
            ask_tcp(source, lab.machines[0].address, NODE_PORT)


def test_endpoint_changes_take_effect(lab: NetLab, pods: list[Pod]) -> None:
    """An endpoint that is gone gets no new connection, one that came gets some."""
    web(lab, pods[0], pods[2])
    assert {ask_tcp(pods[5].netns, VIP, 80).split()[0] for _ in range(30)} == {pods[0].ip, pods[2].ip}
    web(lab, pods[2], pods[4])
    assert {ask_tcp(pods[5].netns, VIP, 80).split()[0] for _ in range(30)} == {pods[2].ip, pods[4].ip}
    web(lab)
    with pytest.raises(ConnectionRefusedError):
        ask_tcp(pods[5].netns, VIP, 80)


def test_open_connections_survive_changes(lab: NetLab, pods: list[Pod]) -> None:
    """Rules are for new connections; one that is open goes on, even when its service is deleted."""
    listener = inside(pods[2].netns, lambda: socket.create_server(("0.0.0.0", 7000)))
    backend = endpoints("talk", 7000, pods[2])
    lab.services([service("talk", VIP, {"port": 70, "protocol": "TCP"})], [backend])
    client = inside(pods[0].netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    with listener, client:
        client.settimeout(3)
        client.connect((VIP, 70))
        server, _ = listener.accept()
        with server:
            server.settimeout(3)
            lab.services([], [])
            client.send(b"ping")
            assert server.recv(10) == b"ping"
            server.send(b"pong")
            assert client.recv(10) == b"pong"


def test_udp_flows_leave_a_gone_endpoint(lab: NetLab, pods: list[Pod]) -> None:
    """A client that keeps sending from one port is led on to another endpoint."""
    port = {"port": 53, "protocol": "UDP", "nodePort": 30053}
    offered = service("udp", VIP, port, type="NodePort")
    lab.services([offered], [endpoints("udp", 8080, pods[2], protocol="UDP")])
    client = inside(pods[0].netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with client:
        client.settimeout(3)
        client.connect((VIP, 53))
        client.send(b"?")
        assert client.recv(100).decode().startswith(pods[2].ip)
        lab.services([offered], [endpoints("udp", 8080, pods[4], protocol="UDP")])
        client.send(b"?")
        assert client.recv(100).decode().startswith(pods[4].ip)


def test_host_ports(lab: NetLab, pods: list[Pod]) -> None:
    """A pod's port on its node, for all addresses or one, seen from outside, from pods, from itself and the node."""
    machine = lab.machines[0]
    everywhere = {"pod": "default/a", "protocol": "tcp", "port": 9080, "target": [pods[0].ip, 8080]}
    one_address = {"pod": "default/b", "protocol": "tcp", "port": 9081, "target": [pods[1].ip, 8080]}
    other = one_address | {"port": 9082, "host_ip": "192.0.2.9"}
    ports = [everywhere, one_address | {"host_ip": machine.address}, other]
    machine.agent.call("services", services=[], slices=[], host_ports=ports)
    for source in (lab.outside, machine.netns, lab.machines[2].netns, *(pod.netns for pod in pods)):
        assert ask_tcp(source, machine.address, 9080).startswith(pods[0].ip)
        assert ask_tcp(source, machine.address, 9081).startswith(pods[1].ip)
        with pytest.raises(ConnectionRefusedError):
            ask_tcp(source, machine.address, 9082)
    assert ask_tcp(lab.outside, machine.address, 9080) == f"{pods[0].ip} 10.77.0.100"


def test_many_services_change_one(lab: NetLab, pods: list[Pod]) -> None:
    """With hundreds of services a change of one leaves the others' rules untouched."""
    offered = [service(f"s{number}", f"10.96.20.{number}", {"port": 80, "protocol": "TCP"}) for number in range(1, 201)]
    slices = [endpoints(f"s{number}", 8080, pods[number % 6], pods[0]) for number in range(1, 201)]
    lab.services(offered, slices)
    machine = lab.machines[0]
    handles = machine.sh("nft -a list chain ip mizzen all/default/s7/tcp/80")
    slices[8] = endpoints("s9", 8080, pods[5])
    lab.services(offered, slices)
    assert machine.sh("nft -a list chain ip mizzen all/default/s7/tcp/80") == handles
    assert {ask_tcp(pods[1].netns, "10.96.20.9", 80).split()[0] for _ in range(5)} == {pods[5].ip}


def test_drift_is_repaired(lab: NetLab, pods: list[Pod]) -> None:
    """What another program breaks in the table is mended by the next check."""
    web(lab, pods[0])
    machine = lab.machines[1]
    # Seen once while nothing had changed: from then on the table is compared, not reloaded on suspicion.
    machine.sh("nft delete element ip mizzen services '{ 10.96.7.1 . tcp . 80 }'")
    eventually(lambda: _works(pods[2].netns), "the element is back")
    machine.sh("nft delete table ip mizzen")
    eventually(lambda: _works(pods[2].netns), "the table is back")
    machine.sh("ip route del 10.244.1.0/24; ip route del 10.96.0.0/16")
    eventually(lambda: _works(machine.netns), "the routes are back")
    machine.sh("nft add table ip other; nft delete table ip other")
    web(lab, pods[1])
    assert ask_tcp(pods[2].netns, VIP, 80).startswith(pods[1].ip)


def _works(netns: str) -> bool:
    try:
        return bool(ask_tcp(netns, VIP, 80, timeout=0.3))
    except OSError:
        return False
