"""The node's name server, asked from pods: the cluster's names, the outside's, over UDP and TCP, and in bad times."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Iterator

import dnslib
import pytest

from tests.integration.network.netlab import (
    CLUSTER_DNS,
    NetLab,
    Pod,
    ask_udp,
    endpoints,
    eventually,
    inside,
    service,
)

pytestmark = pytest.mark.lab


class Outside:
    """A name server of the outside: one address per name, over UDP and TCP; counts what it is asked."""

    def __init__(self, netns: str) -> None:
        self.asked: list[str] = []
        self._udp = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._udp.bind(("0.0.0.0", 5353))
        self._tcp = inside(netns, lambda: socket.create_server(("0.0.0.0", 5353)))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._ended.set()
        self._thread.join()
        self._udp.close()
        self._tcp.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._udp, selectors.EVENT_READ)
            selector.register(self._tcp, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select(timeout=0.05):
                    self._over_udp() if key.fileobj is self._udp else self._over_tcp()

    def _over_udp(self) -> None:
        query, peer = self._udp.recvfrom(4096)
        reply = self._reply(query, 512)
        if reply:
            self._udp.sendto(reply, peer)

    def _over_tcp(self) -> None:
        connection, _ = self._tcp.accept()
        with connection:
            connection.settimeout(3)
            query = connection.recv(4096)[2:]
            reply = self._reply(query, 65535)
            connection.sendall(struct.pack("!H", len(reply)) + reply)

    def _reply(self, query: bytes, room: int) -> bytes:
        record = dnslib.DNSRecord.parse(query)
        name = str(record.q.qname)
        self.asked.append(name)
        answer = record.reply()
        if name.startswith("silent."):
            return b""
        if name.startswith("none."):
            answer.header.rcode = dnslib.RCODE.NXDOMAIN
        elif name.startswith("big."):
            for number in range(60):
                answer.add_answer(dnslib.RR(name, rdata=dnslib.A(f"192.0.2.{number}"), ttl=60))
        else:
            answer.add_answer(dnslib.RR(name, rdata=dnslib.A("192.0.2.1"), ttl=60))
        packed = bytes(answer.pack())
        if len(packed) <= room:
            return packed
        answer = record.reply()
        answer.header.tc = 1
        return bytes(answer.pack())


@pytest.fixture(scope="module")
def outside(dns_lab: NetLab) -> Iterator[Outside]:
    """A name server on the plain host."""
    server = Outside(dns_lab.outside)
    yield server
    server.close()


@pytest.fixture(scope="module")
def dns_lab() -> Iterator[NetLab]:
    """One machine that asks the plain host about foreign names."""
    lab = NetLab()
    try:
        lab.up(1)
        lab.start(upstreams=["10.77.0.100:5353"])
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="module")
def pod(dns_lab: NetLab, outside: Outside) -> Pod:
    """Who asks; the zone has a service, a headless one with many endpoints and an external name."""
    pods = dns_lab.pods(dns_lab.machines[0], 3)
    many = [Pod("", "", f"10.244.1.{number}", dns_lab.machines[0]) for number in range(100, 200)]
    external = service("far", "", type="ExternalName", externalName="example.org")
    near = service("near", "", type="ExternalName", externalName="web.default.svc.cluster.local")
    dns_lab.services(
        [
            service("web", "10.96.7.1", {"name": "http", "port": 80, "protocol": "TCP"}),
            service("flock", "None", {"name": "http", "port": 8080, "protocol": "TCP"}),
            service("crowd", "None", {"name": "http", "port": 8080, "protocol": "TCP"}),
            external,
            near,
        ],
        [endpoints("flock", 8080, *pods, port_name="http"), endpoints("crowd", 8080, *many, port_name="http")],
    )
    return pods[0]


def query_udp(pod: Pod, name: str, kind: str = "A", edns: bool = False) -> dnslib.DNSRecord:
    """Ask over UDP."""
    query = dnslib.DNSRecord.question(name, kind)
    if edns:
        query.add_ar(dnslib.EDNS0(udp_len=4096))
    reply = dnslib.DNSRecord.parse(ask_udp(pod.netns, CLUSTER_DNS, 53, bytes(query.pack()), timeout=6))
    assert reply.header.id == query.header.id
    return reply


def query_tcp(pod: Pod, name: str, kind: str = "A") -> dnslib.DNSRecord:
    """Ask over TCP."""
    packed = bytes(dnslib.DNSRecord.question(name, kind).pack())
    client = inside(pod.netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    with client, client.makefile("rb") as stream:
        client.settimeout(6)
        client.connect((CLUSTER_DNS, 53))
        client.sendall(struct.pack("!H", len(packed)) + packed)
        (length,) = struct.unpack("!H", stream.read(2))
        return dnslib.DNSRecord.parse(stream.read(length))


def data(reply: dnslib.DNSRecord) -> list[str]:
    """The answers' contents."""
    return [str(record.rdata) for record in reply.rr]


def test_cluster_names(pod: Pod) -> None:
    """A service, a headless one in turns, a port, an address back to its name, over both transports."""
    assert data(query_udp(pod, "web.default.svc.cluster.local")) == ["10.96.7.1"]
    assert data(query_tcp(pod, "WEB.default.svc.Cluster.local")) == ["10.96.7.1"]
    first = {data(query_udp(pod, "flock.default.svc.cluster.local"))[0] for _ in range(6)}
    assert first == {"10.244.1.2", "10.244.1.3", "10.244.1.4"}
    assert data(query_udp(pod, "_http._tcp.web.default.svc.cluster.local", "SRV")) == [
        "0 100 80 web.default.svc.cluster.local."
    ]
    assert data(query_udp(pod, "1.7.96.10.in-addr.arpa", "PTR")) == ["web.default.svc.cluster.local."]


def test_the_spelling_comes_back(pod: Pod) -> None:
    """Clients that vary upper and lower case to be safe from forgeries get it back."""
    reply = ask_udp(
        pod.netns, CLUSTER_DNS, 53, bytes(dnslib.DNSRecord.question("wEb.dEfault.svc.clusteR.local").pack())
    )
    assert b"\x03wEb\x07dEfault" in reply


def test_long_answers(pod: Pod) -> None:
    """Too long for UDP: the client is told, and TCP has all."""
    name = "crowd.default.svc.cluster.local"
    for edns in (False, True):
        short = query_udp(pod, name, edns=edns)
        assert (short.header.tc, short.rr) == (1, [])
    assert len(query_tcp(pod, name).rr) == 100


def test_absence(pod: Pod) -> None:
    """No such name, and no such type, both with the zone's SOA."""
    for name, kind, rcode in (
        ("nope.default.svc.cluster.local", "A", dnslib.RCODE.NXDOMAIN),
        ("web.default.svc.cluster.local", "AAAA", dnslib.RCODE.NOERROR),
    ):
        reply = query_udp(pod, name, kind)
        assert (reply.header.rcode, reply.rr) == (rcode, [])
        assert [record.rtype for record in reply.auth] == [dnslib.QTYPE.SOA]


def test_foreign_names(pod: Pod, outside: Outside) -> None:
    """Asked outside once, then remembered; over TCP as well; absence too."""
    assert data(query_udp(pod, "example.com")) == ["192.0.2.1"]
    count = len(outside.asked)
    assert data(query_udp(pod, "example.com")) == ["192.0.2.1"]
    assert len(outside.asked) == count
    assert data(query_tcp(pod, "example.com")) == ["192.0.2.1"]
    assert query_udp(pod, "none.example.com").header.rcode == dnslib.RCODE.NXDOMAIN
    assert query_udp(pod, "big.example.com").header.tc == 1
    assert len(query_tcp(pod, "big.example.com").rr) == 60


def test_external_names(pod: Pod) -> None:
    """An ExternalName comes with what it leads to, outside and inside."""
    assert data(query_udp(pod, "far.default.svc.cluster.local")) == ["example.org.", "192.0.2.1"]
    assert data(query_udp(pod, "near.default.svc.cluster.local")) == ["web.default.svc.cluster.local.", "10.96.7.1"]
    assert data(query_udp(pod, "far.default.svc.cluster.local", "CNAME")) == ["example.org."]


def test_a_silent_outside(pod: Pod) -> None:
    """The client is told before it gives up, and other names go on being answered meanwhile."""
    waiting: list[dnslib.DNSRecord] = []
    slow = threading.Thread(target=lambda: waiting.append(query_udp(pod, "silent.example.com")))
    slow.start()
    assert data(query_udp(pod, "web.default.svc.cluster.local")) == ["10.96.7.1"]
    slow.join()
    assert waiting[0].header.rcode == dnslib.RCODE.SERVFAIL


def test_nonsense(pod: Pod) -> None:
    """Broken queries are refused or ignored; the server goes on."""
    reply = ask_udp(pod.netns, CLUSTER_DNS, 53, b"\x12\x34" + bytes(10))
    assert reply[:2] == b"\x12\x34"
    assert reply[3] & 15 == dnslib.RCODE.FORMERR
    for garbage in (b"", b"x", b"\xff" * 12, b"\x12\x34\x80" + bytes(9)):
        with pytest.raises(TimeoutError):
            ask_udp(pod.netns, CLUSTER_DNS, 53, garbage, timeout=0.1)
    assert data(query_udp(pod, "web.default.svc.cluster.local")) == ["10.96.7.1"]


def test_silence_while_the_agent_is_away(dns_lab: NetLab, pod: Pod) -> None:
    """A client is not refused during a restart: it waits, asks again and is answered."""
    machine = dns_lab.machines[0]
    machine.crash()
    query = bytes(dnslib.DNSRecord.question("web.default.svc.cluster.local").pack())
    with pytest.raises(TimeoutError):
        ask_udp(pod.netns, CLUSTER_DNS, 53, query, timeout=0.3)
    machine.start(upstreams=["10.77.0.100:5353"])
    with pytest.raises(TimeoutError):
        ask_udp(pod.netns, CLUSTER_DNS, 53, query, timeout=0.3)
    dns_lab.services([service("web", "10.96.7.1", {"name": "http", "port": 80, "protocol": "TCP"})], [])
    eventually(lambda: data(query_udp(pod, "web.default.svc.cluster.local")) == ["10.96.7.1"], "the zone is back")
