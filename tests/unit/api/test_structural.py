"""Schemas of custom resources applied to values: what is dropped, filled in, and refused, in which words."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import structural, structural_formats, structural_rules
from mizzen.api.errors import FieldErrorType
from tests.fixtures.definitions import kind_of, widget

STRING = {"type": "string"}


def spec(**schema: Any) -> structural.Node:
    """The node of an object schema with these properties."""
    return structural.compiled({"type": "object", "properties": schema})


@pytest.mark.parametrize(
    ("schema", "value", "kept", "unknown"),
    [
        ({"a": STRING}, {"a": "x", "b": 1}, {"a": "x"}, ["b"]),
        ({"a": {"type": "object"}}, {"a": {"b": 1}}, {"a": {}}, ["a.b"]),
        ({"a": {"type": "object", "additionalProperties": STRING}}, {"a": {"b": "1"}}, {"a": {"b": "1"}}, []),
        (
            {"a": {"type": "array", "items": {"type": "object", "properties": {"b": STRING}}}},
            {"a": [{"b": "x"}, {"c": 1}]},
            {"a": [{"b": "x"}, {}]},
            ["a[1].c"],
        ),
        (
            {
                "a": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {"b": {"type": "object"}},
                }
            },
            {"a": {"b": {"c": 1}, "d": 2}},
            {"a": {"b": {}, "d": 2}},
            ["a.b.c"],
        ),
        (
            {
                "a": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "properties": {"spec": {"type": "object"}},
                }
            },
            {"a": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}, "other": 1}},
            {"a": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}}},
            ["a.other"],
        ),
    ],
)
def test_unknown_fields_are_pruned(schema: Any, value: Any, kept: Any, unknown: list[str]) -> None:
    found: list[str] = []
    assert structural.pruned(value, spec(**schema), "", found) == kept
    assert found == unknown


@pytest.mark.parametrize(
    ("schema", "value", "filled"),
    [
        ({"a": STRING | {"default": "x"}}, {}, {"a": "x"}),
        ({"a": STRING | {"default": "x"}}, {"a": None}, {"a": "x"}),
        ({"a": STRING | {"default": "x", "nullable": True}}, {"a": None}, {"a": None}),
        ({"a": STRING}, {"a": None}, {}),
        ({"a": {"type": "object", "properties": {"b": STRING | {"default": "x"}}}}, {}, {}),
        (
            {"a": {"type": "object", "default": {}, "properties": {"b": STRING | {"default": "x"}}}},
            {},
            {"a": {"b": "x"}},
        ),
        ({"a": {"type": "array", "items": STRING | {"default": "x"}}}, {"a": [None, "y"]}, {"a": ["x", "y"]}),
        ({"a": {"type": "array", "items": STRING}}, {"a": [None]}, {"a": [None]}),
        (
            {
                "a": {
                    "type": "object",
                    "additionalProperties": {"type": "object", "properties": {"b": {"default": 1, "type": "integer"}}},
                }
            },
            {"a": {"k": {}}},
            {"a": {"k": {"b": 1}}},
        ),
    ],
)
def test_defaults_and_nulls(schema: Any, value: Any, filled: Any) -> None:
    node = spec(**schema)
    assert structural.filled(value, node) == filled
    assert structural.filled(filled, node) == filled


def test_what_need_not_change_is_the_same_value() -> None:
    node = spec(a=STRING | {"default": "x"}, b={"type": "array", "items": STRING})
    value = {"a": "y", "b": ["z"]}
    assert structural.filled(value, node) is value
    assert structural.pruned(value, node) is value


INVALID: FieldErrorType = "FieldValueInvalid"


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        (STRING, 1, 'a: Invalid value: "integer": a in body must be of type string: "integer"'),
        ({"type": "integer"}, "x", 'a: Invalid value: "string": a in body must be of type integer: "string"'),
        ({"type": "integer"}, 1.5, 'a: Invalid value: "number": a in body must be of type integer: "number"'),
        ({"type": "boolean"}, 1, 'a: Invalid value: "integer": a in body must be of type boolean: "integer"'),
        ({"type": "object"}, [], 'a: Invalid value: "array": a in body must be of type object: "array"'),
        ({"type": "number"}, 1, ""),
        ({"x-kubernetes-int-or-string": True}, "1", ""),
        (STRING | {"enum": ["x", "y"]}, "z", 'a: Unsupported value: "z": supported values: "x", "y"'),
        ({"type": "integer", "enum": [1, 2]}, 3, 'a: Unsupported value: 3: supported values: "1", "2"'),
        (STRING | {"maxLength": 2}, "xyz", "a: Too long: may not be more than 2 bytes"),
        (STRING | {"minLength": 2}, "x", 'a: Invalid value: "x": a in body should be at least 2 chars long'),
        (STRING | {"pattern": "^a+$"}, "b", "a: Invalid value: \"b\": a in body should match '^a+$'"),
        (STRING | {"format": "date"}, "b", 'a: Invalid value: "b": a in body must be of type date: "b"'),
        ({"type": "integer", "minimum": 1}, 0, "a: Invalid value: 0: a in body should be greater than or equal to 1"),
        (
            {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
            1,
            "a: Invalid value: 1: a in body should be greater than 1",
        ),
        ({"type": "integer", "maximum": 1}, 2, "a: Invalid value: 2: a in body should be less than or equal to 1"),
        ({"type": "number", "multipleOf": 0.5}, 0.7, "a: Invalid value: 0.7: a in body should be a multiple of 0.5"),
        (
            {"type": "array", "items": STRING, "minItems": 1},
            [],
            "a: Invalid value: []: a in body should have at least 1 items",
        ),
        ({"type": "array", "items": STRING, "maxItems": 1}, ["x", "y"], "a: Too many: 2: must have at most 1 item"),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": STRING, "v": STRING}},
            },
            [{"k": "x", "v": "1"}, {"k": "x", "v": "2"}],
            'a[1]: Duplicate value: {"k":"x"}',
        ),
        ({"type": "object", "required": ["b"]}, {}, "a.b: Required value"),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            {"kind": "K"},
            "a.apiVersion: Required value: must not be empty",
        ),
        (STRING | {"anyOf": [{"enum": ["x"]}, {"enum": ["y"]}]}, "x", ""),
        (
            STRING | {"oneOf": [{"minLength": 1}, {"maxLength": 9}]},
            "x",
            'a: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives',
        ),
        (STRING | {"not": {"enum": ["x"]}}, "x", 'a: Invalid value: "": "a" must not validate the schema (not)'),
    ],
)
def test_values_are_refused_in_kubernetes_words(schema: Any, value: Any, said: str) -> None:
    found = structural_rules.judged(value, structural.compiled(schema), "a")
    assert [str(error) for error in found] == ([said] if said else [])


def test_what_was_wrong_before_is_not_judged_again() -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": STRING, "b": STRING}}}}
    kind = kind_of(schema)
    old = widget(kind, spec={"a": 1, "b": "x"})
    assert structural_rules.problems(kind, widget(kind, spec={"a": 1, "b": "y"}), old) == []
    (error,) = structural_rules.problems(kind, widget(kind, spec={"a": 2, "b": "y"}), old)
    assert error.field == "spec.a"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", "2026-05-01T12:00:00.5+02:00", "2026-05-01"),
        ("duration", "1h30m", "1x"),
        ("ipv4", "10.0.0.1", "10.0.0"),
        ("ipv6", "::1", "10.0.0.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0/64"),
        ("uuid4", "3f2b4c1e-8d0a-4b6f-9a51-0c2d3e4f5a6b", "3f2b4c1e-8d0a-1b6f-9a51-0c2d3e4f5a6b"),
        ("uri", "https://example.com/x?y#z", "no uri at all"),
        ("email", "a@example.com", "a"),
        ("hostname", "a.example.com", "-a"),
        ("mac", "00:11:22:33:44:55", "00:11:22"),
        ("byte", "aGk=", "a"),
    ],
)
def test_formats(name: str, good: str, bad: str) -> None:
    assert structural_formats.fits(name, good)
    assert not structural_formats.fits(name, bad)


def test_a_format_that_nobody_knows_asks_for_nothing() -> None:
    assert structural_formats.fits("colour", "red")


def test_a_hard_pattern_takes_no_time() -> None:
    node = structural.compiled(STRING | {"pattern": "^(a+)+$"})
    assert len(list(structural_rules.judged("a" * 100_000 + "b", node, "a"))) == 1
