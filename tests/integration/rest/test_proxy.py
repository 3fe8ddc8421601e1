"""The proxies of pods, services and nodes, with a real site behind them that agents' sessions lead to."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from tests.fixtures.api_server import ApiServer, api_server
from tests.fixtures.loopback_streams import LoopbackStreams
from tests.integration.rest import proxied
from tests.integration.rest.conftest import Client, Kubectl
from tests.integration.rest.proxied import PODS, SERVICES

_WRITTEN = web.AppKey("written", list)
PAGE = '<html><a href="/next">n</a><a href="rel">r</a><img src=\'/i.png\'><a href="https://else.where/x">e</a></html>'
MOVED = (
    '<html><a href="{0}/next">n</a><a href="rel">r</a><img src=\'{0}/i.png\'>'
    '<a href="https://else.where/x">e</a></html>'
)


async def _echo(request: web.Request) -> web.Response:
    seen = {
        "method": request.method, "path": request.raw_path, "body": (await request.read()).decode(),
        "headers": {name.lower(): value for name, value in request.headers.items()},
    }  # fmt: skip
    return web.json_response(seen, headers={"X-Site": "yes", "Access-Control-Allow-Origin": "*"})


async def _page(request: web.Request) -> web.Response:
    if "gzip" in request.query:
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/html"}
        return web.Response(body=gzip.compress(PAGE.encode()), headers=headers)
    return web.Response(text=PAGE, content_type="text/html")


async def _away(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/elsewhere?x=1"})


async def _socket(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("chat",))
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data.upper())
    return socket


async def _drip(request: web.Request) -> web.StreamResponse:
    """Answers each piece of the body when it comes."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    async for piece in request.content.iter_any():
        await answer.write(piece.upper())
    return answer


async def _flood(request: web.Request) -> web.StreamResponse:
    """Writes until nobody takes it any more, and tells how much that was."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(4096):
        await answer.write(b"x" * 65536)
        request.app[_WRITTEN][0] += 65536
    return answer


@pytest.fixture
async def site() -> AsyncIterator[tuple[int, list[int]]]:
    """A site on loopback: its port, and how many bytes of its flood have gone out."""
    app = web.Application()
    written = app[_WRITTEN] = [0]
    app.router.add_get("/page", _page)
    app.router.add_get("/away", _away)
    app.router.add_get("/socket", _socket)
    app.router.add_post("/drip", _drip)
    app.router.add_get("/flood", _flood)
    app.router.add_route("*", "/{rest:.*}", _echo)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1], written
    await runner.cleanup()


@pytest.fixture
def streams() -> LoopbackStreams:
    """Nodes that are this machine."""
    return LoopbackStreams()


@pytest.fixture
async def server(tmp_path: Path, streams: LoopbackStreams) -> AsyncIterator[ApiServer]:
    """A server with such nodes."""
    async with api_server(tmp_path, streams=streams) as running:
        yield running


async def test_a_request_arrives_as_it_was_sent_without_what_proves_who_sent_it(
    client: Client, site: tuple[int, list[int]], streams: LoopbackStreams
) -> None:
    await proxied.pod(client, "web", site[0])
    path = f"{PODS}/web/proxy/a%20b//c/?q=1&q=%26"
    sent = {"X-Own": "1", "Authorization": "Basic eA==", "X-Remote-User": "root", "Keep-Alive": "5"}
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        code, seen = await client.ask(method, path, "text" if method != "GET" else None, headers=sent)
        assert (code, seen["method"]) == (200, method)
        assert seen["path"] == "/a%20b//c/?q=1&q=%26"
        assert seen["body"] == ("" if method == "GET" else "text")
    headers = seen["headers"]
    assert headers["x-own"] == "1"
    assert not {"authorization", "x-remote-user", "keep-alive"} & set(headers)
    assert headers["x-forwarded-uri"] == f"{PODS}/web/proxy/a%20b//c/"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == client.server.url.removeprefix("https://")
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert streams.asked[0] == ("n1", "10.0.0.9", site[0])


async def test_what_comes_back_leads_through_the_proxy_again(client: Client, site: tuple[int, list[int]]) -> None:
    await proxied.pod(client, "web", site[0])
    own = f"{PODS}/web/proxy"
    async with client.session.get(client.server.url + own + "?a=1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, f"{own}/?a=1")
    async with client.session.get(f"{client.server.url}{own}/away", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, f"{own}/elsewhere?x=1")
    for query in ("", "?gzip"):
        async with client.session.get(f"{client.server.url}{own}/page{query}") as answer:
            assert await answer.text() == MOVED.format(own)
    async with client.session.head(f"{client.server.url}{own}/") as answer:
        assert (answer.status, answer.headers["X-Site"]) == (200, "yes")
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_service_is_its_ready_pods_by_name_or_number_of_the_port(
    client: Client, site: tuple[int, list[int]], streams: LoopbackStreams
) -> None:
    await proxied.pod(client, "up", site[0], "n1")
    await proxied.pod(client, "down", site[0], "n2")
    await proxied.service(client, "web", site[0], {"up": True, "down": False})
    for name in ("web:web", "web:80", "http:web:web"):
        code, seen = await client.ask("GET", f"{SERVICES}/{name}/proxy/x")
        assert (code, seen["path"]) == (200, "/x")
    assert {node for node, *_ in streams.asked} == {"n1"}
    for name, code, message in (
        ("web:81", 503, 'no service port 81 found for service "web"'),
        ("web:other", 503, 'no endpoints available for service "web:other"'),
        ("web", 503, 'no endpoints available for service "web"'),
        ("none:80", 404, 'services "none" not found'),
        ("ftp:web:80", 400, 'invalid service request "ftp:web:80"'),
    ):
        got, status = await client.ask("GET", f"{SERVICES}/{name}/proxy/x")
        assert (got, status["message"]) == (code, message)


async def test_a_node_is_the_page_of_its_agent_or_a_port_of_its_own(
    client: Client, site: tuple[int, list[int]], streams: LoopbackStreams
) -> None:
    streams.page = site[0]
    await proxied.node(client, "n1")
    code, seen = await client.ask("GET", "/api/v1/nodes/n1/proxy/healthz")
    assert (code, seen["path"]) == (200, "/healthz")
    code, seen = await client.ask("GET", f"/api/v1/nodes/n1:{site[0]}/proxy/stats")
    assert (code, seen["path"]) == (200, "/stats")
    assert streams.asked == [("n1", "", 0), ("n1", "10.0.0.1", site[0])]


async def test_who_is_not_there_is_told_of(client: Client, streams: LoopbackStreams) -> None:
    await proxied.pod(client, "closed", 1)
    await proxied.pod(client, "lost", 80, "gone")
    code, status = await client.ask("GET", f"{PODS}/closed/proxy/")
    want = "error trying to reach service: dial tcp 10.0.0.9:1: connect: connection refused"
    assert (code, status["reason"], status["message"]) == (503, "ServiceUnavailable", want)
    code, status = await client.ask("GET", f"{PODS}/lost/proxy/")
    assert code == 503
    assert "node 'gone' is not connected" in status["message"]
    assert (await client.ask("GET", f"{PODS}/closed:x/proxy/"))[0] == 400
    assert (await client.ask("GET", f"{PODS}/none/proxy/"))[0] == 404


async def test_protocols_are_switched_through(
    client: Client, site: tuple[int, list[int]], streams: LoopbackStreams
) -> None:
    await proxied.pod(client, "web", site[0])
    url = f"{client.server.url}{PODS}/web/proxy/socket"
    async with client.session.ws_connect(url, protocols=("chat",)) as socket:
        assert socket.protocol == "chat"
        for word in ("ahoy", "x" * 200_000):
            await socket.send_str(word)
            assert await socket.receive_str(timeout=10) == word.upper()
    async with asyncio.timeout(10):
        await streams.connections[-1].closed.wait()


async def test_bodies_stream_both_ways_and_a_slow_reader_slows_the_sender(
    client: Client, site: tuple[int, list[int]], streams: LoopbackStreams
) -> None:
    await proxied.pod(client, "web", site[0])
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def body() -> AsyncIterator[bytes]:
        while piece := await pieces.get():
            yield piece

    pieces.put_nowait(b"one")
    async with client.session.post(f"{client.server.url}{PODS}/web/proxy/drip", data=body()) as answer:
        assert await answer.content.readexactly(3) == b"ONE"
        pieces.put_nowait(b"two")
        assert await answer.content.readexactly(3) == b"TWO"
        pieces.put_nowait(b"")
        assert await answer.content.read() == b""
    async with client.session.get(f"{client.server.url}{PODS}/web/proxy/flood") as answer:
        await answer.content.readexactly(65536)
        written, before = site[1], -1
        async with asyncio.timeout(20):
            # All that can wait on the way does after a while, which is far less than there is.
            while written[0] != before:
                before = written[0]
                for _ in range(200):
                    await asyncio.sleep(0)
        assert written[0] < 64 * 1024 * 1024
    async with asyncio.timeout(10):
        await streams.connections[-1].closed.wait()


async def test_each_method_is_a_verb_of_its_own(client: Client, site: tuple[int, list[int]]) -> None:
    await proxied.pod(client, "web", site[0])
    rules = [{"apiGroups": [""], "resources": ["pods/proxy"], "resourceNames": ["web:http"], "verbs": ["get"]}]
    rules.append({"apiGroups": [""], "resources": ["pods/proxy"], "resourceNames": ["web"], "verbs": ["create"]})
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    await client.made(f"{rbac}/clusterroles", {"metadata": {"name": "some"}, "rules": rules})
    subject = {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "name": "some", "apiGroup": "rbac.authorization.k8s.io"}
    await client.made(
        f"{rbac}/clusterrolebindings", {"metadata": {"name": "some"}, "subjects": [subject], "roleRef": role}
    )
    certificate, key = client.server.certificate_for("jane", ())
    tls = ssl.create_default_context(cafile=str(client.server.ca))
    tls.load_cert_chain(certificate, key)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        jane = Client(client.server, session)
        assert (await jane.ask("POST", f"{PODS}/web/proxy/x", "text"))[0] == 200
        for method in ("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
            async with session.request(method, f"{client.server.url}{PODS}/web/proxy/x") as answer:
                assert answer.status == 403


async def test_kubectl_gets_raw_paths(client: Client, kubectl: Kubectl, site: tuple[int, list[int]]) -> None:
    await proxied.pod(client, "up", site[0])
    await proxied.service(client, "web", site[0], {"up": True})
    said = await kubectl("get", "--raw", f"{SERVICES}/http:web:80/proxy/deep/path?x=1")
    assert '"path": "/deep/path?x=1"' in said
