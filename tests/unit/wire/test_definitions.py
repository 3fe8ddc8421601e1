"""Schemas and users' objects in protobuf."""

from __future__ import annotations

import msgspec

from mizzen.api import codec
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.types import meta_v1
from mizzen.wire import convert
from tests.fixtures.definitions import definition, kind_of, widget

EVERYTHING = {
    "type": "object",
    "properties": {
        "a": {"type": "array", "items": {"type": "string", "enum": ["x", None, 1]}},
        "b": {"type": "object", "additionalProperties": {"type": "string"}, "default": {"k": "v"}, "example": [1]},
        "c": {"type": "object", "additionalProperties": True, "x-kubernetes-preserve-unknown-fields": True},
        "d": {"type": "number", "maximum": 10, "minimum": 0.5},
        "e": {"not": {"enum": [{"a": 1}]}, "x-kubernetes-validations": [{"rule": "true", "optionalOldSelf": False}]},
        "f": {"items": [{"type": "string"}], "dependencies": {"a": ["b"], "c": {"type": "object"}}},
    },
}


def test_a_schema_survives_the_wire() -> None:
    one = definition(EVERYTHING)
    back = codec.normalised(convert.from_any(convert.to_any(one)))
    assert back == one
    assert codec.to_dict(back)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == EVERYTHING


def test_kubernetes_numbers_are_on_the_wire() -> None:
    schema = apiextensions.JSONSchemaProps(x_kubernetes_validations=(apiextensions.ValidationRule(rule="r"),))
    data = convert.to_message(schema).SerializeToString()
    assert data == b"\xe2\x02\x03\x0a\x01r"  # field 44, and in it field 1


def test_a_users_object_travels_as_its_json() -> None:
    obj = widget(kind_of({"type": "object", "properties": {"spec": {"type": "object"}}}), spec={})
    packed = convert.to_any(obj)
    assert packed.type_url.endswith("/mizzen.api.meta.v1.CustomObject")
    back = convert.from_any(packed)
    assert isinstance(back, meta_v1.CustomObject)
    assert msgspec.json.decode(back.json)["kind"] == "Widget"
