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
    assert {"apis/apiextensions.k8s.io/v1", "apis/admissionregistration.k8s.io/v1"} <= {*paths}
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


def test_paths_below_pods_lead_to_what_runs() -> None:
    paths = DOCUMENTS["", "v1"]["paths"]
    pod = "/api/v1/namespaces/{namespace}/pods/{name}"
    log = paths[f"{pod}/log"]["get"]
    assert log["operationId"] == "readCoreV1NamespacedPodLog"
    assert log["responses"]["200"]["content"]["text/plain"] == {"schema": {"type": "string"}}
    asked = {parameter["name"]: parameter["schema"]["type"] for parameter in log["parameters"]}
    assert (asked["follow"], asked["tailLines"], asked["container"]) == ("boolean", "integer", "string")
    assert "sinceTime" not in asked
    run = paths[f"{pod}/exec"]
    assert {*run} == {"get", "post", "parameters"}
    assert run["post"]["operationId"] == "connectCoreV1PostNamespacedPodExec"
    assert run["get"]["x-kubernetes-action"] == "connect"
    assert run["get"]["x-kubernetes-group-version-kind"]["kind"] == "PodExecOptions"
    assert run["get"]["responses"]["200"]["content"] == {"*/*": {"schema": {"type": "string"}}}
    assert "command" in [parameter["name"] for parameter in run["get"]["parameters"]]
    for below in ("attach", "portforward"):
        assert {*paths[f"{pod}/{below}"]} == {"get", "post", "parameters"}


@pytest.mark.parametrize(
    ("where", "word"),
    [
        ("namespaces/{namespace}/pods", "NamespacedPod"),
        ("namespaces/{namespace}/services", "NamespacedService"),
        ("nodes", "Node"),
    ],
)
def test_proxies_take_every_method(where: str, word: str) -> None:
    paths = DOCUMENTS["", "v1"]["paths"]
    item = paths[f"/api/v1/{where}/{{name}}/proxy/{{path}}"]
    assert {*item} == {"get", "put", "post", "delete", "options", "head", "patch", "parameters"}
    assert item["head"]["operationId"] == f"connectCoreV1Head{word}ProxyWithPath"
    assert "path" in [parameter["name"] for parameter in item["parameters"]]
    assert paths[f"/api/v1/{where}/{{name}}/proxy"]["get"]["operationId"] == f"connectCoreV1Get{word}Proxy"


@pytest.mark.parametrize("kind", [kind for kind in kinds.KINDS if "list" in kind.verbs], ids=lambda kind: kind.resource)
def test_only_what_can_be_deleted_together_is(kind: kinds.Kind[Any]) -> None:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    middle = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = DOCUMENTS[kind.group, kind.version]["paths"][f"{root}{middle}/{kind.plural}"]
    assert ("delete" in collection) is ("deletecollection" in kind.verbs)
