"""Where calls go, which headers go with them, and where links lead."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from controlplane.access.values import UserInfo
from controlplane.server import paths
from controlplane.server.outward.headers import answer_headers, identity_headers, request_headers, upgrade_of
from controlplane.server.outward.links import Mount
from controlplane.server.outward.targets import Named, Target, backend_targets, service_targets, split
from mizzen.api import kinds
from mizzen.api.errors import BadRequest, ServiceUnavailable
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.view import View
from tests.fixtures.cluster_objects import view

MOUNT = Mount("https", "api:6443", "/p/proxy", "10.0.0.1:80")


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("web", ("", "web", "")), ("web:80", ("", "web", "80")), ("https:web:443", ("https", "web", "443")),
        (":web:80", ("", "web", "80")), ("https:web:", ("https", "web", "")),
    ],
)  # fmt: skip
def test_the_parts_of_what_stands_for_an_object(word: str, parts: tuple[str, str, str]) -> None:
    assert split(word, "pod") == Named(*parts)


@pytest.mark.parametrize("word", ["", ":80", "ftp:web:80", "a:b:c:d"])
def test_words_that_stand_for_nothing(word: str) -> None:
    with pytest.raises(BadRequest, match="invalid pod request"):
        split(word, "pod")


def test_below_a_proxy_every_path_is_somebody_elses() -> None:
    base = "/api/v1/namespaces/shop/pods/http:web:80/proxy"
    for rest in ("", "/", "/a", "/a//b/", "/proxy/proxy", "/namespaces/x/pods"):
        place = paths.parse(base + rest)
        assert place is not None
        assert (place.kind, place.namespace, place.name) == (kinds.POD, "shop", "http:web:80")
        assert place.subresource == "proxy"
    assert paths.parse("/api/v1/namespaces/shop/pods/web/log/x") is None
    assert paths.parse("/api/v1/namespaces//pods/web/proxy") is None
    assert paths.parse("/api/v1/namespaces/shop/configmaps/web/proxy/x") is None
    node = paths.parse("/api/v1/nodes/n1/proxy/metrics")
    assert node is not None
    assert [paths.verb(method, node, False) for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")] == [
        "get", "get", "create", "update", "patch", "delete",
    ]  # fmt: skip


def test_what_proves_or_claims_who_asks_is_not_passed_on() -> None:
    sent = CIMultiDict(
        {
            "authorization": "Bearer", "Impersonate-User": "root", "Impersonate-Extra-A": "1", "X-Remote-User": "root",
            "X-Remote-Group": "system:masters", "X-Remote-Extra-A": "1", "X-Remote-Uid": "1", "Cookie": "own=1",
        }
    )  # fmt: skip
    assert dict(request_headers(sent, "")) == {"Cookie": "own=1"}


def test_what_concerns_one_connection_ends_with_it() -> None:
    sent = CIMultiDict(
        [
            ("Connection", "close, X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "5"), ("Transfer-Encoding", "chunked"),
            ("TE", "trailers, gzip"), ("Proxy-Authorization", "x"), ("X-Forwarded-For", "1.1.1.1"), ("Upgrade", "h2c"),
        ]
    )  # fmt: skip
    assert dict(request_headers(sent, "2.2.2.2")) == {"TE": "trailers", "X-Forwarded-For": "1.1.1.1, 2.2.2.2"}
    assert dict(answer_headers(CIMultiDict({"Connection": "close", "Trailer": "X", "ETag": "1"}))) == {"ETag": "1"}


def test_an_upgrade_stays_one() -> None:
    sent = CIMultiDict({"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "k"})
    assert upgrade_of(sent) == "websocket"
    assert dict(request_headers(sent, "")) == {
        "Sec-WebSocket-Key": "k", "Connection": "Upgrade", "Upgrade": "websocket",
    }  # fmt: skip


def test_a_body_that_was_unpacked_on_its_way_in_is_sent_on_as_that() -> None:
    sent = CIMultiDict({"Content-Encoding": "gzip", "Content-Length": "5", "Content-Type": "text/plain"})
    assert dict(request_headers(sent, "")) == {"Content-Type": "text/plain"}


def test_who_asks_is_told_in_headers() -> None:
    user = UserInfo("jane", ("devs", "ops"), "7", {"example.com/Scope": ("a", "b")})
    assert list(identity_headers(user)) == [
        ("X-Remote-User", "jane"), ("X-Remote-Uid", "7"), ("X-Remote-Group", "devs"), ("X-Remote-Group", "ops"),
        ("X-Remote-Extra-example.com%2FScope", "a"), ("X-Remote-Extra-example.com%2FScope", "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("link", "moved"),
    [
        ("/a?b=1#c", "/p/proxy/a?b=1#c"),
        ("/a/", "/p/proxy/a/"),
        ("/", "/p/proxy/"),
        ("a/b", "a/b"),
        ("?x=1", "?x=1"),
        ("http://10.0.0.1:80/a", "https://api:6443/p/proxy/a"),
        ("//10.0.0.1:80/a", "https://api:6443/p/proxy/a"),
        ("https://api:6443/a", "https://api:6443/p/proxy/a"),
        ("https://else.where/a", "https://else.where/a"),
        ("/p/proxy/a", "/p/proxy/a"),
        ("mailto:x@y", "mailto:x@y"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_links_lead_through_the_proxy(link: str, moved: str) -> None:
    assert MOUNT.moved(link) == moved


def test_a_page_keeps_every_byte_but_its_links() -> None:
    page = (
        "<!-- <a href='/no'> -->\r\n<A  HREF = '/x' title='/x'>é</A>\n<script src=/s.js>'<a href=\"/no\">'</script>"
        '<form\n action="/f"><p href="/no"><img srcset="/no" src="/i">'
    ).encode()
    want = (
        page.replace(b"'/x' title", b"'/p/proxy/x' title").replace(b"src=/s.js", b"src=/p/proxy/s.js")
        .replace(b'"/f"', b'"/p/proxy/f"').replace(b'"/i"', b'"/p/proxy/i"')
    )  # fmt: skip
    assert MOUNT.moved_in_html(page) == want


def _meta(name: str, **labels: str) -> meta.ObjectMeta:
    named = {f"kubernetes.io/{key.replace('_', '-')}": value for key, value in labels.items()}
    return meta.ObjectMeta(name=name, namespace="shop", labels=named)


def _endpoint(address: str, ready: bool | None = True, pod: str = "") -> discovery.Endpoint:
    reference = core.ObjectReference(kind="Pod", name=pod, namespace="shop") if pod else None
    conditions = discovery.EndpointConditions(ready=ready)
    return discovery.Endpoint(addresses=(address,), conditions=conditions, target_ref=reference)


def _shop() -> View:
    """A service of one pod that is ready, one that is not, one that has gone, and an address that is no pod."""
    ports = (core.ServicePort(name="web", port=80), core.ServicePort(name="tls", port=443))
    slice_ = discovery.EndpointSlice(
        metadata=_meta("web-1", service_name="web"),
        endpoints=(
            _endpoint("10.0.0.1", pod="up"), _endpoint("10.0.0.2", False, "down"), _endpoint("10.0.0.3", pod="gone"),
            _endpoint("10.9.9.9", None),
        ),
        ports=(discovery.EndpointPort(name="web", port=8080),),
    )  # fmt: skip
    return view(
        core.Service(metadata=_meta("web"), spec=core.ServiceSpec(ports=ports, selector={"a": "b"})),
        slice_,
        core.Pod(metadata=_meta("up"), spec=core.PodSpec(node_name="n1")),
        core.Pod(metadata=_meta("down"), spec=core.PodSpec(node_name="n2")),
        core.Service(metadata=_meta("out"), spec=core.ServiceSpec(type="ExternalName", external_name="api.else.where")),
        core.Service(metadata=_meta("given"), spec=core.ServiceSpec(ports=(core.ServicePort(port=443),))),
        discovery.EndpointSlice(
            metadata=_meta("given-1", service_name="given"),
            endpoints=(discovery.Endpoint(addresses=("192.0.2.1",)),),
            ports=(discovery.EndpointPort(port=6443),),
        ),
    )


def test_a_proxy_leads_to_pods_only_and_the_servers_own_calls_also_elsewhere() -> None:
    pods = [Target("10.0.0.1", 8080, "n1")]
    assert service_targets(_shop(), "shop", Named("", "web", "web")) == pods
    assert service_targets(_shop(), "shop", Named("", "web", "80")) == pods
    assert backend_targets(_shop(), "shop", "web", 80) == [
        *pods, Target("10.0.0.3", 8080), Target("10.9.9.9", 8080),
    ]  # fmt: skip
    assert backend_targets(_shop(), "shop", "out", 443) == [Target("api.else.where", 443)]
    assert backend_targets(_shop(), "shop", "given", 443) == [Target("192.0.2.1", 6443)]


@pytest.mark.parametrize(
    ("port", "message"),
    [
        ("81", 'no service port 81 found for service "web"'),
        ("443", 'no endpoints available for service "web:443"'),
        ("", 'no endpoints available for service "web"'),
    ],
)
def test_a_service_that_leads_nowhere_says_why(port: str, message: str) -> None:
    with pytest.raises(ServiceUnavailable) as raised:
        service_targets(_shop(), "shop", Named("", "web", port))
    assert raised.value.message == message
