"""What Ingresses ask for, and how it is written for HAProxy."""

from __future__ import annotations

from pathlib import PurePath

import msgspec
import pytest

from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from nodeagent.ingress.haproxy import Place, files
from nodeagent.ingress.site import Certificate, Route, Server, Site, Target
from tests.unit.ingress.things import Known, backend, ingress, rule, served, service

PLACE = Place(PurePath("/d"))
WEB = Target("default:web:80", (Server("10.96.0.5", 80),))


def known() -> Known:
    """Two Services."""
    return Known({"web": service(), "api": service("api", "10.96.0.6", 8000, "http")})


def order(site: Site) -> list[str]:
    """The routes in short."""
    return [f"{route.host or '*'} {'=' if route.exact else ''}{route.path}" for route in site.routes]


def test_the_most_certain_route_comes_first() -> None:
    found = served(
        known(),
        ingress("a", rule("", ("/", "Prefix"), ("/any", "Exact")), rule("*.example.org", ("/wild", "Prefix"))),
        ingress(
            "b",
            rule("shop.example.org", ("/", "Prefix"), ("/foo/", "Prefix"), ("/foo/bar", "ImplementationSpecific")),
            rule("Shop.Example.org", ("/foo", "Exact")),
        ),
    )
    assert order(found) == [
        "shop.example.org =/foo",
        "shop.example.org /foo/bar",
        "shop.example.org /foo",
        "shop.example.org /",
        "*.example.org /wild",
        "* =/any",
        "* /",
    ]


def test_of_two_that_want_the_same_the_older_has_it() -> None:
    old = ingress(
        "z", rule("h", ("/", "Prefix", "api")), age="2025-01-01T00:00:00Z", defaultBackend=backend("api", 8000)
    )
    young = ingress("a", rule("h", ("/", "Prefix")), defaultBackend=backend())
    found = served(known(), young, old)
    assert [route.target.name for route in found.routes] == ["default:api:80"]
    assert found.default is not None
    assert found.default.name == "default:api:8000"


def test_only_our_classes_count() -> None:
    other = ingress("other", rule("h"), ingressClassName="other")
    none = ingress("none", rule("h"), ingressClassName=None)
    assert served(known(), other, none) == Site()
    metadata = msgspec.structs.replace(none.metadata, annotations={"kubernetes.io/ingress.class": "mizzen"})
    assert len(served(known(), msgspec.structs.replace(none, metadata=metadata)).routes) == 1


@pytest.mark.parametrize(
    ("name", "port", "servers"),
    [
        ("web", 80, (Server("10.96.0.5", 80),)),
        ("api", "http", (Server("10.96.0.6", 8000),)),
        ("web", 81, ()),
        ("api", "grpc", ()),
        ("gone", 80, ()),
    ],
)
def test_requests_go_to_the_service_s_own_address(name: str, port: int | str, servers: tuple[Server, ...]) -> None:
    found = served(known(), ingress(defaultBackend=backend(name, port)))
    assert found.default == Target(f"default:{name}:{port}", servers)


def test_a_headless_service_is_reached_at_its_ready_endpoints() -> None:
    body = {
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080}],
        "endpoints": [
            {"addresses": ["10.244.1.3"]},
            {"addresses": ["10.244.1.2"], "conditions": {"ready": True}},
            {"addresses": ["10.244.1.4"], "conditions": {"ready": False}},
        ],
    }
    there = Known({"web": service(ip="None")}, {"web": [msgspec.convert(body, discovery.EndpointSlice)]})
    found = served(there, ingress(defaultBackend=backend()))
    assert found.default is not None
    assert found.default.servers == (Server("10.244.1.2", 8080), Server("10.244.1.3", 8080))


def test_a_rule_without_paths_is_for_the_default_backend() -> None:
    found = served(known(), ingress("web", {"host": "h"}, defaultBackend=backend()))
    assert found.routes == (Route("h", "/", False, WEB),)


def test_certificates_are_those_of_tls_secrets_with_all_hosts_that_name_them() -> None:
    there = known()
    data = {"tls.crt": b"chain\n", "tls.key": b"key"}
    there.secrets = {
        "good": core.Secret(type="kubernetes.io/tls", data=data),
        "opaque": core.Secret(type="Opaque", data=data),
    }
    found = served(
        there,
        ingress(
            "a", tls=[{"hosts": ["a.example.org"], "secretName": "good"}, {"hosts": ["b"], "secretName": "opaque"}]
        ),
        ingress(
            "b", tls=[{"hosts": ["B.example.org"], "secretName": "good"}, {"secretName": "gone"}, {"hosts": ["c"]}]
        ),
    )
    assert found.certificates == (Certificate("default:good", b"chain\nkey\n", ("a.example.org", "b.example.org")),)


def lines(site: Site, *, having: str) -> list[str]:
    """The lines of a configuration with a word."""
    return [line.strip() for line in files(site, PLACE)["haproxy.cfg"].decode().splitlines() if having in line]


def test_conditions_of_routes() -> None:
    routes = (
        Route("h.example.org", "/a", True, WEB),
        Route("h.example.org", "/a b'c$d", False, WEB),
        Route("*.example.org", "/", False, WEB),
        Route("", "/", False, WEB),
    )
    assert lines(Site(routes), having="use_backend") == [
        "use_backend default:web:80 if { var(txn.host) -m str 'h.example.org' } { path -m str '/a' }",
        "use_backend default:web:80 if { var(txn.host) -m str 'h.example.org' } { path -m str '/a b'\\''c$d' }",
        "use_backend default:web:80 if { var(txn.host) -m str 'h.example.org' } { path -m beg '/a b'\\''c$d/' }",
        "use_backend default:web:80 if { var(txn.host) -m reg '^[^.]+\\.example\\.org$' }",
        "use_backend default:web:80",
    ]
    assert lines(Site(routes), having="server s") == ["server s0 10.96.0.5:80"]


def test_a_path_that_would_end_the_line_is_left_out() -> None:
    assert served(known(), ingress("web", rule("h", ("/a\nbackend evil", "Exact")))).routes == ()


def test_https_is_served_once_there_is_a_certificate() -> None:
    assert set(files(Site(), PLACE)) == {"haproxy.cfg"}
    assert lines(Site(), having="bind ") == ["bind :80"]
    site = Site(certificates=(Certificate("default:a", b"pem", ("h", "*.h")), Certificate("default:b", b"other", ())))
    made = files(site, Place(PurePath("/d"), 8080, 8443, user="haproxy"))
    assert made["certificates.list"] == b"/d/certificates/default_a.pem h *.h\n/d/certificates/default_b.pem\n"
    assert made["certificates/default_a.pem"] == b"pem"
    config = made["haproxy.cfg"].decode()
    assert "    bind :8443 ssl crt-list /d/certificates.list alpn h2,http/1.1\n" in config
    assert "    user haproxy\n" in config
