"""The description of the API for older clients."""

from __future__ import annotations

from collections.abc import Iterator

from mizzen.api import openapi_v2, openapi_v2_binary

DOCUMENT = openapi_v2.document(server_version="v1.36.0")


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message, read without knowing its schema."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        size, at = varint(data, at)
        if tag & 7 == 0:
            yield tag >> 3, size
        else:
            assert tag & 7 == 2
            yield tag >> 3, data[at : at + size]
            at += size


def only(data: bytes, number: int) -> list[bytes]:
    return [value for found, value in fields(data) if found == number and isinstance(value, bytes)]


def named(data: bytes, number: int) -> dict[str, bytes]:
    return {only(entry, 1)[0].decode(): only(entry, 2)[0] for entry in only(data, number)}


def test_document() -> None:
    assert DOCUMENT["swagger"] == "2.0"
    patch = DOCUMENT["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    container = DOCUMENT["definitions"]["io.k8s.api.core.v1.Container"]
    resources = container["properties"]["resources"]
    assert resources["$ref"] == "#/definitions/io.k8s.api.core.v1.ResourceRequirements"
    assert resources["description"]
    assert DOCUMENT["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"] == {"type": "string"}


def test_binary_form_says_the_same() -> None:
    data = openapi_v2_binary.encode(DOCUMENT)
    assert only(data, 1) == [b"2.0"]
    (paths,) = only(data, 8)
    assert list(named(paths, 2)) == list(DOCUMENT["paths"])
    (definitions,) = only(data, 9)
    schemas = named(definitions, 1)
    assert list(schemas) == list(DOCUMENT["definitions"])
    container = schemas["io.k8s.api.core.v1.Container"]
    assert only(container, 19) == [b"name"]
    properties = named(only(container, 25)[0], 1)
    assert list(properties) == list(DOCUMENT["definitions"]["io.k8s.api.core.v1.Container"]["properties"])
    extensions = named(properties["ports"], 31)
    assert only(extensions["x-kubernetes-patch-merge-key"], 2) == [b'"containerPort"\n']


def test_binary_form_of_an_operation() -> None:
    (paths,) = only(openapi_v2_binary.encode(DOCUMENT), 8)
    item = named(paths, 2)["/api/v1/namespaces/{namespace}/configmaps/{name}"]
    (patch,) = only(item, 8)
    assert only(patch, 5) == [b"patchCoreV1NamespacedConfigMap"]
    queries = [only(only(only(entry, 1)[0], 2)[0], 3)[0] for entry in only(patch, 8)[1:]]
    assert [only(query, 4)[0].decode() for query in queries] == ["dryRun", "fieldManager", "fieldValidation", "force"]
    body = only(only(only(patch, 8)[0], 1)[0], 1)[0]
    assert only(body, 2) == [b"body"]
    assert (4, 1) in list(fields(body))
    assert b'"kind":"ConfigMap"' in only(named(patch, 13)["x-kubernetes-group-version-kind"], 2)[0]


def test_binary_form_of_a_proxy() -> None:
    (paths,) = only(openapi_v2_binary.encode(DOCUMENT), 8)
    item = named(paths, 2)["/api/v1/nodes/{name}/proxy"]
    for number, method in ((2, "Get"), (6, "Options"), (7, "Head")):
        (operation,) = only(item, number)
        assert only(operation, 5) == [f"connectCoreV1{method}NodeProxy".encode()]
        assert only(operation, 6) == only(operation, 7) == [b"*/*"]
