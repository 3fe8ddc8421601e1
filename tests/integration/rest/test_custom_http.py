"""Kinds that users define, over plain HTTP: what is refused, filled in, shown in versions, and told to watchers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.store.memory import MemoryBackend, MemoryStore
from mizzen.api import kinds
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.api import scalars_pb2
from tests.fixtures.api_server import api_server
from tests.fixtures.deciders import deciding
from tests.integration.rest.conftest import Client, tls_of
from tests.integration.rest.test_access import as_user
from tests.integration.rest.widgets import DEFINITION, SCHEMA, VERSION, definition, widget

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
MERGE = {"Content-Type": "application/merge-patch+json"}
PROTOBUF = convert.CONTENT_TYPE
WAIT_S = 10.0


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """An administrator of a server whose controllers run."""
    store = MemoryStore(MemoryBackend())
    async with api_server(tmp_path, store=store) as server, deciding(store, server.registry):
        tls: ssl.SSLContext = tls_of(server, server.client_certificate, server.client_key)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
            yield Client(server, session)


async def until(client: Client, path: str, right: Any) -> Any:
    """The answer of a path once `right(code, answer)` holds."""
    async with asyncio.timeout(WAIT_S):
        while True:
            code, answer = await client.ask("GET", path)
            if right(code, answer):
                return answer
            await asyncio.sleep(0.01)


async def define(client: Client, *versions: dict[str, Any], **spec: Any) -> None:
    """Define widgets and wait until they are served."""
    await client.made(DEFINITIONS, definition(*versions, **spec))
    await until(client, "/apis/example.com/v1", lambda code, _: code == 200)


async def changed(client: Client, patch: dict[str, Any], shown: str) -> None:
    """Change the definition and wait until the description of the API has `shown`."""
    assert (await client.ask("PATCH", f"{DEFINITIONS}/{DEFINITION}", patch, headers=MERGE))[0] == 200
    await until(client, "/openapi/v3/apis/example.com/v1", lambda _, answer: shown in json.dumps(answer))


async def test_the_status_is_written_apart_and_generations_count_the_rest(client: Client) -> None:
    await define(client)
    made = await client.made(WIDGETS, widget("a") | {"status": {"replicas": 3}})
    assert "status" not in made
    assert made["metadata"]["generation"] == 1
    path = f"{WIDGETS}/a"
    code, answer = await client.ask("PUT", f"{path}/status", made | {"spec": {"size": "large"}, "status": {"x": 1}})
    assert (code, answer["spec"]["size"], answer["status"], answer["metadata"]["generation"]) == (
        200,
        "small",
        {"x": 1},
        1,
    )
    code, answer = await client.ask("PATCH", path, {"spec": {"size": "large"}, "status": None}, headers=MERGE)
    assert (code, answer["spec"]["size"], answer["status"], answer["metadata"]["generation"]) == (
        200,
        "large",
        {"x": 1},
        2,
    )
    code, answer = await client.ask("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, headers=MERGE)
    assert (code, answer["metadata"]["generation"]) == (200, 2)


async def test_a_strategic_merge_patch_is_not_for_users_kinds(client: Client) -> None:
    await define(client)
    await client.made(WIDGETS, widget("a"))
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    code, answer = await client.ask("PATCH", f"{WIDGETS}/a", {"spec": {"size": "large"}}, headers=headers)
    assert (code, answer["reason"]) == (415, "UnsupportedMediaType")
    assert "application/merge-patch+json" in answer["message"]


async def test_unknown_fields_are_dropped_and_told_of_as_the_client_asks(client: Client) -> None:
    await define(client)
    odd = widget("a", colour="red")
    code, answer = await client.ask("POST", f"{WIDGETS}?fieldValidation=Strict", odd)
    assert (code, answer["reason"]) == (400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.colour"' in answer["message"]
    async with client.session.post(client.server.url + WIDGETS, json=odd) as response:
        assert response.headers["Warning"] == '299 - "unknown field \\"spec.colour\\""'
        assert "colour" not in (await response.json())["spec"]
    text = json.dumps(widget("b")).replace('"size"', '"size": "large", "size"')
    code, answer = await client.ask(
        "POST", f"{WIDGETS}?fieldValidation=Strict", text, headers={"Content-Type": "application/json"}
    )
    assert 'duplicate field "spec.size"' in answer["message"]


async def test_what_is_stored_is_shown_by_the_schema_of_now(client: Client) -> None:
    await define(client)
    await client.made(WIDGETS, widget("a", tags=["x"]))
    schema = deepcopy(SCHEMA)
    del schema["properties"]["spec"]["properties"]["tags"]
    schema["properties"]["spec"]["properties"]["colour"] = {"type": "string", "default": "red"}
    version = VERSION | {"schema": {"openAPIV3Schema": schema}}
    await changed(client, {"spec": {"versions": [version]}}, "colour")
    assert (await client.ask("GET", f"{WIDGETS}/a"))[1]["spec"] == {"colour": "red", "replicas": 1, "size": "small"}
    assert (await client.ask("GET", WIDGETS))[1]["items"][0]["spec"]["colour"] == "red"


async def test_an_object_that_became_wrong_can_be_changed_elsewhere(client: Client) -> None:
    await define(client)
    await client.made(WIDGETS, widget("a", replicas=8))
    schema = deepcopy(SCHEMA)
    schema["properties"]["spec"]["properties"]["replicas"]["maximum"] = 4
    await changed(client, {"spec": {"versions": [VERSION | {"schema": {"openAPIV3Schema": schema}}]}}, '"maximum": 4')
    code, _ = await client.ask("PATCH", f"{WIDGETS}/a", {"spec": {"size": "large"}}, headers=MERGE)
    assert code == 200
    code, answer = await client.ask("PATCH", f"{WIDGETS}/a", {"spec": {"replicas": 9}}, headers=MERGE)
    assert code == 422
    assert answer["details"]["causes"][0]["message"] == (
        "Invalid value: 9: spec.replicas in body should be less than or equal to 4"
    )


async def test_versions_show_the_same_objects(client: Client) -> None:
    old = VERSION | {"name": "v1beta1", "storage": False, "deprecated": True}
    await define(client, VERSION, old)
    await client.made(WIDGETS, widget("a"))
    path = WIDGETS.replace("v1", "v1beta1")
    async with client.session.get(f"{client.server.url}{path}/a") as response:
        assert (await response.json())["apiVersion"] == "example.com/v1beta1"
        assert (
            response.headers["Warning"] == '299 - "example.com/v1beta1 Widget is deprecated; use example.com/v1 Widget"'
        )
    code, listed = await client.ask("GET", path)
    assert [item["apiVersion"] for item in listed["items"]] == ["example.com/v1beta1"]
    assert (listed["kind"], listed["apiVersion"]) == ("WidgetList", "example.com/v1beta1")
    await client.made(path, widget("b") | {"apiVersion": "example.com/v1beta1"})
    assert [item["apiVersion"] for item in (await client.ask("GET", WIDGETS))[1]["items"]] == ["example.com/v1"] * 2
    code, group = await client.ask("GET", "/apis/example.com")
    assert (group["preferredVersion"]["version"], len(group["versions"])) == ("v1", 2)
    code, _ = await client.ask("POST", path, widget("c"))
    assert code == 400


async def test_a_watcher_hears_of_everything_in_its_version(client: Client) -> None:
    await define(client)
    url = f"{client.server.url}{WIDGETS}?watch=1&fieldSelector=spec.size%3Dlarge"
    async with client.session.get(url) as watch:
        await client.made(WIDGETS, widget("a"))
        await client.ask("PATCH", f"{WIDGETS}/a", {"spec": {"size": "large"}}, headers=MERGE)
        await client.ask("PATCH", f"{WIDGETS}/a", {"spec": {"size": "small"}}, headers=MERGE)
        async with asyncio.timeout(WAIT_S):
            lines = [json.loads(await watch.content.readline()) for _ in range(2)]
    assert [(line["type"], line["object"]["kind"]) for line in lines] == [("ADDED", "Widget"), ("DELETED", "Widget")]


async def test_lists_come_in_pages_and_collections_go_together(client: Client) -> None:
    await define(client)
    for name in ("a", "b", "c"):
        await client.made(WIDGETS, widget(name))
    _, page = await client.ask("GET", f"{WIDGETS}?limit=2")
    assert (len(page["items"]), page["metadata"]["remainingItemCount"]) == (2, 1)
    _, rest = await client.ask("GET", f"{WIDGETS}?limit=2&continue={page['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]
    code, _ = await client.ask("DELETE", f"{WIDGETS}?fieldSelector=metadata.name%21%3Db")
    assert code == 200
    assert [item["metadata"]["name"] for item in (await client.ask("GET", WIDGETS))[1]["items"]] == ["b"]
    code, answer = await client.ask("GET", f"{WIDGETS}?fieldSelector=spec.colour%3Dred")
    assert (code, answer["message"].rpartition(": ")[0].endswith("field label not supported")) == (400, True)


async def test_a_definition_that_goes_waits_for_its_objects(client: Client) -> None:
    await define(client)
    held = widget("held")
    held["metadata"]["finalizers"] = ["example.com/mine"]
    await client.made(WIDGETS, held)
    await client.made(WIDGETS, widget("free"))
    path = f"{DEFINITIONS}/{DEFINITION}"
    code, answer = await client.ask("DELETE", path)
    assert code == 200
    assert answer["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    await until(client, f"{WIDGETS}/free", lambda code, _: code == 404)

    def busy(_: int, answer: Any) -> bool:
        return any(one["reason"] == "InstanceDeletionInProgress" for one in answer["status"]["conditions"])

    await until(client, path, busy)
    assert (await client.ask("POST", WIDGETS, widget("late")))[0] == 405
    code, _ = await client.ask("PATCH", f"{WIDGETS}/held", {"metadata": {"finalizers": None}}, headers=MERGE)
    assert code == 200
    await until(client, path, lambda code, _: code == 404)
    await until(client, WIDGETS, lambda code, _: code == 404)
    assert "example.com" not in json.dumps((await client.ask("GET", "/apis"))[1])
    assert "com.example.v1.Widget" not in (await client.ask("GET", "/openapi/v2"))[1]["definitions"]


async def test_names_that_others_have_keep_a_definition_out(client: Client) -> None:
    await define(client)
    names = {"plural": "gadgets", "kind": "Gadget", "shortNames": ["wd"]}
    other = definition(names=names) | {"metadata": {"name": "gadgets.example.com"}}
    await client.made(DEFINITIONS, other)

    def refused(_: int, answer: Any) -> bool:
        return bool(answer["status"]["conditions"])

    answer = await until(client, f"{DEFINITIONS}/gadgets.example.com", refused)
    said = {one["type"]: (one["status"], one["reason"], one["message"]) for one in answer["status"]["conditions"]}
    assert said == {
        "NamesAccepted": ("False", "ShortNamesConflict", '"wd" is already in use'),
        "Established": ("False", "NotAccepted", "not all names are accepted"),
    }
    assert (await client.ask("DELETE", f"{DEFINITIONS}/{DEFINITION}"))[0] == 200
    await until(client, "/apis/example.com/v1/gadgets", lambda code, _: code == 200)


async def test_the_scale_is_read_and_set(client: Client) -> None:
    await define(client)
    await client.made(WIDGETS, widget("a"))
    path = f"{WIDGETS}/a/scale"
    code, scale = await client.ask("GET", path)
    assert (code, scale["kind"], scale["spec"], scale["status"]) == (200, "Scale", {"replicas": 1}, {"replicas": 0})
    code, scale = await client.ask("PUT", path, scale | {"spec": {"replicas": 7}})
    assert (code, scale["spec"]) == (200, {"replicas": 7})
    assert (await client.ask("GET", f"{WIDGETS}/a"))[1]["spec"]["replicas"] == 7
    code, answer = await client.ask("PUT", path, scale | {"spec": {"replicas": 70}})
    assert (code, answer["reason"]) == (422, "Invalid")


async def test_rules_compare_with_what_was_there(client: Client) -> None:
    schema = deepcopy(SCHEMA)
    schema["properties"]["spec"]["x-kubernetes-validations"] = [
        {"rule": "self.size != 'small' || self.replicas <= 2", "message": "small widgets come in pairs"},
        {
            "rule": "self.replicas >= oldSelf.replicas",
            "messageExpression": "'never fewer than ' + string(oldSelf.replicas)",
        },
    ]
    await define(client, VERSION | {"schema": {"openAPIV3Schema": schema}})
    code, answer = await client.ask("POST", WIDGETS, widget("a", replicas=3))
    assert (code, answer["message"]) == (
        422, 'Widget.example.com "a" is invalid: spec: Invalid value: "object": small widgets come in pairs',
    )  # fmt: skip
    await client.made(WIDGETS, widget("a", replicas=2))
    code, answer = await client.ask("PATCH", f"{WIDGETS}/a", {"spec": {"replicas": 1}}, headers=MERGE)
    assert (code, answer["details"]["causes"][0]["message"]) == (422, 'Invalid value: "object": never fewer than 2')
    assert (await client.ask("PATCH", f"{WIDGETS}/a", {"spec": {"size": "large", "replicas": 9}}, headers=MERGE))[
        0
    ] == 200


async def test_widgets_in_yaml_and_their_scales_in_protobuf_but_no_widgets(client: Client) -> None:
    await define(client)
    await client.made(WIDGETS, widget("a"))

    async def asked(method: str, path: str, accept: str, **request: Any) -> tuple[int, str, bytes]:
        headers = {"Accept": accept, **request.pop("headers", {})}
        async with client.session.request(method, client.server.url + path, headers=headers, **request) as answer:
            return answer.status, answer.content_type, await answer.read()

    for path in (WIDGETS, f"{WIDGETS}/a", f"{WIDGETS}?watch=1&timeoutSeconds=1"):
        code, media_type, body = await asked("GET", path, PROTOBUF)
        assert (code, media_type, json.loads(body)["reason"]) == (406, "application/json", "NotAcceptable")
        assert (await asked("GET", path, f"{PROTOBUF},application/json"))[:2] == (200, "application/json")
    code, media_type, body = await asked("GET", WIDGETS, "application/yaml")
    assert (code, media_type) == (200, "application/yaml")
    assert b"kind: WidgetList" in body
    new = widget("b")
    sent = {"data": json.dumps(new), "headers": {"Content-Type": "application/yaml"}}
    assert (await asked("POST", WIDGETS, "application/yaml", **sent))[0] == 201
    sent["headers"] = {"Content-Type": PROTOBUF}
    code, _, body = await asked("POST", WIDGETS, "application/json", **sent)
    assert (code, json.loads(body)["reason"]) == (415, "UnsupportedMediaType")
    code, media_type, body = await asked("GET", f"{WIDGETS}/a/scale", PROTOBUF)
    assert (code, media_type) == (200, PROTOBUF)
    assert scalars_pb2.Unknown.FromString(body.removeprefix(convert.MAGIC)).type_meta.kind == "Scale"
    code, media_type, body = await asked("DELETE", f"{WIDGETS}/a", "application/json;as=Table;v=v1;g=meta.k8s.io")
    assert (code, json.loads(body)["columnDefinitions"][0]["name"]) == (200, "Status")


async def test_widgets_are_for_those_whose_roles_name_them(client: Client) -> None:
    await define(client)
    await client.made(WIDGETS, widget("a"))
    access = f"/apis/{kinds.ROLE.group}/v1/namespaces/default"
    rules = [
        {"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["example.com"], "resources": ["widgets/scale"], "verbs": ["patch"]},
    ]
    await client.made(f"{access}/roles", {"metadata": {"name": "see"}, "rules": rules})
    ref = {"apiGroup": kinds.ROLE.group, "kind": "Role", "name": "see"}
    bound = {"roleRef": ref, "subjects": [{"kind": "User", "name": "ann"}]}
    await client.made(f"{access}/rolebindings", {"metadata": {"name": "see"}, **bound})
    size = {"spec": {"size": "large"}}
    async with as_user(client.server, "ann") as ann:
        assert (await ann.ask("GET", WIDGETS))[0] == 200
        assert (await ann.ask("GET", "/apis/example.com/v1/widgets"))[0] == 403
        code, refused = await ann.ask("PATCH", f"{WIDGETS}/a", size, headers=MERGE)
        assert code == 403
        assert 'User "ann" cannot patch resource "widgets" in API group "example.com"' in refused["message"]
        assert (await ann.ask("PATCH", f"{WIDGETS}/a/scale", {"spec": {"replicas": 3}}, headers=MERGE))[0] == 200
    async with as_user(client.server, "bob") as bob:
        assert (await bob.ask("GET", f"{WIDGETS}/a"))[0] == 403
