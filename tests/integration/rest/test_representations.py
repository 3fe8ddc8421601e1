"""The forms in which objects travel: JSON, YAML and protobuf, whole, as tables, or their metadata alone."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from typing import Any

import pytest
import yaml

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.api import scalars_pb2
from mizzen.wire.gen.mizzen.api.core.v1 import core_pb2
from mizzen.wire.gen.mizzen.api.meta.v1 import meta_pb2
from tests.fixtures.examples import KEPT
from tests.integration.rest.conftest import Client
from tests.integration.rest.test_http import CONFIG_MAPS, DEPLOYMENT, METADATA, PODS, TABLE, config_map, pod

PROTOBUF = "application/vnd.kubernetes.protobuf"
YAML = "application/yaml"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WAIT_S = 10.0


async def binary(client: Client, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    """The code and the envelope of an answer in protobuf."""
    wanted = {"Accept": PROTOBUF, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with client.session.request(method, client.server.url + path, data=body, headers=wanted) as answer:
        assert answer.headers["Content-Type"] == PROTOBUF
        return answer.status, envelope(await answer.read())


def envelope(data: bytes) -> scalars_pb2.Unknown:
    assert data.startswith(convert.MAGIC)
    return scalars_pb2.Unknown.FromString(data[len(convert.MAGIC) :])


def kind_of(unknown: scalars_pb2.Unknown) -> tuple[str, str]:
    return unknown.type_meta.api_version, unknown.type_meta.kind


async def test_objects_in_protobuf_both_ways(client: Client) -> None:
    made = core.ConfigMap(metadata=meta.ObjectMeta(name="a", labels={"x": "1"}), data={"k": "v"})
    body = convert.encode_envelope(made)
    code, answer = await binary(client, "POST", CONFIG_MAPS, body, Content_Type=PROTOBUF)
    assert (code, kind_of(answer)) == (201, ("v1", "ConfigMap"))
    created = core_pb2.ConfigMap.FromString(answer.raw)
    assert (dict(created.data), created.metadata.name) == ({"k": "v"}, "a")
    code, answer = await binary(client, "GET", f"{CONFIG_MAPS}/a")
    assert core_pb2.ConfigMap.FromString(answer.raw) == created
    changed = convert.to_struct(created, core.ConfigMap)
    body = convert.encode_envelope(core.ConfigMap(metadata=changed.metadata, data={"k": "w"}))
    code, answer = await binary(client, "PUT", f"{CONFIG_MAPS}/a", body, Content_Type=PROTOBUF)
    assert (code, dict(core_pb2.ConfigMap.FromString(answer.raw).data)) == (200, {"k": "w"})
    merge = json.dumps({"data": {"k": "x"}}).encode()
    code, answer = await binary(client, "PATCH", f"{CONFIG_MAPS}/a", merge, Content_Type="application/merge-patch+json")
    assert dict(core_pb2.ConfigMap.FromString(answer.raw).data) == {"k": "x"}
    options = convert.encode_envelope(meta.DeleteOptions(dry_run=("All",)))
    code, answer = await binary(client, "DELETE", f"{CONFIG_MAPS}/a", options, Content_Type=PROTOBUF)
    assert (code, kind_of(answer)) == (200, ("v1", "Status"))
    assert (await client.ask("GET", f"{CONFIG_MAPS}/a"))[0] == 200, "the options said that nothing is to be done"
    code, answer = await binary(client, "DELETE", CONFIG_MAPS)
    assert (code, kind_of(answer)) == (200, ("v1", "ConfigMapList"))
    assert core_pb2.ConfigMapList.FromString(answer.raw).items[0].metadata.name == "a"


async def test_lists_in_protobuf(client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.made(PODS, pod(name))
    for _ in range(2):
        code, answer = await binary(client, "GET", f"{PODS}?limit=2")
        assert (code, kind_of(answer)) == (200, ("v1", "PodList"))
        listed = core_pb2.PodList.FromString(answer.raw)
        assert [item.metadata.name for item in listed.items] == ["a", "b"]
        assert (listed.metadata.remaining_item_count, bool(listed.metadata.resource_version)) == (1, True)
    _, found = await client.ask("GET", f"{PODS}/a")
    assert convert.to_struct(listed.items[0], core.Pod).metadata.uid == found["metadata"]["uid"]
    assert listed.items[0].spec.containers[0].image == "img:1"
    _, rest = await binary(client, "GET", f"{PODS}?limit=2&continue={getattr(listed.metadata, 'continue')}")
    assert [item.metadata.name for item in core_pb2.PodList.FromString(rest.raw).items] == ["c"]


async def test_every_kind_has_a_list_in_protobuf(client: Client) -> None:
    await client.made("/api/v1/namespaces/default/events", {"metadata": {"name": "e"}, "involvedObject": {}})
    for kind in KEPT:
        root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        code, answer = await binary(client, "GET", f"{root}/{kind.plural}")
        assert (code, kind_of(answer)) == (200, (kind.api_version, f"{kind.kind}List"))


async def test_events_of_both_groups_in_protobuf(client: Client) -> None:
    await client.made(
        "/api/v1/namespaces/default/events", {"metadata": {"name": "e"}, "involvedObject": {}, "message": "m"}
    )
    for path, field in (("/api/v1/events", "message"), ("/apis/events.k8s.io/v1/events", "note")):
        _, answer = await binary(client, "GET", path)
        group_version = "v1" if field == "message" else "events.k8s.io/v1"
        assert kind_of(answer) == (group_version, "EventList")
        item = scalars_pb2.UnknownList.FromString(answer.raw).items[0]
        event = convert.decode_envelope(convert.envelope(group_version, "Event", item))
        assert getattr(event, field) == "m"


async def test_errors_in_protobuf(client: Client) -> None:
    code, answer = await binary(client, "GET", f"{CONFIG_MAPS}/missing")
    status = meta_pb2.Status.FromString(answer.raw)
    assert (code, kind_of(answer)) == (404, ("v1", "Status"))
    assert (status.code, status.reason, status.details.name) == (404, "NotFound", "missing")
    code, answer = await binary(client, "POST", PODS, b"{}", Content_Type="application/json")
    assert (code, meta_pb2.Status.FromString(answer.raw).reason) == (422, "Invalid")


@pytest.mark.parametrize(
    ("accept", "kind"), [("PartialObjectMetadataList", "list"), ("PartialObjectMetadata", "object")]
)
async def test_metadata_in_protobuf(client: Client, accept: str, kind: str) -> None:
    await client.made(CONFIG_MAPS, config_map("a", {"x": "1"}, k="v" * 100))
    path = CONFIG_MAPS if kind == "list" else f"{CONFIG_MAPS}/a"
    wanted = f"{PROTOBUF};as={accept};g=meta.k8s.io;v=v1,application/json;as={accept};g=meta.k8s.io;v=v1"
    code, answer = await binary(client, "GET", path, Accept=wanted)
    assert (code, kind_of(answer)) == (200, ("meta.k8s.io/v1", accept))
    if kind == "list":
        (item,) = meta_pb2.PartialObjectMetadataList.FromString(answer.raw).items
    else:
        item = meta_pb2.PartialObjectMetadata.FromString(answer.raw)
    assert (item.metadata.name, dict(item.metadata.labels), len(answer.raw) < 300) == ("a", {"x": "1"}, True)


async def test_a_table_is_never_protobuf(client: Client) -> None:
    table = f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io"
    _, answer = await client.ask("GET", CONFIG_MAPS, headers={"Accept": f"{table},application/json"})
    assert answer["kind"] == "ConfigMapList"
    code, answer = await client.ask("GET", CONFIG_MAPS, headers={"Accept": table})
    assert (code, answer["reason"]) == (406, "NotAcceptable")


class Events:
    """The frames of an open watch in protobuf."""

    def __init__(self, content: Any) -> None:
        self._content = content

    async def next(self) -> tuple[str, scalars_pb2.Unknown]:
        """Type and envelope of the next one."""
        async with asyncio.timeout(WAIT_S):
            size = int.from_bytes(await self._content.readexactly(4), "big")
            event = meta_pb2.WatchEvent.FromString(await self._content.readexactly(size))
        return event.type, envelope(event.object.raw)


async def test_watches_in_protobuf(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a", k="1"))
    query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    accept = {"Accept": f"{PROTOBUF};stream=watch"}
    async with client.session.get(f"{client.server.url}{CONFIG_MAPS}?{query}", headers=accept) as answer:
        assert answer.headers["Content-Type"] == f"{PROTOBUF};stream=watch"
        events = Events(answer.content)
        type_, first = await events.next()
        assert (type_, kind_of(first)) == ("ADDED", ("v1", "ConfigMap"))
        assert dict(core_pb2.ConfigMap.FromString(first.raw).data) == {"k": "1"}
        type_, mark = await events.next()
        bookmark = core_pb2.ConfigMap.FromString(mark.raw)
        assert (type_, dict(bookmark.metadata.annotations)) == ("BOOKMARK", {"k8s.io/initial-events-end": "true"})
        await client.made(CONFIG_MAPS, config_map("b"))
        await client.ask("DELETE", f"{CONFIG_MAPS}/b")
        seen = [await events.next() for _ in range(2)]
        names = [(type_, core_pb2.ConfigMap.FromString(item.raw).metadata.name) for type_, item in seen]
        assert names == [("ADDED", "b"), ("DELETED", "b")]
    accept = {"Accept": f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
    async with client.session.get(f"{client.server.url}{CONFIG_MAPS}?watch=1", headers=accept) as answer:
        type_, item = await Events(answer.content).next()
        assert (type_, kind_of(item)) == ("ADDED", ("meta.k8s.io/v1", "PartialObjectMetadata"))
        assert meta_pb2.PartialObjectMetadata.FromString(item.raw).metadata.name == "a"


async def test_a_watch_cannot_be_yaml(client: Client) -> None:
    code, answer = await client.ask("GET", f"{CONFIG_MAPS}?watch=1", headers={"Accept": YAML})
    assert code == 406
    assert answer.startswith("apiVersion"), "the error itself can be"
    assert f"application/json;stream=watch, {PROTOBUF};stream=watch" in yaml.safe_load(answer)["message"]


async def test_yaml_both_ways(client: Client) -> None:
    body = b"metadata:\n  name: a\ndata:\n  on: 'yes'\n  when: \"2026-01-01\"\n"
    code, answer = await client.ask("POST", CONFIG_MAPS, body, headers={"Content-Type": YAML, "Accept": YAML})
    assert code == 201, answer
    assert yaml.safe_load(answer)["data"] == {"true": "yes", "when": "2026-01-01"}
    async with client.session.get(f"{client.server.url}{CONFIG_MAPS}", headers={"Accept": YAML}) as listed:
        assert listed.headers["Content-Type"] == YAML
        assert yaml.safe_load(await listed.text())["items"][0]["metadata"]["name"] == "a"
    again = yaml.safe_dump({**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 3}})
    code, answer = await client.ask("POST", DEPLOYMENTS, again, headers={"Content-Type": YAML})
    assert (code, answer["spec"]["replicas"]) == (201, 3)


@pytest.mark.parametrize(
    ("body", "code", "why"),
    [
        ("a: &x [1]\nb: *x\n", 400, "line 2: aliases are not taken here"),
        ("a: !!python/object:os.system x\n", 400, "tags such as"),
        ("a: !!binary aGk=\n", 400, "tags such as"),
        ("a: .nan\n", 400, "no number that JSON has"),
        ("- a\n", 400, "the body is no object"),
        ("", 400, "the body is empty"),
        ("a: 1\n---\nb: 2\n", 400, "several YAML documents"),
        ("{a: " * 200, 400, "nested more than 100 deep"),
        ("[" * 5000 + "]" * 5000, 400, "exceeded maximum nesting depth"),
        ("a: [\n", 400, "error converting YAML"),
        ("? [a]\n: b\n", 400, "a key must be a text"),
        ("a: " + "x" * (1 << 20), 413, "limit of YAML is 1048576"),
        ("metadata:\n  name: a\ndata:\n  k: 1\n  k: 2\n", 400, 'line 5: key \\"k\\" already set in map'),
    ],
)  # fmt: skip
async def test_yaml_that_is_not_taken(client: Client, body: str, code: int, why: str) -> None:
    path = f"{CONFIG_MAPS}?fieldValidation=Strict"
    found, answer = await client.ask("POST", path, io.BytesIO(body.encode()), headers={"Content-Type": YAML})
    assert (found, why in json.dumps(answer)) == (code, True), answer


async def test_a_key_that_stands_twice_in_yaml_is_a_warning(client: Client) -> None:
    body = b"metadata:\n  name: a\ndata:\n  k: '1'\n  k: '2'\n"
    url, headers = client.server.url + CONFIG_MAPS, {"Content-Type": YAML}
    async with client.session.post(url, data=body, headers=headers) as answer:
        assert answer.headers["Warning"] == '299 - "yaml: line 5: key \\"k\\" already set in map"'
        assert (await answer.json())["data"] == {"k": "2"}


@pytest.mark.parametrize(("include", "keys"), [("None", None), ("Metadata", {"metadata"}), ("Object", {"data"})])
@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_what_rows_carry(client: Client, include: str, keys: set[str] | None, version: str) -> None:
    await client.made(CONFIG_MAPS, config_map("a", k="v"))
    wanted = {"Accept": f"application/json;as=Table;v={version};g=meta.k8s.io"}
    _, table = await client.ask("GET", f"{CONFIG_MAPS}?includeObject={include}", headers=wanted)
    assert (table["kind"], table["apiVersion"]) == ("Table", f"meta.k8s.io/{version}")
    (row,) = table["rows"]
    assert row["cells"][:2] == ["a", 1]
    if keys is None:
        assert row.get("object") is None
    else:
        assert keys <= row["object"].keys()
    assert (await client.ask("GET", f"{CONFIG_MAPS}?includeObject=Some", headers=wanted))[0] == 400


async def test_what_cannot_be_answered_is_not_done(client: Client) -> None:
    code, _ = await client.ask("POST", CONFIG_MAPS, config_map("a"), headers={"Accept": "text/html"})
    assert code == 406
    wanted = {"Accept": TABLE["Accept"]}
    code, _ = await client.ask("POST", f"{CONFIG_MAPS}?includeObject=Some", config_map("a"), headers=wanted)
    assert code == 400
    assert (await client.ask("GET", f"{CONFIG_MAPS}/a"))[0] == 404


async def test_the_words_for_media_types(client: Client) -> None:
    every = f"application/json, application/yaml, {PROTOBUF}"
    _, answer = await client.ask("GET", CONFIG_MAPS, headers={"Accept": "text/html"})
    assert answer["message"] == f"only the following media types are accepted: {every}"
    _, answer = await client.ask("POST", CONFIG_MAPS, "x", headers={"Content-Type": "text/plain"})
    assert answer["message"] == (
        f"the body of the request was in an unknown format - accepted media types include: {every}"
    )
    code, answer = await client.ask("PATCH", f"{CONFIG_MAPS}/a", "{}", headers={"Content-Type": "application/json"})
    assert (code, "application/json-patch+json, application/merge-patch+json" in answer["message"]) == (415, True)


async def test_what_is_wanted_more_comes_first(client: Client) -> None:
    wanted = f"application/json;q=0.5,{PROTOBUF};q=0.9,{YAML};q=0"
    async with client.session.get(client.server.url + CONFIG_MAPS, headers={"Accept": wanted}) as answer:
        assert answer.headers["Content-Type"] == PROTOBUF
    code, _ = await client.ask("GET", CONFIG_MAPS, headers={"Accept": "application/json;q=0"})
    assert code == 406


async def test_people_get_line_breaks(client: Client) -> None:
    async def text(query: str = "", **headers: str) -> str:
        url = client.server.url + CONFIG_MAPS + query
        async with client.session.get(url, headers={n.replace("_", "-"): v for n, v in headers.items()}) as answer:
            assert answer.headers["Content-Type"] == "application/json"
            return await answer.text()

    plain = await text()
    assert "\n" not in plain
    for pretty in (
        await text("?pretty=true"), await text(User_Agent="curl/8"), await text(Accept="application/json;pretty=1"),
    ):  # fmt: skip
        assert pretty.startswith('{\n  "kind": "ConfigMapList",\n')
        assert json.loads(pretty) == json.loads(plain)
    assert await text("?pretty=false", User_Agent="curl/8") == plain


async def test_large_lists_of_both_kinds_are_compressed(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("big", None, k="x" * 200_000))
    for accept in ("application/json", PROTOBUF):
        wanted = {"Accept": accept, "Accept-Encoding": "gzip"}
        async with client.session.get(client.server.url + CONFIG_MAPS, headers=wanted) as answer:
            assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
            assert len(await answer.read()) > 200_000
        async with client.session.get(
            client.server.url + CONFIG_MAPS, headers={**wanted, "Accept-Encoding": "identity"}
        ) as answer:
            assert "Content-Encoding" not in answer.headers


async def test_a_compressed_body_is_read_within_its_bound(client: Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(config_map("a", k="v")).encode())
    assert (await client.ask("POST", CONFIG_MAPS, body, headers=headers))[0] == 201
    bomb = gzip.compress(b'{"a":"' + b"x" * (64 << 20) + b'"}')
    assert len(bomb) < 100_000
    code, answer = await client.ask("POST", CONFIG_MAPS, bomb, headers=headers)
    assert (code, answer["message"]) == (413, "Request entity too large: limit is 3145728")
    code, answer = await client.ask("POST", CONFIG_MAPS, b"no gzip at all", headers=headers)
    assert (code, answer["reason"]) == (400, "BadRequest")


async def test_metadata_alone_in_yaml(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a", k="v"))
    wanted = METADATA["Accept"].split(",")[0].replace("application/json", YAML)
    _, text = await client.ask("GET", CONFIG_MAPS, headers={"Accept": wanted})
    found = yaml.safe_load(text)
    assert (found["kind"], found["items"][0].keys()) == (
        "PartialObjectMetadataList", {"kind", "apiVersion", "metadata"},
    )  # fmt: skip
