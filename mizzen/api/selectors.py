"""Label selectors: from a `LabelSelector` or from text, to something that matches labels fast.

A selector is a conjunction of requirements on single keys. A missing `LabelSelector` selects nothing; an empty one
selects everything.

Text form: `app=web,tier in (a,b),!legacy,env notin (dev),gen>3`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from typing import TypeAlias

from mizzen.api import formats
from mizzen.api.errors import FieldError
from mizzen.api.types import meta_v1 as meta

Labels: TypeAlias = Mapping[str, str]
Matcher: TypeAlias = Callable[[Labels], bool]


class SelectorError(ValueError):
    """The selector is malformed; the message says where."""


class Op(Enum):
    """What a requirement asks of its key; the value is how the text form writes it."""

    IN = "in"
    NOT_IN = "notin"
    EQUALS = "="
    DOUBLE_EQUALS = "=="
    NOT_EQUALS = "!="
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    GREATER = "gt"
    LESS = "lt"


_BINARY = "in, notin, =, ==, !=, gt, lt"
_SETS = (Op.IN, Op.NOT_IN)
_POSITIVE = (Op.IN, Op.EQUALS, Op.DOUBLE_EQUALS)
_NEGATIVE = (Op.NOT_IN, Op.NOT_EQUALS)
_PRESENCE = (Op.EXISTS, Op.DOES_NOT_EXIST)
_ORDER = (Op.GREATER, Op.LESS)
_SYMBOLS = {
    "in": Op.IN, "notin": Op.NOT_IN, "=": Op.EQUALS, "==": Op.DOUBLE_EQUALS, "!=": Op.NOT_EQUALS, ">": Op.GREATER,
    "<": Op.LESS,
}  # fmt: skip
_WRITTEN = {op: symbol for symbol, op in _SYMBOLS.items()}
_OF_FIELD = {"In": Op.IN, "NotIn": Op.NOT_IN, "Exists": Op.EXISTS, "DoesNotExist": Op.DOES_NOT_EXIST}
_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+)")
_PUNCTUATION = frozenset(("==", "!=", "=", "!", "(", ")", ",", "<", ">", ""))
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label key."""

    key: str
    op: Op
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels fulfil it. A negative condition holds where the key is missing; an order does not."""
        value = labels.get(self.key)
        if self.op in _PRESENCE:
            return (value is not None) == (self.op is Op.EXISTS)
        if self.op in _NEGATIVE:
            return value not in self.values
        if self.op in _POSITIVE:
            return value is not None and value in self.values
        return value is not None and self._ordered(value)

    def __str__(self) -> str:
        if self.op in _PRESENCE:
            return ("" if self.op is Op.EXISTS else "!") + self.key
        values = ",".join(sorted(self.values))
        if self.op in _SETS:
            return f"{self.key} {self.op.value} ({values})"
        return f"{self.key}{_WRITTEN[self.op]}{values}"

    def _ordered(self, value: str) -> bool:
        if not _INTEGER.fullmatch(value):
            return False
        left, right = int(value), int(self.values[0])
        return left > right if self.op is Op.GREATER else left < right


@dataclass(frozen=True)
class Selector:
    """A conjunction of requirements, sorted by key; without any it matches everything."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    """Selects nothing at all."""

    def matches(self, labels: Labels) -> bool:
        """Whether the labels fulfil every requirement."""
        return self.matcher(labels)

    @property
    def everything(self) -> bool:
        """Whether it restricts nothing."""
        return not self.requirements and not self.nothing

    @cached_property
    def exact(self) -> tuple[tuple[str, str], ...]:
        """The (key, value) pairs that every match has: what an index can look up."""
        return tuple((r.key, r.values[0]) for r in self.requirements if r.op in _POSITIVE and len(r.values) == 1)

    @cached_property
    def matcher(self) -> Matcher:
        """The fastest way to ask `matches` of many: most selectors are a few exact pairs."""
        if self.nothing:
            return lambda labels: False
        if len(self.requirements) == len(self.exact) == 1:
            ((key, value),) = self.exact
            return lambda labels: labels.get(key) == value
        wanted = frozenset(self.exact)
        rest = tuple(r for r in self.requirements if not (r.op in _POSITIVE and len(r.values) == 1))
        if not rest:
            return lambda labels: wanted <= labels.items()
        return lambda labels: wanted <= labels.items() and all(r.matches(labels) for r in rest)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


NOTHING = Selector(nothing=True)


def from_labels(labels: Labels) -> Selector:
    """Selects what has all these labels: the old selector of Services; an empty one selects everything."""
    return _compiled(tuple(labels.items()), ())


def from_field(selector: meta.LabelSelector | None) -> Selector:
    """The selector that a field of an object holds. Raises SelectorError for an operator that does not exist."""
    if selector is None:
        return NOTHING
    return _compiled(
        tuple(selector.match_labels.items()),
        tuple((e.key, e.operator, tuple(e.values)) for e in selector.match_expressions),
    )


def of_workload(selector: meta.LabelSelector | Mapping[str, str] | None) -> Selector:
    """The selector of a workload of any kind; the oldest ones have labels in the place of a selector."""
    return from_labels(selector) if isinstance(selector, Mapping) else from_field(selector)


@lru_cache(maxsize=16_384)
def _compiled(
    labels: tuple[tuple[str, str], ...], expressions: tuple[tuple[str, str, tuple[str, ...]], ...]
) -> Selector:
    requirements = [Requirement(key, Op.EQUALS, (value,)) for key, value in labels]
    for key, operator, values in expressions:
        if operator not in _OF_FIELD:
            raise SelectorError(f'"{operator}" is not a valid label selector operator')
        requirements.append(Requirement(key, _OF_FIELD[operator], values))
    return _selector(requirements)


@lru_cache(maxsize=1024)
def parse(text: str) -> Selector:
    """The selector that a text means; an empty text selects everything. Raises SelectorError."""
    return _selector(_Parser(text).parse())


def _selector(requirements: Iterable[Requirement]) -> Selector:
    return Selector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


class _Parser:
    """A recursive descent over the tokens of one selector text; the empty token is its end."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = [*_TOKEN.findall(text), ""]
        self._at = 0

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        if self._peek() == "":
            return requirements
        if self._peek() in _PUNCTUATION and self._peek() != "!":
            raise SelectorError(f"found '{self._peek()}', expected: !, identifier, or 'end of string'")
        while True:
            try:
                requirements.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            token = self._next()
            if token == "":
                return requirements
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            if self._peek() in _PUNCTUATION and self._peek() != "!":
                raise SelectorError(f"found '{self._peek()}', expected: identifier after ','")

    def _peek(self) -> str:
        return self._tokens[self._at]

    def _next(self) -> str:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _requirement(self) -> Requirement:
        token = self._next()
        negated = token == "!"
        key = self._next() if negated else token
        if key in _PUNCTUATION:
            raise SelectorError(f"found '{key}', expected: identifier")
        if problems := formats.qualified_name(key):
            raise SelectorError(str(FieldError.invalid("<nil>", key, "; ".join(problems))))
        if self._peek() in (",", ""):
            return Requirement(key, Op.DOES_NOT_EXIST if negated else Op.EXISTS)
        symbol = self._next()
        op = _SYMBOLS.get(symbol)
        if op is None or negated:
            raise SelectorError(f"found '{symbol}', expected: {_BINARY}")
        values = self._value_set() if op in _SETS else (self._value(),)
        _check_values(key, op, values)
        return Requirement(key, op, values)

    def _value(self) -> str:
        if self._peek() in (",", ""):
            return ""
        token = self._next()
        if token in _PUNCTUATION:
            raise SelectorError(f"found '{token}', expected: identifier")
        return token

    def _value_set(self) -> tuple[str, ...]:
        token = self._next()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        values: list[str] = []
        while True:
            token = self._peek()
            if token in (",", ")"):
                values.append("")
            elif token in _PUNCTUATION:
                raise SelectorError(f"found '{token}', expected: ',', ')' or identifier")
            else:
                values.append(self._next())
            token = self._next()
            if token == ")":
                return tuple(sorted(set(values)))
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or ')'")


def _check_values(key: str, op: Op, values: tuple[str, ...]) -> None:
    for i, value in enumerate(values):
        if op in _ORDER and not _INTEGER.fullmatch(value):
            detail = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise SelectorError(str(FieldError.invalid(f"values[{i}]", value, detail)))
        if problems := formats.label_value(value):
            raise SelectorError(str(FieldError.invalid(f"values[{i}][{key}]", value, "; ".join(problems))))
