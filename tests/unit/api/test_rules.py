"""Rules in the Common Expression Language: what they say, what they see, and that they end."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from mizzen.api import rules, structural, structural_rules, validate
from mizzen.api.structural import UNSET
from tests.fixtures.definitions import definition, kind_of, widget

ANY: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
WHY = 'Invalid value: "object"'


def said(rule: str, value: Any, old: Any = UNSET, schema: dict[str, Any] = ANY, **more: Any) -> list[str]:
    """What a rule says of a value at `spec`."""
    node = structural.compiled(schema | {"x-kubernetes-validations": [{"rule": rule} | more]})
    root = structural.compiled({"type": "object", "properties": {}})
    around = structural.Node(type="object", properties={"spec": node}, has_rules=True)
    assert not root.has_rules
    before = UNSET if old is UNSET else {"spec": old}
    return [str(error) for error in rules.judged({"spec": value}, around, before)]


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("self.min <= self.max", {"min": 1, "max": 2}),
        ("self.names.all(n, n.startsWith('x-'))", {"names": ["x-a", "x-b"]}),
        ("self.names.exists_one(n, n == 'a')", {"names": ["a", "b"]}),
        ("self.ports.filter(p, p.port > 80).map(p, p.name) == ['web']", {"ports": [{"name": "web", "port": 443}]}),
        ("!has(self.gone)", {}),
        ("self.?gone.orValue(3) == 3", {}),
        ("'k' in self.map && self.map.all(k, self.map[k] > 0)", {"map": {"k": 1}}),
        ("self.text.matches('^[a-z]+$') && self.text.size() == 3", {"text": "abc"}),
        ("self.text.upperAscii() == 'ABC' && self.text.split('b') == ['a', 'c']", {"text": "abc"}),
        ("self.list.isSorted() && self.list.sum() == 6", {"list": [1, 2, 3]}),
        ("self.list.min() == 1 && self.list.max() == 3", {"list": [1, 2, 3]}),
        ("self.text.find('[0-9]+') == '12' && self.text.findAll('[0-9]') == ['1', '2']", {"text": "a12"}),
        ("math.greatest(self.a, 2) == 2", {"a": 1}),
        ("type(self.a) == int && self.a < 1.5", {"a": 1}),
    ],
)  # fmt: skip
def test_what_holds(rule: str, value: Any) -> None:
    assert said(rule, value) == []


@pytest.mark.parametrize(
    ("rule", "more", "line"),
    [
        ("self.a > 5", {}, f"spec: {WHY}: failed rule: self.a > 5"),
        ("self.a > 5", {"message": "too small"}, f"spec: {WHY}: too small"),
        ("self.a > 5", {"messageExpression": "'got ' + string(self.a)"}, f"spec: {WHY}: got 3"),
        ("self.a > 5", {"messageExpression": "self.b", "message": "m"}, f"spec: {WHY}: m"),
        ("self.a > 5", {"messageExpression": "' a\\n'"}, f"spec: {WHY}: a"),
        ("self.a > 5", {"messageExpression": "'a\\nb'", "message": "m"}, f"spec: {WHY}: m"),
        (
            "self.a > 5",
            {"messageExpression": "lists.range(2561).map(i, 'ab').join()", "message": "m"},
            f"spec: {WHY}: m",
        ),
        ("self.a > 5", {"reason": "FieldValueForbidden", "message": "m", "fieldPath": ".a"}, "spec.a: Forbidden: m"),
        ("self.a > 5", {"reason": "FieldValueRequired"}, "spec: Required value: failed rule: self.a > 5"),
        ("self.b > 5", {}, f"spec: {WHY}: no such key: b evaluating rule: self.b > 5"),
        ("self.a.startsWith('x')", {}, f"spec: {WHY}: no such overload evaluating rule: self.a.startsWith('x')"),
    ],
)  # fmt: skip
def test_what_fails(rule: str, more: dict[str, Any], line: str) -> None:
    assert said(rule, {"a": 3}, **more) == [line]


def test_rules_about_changes_need_something_that_changed() -> None:
    assert said("self.a >= oldSelf.a", {"a": 1}) == []
    assert said("self.a >= oldSelf.a", {"a": 3}, {"a": 2}) == []
    assert said("self.a >= oldSelf.a", {"a": 1}, {"a": 2}, message="no way back") == [f"spec: {WHY}: no way back"]
    optional = "oldSelf.hasValue() ? self.a >= oldSelf.value().a : self.a == 0"
    assert said(optional, {"a": 0}, optionalOldSelf=True) == []
    assert len(said(optional, {"a": 1}, optionalOldSelf=True)) == 1
    assert said(optional, {"a": 3}, {"a": 2}, optionalOldSelf=True) == []


def test_what_was_wrong_before_is_not_judged_again() -> None:
    assert said("self.a > 5", {"a": 3}, {"a": 3}) == []


def test_items_of_a_map_list_are_compared_with_their_namesakes() -> None:
    item = {
        "type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v"}],
    }  # fmt: skip
    schema = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item}
    node = structural.compiled({"type": "object", "properties": {"l": schema}})
    old = {"l": [{"k": "a", "v": 1}, {"k": "b", "v": 9}]}
    new = {"l": [{"k": "b", "v": 1}, {"k": "a", "v": 1}]}
    assert [error.field for error in rules.judged(new, node, old)] == ["l[0]"]


def test_values_have_the_types_of_their_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "at": {"type": "string", "format": "date-time"},
            "span": {"type": "string", "format": "duration"},
            "share": {"type": "number"},
            "odd-name": {"type": "string"},
            "namespace": {"type": "string"},
        },
    }
    value = {"at": "2026-05-01T12:00:00Z", "span": "1h30m", "share": 1, "odd-name": "x", "namespace": "y"}
    rule = (
        "timestamp(self.at) > timestamp('2026-01-01T00:00:00Z') && duration(self.span) == duration('90m') && "
        "self.share / 2.0 == 0.5 && "
        "self.odd__dash__name == 'x' && self.__namespace__ == 'y'"
    )
    assert said(rule, value, schema=schema) == []


def test_the_whole_object_is_seen_at_the_root() -> None:
    schema = {
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.metadata.name == 'a' && self.kind == 'Widget'"}],
    }
    kind = kind_of(schema)
    assert structural_rules.problems(kind, widget(kind), None) == []


DOUBLED = "self.s"
for depth in range(12):
    DOUBLED = f"cel.bind(v{depth}, {DOUBLED}, v{depth} + v{depth})"


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("self.l.all(x, (self.l + self.l + self.l).size() > 0)", {"l": list(range(9000))}),
        ("self.s.replace('x', self.s).replace('x', self.s).size() > 0", {"s": "x" * 1000}),
        (f"{DOUBLED}.size() > 0", {"s": "x" * 10_000}),
        ("self.l.all(x, self.s.contains('zzz') || true)", {"l": list(range(9000)), "s": "x" * 100_000}),
        ("self.l.map(x, self.s).join(self.s) != ''", {"l": list(range(5000)), "s": "x" * 1000}),
    ],
)  # fmt: skip
def test_what_would_take_too_long_is_not_begun(rule: str, value: Any) -> None:
    begun = time.process_time()
    assert said(rule, value) == [
        f"spec: {WHY}: validation failed due to running out of cost budget, no further validation rules will be run"
    ]
    assert time.process_time() - begun < 5


def test_loops_in_loops_end() -> None:
    (line,) = said("self.l.all(x, self.l.all(y, x * y >= 0))", {"l": list(range(200))})
    assert "Iteration budget exceeded" in line


def test_long_lists_are_no_trouble() -> None:
    value = {"l": [{"name": f"n{i}", "port": i} for i in range(3000)]}
    assert said("self.l.map(p, p.port + 1).all(n, n > 0) && self.l.all(p, p.name.startsWith('n'))", value) == []


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("self.a >", "compilation failed: "),
        ("nonsense(self)", "undeclared reference to 'nonsense'"),
        ("'text'", "must evaluate to a bool, not to string"),
        ("true) || (true", "compilation failed: "),
        ("a" * 20_000, "longer than 16384 characters"),
        (f"{'(' * 300}true{')' * 300}", "compilation failed: "),
    ],
)
def test_rules_that_are_none_are_refused_with_the_definition(rule: str, why: str) -> None:
    schema = ANY | {"x-kubernetes-validations": [{"rule": rule}]}
    (error,) = validate.validate_create(definition(schema))
    assert error.field == "spec.validation.openAPIV3Schema.x-kubernetes-validations[0].rule"
    assert why in error.detail


def test_nobody_pays_for_the_libraries_before_there_are_rules() -> None:
    program = (
        "import sys, controlplane.app\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('cel_expr_python', 're2', '_re2')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
