"""The cluster's names: which exist, what they lead to, and what is nobody's."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from nodeagent.network.answers import (
    AAAA,
    ANY,
    CNAME,
    NOERROR,
    NS,
    NXDOMAIN,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
    Answer,
    ClusterNames,
)
from nodeagent.network.zone import dns_zone, service_names
from tests.unit.network.objects import endpoint, endpoint_slice, service

DOMAIN = "cluster.local"
HTTP = [{"name": "http", "port": 80, "protocol": "TCP"}]
SERVICES = [
    service("web", "10.96.0.5", [*HTTP, {"name": "dns", "port": 53, "protocol": "UDP"}]),
    service("db", "None", HTTP),
    service("idle", "None", HTTP),
    service("far", "", type="ExternalName", externalName="Example.org."),
]
SLICES = [
    endpoint_slice(
        "db",
        [{"name": "http", "port": 8080, "protocol": "TCP"}],
        endpoint("10.244.1.3", hostname="DB-0"),
        endpoint("10.244.1.4"),
        endpoint("10.244.1.5", ready=False),
    ),
    endpoint_slice("idle", HTTP, endpoint("10.244.1.6", ready=False)),
]
RANGES = (IPv4Network("10.244.0.0/16"), IPv4Network("10.96.0.0/16"))
NAMES = ClusterNames(dns_zone(SERVICES, SLICES), DOMAIN, "10.96.0.10", RANGES)


def ask(name: str, kind: int = A) -> Answer:
    """The answer to a name of the cluster's domain."""
    found = NAMES.answer(f"{name}.{DOMAIN}", kind)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.default.svc", A, ["10.96.0.5"]),
        ("web.default.svc", ANY, ["10.96.0.5"]),
        ("db.default.svc", A, ["10.244.1.4", "10.244.1.3"]),
        ("db-0.db.default.svc", A, ["10.244.1.3"]),
        ("10-244-1-4.db.default.svc", A, ["10.244.1.4"]),
        ("10-244-1-9.default.pod", A, ["10.244.1.9"]),
        ("far.default.svc", CNAME, ["example.org"]),
        ("_http._tcp.web.default.svc", SRV, ["web.default.svc.cluster.local"]),
        ("_dns._udp.web.default.svc", SRV, ["web.default.svc.cluster.local"]),
        (
            "_http._tcp.db.default.svc",
            SRV,
            ["10-244-1-4.db.default.svc.cluster.local", "db-0.db.default.svc.cluster.local"],
        ),
        ("dns-version", TXT, ["1.1.0"]),
        ("ns.dns", A, ["10.96.0.10"]),
    ],
)
def test_names_that_exist(name: str, kind: int, expected: list[str]) -> None:
    """Each leads where Kubernetes' DNS specification says."""
    answer = ask(name, kind)
    assert (answer.rcode, [record.data for record in answer.records]) == (NOERROR, expected)


@pytest.mark.parametrize(
    "name",
    [
        "nope.default.svc",
        "web.elsewhere.svc",
        "idle.default.svc",
        "db-0.web.default.svc",
        "db-9.db.default.svc",
        "10-244-1-5.db.default.svc",
        "_https._tcp.web.default.svc",
        "_http._udp.web.default.svc",
        "_sctp.web.default.svc",
        "a.b.c.web.default.svc",
        "x.far.default.svc",
        "10-99-1-9.default.pod",
        "10-244-1.default.pod",
        "elsewhere.svc",
        "web.default",
        "web",
    ],
)
def test_names_that_do_not(name: str) -> None:
    """NXDOMAIN, also for a headless service without a ready endpoint."""
    assert ask(name) == Answer(NXDOMAIN)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web.default.svc", AAAA),
        ("web.default.svc", SRV),
        ("db.default.svc", AAAA),
        ("db-0.db.default.svc", AAAA),
        ("_tcp.web.default.svc", SRV),
        ("_http._tcp.web.default.svc", A),
        ("default.svc", A),
        ("svc", A),
        ("pod", A),
        ("default.pod", A),
    ],
)
def test_names_of_another_type(name: str, kind: int) -> None:
    """They exist, so the client must not take the name for a mistake."""
    assert ask(name, kind) == Answer(NOERROR)


def test_ports_come_with_addresses() -> None:
    """An SRV answer spares the second question."""
    answer = ask("_http._tcp.db.default.svc", SRV)
    assert [record.port for record in answer.records] == [8080, 8080]
    assert [(record.name, record.data) for record in answer.extra] == [
        ("10-244-1-4.db.default.svc.cluster.local", "10.244.1.4"),
        ("db-0.db.default.svc.cluster.local", "10.244.1.3"),
    ]


def test_external_names_are_chased() -> None:
    """Whatever type was asked for, the alias comes with what it leads to."""
    answer = ask("far.default.svc", AAAA)
    assert (answer.records[0].kind, answer.chase) == (CNAME, "example.org")


def test_the_domain_itself() -> None:
    """It has an SOA and a name server, and nothing else."""
    soa, server, nothing = (NAMES.answer(DOMAIN, kind) for kind in (SOA, NS, A))
    assert soa is not None
    assert soa.records[0].kind == SOA
    assert server is not None
    assert (server.records[0].data, server.extra[0].data) == ("ns.dns.cluster.local", "10.96.0.10")
    assert nothing == Answer(NOERROR)


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("5.0.96.10", ["web.default.svc.cluster.local"]),
        ("3.1.244.10", ["db-0.db.default.svc.cluster.local"]),
        ("4.1.244.10", ["10-244-1-4.db.default.svc.cluster.local"]),
        ("9.1.244.10", []),
    ],
)
def test_addresses_back_to_names(address: str, names: list[str]) -> None:
    """Services and endpoints of headless ones; others of the cluster's ranges have no name."""
    answer = NAMES.answer(f"{address}.in-addr.arpa", PTR)
    assert answer is not None
    assert [record.data for record in answer.records] == names
    assert (answer.rcode == NOERROR) is bool(names)


@pytest.mark.parametrize(
    "name", ["example.org", "cluster.local.example.org", "notcluster.local", "1.2.0.192.in-addr.arpa", "x.in-addr.arpa"]
)
def test_foreign_names(name: str) -> None:
    """Others have to be asked."""
    assert NAMES.answer(name, A) is None


def test_replacing_one_service() -> None:
    """The rest of the zone is kept as it is."""
    zone = NAMES.zone.replaced("default/web", None)
    assert "default/web" not in zone.services
    assert zone.services["default/db"] is NAMES.zone.services["default/db"]
    back = zone.replaced("default/web", service_names(SERVICES[0], ()))
    assert back.services == NAMES.zone.services
