"""What the server refuses to be fed: too much, too deep, too many at once, and names that would leave their place."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from controlplane.server import lanes, rest_listen
from controlplane.store.embedded import EmbeddedEtcd
from controlplane.store.etcd import EtcdStore
from controlplane.store.memory import MemoryBackend, MemoryStore
from tests.fixtures.api_server import ApiServer, api_server
from tests.integration.rest.conftest import Client, tls_of
from tests.integration.rest.test_http import CONFIG_MAPS, DEPLOYMENT, PODS, config_map

MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
WAIT_S = 10.0


async def raw(client: Client, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
    """Code, headers and answer of a request whose path goes over the wire as it is written."""
    url = URL(client.server.url + path, encoded=True)
    async with client.session.request(method, url, **options) as answer:
        text = await answer.text()
        return answer.status, answer.headers, json.loads(text) if text.startswith("{") else text


@pytest.mark.parametrize(
    ("path", "code", "why"),
    [
        (f"{CONFIG_MAPS}/..", 400, "Name parameter invalid: \"..\": may not be '..'"),
        (f"{CONFIG_MAPS}/%2e", 400, "Name parameter invalid: \".\": may not be '.'"),
        (f"{CONFIG_MAPS}/a%25b", 400, "Name parameter invalid: \"a%b\": may not contain '%'"),
        ("/api/v1/namespaces/../configmaps/a", 400, "Namespace parameter invalid: \"..\": may not be '..'"),
        ("/api/v1/namespaces/%2e%2e/configmaps", 400, "Namespace parameter invalid"),
        (f"{CONFIG_MAPS}/%ff", 400, "may not contain '%'"),
        (f"{CONFIG_MAPS}/a%2f..%2f..%2fsecrets%2fs", 404, "could not find the requested resource"),
        (f"{CONFIG_MAPS}/a%2Fb", 404, "could not find the requested resource"),
        (f"{CONFIG_MAPS}//a", 404, "could not find the requested resource"),
        (f"{CONFIG_MAPS}//", 404, "could not find the requested resource"),
        ("//api/v1/pods", 404, "could not find the requested resource"),
        ("/api/v1/namespaces//configmaps", 404, "could not find the requested resource"),
        ("/api//v1/pods", 404, "could not find the requested resource"),
        (f"{CONFIG_MAPS}/a%00b", 404, 'configmaps "a\\u0000b" not found'),
        (f"{CONFIG_MAPS}/{'x' * 300}", 404, "not found"),
    ],
)
async def test_names_stay_where_they_belong(client: Client, path: str, code: int, why: str) -> None:
    await client.made("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
    for method in ("GET", "DELETE"):
        if method == "DELETE" and "configmaps" in path[-11:]:
            continue
        found, _, answer = await raw(client, method, path)
        assert (found, why in answer["message"]) == (code, True), answer


@pytest.mark.parametrize(
    ("method", "path", "code", "allowed"),
    [
        ("HEAD", CONFIG_MAPS, 405, "GET, POST, DELETE"),
        ("OPTIONS", CONFIG_MAPS, 405, "GET, POST, DELETE"),
        ("OPTIONS", f"{CONFIG_MAPS}/a", 405, "GET, PUT, PATCH, DELETE"),
        ("TRACE", f"{CONFIG_MAPS}/a", 405, "GET, PUT, PATCH, DELETE"),
        ("PUT", CONFIG_MAPS, 405, "GET, POST, DELETE"),
        ("PATCH", CONFIG_MAPS, 405, "GET, POST, DELETE"),
        ("POST", f"{CONFIG_MAPS}/a", 405, "GET, PUT, PATCH, DELETE"),
        ("POST", "/api/v1/pods", 405, "GET"),
        ("DELETE", "/api/v1/pods", 405, "GET"),
        ("DELETE", "/api/v1/namespaces", 405, "GET, POST"),
        ("DELETE", "/apis/apps/v1/namespaces/default/deployments/d/scale", 405, "GET, PATCH, PUT"),
        ("GET", f"{PODS}/p/binding", 405, "POST"),
        ("GET", f"{PODS}/p/eviction", 405, "POST"),
        ("POST", "/version", 405, "GET, HEAD"),
        ("PUT", "/apis/apps", 405, "GET, HEAD"),
        ("DELETE", "/healthz", 405, "GET, HEAD"),
        ("HEAD", "/healthz", 200, None),
        ("HEAD", "/api", 200, None),
        ("POST", "/nothing", 404, None),
        ("OPTIONS", "/apis/none.example/v1/things", 404, None),
        ("GET", f"{CONFIG_MAPS}/a/nothing", 404, None),
        ("GET", f"{CONFIG_MAPS}/a/status", 404, None),
    ],
)
async def test_methods(client: Client, method: str, path: str, code: int, allowed: str | None) -> None:
    found, headers, answer = await raw(client, method, path, data=b"{}" if method in ("POST", "PUT", "PATCH") else None)
    assert (found, headers.get("Allow")) == (code, allowed)
    if code == 405 and method != "HEAD":
        assert (answer["reason"], answer["message"], answer["details"]) == (
            "MethodNotAllowed", "the server does not allow this method on the requested resource", {},
        )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b'{"metadata":{"name":NaN}}', b'{"data":{"a":Infinity}}', b'{"data":{"a":-Infinity}}', b"[" * 100_000,
        b'{"a":' * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, b"null", b"[]", b'"x"', b"", b"{",
        b'{"metadata":{"generation":1e400}}', b'{"metadata":{"name":"a","annotations":{"a":"\\ud800"}}}',
        b'{"metadata":{"name":"a"},"data":{"a":"\xff"}}', b'{"metadata":[]}', b'{"kind":5}', b'{"a":1}{"a":2}', b"\0",
    ],
)  # fmt: skip
async def test_bodies_that_are_no_object(client: Client, body: bytes) -> None:
    deep = body.endswith(b"}" * 900)
    code, answer = await client.ask("POST", CONFIG_MAPS, body)
    assert (code, answer["reason"]) == ((422, "Invalid") if deep else (400, "BadRequest")), answer
    made = await client.made(CONFIG_MAPS, config_map("target", k="v"))
    for headers in (MERGE, JSON_PATCH):
        code, answer = await client.ask("PATCH", f"{CONFIG_MAPS}/target", body, headers=headers)
        if (body, headers) == (b"[]", JSON_PATCH) or (deep and headers == MERGE):
            assert code == 200, "it asks for nothing, or for what is left out"
        else:
            assert code in (400, 422), answer
        assert (await client.ask("GET", f"{CONFIG_MAPS}/target"))[1] == made


@pytest.mark.parametrize("depth", [400, 900, 960, 984, 1000, 5000])
async def test_depth_is_the_clients_mistake(client: Client, depth: int) -> None:
    await client.made(CONFIG_MAPS, config_map("target"))
    deep = '{"a":' * depth + "1" + "}" * depth
    every = [
        ("POST", CONFIG_MAPS, "application/json"),
        ("PUT", f"{CONFIG_MAPS}/target", "application/json"),
        ("DELETE", f"{CONFIG_MAPS}/missing", "application/json"),
        ("POST", f"{PODS}/p/eviction", "application/json"),
        *(("PATCH", f"{CONFIG_MAPS}/target", f"application/{kind}merge-patch+json") for kind in ("", "strategic-")),
    ]
    for around in ("%s", '{"a":%s}', '{"metadata":{"annotations":%s}}', '{"metadata":{"managedFields":[%s]}}'):
        for method, path, kind in every:
            code, _ = await client.ask(method, path, around % deep, headers={"Content-Type": kind})
            assert code < 500, (method, kind, around)
        patch = f'[{{"op":"add","path":"/metadata/annotations","value":{deep}}}]'
        assert (await client.ask("PATCH", f"{CONFIG_MAPS}/target", patch, headers=JSON_PATCH))[0] < 500


async def test_bodies_and_what_comes_of_them_are_bounded(client: Client) -> None:
    for body in (io.BytesIO(b"{" + b" " * (3 << 20)), io.BytesIO(b"\0" * (5 << 20))):
        code, answer = await client.ask("POST", CONFIG_MAPS, body)
        assert (code, answer["reason"]) == (413, "RequestEntityTooLarge")
        assert answer["message"] == "Request entity too large: limit is 3145728"
    await client.made(CONFIG_MAPS, config_map("a", k="v"))
    many = [{"op": "test", "path": "/data/k", "value": "v"}] * 10_001
    code, answer = await client.ask("PATCH", f"{CONFIG_MAPS}/a", many, headers=JSON_PATCH)
    assert (code, "10000, got 10001" in answer["message"]) == (413, True)
    doubling = [{"op": "copy", "from": "/data", "path": f"/data/{i}"} for i in range(40)]
    code, answer = await client.ask("PATCH", f"{CONFIG_MAPS}/a", doubling, headers=JSON_PATCH)
    assert code in (413, 422), answer
    large = {"data": {"k": "x" * ((1 << 20) + 1)}}
    code, answer = await client.ask("PATCH", f"{CONFIG_MAPS}/a", io.BytesIO(json.dumps(large).encode()), headers=MERGE)
    assert (code, answer["details"]["causes"][0]["reason"]) == (422, "FieldValueTooLong")


@pytest.mark.etcd
async def test_an_object_that_the_store_does_not_take(tmp_path: Path) -> None:
    async with EmbeddedEtcd(tmp_path / "etcd") as etcd:
        store = await EtcdStore.open(etcd.endpoints)
        async with api_server(tmp_path, store=store) as server, _client(server, "a") as client:
            large = {"name": "c", "image": "i", "args": ["x" * (1 << 20), "y" * (1 << 20)]}
            body = json.dumps({"metadata": {"name": "p"}, "spec": {"containers": [large]}}).encode()
            code, answer = await client.ask("POST", PODS, io.BytesIO(body))
            assert (code, answer["reason"]) == (413, "RequestEntityTooLarge"), answer
        await store.close()


async def test_labels_and_annotations_have_bounds(client: Client) -> None:
    async def causes(metadata: dict[str, Any]) -> list[tuple[str, str]]:
        code, answer = await client.ask("POST", CONFIG_MAPS, {"metadata": {"name": "a", **metadata}})
        assert (code, answer["reason"]) == (422, "Invalid"), answer
        return [(cause["reason"], cause["field"]) for cause in answer["details"]["causes"]]

    assert await causes({"annotations": {"k": "x" * (256 << 10)}}) == [("FieldValueTooLong", "metadata.annotations")]
    assert await causes({"annotations": {"-k": ""}}) == [("FieldValueInvalid", "metadata.annotations")]
    assert await causes({"labels": {"k": "x" * 64}}) == [("FieldValueInvalid", "metadata.labels")]
    assert await causes({"labels": {"a/b/c": ""}}) == [("FieldValueInvalid", "metadata.labels")]
    assert await causes({"name": "x" * 254}) == [("FieldValueInvalid", "metadata.name")]
    assert await causes({"name": "A"}) == [("FieldValueInvalid", "metadata.name")]
    assert await causes({"finalizers": ["-plain"]}) == [("FieldValueInvalid", "metadata.finalizers")]


async def test_long_urls_and_headers(client: Client) -> None:
    names = ",".join(f"name-{number:05}" for number in range(3000))
    code, _, answer = await raw(client, "GET", f"{CONFIG_MAPS}?labelSelector=x%20in%20({names})")
    assert (code, answer["items"]) == (200, [])
    code, _, answer = await raw(client, "GET", f"{CONFIG_MAPS}?labelSelector={'x' * rest_listen.LINE_MAX_BYTES}")
    assert code == 400
    code, _, answer = await raw(client, "GET", CONFIG_MAPS, headers={"X": "y" * (rest_listen.LINE_MAX_BYTES + 1)})
    assert code == 400
    assert (await client.ask("GET", CONFIG_MAPS))[0] == 200


async def test_a_full_lane_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes.Lanes.__init__, "__defaults__", (lanes.Width(3, 2), lanes.Width(1, 1)))
    backend = MemoryBackend()
    store = MemoryStore(backend)
    async with api_server(tmp_path, store=store) as server:
        backend.freeze()
        async with asyncio.timeout(WAIT_S), _client(server, "a") as first, _client(server, "b") as second:
            held = [asyncio.ensure_future(first.ask("GET", CONFIG_MAPS)) for _ in range(2)]
            await _in_flight(second, 2)
            async with first.session.get(f"{server.url}{CONFIG_MAPS}") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
                assert (await answer.json())["reason"] == "TooManyRequests"
            held.append(asyncio.ensure_future(second.ask("GET", CONFIG_MAPS)))
            async with _client(server, "system:node:n1", "system:nodes") as node:
                while (await second.ask("GET", "/version"))[0] != 429:  # noqa: ASYNC110  # a test waits on what it sees
                    await asyncio.sleep(0)
                assert (await node.ask("GET", "/version"))[0] == 200, "nodes have a lane of their own"
            backend.thaw()
            assert [code for code, _ in await asyncio.gather(*held)] == [200] * 3
            assert (await second.ask("GET", "/version"))[0] == 200
            _, text = await second.ask("GET", "/metrics")
            assert 'apiserver_request_terminations_total{code="429"' in text
    await store.close()


class _client:  # noqa: N801
    """Somebody who asks with a certificate of their own."""

    def __init__(self, server: ApiServer, name: str, *groups: str) -> None:
        self._server = server
        tls = tls_of(server, *server.certificate_for(name, groups or ("system:masters",)))
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))

    async def __aenter__(self) -> Client:
        return Client(self._server, self._session)

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


async def _in_flight(client: Client, count: int) -> None:
    while True:
        _, text = await client.ask("GET", "/metrics")
        line = next(line for line in text.splitlines() if 'inflight_requests{request_kind="readOnly"}' in line)
        if float(line.split()[-1]) >= count:
            return
        await asyncio.sleep(0)


async def test_duplicate_keys(client: Client) -> None:
    twice = b'{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}'
    code, answer = await client.ask("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", twice)
    assert (code, 'duplicate field "data.k"' in answer["message"]) == (400, True)
    url = client.server.url + CONFIG_MAPS
    async with client.session.post(url, data=twice, headers={"Content-Type": "application/json"}) as warned:
        assert warned.headers["Warning"] == '299 - "duplicate field \\"data.k\\""'
    url = f"{client.server.url}{CONFIG_MAPS}?fieldValidation=Ignore"
    other = twice.replace(b'"a"', b'"b"')
    async with client.session.post(url, data=other, headers={"Content-Type": "application/json"}) as silent:
        assert (silent.status, "Warning" in silent.headers) == (201, False)


async def test_patches_of_workloads_that_make_no_sense(client: Client) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    await client.made(path, DEPLOYMENT)
    for body, headers, code in (
        ({"spec": {"replicas": "many"}}, MERGE, 422),
        ({"spec": {"replicas": -1}}, MERGE, 422),
        ([{"op": "remove", "path": "/spec/selector"}], JSON_PATCH, 422),
        ([{"op": "replace", "path": "/spec/none/deep", "value": 1}], JSON_PATCH, 422),
        ([{"op": "dance", "path": "/spec"}], JSON_PATCH, 400),
        ([{"op": "remove", "path": ""}], JSON_PATCH, 422),
        ({"$patch": "delete"}, {"Content-Type": "application/strategic-merge-patch+json"}, 400),
        ({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}},
         {"Content-Type": "application/strategic-merge-patch+json"}, 422),
    ):  # fmt: skip
        found, answer = await client.ask("PATCH", f"{path}/web", body, headers=headers)
        assert 400 <= found < 500, (body, answer)
        assert found == code, (body, answer)
