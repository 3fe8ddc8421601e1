"""Watches over HTTP: what is sent, when, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.server import rest_watch, verbs_watch
from controlplane.store import history, registry
from mizzen.wire.gen.mizzen.api.meta.v1 import meta_pb2
from tests.fixtures.api_server import api_server
from tests.integration.rest.conftest import Client, tls_of
from tests.integration.rest.test_http import CONFIG_MAPS, PODS, TABLE, config_map, pod

WAIT_S = 10.0


class Lines:
    """The events of an open watch."""

    def __init__(self, content: Any) -> None:
        self._content = content

    async def next(self) -> Any:
        """The next event."""
        async with asyncio.timeout(WAIT_S):
            line = await self._content.readline()
        assert line, "the watch has ended"
        return json.loads(line)

    async def seen(self, count: int) -> list[tuple[str, str]]:
        """Type and name of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"]["name"]) for event in events]

    async def end(self) -> bool:
        """Whether nothing more comes."""
        async with asyncio.timeout(WAIT_S):
            return not await self._content.readline()


@asynccontextmanager
async def watching(client: Client, path: str, headers: dict[str, str] | None = None) -> AsyncIterator[Lines]:
    async with client.session.get(client.server.url + path, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "application/json"
        yield Lines(answer.content)


async def _relabel(client: Client, name: str, value: str) -> None:
    body = {"metadata": {"labels": {"x": value}}}
    code, _ = await client.ask(
        "PATCH", f"{CONFIG_MAPS}/{name}", body, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert code == 200


async def test_watches_may_be_asked_for_in_the_old_way(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a"))
    await client.made(CONFIG_MAPS, config_map("b"))
    old = CONFIG_MAPS.replace("/v1/", "/v1/watch/")
    for path, expected in ((old, ["a", "b"]), ("/api/v1/watch/configmaps", ["a", "b"]), (f"{old}/b", ["b"])):
        async with watching(client, path) as lines:
            assert await lines.seen(len(expected)) == [("ADDED", name) for name in expected]
    for method in ("DELETE", "PUT", "POST", "PATCH"):
        code, answer = await client.ask(method, f"{old}/a", config_map("a"))
        assert (code, answer["reason"]) == (405, "MethodNotAllowed")
    assert (await client.ask("GET", f"{CONFIG_MAPS}/a"))[0] == 200


async def test_a_watch_goes_on_where_the_list_ended(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a"))
    _, listed = await client.ask("GET", CONFIG_MAPS)
    await client.made(CONFIG_MAPS, config_map("b"))
    version = listed["metadata"]["resourceVersion"]
    async with watching(client, f"{CONFIG_MAPS}?watch=true&resourceVersion={version}") as lines:
        assert await lines.seen(1) == [("ADDED", "b")]
        await _relabel(client, "a", "1")
        await client.ask("DELETE", f"{CONFIG_MAPS}/b")
        changed, gone = await lines.next(), await lines.next()
        assert (changed["type"], changed["object"]["metadata"]["labels"]) == ("MODIFIED", {"x": "1"})
        assert (gone["type"], gone["object"]["metadata"]["name"]) == ("DELETED", "b")
        assert int(gone["object"]["metadata"]["resourceVersion"]) > int(
            changed["object"]["metadata"]["resourceVersion"]
        )


async def test_without_a_version_the_present_comes_first(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a"))
    for version in ("", "0"):
        async with watching(client, f"{CONFIG_MAPS}?watch=1&resourceVersion={version}") as lines:
            assert await lines.seen(1) == [("ADDED", "a")]


async def test_headers_come_before_the_first_event(client: Client) -> None:
    async with watching(client, f"{CONFIG_MAPS}?watch=true&resourceVersion=0") as lines:
        await client.made(CONFIG_MAPS, config_map("late"))
        assert await lines.seen(1) == [("ADDED", "late")]


async def test_a_watch_over_websocket(client: Client) -> None:
    url = f"{client.server.url}{CONFIG_MAPS}?watch=true&timeoutSeconds=2&labelSelector=x"
    async with client.session.ws_connect(url, protocols=["any"]) as socket, asyncio.timeout(WAIT_S):
        assert socket.protocol == "any"
        await socket.send_str("nobody hears it")
        await client.made(CONFIG_MAPS, config_map("a"))
        await _relabel(client, "a", "1")
        event = json.loads(await socket.receive_str())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE, "its time is up"
    protobuf = {"Accept": "application/vnd.kubernetes.protobuf"}
    async with client.session.ws_connect(url, headers=protobuf) as socket, asyncio.timeout(WAIT_S):
        event = meta_pb2.WatchEvent.FromString(await socket.receive_bytes())
        assert event.type == "ADDED"
    async with client.session.ws_connect(f"{url}&resourceVersion=1") as socket, asyncio.timeout(WAIT_S):
        assert json.loads(await socket.receive_str())["object"]["reason"] == "Expired"
    with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
        await client.session.ws_connect(f"{client.server.url}/apis/apps/v1/nothing?watch=true")


async def test_who_leaves_a_watch_over_websocket(client: Client) -> None:
    async with client.session.ws_connect(f"{client.server.url}{CONFIG_MAPS}?watch=true"), asyncio.timeout(WAIT_S):
        while not await open_watches(client):  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.01)
    async with asyncio.timeout(WAIT_S):
        while await open_watches(client):  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.01)


async def test_other_namespaces_are_not_seen(client: Client) -> None:
    async with (
        watching(client, f"{CONFIG_MAPS}?watch=true") as mine,
        watching(client, "/api/v1/configmaps?watch=true") as every,
    ):
        await client.made("/api/v1/namespaces/kube-system/configmaps", config_map("theirs"))
        await client.made(CONFIG_MAPS, config_map("ours"))
        assert await mine.seen(1) == [("ADDED", "ours")]
        assert await every.seen(2) == [("ADDED", "theirs"), ("ADDED", "ours")]


async def test_what_comes_to_match_is_added_and_what_ceases_to_is_deleted(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a", {"x": "0"}))
    async with watching(client, f"{CONFIG_MAPS}?watch=true&labelSelector=x=1") as lines:
        await _relabel(client, "a", "1")
        await client.made(CONFIG_MAPS, config_map("b", {"x": "0"}))
        await _relabel(client, "a", "2")
        await _relabel(client, "b", "1")
        await client.ask("DELETE", f"{CONFIG_MAPS}/b")
        added, left = await lines.next(), await lines.next()
        assert (added["type"], added["object"]["metadata"]["labels"]["x"]) == ("ADDED", "1")
        assert (left["type"], left["object"]["metadata"]["labels"]["x"]) == ("DELETED", "1")
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in (added, left)]
        assert versions == sorted(set(versions))
        assert await lines.seen(2) == [("ADDED", "b"), ("DELETED", "b")]


async def test_one_object_can_be_watched_by_its_path(client: Client) -> None:
    async with watching(client, f"{CONFIG_MAPS}/b?watch=true") as lines:
        await client.made(CONFIG_MAPS, config_map("a"))
        await client.made(CONFIG_MAPS, config_map("b"))
        assert await lines.seen(1) == [("ADDED", "b")]


async def test_tables_name_their_columns_once(client: Client) -> None:
    async with watching(client, f"{PODS}?watch=true", TABLE) as lines:
        await client.made(PODS, pod("a"))
        await client.made(PODS, pod("b"))
        first, second = await lines.next(), await lines.next()
        assert (first["type"], first["object"]["kind"]) == ("ADDED", "Table")
        assert first["object"]["columnDefinitions"][2]["name"] == "Status"
        assert first["object"]["rows"][0]["cells"][:3] == ["a", "0/1", "Pending"]
        assert second["object"]["columnDefinitions"] == []


async def test_metadata_alone(client: Client) -> None:
    accept = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    async with watching(client, f"{CONFIG_MAPS}?watch=true", accept) as lines:
        await client.made(CONFIG_MAPS, config_map("a", k="v"))
        event = await lines.next()
        assert event["object"].keys() == {"kind", "apiVersion", "metadata"}


async def test_a_watch_ends_when_its_time_is_up(client: Client) -> None:
    async with watching(client, f"{CONFIG_MAPS}?watch=true&timeoutSeconds=1") as lines:
        assert await lines.end()


async def test_bookmarks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs_watch, "BOOKMARK_S", 0.05)
    await client.made(CONFIG_MAPS, config_map("a"))
    query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    async with watching(client, f"{CONFIG_MAPS}?{query}") as lines:
        assert await lines.seen(1) == [("ADDED", "a")]
        end = await lines.next()
        assert end["type"] == "BOOKMARK"
        assert end["object"]["kind"] == "ConfigMap"
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        version = int(end["object"]["metadata"]["resourceVersion"])
        await client.made("/api/v1/namespaces/kube-system/configmaps", config_map("elsewhere"))
        async with asyncio.timeout(WAIT_S):
            while (mark := await lines.next())["type"] == "BOOKMARK":
                assert mark["object"]["metadata"].get("annotations") is None
                if int(mark["object"]["metadata"]["resourceVersion"]) > version:
                    break
    for bad in ("sendInitialEvents=true", "resourceVersionMatch=NotOlderThan"):
        assert (await client.ask("GET", f"{CONFIG_MAPS}?watch=true&{bad}"))[0] == 422


async def test_a_version_that_is_forgotten_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "WINDOW_CHANGES", 4)
    made = await client.made(CONFIG_MAPS, config_map("a"))
    for value in range(8):
        await _relabel(client, "a", str(value))
    version = made["metadata"]["resourceVersion"]
    async with watching(client, f"{CONFIG_MAPS}?watch=true&resourceVersion={version}") as lines:
        event = await lines.next()
        status = event["object"]
        assert (event["type"], status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
        assert status["message"].startswith(f"too old resource version: {version} (")
        assert await lines.end()


async def test_questions_that_no_watch_answers(client: Client) -> None:
    for query in (
        "sendInitialEvents=true", "resourceVersionMatch=NotOlderThan", "resourceVersion=x",
        "sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=1",
    ):  # fmt: skip
        code, answer = await client.ask("GET", f"{CONFIG_MAPS}?watch=true&{query}")
        assert (code, answer["reason"], answer["details"]["kind"]) == (422, "Invalid", "ListOptions"), query
    for query in ("timeoutSeconds=soon", "allowWatchBookmarks=perhaps", "fieldSelector=a", "labelSelector=a in"):
        code, answer = await client.ask("GET", f"{CONFIG_MAPS}?watch=true&{query}")
        assert (code, answer["reason"]) == (400, "BadRequest"), query


async def test_initial_events_of_a_version_that_is_not_there_yet(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.Registry.reach, "__defaults__", (0.05,))
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=999999999999"
    async with watching(client, f"{CONFIG_MAPS}?{query}") as lines:
        event = await lines.next()
        cause = event["object"]["details"]["causes"][0]["reason"]
        assert (event["type"], event["object"]["code"], cause) == ("ERROR", 504, "ResourceVersionTooLarge")


async def test_no_initial_events_where_none_are_wanted(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a"))
    query = "watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    async with watching(client, f"{CONFIG_MAPS}?{query}") as lines:
        await client.made(CONFIG_MAPS, config_map("b"))
        assert await lines.seen(1) == [("ADDED", "b")]


async def test_the_last_bookmark_comes_when_the_time_is_up(client: Client) -> None:
    query = "watch=true&allowWatchBookmarks=true&timeoutSeconds=1"
    async with watching(client, f"{CONFIG_MAPS}?{query}") as lines:
        made = await client.made("/api/v1/namespaces/kube-system/configmaps", config_map("elsewhere"))
        mark = await lines.next()
        assert mark["type"] == "BOOKMARK"
        assert int(mark["object"]["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"])
        assert await lines.end()


async def test_fields_decide_what_a_watch_shows(client: Client) -> None:
    node = f"{PODS}?watch=true&fieldSelector=spec.nodeName%3Dn1"
    async with watching(client, node) as mine, watching(client, f"{PODS}?watch=1&fieldSelector=spec.nodeName=") as rest:
        await client.made(PODS, pod("a"))
        await client.ask("POST", f"{PODS}/a/binding", {"metadata": {"name": "a"}, "target": {"name": "n1"}})
        assert await rest.seen(2) == [("ADDED", "a"), ("DELETED", "a")]
        assert await mine.seen(1) == [("ADDED", "a")]


async def open_watches(client: Client) -> float:
    """How many watches the server says that it serves."""
    _, text = await client.ask("GET", "/metrics")
    watches = [line for line in text.splitlines() if line.startswith("apiserver_longrunning_requests{")]
    return sum(float(line.rpartition(" ")[2]) for line in watches)


async def test_who_does_not_read_is_cut_off(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_watch, "WRITE_S", 0.2)
    monkeypatch.setattr(rest_watch, "PORTION_BYTES", 1024)
    for name in ("a", "b", "c"):
        await client.made(CONFIG_MAPS, config_map(name))
    async with client.session.get(f"{client.server.url}{CONFIG_MAPS}?watch=true") as answer:
        assert answer.status == 200
        for number in range(24):
            body = {"data": {"k": str(number) * 400_000}}
            code, _ = await client.ask(
                "PATCH", f"{CONFIG_MAPS}/a", body, headers={"Content-Type": "application/merge-patch+json"}
            )
            assert code == 200
        async with asyncio.timeout(WAIT_S):
            while await open_watches(client):  # noqa: ASYNC110  # a test waits on what it sees
                await asyncio.sleep(0.05)


async def test_a_server_that_stops_ends_its_watches(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with api_server(tmp_path) as server:
            tls = tls_of(server, server.client_certificate, server.client_key)
            answer = await session.get(f"{server.url}{CONFIG_MAPS}?watch=true", ssl=tls)
        async with asyncio.timeout(WAIT_S):
            assert await answer.content.readline() == b""
        answer.close()
