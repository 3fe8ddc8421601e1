"""OpenAPI v2: one document for everything, as older clients read it.

Clients up to 1.28 ask for it before every write, and only in the protobuf form that `openapi_v2_binary` makes.
"""

from __future__ import annotations

from mizzen.api import openapi_custom
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.openapi import PATCH_TYPE, gvk_of, messages_of
from mizzen.api.openapi_paths import Operation, Parameter, PathItem, paths
from mizzen.api.openapi_schema import V2, Json, reference, schemas


def document(*, server_version: str, catalog: Catalog = BUILT_IN) -> Json:
    """The document of the whole API."""
    items = sorted((item for kind in catalog.served for item in paths(kind)), key=lambda item: item.path)
    definitions = schemas(messages_of(items), V2, openapi_custom.definitions(catalog.served, V2))
    definitions[PATCH_TYPE] = {"type": "object", "description": "A patch, in the form that its media type tells."}
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": server_version},
        "paths": {item.path: _path(item) for item in items},
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
    }


def _path(item: PathItem) -> Json:
    result: Json = {operation.method: _operation(operation) for operation in item.operations}
    in_path = [
        {"name": name, "in": "path", "required": True, "description": text, "type": "string"}
        for name, text in item.names
    ]
    return result | {"parameters": [*in_path, _query(("pretty", "string", "Indent the answer."))]}


def _operation(operation: Operation) -> Json:
    parameters = [_query(parameter) for parameter in operation.parameters]
    if operation.body:
        body = {"$ref": V2.references + PATCH_TYPE} if operation.body == "Patch" else reference(operation.body, V2)
        required = operation.method != "delete"
        parameters.insert(0, {"name": "body", "in": "body", "required": required, "schema": body})
    shape: Json = reference(operation.answer, V2) if operation.answer else {"type": "string"}
    answer = {"description": "OK", "schema": shape}
    responses: Json = {"200": answer, "401": {"description": "Unauthorized"}}
    if operation.created:
        responses["201"] = answer | {"description": "Created"}
    return {
        "tags": [operation.tag],
        "operationId": operation.id,
        "consumes": list(operation.consumes),
        "produces": list(operation.produces),
        "parameters": parameters,
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": gvk_of(operation),
    }


def _query(parameter: Parameter) -> Json:
    name, type_, text = parameter
    return {"name": name, "in": "query", "description": text, "type": type_}
