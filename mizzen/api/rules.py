"""Rules of custom resources in the Common Expression Language (`x-kubernetes-validations`).

The language is Google's own implementation (`cel-expr-python`), which checks expressions when they are compiled and
bounds iterations; `cel_cost` bounds the rest before anything runs. What Kubernetes adds is in `mizzen.api.cel`. Fields
with the formats `date-time` and `duration` are texts, which rules turn into values with `timestamp()` and `duration()`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from mizzen.api import cel_cost, json_values, structural
from mizzen.api.errors import FieldError
from mizzen.api.structural import UNSET, Node, Rule

Errors = Iterator[FieldError]

COST_MAX = 10_000_000
"""What the rules of one object may take, in the units of `cel_cost`: well under a second."""
LENGTH_MAX = 16 * 1024
"""Characters of a rule."""
MESSAGE_MAX_BYTES = 5 * 1024
"""Length of a message that an expression makes; the usual one stands in for a longer one."""
_OLD = "oldSelf"
_KEPT = 2048
_RESERVED = frozenset((
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
))  # fmt: skip
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPED = re.compile(r"__|[.\-/]")


class BadRule(ValueError):
    """The expression is none, or one that cannot be evaluated here."""


class EvaluationFailed(Exception):
    """The expression has no value for what it was asked of."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression."""

    run: Callable[[Mapping[str, Any]], Any]
    expr: cel_cost.Expr
    transition: bool
    """It compares with what was there before."""


@lru_cache(maxsize=_KEPT)
def compiled(text: str, *, optional_old: bool = False, wanted: str = "BOOL") -> Program:
    """The program of an expression that gives a `wanted` value (`BOOL`, `STRING`). Raises BadRule."""
    if len(text) > LENGTH_MAX:
        raise BadRule(f"the expression is longer than {LENGTH_MAX} characters")
    # Not before somebody has rules: it weighs as much as all of the API's types.
    from mizzen.api.cel import language

    try:
        # On its own first: what is wrapped must not reach out of its place.
        bare = language.compiled(language.of_rules(), text)
        body = f"cel.bind({_OLD}, has_old ? optional.of(old) : optional.none(), ({text}\n))"
        made = language.compiled(language.of_rules(), body) if optional_old else bare
        expr = cel_cost.parsed(made.serialize())
    except (RuntimeError, ValueError) as error:
        raise BadRule(f"compilation failed: {language.compile_error(error)}") from error
    given = bare.return_type().name()
    if given not in (wanted, "DYN"):
        raise BadRule(f"must evaluate to a {wanted.lower()}, not to {given.lower()}")

    def run(values: Mapping[str, Any]) -> Any:
        found = made.eval(data=dict(values))
        if language.is_error(found):
            raise EvaluationFailed(language.in_kubernetes_words(str(found.plain_value())))
        return found.plain_value()

    return Program(run, expr, _OLD in cel_cost.variables(cel_cost.parsed(bare.serialize())))


def judged(value: Any, node: Node, old: Any) -> Errors:
    """What the rules of a whole object say; `old` (or UNSET) is what it replaces. The values obey the schema."""
    yield from _Judge().of(value, node, "", old)


class _Judge:
    """Runs the rules of one object within one budget."""

    def __init__(self) -> None:
        self._budget = cel_cost.Budget(COST_MAX)
        self._spent = False

    def of(self, value: Any, node: Node, path: str, old: Any) -> Errors:
        """What the rules here and below say."""
        if self._spent or value is None or not node.has_rules:
            return
        if node.rules:
            yield from self._here(value, node, path, old)
        if isinstance(value, Mapping):
            before = old if isinstance(old, Mapping) else {}
            for name, item in value.items():
                inner = node.properties.get(name, node.additional)
                if isinstance(inner, Node):
                    yield from self.of(item, inner, f"{path}.{name}" if path else name, before.get(name, UNSET))
        elif isinstance(value, list) and node.items is not None:
            by_name = structural.by_identity(old, node) if node.list_type == "map" else {}
            for i, item in enumerate(value):
                counterpart = by_name.get(structural.identity(item, node, i), UNSET)
                yield from self.of(item, node.items, f"{path}[{i}]", counterpart)

    def _here(self, value: Any, node: Node, path: str, old: Any) -> Errors:
        unchanged = old is not UNSET and json_values.same(value, old)
        names = {"self": typed(value, node)}
        if old is not UNSET:
            names[_OLD] = typed(old, node)
        for rule in node.rules:
            program = compiled(rule.rule, optional_old=rule.optional_old_self)
            if not self._spent and not (unchanged and not program.transition):
                yield from self._rule(rule, program, names, node, path)

    def _rule(self, rule: Rule, program: Program, names: dict[str, Any], node: Node, path: str) -> Errors:
        if program.transition and _OLD not in names and not rule.optional_old_self:
            return
        if rule.optional_old_self:
            names = {"self": names["self"], "has_old": _OLD in names, "old": names.get(_OLD)}
        try:
            holds = self._run(program, names)
        except cel_cost.TooCostly:
            self._spent = True
            why = "validation failed due to running out of cost budget, no further validation rules will be run"
            yield FieldError.invalid(path, node.type, why)
            return
        except Exception as error:
            # The evaluator raises what it likes; whatever it is, this rule has no answer.
            yield FieldError.invalid(path, node.type, f"{error} evaluating rule: {_short(rule.rule)}")
            return
        if holds is not True:
            yield _refusal(rule, self._message(rule, names), node, path)

    def _run(self, program: Program, names: Mapping[str, Any]) -> Any:
        self._budget.spend(program.expr, names)
        return program.run(names)

    def _message(self, rule: Rule, names: Mapping[str, Any]) -> str:
        usual = rule.message or f"failed rule: {_short(rule.rule)}"
        if not rule.message_expression:
            return usual
        try:
            program = compiled(rule.message_expression, optional_old=rule.optional_old_self, wanted="STRING")
            said = self._run(program, names)
        except Exception:
            # A message that cannot be made must not hide that the rule failed.
            return usual
        text = said.strip() if isinstance(said, str) else ""
        return usual if not text or "\n" in text or len(text.encode()) > MESSAGE_MAX_BYTES else text


def _refusal(rule: Rule, message: str, node: Node, path: str) -> FieldError:
    field = f"{path}{rule.field_path}" if path else rule.field_path.removeprefix(".")
    match rule.reason:
        case "FieldValueForbidden":
            return FieldError.forbidden(field, message)
        case "FieldValueRequired":
            return FieldError.required(field, message)
        case "FieldValueDuplicate":
            return FieldError.duplicate(field, node.type)
        case _:
            return FieldError.invalid(field, node.type, message)


def _short(rule: str) -> str:
    return rule.strip().replace("\n", " ")


# -- values ------------------------------------------------------------------------------------------------------------


def typed(value: Any, node: Node) -> Any:
    """The value as rules see it: numbers and bytes as such, and names of fields that can be written in rules.

    Times and durations stay texts, because the evaluator takes no others within values: `timestamp(self.at)`.
    """
    if isinstance(value, Mapping):
        return {
            _written(name) if name in node.properties else name: typed(item, inner) if isinstance(inner, Node) else item
            for name, item in value.items()
            for inner in (node.properties.get(name, node.additional),)
        }
    if isinstance(value, list):
        return [typed(item, node.items) for item in value] if node.items is not None else value
    if node.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and node.source.get("format") == "byte":
        return _bytes(value)
    return value


@cache
def _written(name: str) -> str:
    """A field's name as an identifier of the language."""
    if name in _RESERVED:
        return f"__{name}__"
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], name)


def _bytes(text: str) -> Any:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text
