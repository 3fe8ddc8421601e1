"""The description of the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mizzen.api import kinds, openapi
from mizzen.api.openapi_schema import public_name

VERSION = "v1.36.0"
DOCUMENTS = {gv: openapi.document(*gv, server_version=VERSION) for gv in openapi.group_versions()}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_index() -> None:
    paths = [openapi.path_of(*gv) for gv in openapi.group_versions()]
    assert paths[:2] == ["api/v1", "apis/apps/v1"]
    assert {"apis/autoscaling/v1", "apis/autoscaling/v2", "apis/events.k8s.io/v1"} <= {*paths}
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("gv", DOCUMENTS, ids=str)
def test_references_lead_somewhere(gv: tuple[str, str]) -> None:
    document = DOCUMENTS[gv]
    prefix = "#/components/schemas/"
    for reference in references(document):
        assert reference.startswith(prefix)
        assert reference.removeprefix(prefix) in document["components"]["schemas"]


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds.KINDS if "patch" in kind.verbs], ids=lambda kind: kind.resource
)
def test_patch_says_that_the_server_checks_fields(kind: kinds.Kind[Any]) -> None:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    middle = "/namespaces/{namespace}" if kind.namespaced else ""
    patch = DOCUMENTS[kind.group, kind.version]["paths"][f"{root}{middle}/{kind.plural}/{{name}}"]["patch"]
    identity = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    assert patch["x-kubernetes-group-version-kind"] == identity
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    schema = DOCUMENTS[kind.group, kind.version]["components"]["schemas"][public_name(message(kind))]
    assert schema["x-kubernetes-group-version-kind"] == [identity]


def message(kind: kinds.Kind[Any]) -> str:
    return f"{kind.type.__module__.rpartition('.')[2]}.{kind.type.__name__}"


def test_operations_have_names_of_their_own() -> None:
    names = [
        operation["operationId"]
        for document in DOCUMENTS.values()
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names))
    assert {
        "listCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "readCoreV1Node",
        "patchAppsV1NamespacedDeployment",
    } <= {*names}


def test_schemas() -> None:
    schemas = DOCUMENTS["", "v1"]["components"]["schemas"]
    container = schemas["io.k8s.api.core.v1.Container"]
    assert container["required"] == ["name"]
    ports = container["properties"]["ports"]
    assert ports["type"] == "array"
    assert ports["x-kubernetes-list-type"] == "map"
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"
    assert ports["x-kubernetes-patch-strategy"] == "merge"
    assert container["properties"]["resources"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.api.core.v1.ResourceRequirements"}
    ]
    assert schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"] == {
        "oneOf": [{"type": "string"}, {"type": "number"}]
    }
    created = schemas["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]["creationTimestamp"]
    assert created["allOf"] == [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Time"}]
    assert "created" in created["description"]
