"""OpenAPI v3: one document per group and version, as current clients read it.

They need it for three things: to see that the server checks fields itself (a `fieldValidation` parameter at PATCH), to
explain types, and to know how lists merge. The documents are plain values; encoding, hashing and caching are the
caller's.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import openapi_custom
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.openapi_paths import YAML, Operation, Parameter, PathItem, paths
from mizzen.api.openapi_schema import META, V3, Json, reference, schemas

PATCH_TYPE = f"{META}.Patch"

_STREAMED = ";stream=watch"
_TITLE = "Kubernetes"


def group_versions(catalog: Catalog = BUILT_IN) -> list[tuple[str, str]]:
    """The groups and versions that have a document."""
    return list(dict.fromkeys((kind.group, kind.version) for kind in catalog.served))


def path_of(group: str, version: str) -> str:
    """A document's name in the index of documents: `api/v1`, `apis/apps/v1`."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def document(group: str, version: str, *, server_version: str, catalog: Catalog = BUILT_IN) -> Json:
    """The document of a group and version."""
    kinds = [kind for kind in catalog.served if (kind.group, kind.version) == (group, version)]
    items = [item for kind in kinds for item in paths(kind)]
    components = schemas(messages_of(items), V3, openapi_custom.definitions(kinds, V3))
    components[PATCH_TYPE] = {"type": "object", "description": "A patch, in the form that its media type tells."}
    return {
        "openapi": "3.0.0",
        "info": {"title": _TITLE, "version": server_version},
        "paths": {item.path: _path(item) for item in sorted(items, key=lambda item: item.path)},
        "components": {
            "schemas": components,
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        },
    }


def messages_of(items: Iterable[PathItem]) -> list[str]:
    """The messages that requests send or get."""
    used = [message for item in items for op in item.operations for message in (op.body, op.answer)]
    return [message for message in dict.fromkeys(used) if message and message != "Patch"]


def gvk_of(operation: Operation) -> Json:
    """Group, version and kind as extensions write them."""
    group, version, kind = operation.gvk
    return {"group": group, "kind": kind, "version": version}


def _path(item: PathItem) -> Json:
    result: Json = {operation.method: _operation(operation) for operation in item.operations}
    in_path = [
        {"name": name, "in": "path", "required": True, "description": text, "schema": _scalar("string")}
        for name, text in item.names
    ]
    return result | {"parameters": [*in_path, _query(("pretty", "string", "Indent the answer."))]}


def _operation(operation: Operation) -> Json:
    answer = reference(operation.answer, V3) if operation.answer else {"type": "string"}
    types = operation.produces
    if operation.action == "list":
        types = (*types, *(f"{type_}{_STREAMED}" for type_ in types if type_ != YAML))
    content = {type_: {"schema": answer} for type_ in types}
    codes = ["200", "201"] if operation.created else ["200"]
    responses: Json = {
        code: {"description": "OK" if code == "200" else "Created", "content": content} for code in codes
    }
    responses["401"] = {"description": "Unauthorized"}
    result: Json = {
        "tags": [operation.tag],
        "operationId": operation.id,
        "parameters": [_query(parameter) for parameter in operation.parameters],
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": gvk_of(operation),
    }
    if operation.body:
        body = {"$ref": V3.references + PATCH_TYPE} if operation.body == "Patch" else reference(operation.body, V3)
        content = {type_: {"schema": body} for type_ in operation.consumes}
        result["requestBody"] = {"content": content, "required": operation.method != "delete"}
    return result


def _query(parameter: Parameter) -> Json:
    name, type_, text = parameter
    return {"name": name, "in": "query", "description": text, "schema": _scalar(type_)}


def _scalar(type_: str) -> Json:
    return {"type": type_, "uniqueItems": True}
