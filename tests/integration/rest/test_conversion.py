"""Objects in the versions that a webhook makes of them, over real HTTPS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.webhook_server import WebhookServer, webhook_server
from tests.integration.rest import widgets
from tests.integration.rest.conftest import Client

GROUP = "/apis/example.com"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
V1, V2 = (f"{GROUP}/{version}/namespaces/default/widgets" for version in ("v1", "v2"))
WIDTHS = {"small": 1, "large": 10}
SCHEMA_2 = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["width"],
            "properties": {"width": {"type": "integer", "maximum": 10}, "count": {"type": "integer", "default": 1}},
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def converted(value: dict[str, Any], wanted: str) -> dict[str, Any]:
    """A widget in another version: `size` is `width`, `replicas` are `count`."""
    made: dict[str, Any] = {**value, "apiVersion": wanted}
    spec = value["spec"]
    if wanted.endswith("v2"):
        made["spec"] = {"width": WIDTHS[spec["size"]], "count": spec.get("replicas", 1)}
    else:
        size = next(size for size, width in WIDTHS.items() if width == spec["width"])
        made["spec"] = {"size": size, "replicas": spec.get("count", 1)}
    return made


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """The answer of a webhook that does its work."""
    objects = [converted(one, request["desiredAPIVersion"]) for one in request["objects"]]
    return {"convertedObjects": objects, "result": {"status": "Success"}}


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    """The webhook."""
    async with webhook_server(tmp_path) as running:
        running.answers["convert"] = convert
        yield running


def definition(hooks: WebhookServer, storage: str = "v1") -> dict[str, Any]:
    """Widgets in two versions."""
    scale = {"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.replicas"}
    second = {
        "name": "v2", "served": True, "storage": storage == "v2", "schema": {"openAPIV3Schema": SCHEMA_2},
        "subresources": {"status": {}, "scale": scale},
        "additionalPrinterColumns": [{"name": "Width", "type": "integer", "jsonPath": ".spec.width"}],
        "selectableFields": [{"jsonPath": ".spec.width"}],
    }  # fmt: skip
    webhook = {"clientConfig": hooks.client("convert"), "conversionReviewVersions": ["v1"]}
    first = {**widgets.VERSION, "storage": storage == "v1"}
    return widgets.definition(first, second, conversion={"strategy": "Webhook", "webhook": webhook})


@pytest.fixture
async def defined(client: Client, hooks: WebhookServer) -> None:
    """The kind, stored in v1."""
    await client.made(DEFINITIONS, definition(hooks))
    await established(client, "v1", "v2")


async def established(client: Client, *stored: str) -> None:
    """Play the controller of definitions."""
    path = f"{DEFINITIONS}/{widgets.DEFINITION}"
    _, made = await client.ask("GET", path)
    conditions = [
        {"type": name, "status": "True", "reason": "Test", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for name in ("NamesAccepted", "Established")
    ]
    made["status"] |= {"conditions": conditions, "acceptedNames": made["spec"]["names"]}
    code, answer = await client.ask("PUT", f"{path}/status", made)
    assert code == 200, answer


def wide(name: str, width: int = 10) -> dict[str, Any]:
    """A widget in v2."""
    return {"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": name}, "spec": {"width": width}}


async def patched(client: Client, path: str, body: Any, media_type: str = "merge-patch+json") -> tuple[int, Any]:
    """The answer to a patch."""
    return await client.ask("PATCH", path, body, headers={"Content-Type": f"application/{media_type}"})


@pytest.mark.usefixtures("defined")
async def test_objects_are_read_and_written_in_both_versions(client: Client, hooks: WebhookServer) -> None:
    await client.made(V1, widgets.widget("a", size="large"))
    assert hooks.order == [], "the version that is stored costs nothing"
    code, got = await client.ask("GET", f"{V2}/a")
    assert (code, got["apiVersion"], got["spec"]) == (200, "example.com/v2", {"width": 10, "count": 1})
    ((_, asked),) = hooks.asked
    assert asked["desiredAPIVersion"] == "example.com/v2"
    assert asked["objects"][0]["spec"] == {"size": "large", "replicas": 1}
    await client.ask("GET", f"{V2}/a")
    assert len(hooks.asked) == 1, "it is kept"

    made = await client.made(V2, wide("b"))
    assert (made["apiVersion"], made["spec"]) == ("example.com/v2", {"width": 10, "count": 1})
    _, got = await client.ask("GET", f"{V1}/b")
    assert (got["apiVersion"], got["spec"]) == ("example.com/v1", {"size": "large", "replicas": 1})
    assert (await client.ask("POST", V2, wide("c", 11)))[0] == 422, "the schema of the request's version counts"

    made["spec"]["width"] = 1
    code, got = await client.ask("PUT", f"{V2}/b", made)
    assert (code, got["spec"]["width"], got["metadata"]["generation"]) == (200, 1, 2)
    code, got = await patched(client, f"{V2}/b", {"spec": {"count": 3}})
    assert (code, got["spec"]) == (200, {"width": 1, "count": 3})
    code, got = await client.ask("GET", f"{V2}/b/scale")
    assert (code, got["spec"]) == (200, {"replicas": 3})
    got["spec"]["replicas"] = 4
    code, got = await client.ask("PUT", f"{V2}/b/scale", got)
    assert (code, got["spec"]) == (200, {"replicas": 4})
    code, got = await patched(client, f"{V2}/b/status", {"status": {"replicas": 4}, "spec": {"width": 10}})
    assert (code, got["status"], got["spec"]) == (200, {"replicas": 4}, {"width": 1, "count": 4})
    _, got = await client.ask("GET", f"{V1}/b")
    assert (got["spec"], got["status"]) == ({"size": "small", "replicas": 4}, {"replicas": 4})

    apply = f"{V2}/d?fieldManager=me"
    code, got = await patched(client, apply, wide("d"), "apply-patch+yaml")
    assert (code, got["spec"]["width"]) == (201, 10)
    code, got = await patched(client, apply, wide("d", 1), "apply-patch+yaml")
    assert (code, got["spec"]["width"], got["apiVersion"]) == (200, 1, "example.com/v2")
    version = got["metadata"]["resourceVersion"]
    _, got = await patched(client, apply, wide("d", 1), "apply-patch+yaml")
    assert got["metadata"]["resourceVersion"] == version, "nothing changes"

    assert (await client.ask("DELETE", f"{V2}/b"))[1]["status"] == "Success"
    assert (await client.ask("GET", f"{V1}/b"))[0] == 404


@pytest.mark.usefixtures("defined")
async def test_a_list_is_one_call(client: Client, hooks: WebhookServer) -> None:
    await asyncio.gather(*(client.made(V1, widgets.widget(f"w{i}")) for i in range(200)))
    await client.made(V1, widgets.widget("wide", size="large"))
    _, found = await client.ask("GET", V2)
    assert {one["apiVersion"] for one in found["items"]} == {"example.com/v2"}
    assert (found["apiVersion"], len(found["items"]), len(hooks.asked)) == ("example.com/v2", 201, 1)
    assert len(hooks.asked[0][1]["objects"]) == 201
    _, found = await client.ask("GET", f"{V2}?fieldSelector=spec.width=10")
    assert [one["metadata"]["name"] for one in found["items"]] == ["wide"]
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    _, found = await client.ask("GET", f"{V2}?limit=1", headers=table)
    assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "Width"]
    assert found["rows"][0]["cells"] == ["w0", 1]
    _, found = await client.ask("GET", f"{V2}?limit=10")
    assert (len(found["items"]), found["metadata"]["remainingItemCount"]) == (10, 191)
    assert len(hooks.asked) == 1, "they are kept"


@pytest.mark.usefixtures("defined")
async def test_watches_see_their_own_version(client: Client, hooks: WebhookServer) -> None:
    made = await client.made(V1, widgets.widget("a"))
    since = made["metadata"]["resourceVersion"]

    async def events(path: str) -> list[tuple[str, str, Any]]:
        query = f"watch=1&resourceVersion={since}&timeoutSeconds=20"
        async with client.session.get(f"{client.server.url}{path}?{query}") as answer:
            lines = [json.loads(await answer.content.readline()) for _ in range(2)]
        return [(one["type"], one["object"]["apiVersion"], one["object"]["spec"]) for one in lines]

    watching = [asyncio.create_task(events(path)) for path in (V1, V2, V2)]
    await patched(client, f"{V1}/a", {"spec": {"size": "large"}})
    await client.ask("DELETE", f"{V1}/a")
    first, *others = await asyncio.gather(*watching)
    spec: dict[str, Any] = {"size": "large", "replicas": 1}
    assert first == [("MODIFIED", "example.com/v1", spec), ("DELETED", "example.com/v1", spec)]
    for seen in others:
        spec = {"width": 10, "count": 1}
        assert seen == [("MODIFIED", "example.com/v2", spec), ("DELETED", "example.com/v2", spec)]
    assert len(hooks.asked) <= 2, "who waits for the same waits for one call"


def _with(**metadata: Any) -> Any:
    def respond(request: dict[str, Any]) -> dict[str, Any]:
        answer = convert(request)
        answer["convertedObjects"][0]["metadata"] = {**request["objects"][0]["metadata"], **metadata}
        return answer

    return respond


SAID = "Internal error occurred: conversion webhook for example.com/v1, Kind=Widget "


@pytest.mark.usefixtures("defined")
async def test_what_a_webhook_may_not_answer(client: Client, hooks: WebhookServer) -> None:
    made = await client.made(V1, widgets.widget("a"))
    wrong_kind = converted(made, "example.com/v2") | {"kind": "Gadget"}
    for answer, said in (
        (lambda _: {"result": {"status": "Failed", "message": "no idea"}}, "failed: no idea"),
        (lambda _: {"result": {"status": "Failed"}}, "failed: response.result.status was 'Failed', not 'Success'"),
        (lambda request: convert(request) | {"convertedObjects": []}, "returned 0 objects, expected 1"),
        (lambda request: convert(request) | {"uid": "other"}, "failed: expected response.uid="),
        (
            lambda request: convert(request) | {"convertedObjects": request["objects"]},
            "returned invalid object at index 0: invalid groupVersion (expected example.com/v2, ",
        ),
        (
            lambda request: convert(request) | {"convertedObjects": [wrong_kind]},
            "returned invalid object at index 0: invalid kind (expected Widget, received Gadget)",
        ),
        (_with(name="b"), "returned invalid object: must have the same name: a != b"),
        (_with(namespace="other"), "returned invalid object: must have the same namespace: default != other"),
        (_with(uid="x"), "returned invalid object: must have the same UID: "),
        (_with(labels={"a b": "c"}), "returned invalid metadata: metadata.labels: Invalid value: "),
    ):
        hooks.answers["convert"] = answer
        code, got = await client.ask("GET", f"{V2}/a")
        assert code == 500
        assert got["message"].startswith(SAID + said), got["message"]
    hooks.answers["convert"] = _with(labels={"a": "b"}, finalizers=["x/y"], generation=7)
    _, got = await client.ask("GET", f"{V2}/a")
    assert (got["metadata"]["labels"], "finalizers" in got["metadata"]) == ({"a": "b"}, False)
    assert got["metadata"]["generation"] == 1


@pytest.mark.usefixtures("defined")
async def test_without_the_webhook_only_what_needs_it_fails(client: Client, hooks: WebhookServer) -> None:
    await client.made(V1, widgets.widget("a"))
    broken = definition(hooks)
    broken["spec"]["conversion"]["webhook"]["clientConfig"] = hooks.client("broken")
    assert (await patched(client, f"{DEFINITIONS}/{widgets.DEFINITION}", {"spec": broken["spec"]}))[0] == 200
    for method, path, body in (
        ("GET", f"{V2}/a", None),
        ("GET", V2, None),
        ("DELETE", f"{V2}/a", None),
        ("POST", V2, wide("b")),
        ("PUT", f"{V2}/a", wide("a")),
    ):
        code, got = await client.ask(method, path, body)
        assert code == 500, (method, path, got)
        assert "conversion webhook for example.com/v" in got["message"]
        assert 'an error on the server (\\"out of order\\")' in json.dumps(got) or "out of order" in got["message"]
    async with client.session.get(f"{client.server.url}{V2}?watch=1") as answer:
        assert answer.status == 500 or json.loads(await answer.content.readline())["type"] == "ERROR"
    assert (await client.ask("GET", f"{V1}/a"))[0] == 200
    assert (await client.ask("DELETE", f"{V1}/a"))[0] == 200


@pytest.mark.usefixtures("defined")
async def test_objects_stay_in_the_version_they_were_stored_in_until_they_are_written(
    client: Client, hooks: WebhookServer
) -> None:
    await client.made(V1, widgets.widget("a"))
    path = f"{DEFINITIONS}/{widgets.DEFINITION}"
    code, got = await patched(client, path, {"spec": definition(hooks, "v2")["spec"]})
    assert (code, got["status"]["storedVersions"]) == (200, ["v1", "v2"])
    hooks.asked.clear()
    assert (await client.ask("GET", f"{V1}/a"))[1]["spec"] == {"size": "small", "replicas": 1}
    assert hooks.asked == []
    _, got = await client.ask("GET", f"{V2}/a")
    assert len(hooks.asked) == 1
    # Writing it as it is stores it anew.
    code, written = await client.ask("PUT", f"{V2}/a", got)
    assert code == 200
    assert written["metadata"]["resourceVersion"] != got["metadata"]["resourceVersion"]
    hooks.asked.clear()
    assert (await client.ask("GET", f"{V2}/a"))[1]["spec"] == {"width": 1, "count": 1}
    assert hooks.asked == [], "it is stored in v2 now"
    assert (await client.ask("GET", f"{V1}/a"))[1]["spec"] == {"size": "small", "replicas": 1}
    assert len(hooks.asked) == 1
