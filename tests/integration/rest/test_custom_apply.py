"""Server-side apply and managed fields for kinds that users define."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.store.memory import MemoryBackend, MemoryStore
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from mizzen.wire.gen.mizzen.v1 import cluster_pb2_grpc
from tests.fixtures.control_plane import channel, control_plane
from tests.fixtures.deciders import deciding
from tests.integration.rest import test_custom_grpc, test_custom_http, test_custom_kubectl
from tests.integration.rest.conftest import Client, Kubectl, kubectls
from tests.integration.rest.test_apply import apply, managers
from tests.integration.rest.test_custom_http import MERGE, WIDGETS, define
from tests.integration.rest.widgets import VERSION, widget

client = test_custom_http.client
WIDGET = f"{WIDGETS}/a"
working_kubectl = test_custom_kubectl.working_kubectl
BINARIES = sorted({*kubectls()[:1], *kubectls()[-1:]})
"""The oldest and the newest kubectl of this machine."""


def who(obj: Any) -> dict[tuple[str, str, str], Any]:
    """The fields of every manager of an object."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", ())
    }


async def test_every_write_is_put_to_the_account_of_who_made_it(client: Client) -> None:
    await define(client)
    made = await client.made(f"{WIDGETS}?fieldManager=one", widget("a", tags=["x"]) | {"status": {"replicas": 1}})
    spec = {".": {}, "f:replicas": {}, "f:size": {}, "f:tags": {".": {}, 'v:"x"': {}}}
    assert who(made) == {("one", "Update", ""): {"f:spec": spec}}
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["apiVersion"], entry["fieldsType"]) == ("example.com/v1", "FieldsV1")

    labelled = {"metadata": {"labels": {"a": "b"}}, "spec": {"tags": ["x", "y"]}}
    await client.ask("PATCH", f"{WIDGET}?fieldManager=two", labelled, headers=MERGE)
    await client.ask("PATCH", f"{WIDGET}/scale?fieldManager=three", {"spec": {"replicas": 4}}, headers=MERGE)
    status = {"status": {"conditions": [{"type": "Ready"}]}}
    code, got = await client.ask("PATCH", f"{WIDGET}/status?fieldManager=four", status, headers=MERGE)
    assert code == 200
    account = {
        ("one", "Update", ""): {"f:spec": {".": {}, "f:size": {}, "f:tags": {".": {}, 'v:"x"': {}}}},
        ("two", "Update", ""): {
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:tags": {'v:"y"': {}}},
        },
        ("three", "Update", "scale"): {"f:spec": {"f:replicas": {}}},
        ("four", "Update", "status"): {"f:status": {".": {}, "f:conditions": {}}},
    }  # fmt: skip
    assert who(got) == account
    _, scale = await client.ask("GET", f"{WIDGET}/scale")
    assert [entry["manager"] for entry in scale["metadata"]["managedFields"]] == ["three"]
    code, replaced = await client.ask("PUT", f"{WIDGET}?fieldManager=five", got | {"spec": {"size": "large"}})
    assert code == 200
    assert who(replaced)["five", "Update", ""] == {"f:spec": {"f:replicas": {}, "f:size": {}}}
    assert ("three", "Update", "scale") not in who(replaced)


async def test_what_is_applied_is_made_merged_and_taken_away(client: Client) -> None:
    await define(client)
    code, made = await apply(client, WIDGET, widget("a", tags=["x", "y"]))
    assert (code, made["spec"]) == (201, {"replicas": 1, "size": "small", "tags": ["x", "y"]})
    assert who(made) == {("m", "Apply", ""): {"f:spec": {"f:size": {}, "f:tags": {'v:"x"': {}, 'v:"y"': {}}}}}
    code, again = await apply(client, WIDGET, widget("a", tags=["x", "y"]))
    assert (code, again) == (200, made)
    code, other = await apply(client, WIDGET, widget("a", tags=["z"]), "fieldManager=n")
    assert (code, other["spec"]["tags"], other["metadata"]["generation"]) == (200, ["x", "y", "z"], 2)
    code, same = await client.ask("PUT", f"{WIDGET}?fieldManager=p", other)
    assert (code, same) == (200, other)
    code, less = await apply(client, WIDGET, widget("a", tags=["y"]))
    assert (code, less["spec"]["tags"]) == (200, ["y", "z"])

    code, refused = await apply(client, WIDGET, widget("a", size="large"), "fieldManager=n")
    assert (code, refused["reason"]) == (409, "Conflict")
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "m": .spec.size'
    code, dry = await apply(client, WIDGET, widget("a", size="large"), "fieldManager=n&force=true&dryRun=All")
    assert (code, dry["spec"]["size"], dry["spec"]["tags"]) == (200, "large", ["y"])
    assert (await client.ask("GET", WIDGET))[1] == less
    code, forced = await apply(client, WIDGET, widget("a", size="large"), "fieldManager=n&force=true")
    assert (code, forced["spec"]["size"]) == (200, "large")
    assert who(forced)["m", "Apply", ""] == {"f:spec": {"f:tags": {'v:"y"': {}}}}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (widget("a", colour="red"), 400, ".spec.colour: field not declared in schema"),
        (widget("a", tags=["x", "x"]), 400, '.spec.tags: duplicate entries for key [="x"]'),
        (widget("a", size="huge"), 422, 'spec.size: Unsupported value: "huge"'),
        (widget("a", replicas="3"), 422, "must be of type integer"),
        (widget("b"), 400, "the name of the object (b) does not match"),
        (widget("a") | {"apiVersion": "example.com/v2"}, 400, "invalid object type: example.com/v2, Kind=Widget"),
    ],
)
async def test_what_is_applied_is_checked(client: Client, body: Any, code: int, message: str) -> None:
    await define(client)
    got, answer = await apply(client, WIDGET, body)
    assert got == code
    assert message in answer["message"]
    assert (await client.ask("GET", WIDGET))[0] == 404


async def test_status_and_scale_are_applied_apart(client: Client) -> None:
    await define(client)
    head = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a", "labels": {"a": "b"}}}
    status = head | {"status": {"replicas": 2}}
    assert (await apply(client, f"{WIDGET}/status", status))[0] == 404
    await apply(client, WIDGET, widget("a", replicas=2))
    code, got = await apply(client, f"{WIDGET}/status", status, "fieldManager=s")
    assert (code, got["status"], got["metadata"]["generation"]) == (200, {"replicas": 2}, 1)
    assert "labels" not in got["metadata"]
    assert who(got)["s", "Apply", "status"] == {"f:status": {"f:replicas": {}}}
    assert (await apply(client, f"{WIDGET}/status", status, "fieldManager=s"))[1] == got
    code, got = await apply(client, f"{WIDGET}/status", head | {"status": {}}, "fieldManager=s")
    assert (code, got["status"]) == (200, {})

    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 3}}
    code, answer = await apply(client, f"{WIDGET}/scale", scale, "fieldManager=n")
    assert (code, answer["message"]) == (409, 'Apply failed with 1 conflict: conflict with "m": .spec.replicas')
    code, answer = await apply(client, f"{WIDGET}/scale", scale, "fieldManager=n&force=true")
    assert (code, answer["spec"]) == (200, {"replicas": 3})
    wrong = scale | {"spec": {"replicas": -1}}
    assert (await apply(client, f"{WIDGET}/scale", wrong, "fieldManager=n"))[0] == 422
    _, got = await client.ask("GET", WIDGET)
    assert who(got)["n", "Apply", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert who(got)["m", "Apply", ""] == {"f:spec": {"f:size": {}}}


async def test_who_has_no_account_is_known_as_before_the_first_apply(client: Client) -> None:
    await define(client)
    await client.made(WIDGETS, widget("a"))
    forget = {"metadata": {"managedFields": [{}]}}
    code, got = await client.ask("PATCH", WIDGET, forget, headers=MERGE)
    assert (code, who(got)) == (200, {})
    _, got = await client.ask("PATCH", WIDGET, {"spec": {"replicas": 2}}, headers=MERGE)
    assert who(got) == {}
    code, answer = await apply(client, WIDGET, widget("a", replicas=3))
    assert (code, answer["details"]["causes"][0]["field"]) == (409, ".spec.replicas")
    assert 'conflict with "before-first-apply" using example.com/v1' in answer["message"]
    code, got = await apply(client, WIDGET, widget("a"))
    assert (code, who(got)) == (
        200,
        {
            ("before-first-apply", "Update", ""): {"f:spec": {".": {}, "f:replicas": {}, "f:size": {}}},
            ("m", "Apply", ""): {"f:spec": {"f:size": {}}},
        },
    )


async def test_kinds_without_parts_keep_their_numbers_and_their_status_as_they_like(client: Client) -> None:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "pool": {"type": "object", "properties": {"size": {"type": "integer"}}},
                    "ports": {
                        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object", "required": ["name"],
                            "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
                        },
                    },
                },
            },
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        },
    }  # fmt: skip
    paths = {"specReplicasPath": ".spec.pool.size", "statusReplicasPath": ".status.replicas"}
    plain = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    await define(client, plain | {"subresources": {"scale": paths}})
    body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}}
    ports = [{"name": "x", "port": 1}, {"name": "y", "port": 2}]
    code, got = await apply(client, WIDGET, body | {"spec": {"ports": ports}, "status": {"replicas": 1}})
    assert (code, got["status"]) == (201, {"replicas": 1})
    item = {".": {}, "f:name": {}, "f:port": {}}
    fields = {'k:{"name":"x"}': item, 'k:{"name":"y"}': item}
    account = {"f:spec": {"f:ports": fields}, "f:status": {"f:replicas": {}}}
    assert who(got) == {("m", "Apply", ""): account}
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 3}}
    code, answer = await apply(client, f"{WIDGET}/scale", scale, "fieldManager=n")
    assert (code, answer["spec"], who(answer)) == (
        200, {"replicas": 3}, {("n", "Apply", "scale"): {"f:spec": {"f:replicas": {}}}},
    )  # fmt: skip
    more = body | {"spec": {"ports": [{"name": "x", "port": 1}, {"name": "z", "port": 3}]}}
    code, got = await apply(client, WIDGET, more)
    assert (code, got["spec"]["ports"]) == (200, more["spec"]["ports"])
    assert got["spec"]["pool"] == {"size": 3}
    assert "status" not in got
    assert who(got)["n", "Apply", "scale"] == {"f:spec": {"f:pool": {"f:size": {}}}}


async def test_each_version_speaks_for_itself(client: Client) -> None:
    await define(client, VERSION, VERSION | {"name": "v2", "storage": False})
    await client.made(f"{WIDGETS}?fieldManager=one", widget("a"))
    second, path = widget("a", tags=["x"]) | {"apiVersion": "example.com/v2"}, WIDGET.replace("/v1/", "/v2/")
    code, got = await apply(client, path, second)
    assert (code, got["apiVersion"]) == (200, "example.com/v2")
    versions = {entry["manager"]: entry["apiVersion"] for entry in got["metadata"]["managedFields"]}
    assert versions == {"m": "example.com/v2", "one": "example.com/v1"}
    code, got = await apply(client, WIDGET, widget("a"))
    assert (code, "tags" in got["spec"]) == (200, False)
    versions = {entry["manager"]: entry["apiVersion"] for entry in got["metadata"]["managedFields"]}
    assert versions == {"m": "example.com/v1", "one": "example.com/v1"}


async def test_programs_apply_over_grpc(tmp_path: Path) -> None:
    store = MemoryStore(MemoryBackend())
    async with control_plane(tmp_path, store=store) as plane, deciding(store, plane.registry):
        await test_custom_grpc.served(plane)
        async with channel(plane.config) as connection:
            cluster = cluster_pb2_grpc.ClusterStub(connection)

            async def applied(manager: str, force: bool = False, **spec: Any) -> Any:
                value = widget("a", **spec)
                value["metadata"]["namespace"] = "default"
                packed = test_custom_grpc.packed(value)
                answer = await cluster.Apply(pb.ApplyRequest(object=packed, field_manager=manager, force=force))
                return test_custom_grpc.unpacked(answer.object)

            made = await applied("one", tags=["x"])
            assert who(made) == {("one", "Apply", ""): {"f:spec": {"f:size": {}, "f:tags": {'v:"x"': {}}}}}
            assert await applied("one", tags=["x"]) == made
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await applied("two", size="large")
            assert 'conflict with "one": .spec.size' in (refused.value.details() or "")
            forced = await applied("two", force=True, size="large")
            assert forced["spec"] == {"replicas": 1, "size": "large", "tags": ["x"]}


@pytest.mark.parametrize(
    "working_kubectl", BINARIES or [None], indirect=True, ids=lambda path: path.name if path else "none"
)
async def test_kubectl_applies_on_the_server(working_kubectl: Kubectl) -> None:
    kubectl = working_kubectl
    await test_custom_kubectl.define(kubectl)
    manifest = json.dumps(widget("a", replicas=2))
    command = ("apply", "--server-side", "-f", "-")
    assert await kubectl(*command, stdin=manifest) == "widget.example.com/a serverside-applied\n"
    applied = {"f:spec": {"f:replicas": {}, "f:size": {}}}
    assert await managers(kubectl, "wd/a") == {("kubectl", "Apply", ""): applied}
    assert await kubectl("diff", "--server-side", "-f", "-", stdin=manifest) == ""
    code, out = await kubectl.ends("diff", "--server-side", "-f", "-", stdin=json.dumps(widget("a", size="large")))
    assert (code, "+  size: large" in out) == (1, True)

    await kubectl("scale", "wd", "a", "--replicas=4")
    refused = await kubectl.fails(*command, stdin=manifest)
    assert "Apply failed with 1 conflict" in refused
    assert 'with subresource "scale" using example.com/v1: .spec.replicas' in refused
    await kubectl(*command, "--force-conflicts", stdin=manifest)
    assert await managers(kubectl, "wd/a") == {("kubectl", "Apply", ""): applied}

    # From client-side apply to the server's.
    await kubectl("apply", "-f", "-", stdin=json.dumps(widget("b")))
    assert (await managers(kubectl, "wd/b")).keys() == {("kubectl-client-side-apply", "Update", "")}
    await kubectl(*command, stdin=json.dumps(widget("b", size="large")))
    found = await managers(kubectl, "wd/b")
    assert found["kubectl", "Apply", ""] == {"f:spec": {"f:size": {}}}
    assert ("kubectl-client-side-apply", "Update", "") not in found
