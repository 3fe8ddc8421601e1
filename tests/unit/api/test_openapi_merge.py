"""What other servers say of their paths comes into our document, and nothing else of theirs."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import openapi_merge, openapi_v2_binary
from mizzen.api.openapi_merge import Part, merged

OWN: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": "v1"},
    "paths": {"/apis/apps/v1/things": {"get": {"operationId": "ours"}}},
    "definitions": {"Thing": {"type": "object"}, "Meta": {"type": "object", "description": "ours"}},
}
BOATS = "/apis/boats.io/v1"


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/definitions/{name}"}


def part(paths: Any, definitions: Any) -> Part:
    return Part(BOATS, {"paths": paths, "definitions": definitions})


def test_only_its_own_paths_and_what_they_use() -> None:
    paths = {f"{BOATS}/boats": {"get": {"x": ref("Boat")}}, BOATS: {}, f"{BOATS}x": {}, "/apis/apps/v1/things": {}}
    known = {"Boat": {"properties": {"hull": ref("Hull")}}, "Hull": {"items": [ref("Boat")]}, "Unused": {}}
    made = merged(OWN, [part(paths, known)])
    assert list(made["paths"]) == ["/apis/apps/v1/things", BOATS, f"{BOATS}/boats"]
    assert made["paths"]["/apis/apps/v1/things"] == OWN["paths"]["/apis/apps/v1/things"]
    assert sorted(made["definitions"]) == ["Boat", "Hull", "Meta", "Thing"]
    assert OWN["definitions"].keys() == {"Thing", "Meta"}, "ours is left as it was"


def test_equal_definitions_are_shared_and_others_get_a_number() -> None:
    paths = {f"{BOATS}/boats": {"get": [ref("Thing"), ref("Meta")]}}
    theirs = {"Thing": {"type": "object"}, "Meta": {"type": "object", "description": "theirs"}}
    other = {**theirs, "Meta": {"type": "object", "description": "another's"}}
    made = merged(
        OWN,
        [part(paths, theirs), Part("/apis/cars.io/v1", {"paths": {"/apis/cars.io/v1/a": paths}, "definitions": other})],
    )
    assert made["paths"][f"{BOATS}/boats"]["get"] == [ref("Thing"), ref("Meta_v2")]
    assert made["paths"]["/apis/cars.io/v1/a"][f"{BOATS}/boats"]["get"] == [ref("Thing"), ref("Meta_v3")]
    assert [made["definitions"][name]["description"] for name in ("Meta", "Meta_v2", "Meta_v3")] == [
        "ours", "theirs", "another's",
    ]  # fmt: skip


@pytest.mark.parametrize("document", [{}, {"paths": [1], "definitions": 2}, {"paths": {f"{BOATS}/a": 3}}])
def test_what_is_no_document_adds_nothing(document: Any) -> None:
    made = merged(OWN, [Part(BOATS, document)])
    assert (made["paths"], made["definitions"]) == (OWN["paths"], OWN["definitions"])


def test_what_is_missing_there_is_left_out_of_the_binary_form() -> None:
    item = {
        "get": {"responses": {"200": {"schema": ref("Boat")}}},
        "parameters": [{"$ref": "#/parameters/p"}, {"name": "q", "in": "header"}, {"name": "body", "in": "body"}],
    }
    boat = {"type": ["object"], "additionalProperties": True, "properties": {"length": {"type": "integer"}}}
    made = merged({**OWN, "paths": {}}, [part({f"{BOATS}/a": item}, {"Boat": boat})])
    encoded = openapi_v2_binary.encode(made)
    assert all(word in encoded for word in (b"/apis/boats.io/v1/a", b"Boat", b"length", b"integer"))
    assert openapi_merge.merged(OWN, ()) == OWN
