"""Expressions of admission policies: how they are compiled, and how they are evaluated within a budget.

Vocabulary
- *variables*: named expressions of a policy, used by those after them as `variables.<name>`.
- *composited*: compiled with the variables before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cel_expr_python import cel

from mizzen.api import cel_cost, kinds
from mizzen.api.cel import builders, language, typed, values

LENGTH_MAX = 16 * 1024
"""Characters of an expression."""
CALL_MAX = 1_000_000
"""What one expression may take, in the units of `cel_cost`."""
OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_CANCELLED = "operation cancelled: actual cost limit exceeded"
_BUILT = {"map": builders.OBJECT, "list": f"list({builders.PATCH})"}
_NO_VALUE = 'No value with name "variables.'
_DYN = ("object", "oldObject", "params")


class BadExpression(ValueError):
    """The expression cannot be compiled; the text is what people are shown."""


class EvaluationFailed(Exception):
    """An expression has no value."""


class OutOfBudget(EvaluationFailed):
    """All that the expressions of one policy may take has been used."""

    def __init__(self) -> None:
        super().__init__(OUT_OF_BUDGET)


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression."""

    text: str
    type: str
    """What it gives: `bool`, `string`, `dyn`, ..."""
    run: Callable[[Mapping[str, Any]], Any]
    expr: cel_cost.Expr
    builds: frozenset[str] = frozenset()


class Compiler:
    """Compiles the expressions of one policy, in order.

    `known` are types of `object`, `oldObject` and `params` where their fields are known, in the types' pool.
    """

    def __init__(
        self, *, params: bool = True, authorizer: bool = True, mutating: bool = False, known: Known | None = None
    ) -> None:
        known = known or _request_types()
        self._pool = known.pool
        names = _DYN if params else _DYN[:2]
        self._run = dict.fromkeys((*names, "request", "namespaceObject"), cel.Type.DYN)
        if authorizer:
            self._run["authorizer"] = values.type_of("kubernetes.authorization.Authorizer")
            self._run["authorizer.requestResource"] = values.type_of("kubernetes.authorization.ResourceCheck")
        self._checked = {**self._run, **{name: one for name, one in known.types.items() if name in self._run}}
        self._mutating = mutating

    def variable(self, name: str, text: str) -> Program:
        """A variable, which the next expressions may use. Raises BadExpression; then it stays unknown of type."""
        self._checked[f"variables.{name}"] = self._run[f"variables.{name}"] = cel.Type.DYN
        program, type_, checked = self._compiled(text)
        self._run[f"variables.{name}"], self._checked[f"variables.{name}"] = type_, checked
        return program

    def expression(self, text: str, wanted: tuple[str, ...] = ()) -> Program:
        """Any other expression; it must give one of the types. Raises BadExpression."""
        program, _, _ = self._compiled(text)
        unbuilt = "map" in wanted and builders.OBJECT not in program.builds
        if unbuilt or (wanted and program.type not in (*wanted, "dyn")):
            what = _BUILT.get(wanted[0], wanted[0]) if len(wanted) == 1 else f"one of [{' '.join(wanted)}]"
            raise BadExpression(f"must evaluate to {what}")
        return program

    def _compiled(self, text: str) -> tuple[Program, Any, Any]:
        return program(text, self._run, self._checked, self._pool, mutating=self._mutating)


def program(
    text: str, run_with: Mapping[str, Any], checked_with: Mapping[str, Any], pool: Any, *, mutating: bool = False
) -> tuple[Program, Any, Any]:
    """An expression compiled with variables, and the types of what it gives when it runs and when it is checked.

    Variables may be freer where it runs than where it is checked. Raises BadExpression.
    """
    if len(text) > LENGTH_MAX:
        raise BadExpression(f"compilation failed: the expression is longer than {LENGTH_MAX} characters")
    try:
        source, builds = builders.as_maps(text) if mutating else (text, frozenset())
        checked = language.compiled(language.environment(checked_with, pool), source)
        made = language.compiled(language.environment(run_with), source)
        expr = cel_cost.parsed(made.serialize())
    except (RuntimeError, ValueError) as error:
        raise BadExpression(f"compilation failed: {language.compile_error(error)}") from error

    def run(given: Mapping[str, Any]) -> Any:
        found = made.eval(data=given)
        if language.is_error(found):
            raise EvaluationFailed(str(found.plain_value()))
        try:
            return found.plain_value()
        except TypeError as error:
            raise EvaluationFailed("an optional is no value here: use orValue()") from error

    gives = made.return_type()
    return Program(text, _word(checked.return_type()), run, expr, builds), gives, checked.return_type()


@dataclass(frozen=True, slots=True)
class Known:
    """Types of variables, and the pool that they are in."""

    pool: Any
    types: Mapping[str, Any]


@cache
def _request_types() -> Known:
    return known_types({})


def known_types(of: Mapping[str, kinds.Kind[Any]]) -> Known:
    """The types of variables whose kinds are known, and of `request` and `namespaceObject`."""
    made = typed.Types()
    names = {name: made.kind(kind) for name, kind in of.items()}
    names |= {"request": made.request(), "namespaceObject": made.kind(kinds.NAMESPACE)}
    pool = made.sealed()
    return Known(pool, {name: typed.of(one) for name, one in names.items()})


def _word(type_: Any) -> str:
    name: str = type_.name().lower()
    return {"null": "null_type"}.get(name.partition("<")[0], name.partition("<")[0])


@dataclass(slots=True)
class Evaluation:
    """One policy at work on one request: what expressions see, what they have found out, and what they may take."""

    given: dict[str, Any]
    variables: Mapping[str, Program]
    budget: int
    _failed: dict[str, str] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)

    def value(self, program: Program) -> Any:
        """What an expression gives. Raises EvaluationFailed with a text for people."""
        try:
            return self._value(program)
        except OutOfBudget:
            raise
        except EvaluationFailed as error:
            raise EvaluationFailed(f"expression '{program.text}' resulted in error: {error}") from error

    def _value(self, program: Program) -> Any:
        for name in _used(program.expr):
            self._prepare(name)
        self._spend(program)
        try:
            return program.run(self.given)
        except EvaluationFailed as error:
            raise EvaluationFailed(self._said(str(error))) from error
        except Exception as error:
            # The evaluator raises what it likes; whatever it is, there is no value.
            raise EvaluationFailed(str(error)) from error

    def _prepare(self, name: str) -> None:
        program = self.variables.get(name)
        if program is None or name in self._done:
            return
        self._done.add(name)
        try:
            self.given[f"variables.{name}"] = self._value(program)
        except OutOfBudget:
            raise
        except EvaluationFailed as error:
            self._failed[name] = str(error)

    def _spend(self, program: Program) -> None:
        budget = cel_cost.Budget(min(CALL_MAX, self.budget))
        before = budget.left
        try:
            budget.spend(program.expr, self.given)
        except cel_cost.TooCostly:
            if before == self.budget and self.budget < CALL_MAX:
                raise OutOfBudget from None
            raise EvaluationFailed(_CANCELLED) from None
        self.budget -= before - budget.left

    def _said(self, error: str) -> str:
        if _NO_VALUE in error:
            name = error.partition(_NO_VALUE)[2].partition('"')[0]
            return f'composited variable "{name}" fails to evaluate: {self._failed.get(name, "it has no value")}'
        return language.in_kubernetes_words(error)


def _used(expr: cel_cost.Expr) -> Iterator[str]:
    """The variables that an expression reads, in its order."""
    if expr.form == "select" and expr.parts[0].form == "ident" and expr.parts[0].name == "variables":
        yield expr.name
    if expr.form == "ident" and expr.name.startswith("variables."):
        yield expr.name.removeprefix("variables.")
    for part in expr.parts:
        yield from _used(part)
