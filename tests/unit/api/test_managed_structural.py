"""What the schema of a user's kind says about merging."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api.managed import sets, structural_shapes, values
from mizzen.api.managed.shapes import Shape
from mizzen.engine import canonical
from tests.fixtures.definitions import kind_of, widget

TEXT = {"type": "string"}
PORT = {
    "type": "object",
    "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": TEXT},
}
ITEMS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["protocol", "port"],
    "items": PORT,
}
ANYTHING = {"x-kubernetes-preserve-unknown-fields": True}
CASES: list[tuple[dict[str, Any], Any, list[str]]] = [
    (TEXT, "a", [".x"]),
    ({"x-kubernetes-int-or-string": True}, 1, [".x"]),
    ({"type": "array", "items": TEXT}, ["a", "b"], [".x"]),
    ({"type": "array", "x-kubernetes-list-type": "set", "items": TEXT}, ["a"], ['.x[="a"]']),
    ({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "number"}}, [1.0], [".x[=1]"]),
    (
        ITEMS, [{"port": 80, "name": "n"}],
        [f'.x[port=80,protocol="TCP"]{end}' for end in ("", ".name", ".port")],
    ),
    (PORT, {"port": 1, "name": "n"}, [".x.name", ".x.port"]),
    (PORT | {"x-kubernetes-map-type": "atomic"}, {"port": 1}, [".x"]),
    ({"type": "object", "additionalProperties": TEXT}, {"a": "b"}, [".x.a"]),
    ({"type": "object", "additionalProperties": PORT}, {"a": {"port": 1}}, [".x.a", ".x.a.port"]),
    ({"type": "object", "additionalProperties": True}, {"a": {"b": 1}}, [".x.a", ".x.a.b"]),
    (
        {"type": "object", "additionalProperties": TEXT, "x-kubernetes-map-type": "atomic"}, {"a": "b"}, [".x"],
    ),
    (ANYTHING, {"a": {"b": [1]}}, [".x.a", ".x.a.b"]),
    (ANYTHING, [1], [".x"]),
    (PORT | ANYTHING, {"port": 1, "more": {"a": 1}}, [".x.more", ".x.more.a", ".x.port"]),
    (
        {"type": "object", "x-kubernetes-embedded-resource": True} | ANYTHING,
        {"apiVersion": "v1", "kind": "A", "metadata": {"finalizers": ["a/b"], "labels": {"a": "b"}}, "spec": {"a": 1}},
        [".x.apiVersion", ".x.kind", '.x.metadata.finalizers[="a/b"]', ".x.metadata.labels.a", ".x.spec", ".x.spec.a"],
    ),
]  # fmt: skip


def shape(schema: dict[str, Any], **more: Any) -> Shape:
    """The shape of a kind whose field `x` has this schema."""
    return structural_shapes.of_kind(kind_of({"type": "object", "properties": {"x": schema, **more}}))


@pytest.mark.parametrize(("schema", "value", "paths"), CASES)
def test_fields_that_a_configuration_sets(schema: dict[str, Any], value: Any, paths: list[str]) -> None:
    of = shape(schema)
    config = values.checked({"x": value}, of)
    assert sorted(sets.paths(values.fields_of(config, of))) == paths


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        (PORT, "text", ".x: expected map, got string"),
        (PORT, {"colour": "red"}, ".x.colour: field not declared in schema"),
        ({"type": "object"}, {"colour": "red"}, ".x.colour: field not declared in schema"),
        (ITEMS, {}, ".x: expected list, got map"),
        (ITEMS, [{"port": 1}, {"port": 1, "protocol": "TCP"}],
         '.x: duplicate entries for key [port=1,protocol="TCP"]'),
        (ITEMS, [{"name": "n"}], 'element that omits key field "port"'),
    ],
)  # fmt: skip
def test_what_cannot_be_merged(schema: dict[str, Any], value: Any, problem: str) -> None:
    with pytest.raises(values.BadValue) as refused:
        values.checked({"x": value}, shape(schema))
    assert problem in str(refused.value)


def test_named_fields_go_as_a_whole_and_free_keys_by_themselves() -> None:
    of = shape(PORT | ANYTHING)
    applied = values.fields_of({"x": {"port": 1, "more": {"a": 1}}}, of)
    left = values.prune({"x": {"port": 1, "more": {"a": 1, "b": 2}, "name": "n"}}, applied, {"f:x": {"f:name": {}}}, of)
    assert left == {"x": {"name": "n"}}


def test_metadata_is_that_of_every_object_and_shapes_are_kept_with_the_schema() -> None:
    kind = kind_of({"type": "object", "properties": {"metadata": {"type": "object"}}})
    of = structural_shapes.of_kind(kind)
    assert of is structural_shapes.of_kind(kind)
    assert of is not structural_shapes.of_kind(kind_of({"type": "object"}))
    fields = values.fields_of({"metadata": {"ownerReferences": [{"uid": "u", "name": "n"}]}}, of)
    assert list(sets.paths(fields)) == ['.metadata.ownerReferences[uid="u"]']


def test_stored_objects_keep_their_account() -> None:
    kind = kind_of({"type": "object", "properties": {"x": TEXT}})
    entry = {"manager": "m", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:x": {}}}
    obj = widget(kind, x="a", metadata={"name": "a", "managedFields": [entry]})
    assert obj.metadata.managed_fields
    assert canonical.decode(kind, canonical.rest(obj)) == obj
