"""A bound on what evaluating a CEL expression takes, so that no rule can hang who evaluates it.

The evaluator bounds iterations, but not what one step does: texts and lists can be doubled again and again, or joined
in every iteration. So before an expression runs on values, it is walked once: every step is charged with the size of
what it reads and makes, the steps of a loop as often as the loop may run.

Source: abstract interpretation of the checked expression (`cel.expr.CheckedExpr`), with the variables' own values where
a path leads into them, and upper bounds of sizes everywhere else.

Vocabulary
- *weight*: about as many bytes as a value has as JSON.
- *known*: the values that an expression may have, all of them parts of the variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

ITERATIONS_MAX = 10_000
"""Iterations of all loops of one evaluation; the evaluator's own limit."""
DEPTH_MAX = 200
"""Levels of an expression."""
KNOWN_MAX = 2_000
"""Values that are followed one by one; more of them count as their greatest."""
_SCALAR = 8
_SORTED = 16
"""How often sorting looks at an item: the binary logarithm of as many as there may be, and a bit."""
_FORMATTED = 1_000
"""Most characters that one number takes when it is formatted."""


class TooCostly(Exception):
    """The expression may take too long on these values."""


class TooDeep(ValueError):
    """The expression has too many levels."""


@dataclass(frozen=True, slots=True)
class Expr:
    """One step of an expression."""

    form: str
    """`const`, `ident`, `select`, `call`, `list`, `loop`."""
    name: str = ""
    """Of the variable, the field or the function; of a loop's variable."""
    parts: tuple[Expr, ...] = ()
    """Operands; of a loop its range, first state, condition, step and result."""
    state: str = ""
    """The name of a loop's state."""
    second: str = ""
    """The name of a loop's second variable: the item beside its index, or the value beside its key."""
    size: int = 0
    """The weight of a constant."""


def parsed(checked: bytes) -> Expr:
    """The expression in a serialized `google.protobuf.Any` of a CheckedExpr. Raises TooDeep."""
    return _expr(dict(_fields(dict(_fields(checked))[2]))[4], 0)


def variables(expr: Expr) -> set[str]:
    """The names that an expression reads."""
    own = {expr.name} if expr.form == "ident" else set()
    return own.union(*(variables(part) for part in expr.parts))


# -- the wire form -----------------------------------------------------------------------------------------------------


def _expr(data: bytes, depth: int) -> Expr:
    if depth > DEPTH_MAX:
        raise TooDeep(f"the expression has more than {DEPTH_MAX} levels")
    fields = dict(_fields(data))
    below = depth + 1
    if 4 in fields:
        return Expr("ident", _text(dict(_fields(fields[4]))[1]))
    if 5 in fields:
        select = dict(_fields(fields[5]))
        return Expr("select", _text(select[2]), (_expr(select[1], below),))
    if 6 in fields:
        call = list(_fields(fields[6]))
        parts = tuple(_expr(part, below) for number, part in call if number in (1, 3))
        return Expr("call", _text(dict(call)[2]), parts)
    if 7 in fields:
        return Expr("list", parts=tuple(_expr(part, below) for number, part in _fields(fields[7]) if number == 1))
    if 8 in fields:
        entries = [dict(_fields(part)) for number, part in _fields(fields[8]) if number == 2]
        return Expr("list", parts=tuple(_expr(part[i], below) for part in entries for i in (3, 4) if i in part))
    if 9 in fields:
        loop = dict(_fields(fields[9]))
        parts = tuple(_expr(loop[number], below) for number in (2, 4, 5, 6, 7))
        return Expr("loop", _text(loop[1]), parts, _text(loop[3]), second=_text(loop.get(8, b"")))
    constant = dict(_fields(fields[3])) if 3 in fields else {}
    text = next((value for number, value in constant.items() if number in (6, 7)), b"")
    return Expr("const", _text(text) if isinstance(text, bytes) else "", size=max(_SCALAR, len(text)))


def _text(data: Any) -> str:
    return bytes(data).decode("utf-8", "replace")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message by number."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        form = tag & 7
        if form == 0:
            value, place = _varint(data, place)
            yield tag >> 3, value
            continue
        size, place = _varint(data, place) if form == 2 else ({1: 8, 5: 4}[form], place)
        yield tag >> 3, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return number, place


# -- the bound ---------------------------------------------------------------------------------------------------------


class _Some(NamedTuple):
    """What a step may give: values that are known, or something of at most this weight."""

    known: tuple[Any, ...] | None
    weight: int = 0
    items: int | None = None
    """Of a list that a loop has made: how many items it has at most, and how much one weighs."""
    each: int = 0
    number: int = ITERATIONS_MAX
    """Of a number that a range may have: how great it is at most."""


@dataclass(slots=True)
class Budget:
    """What is left for the rules of one object."""

    left: int

    def spend(self, expr: Expr, variables: Mapping[str, Any]) -> None:
        """Take off what evaluating may take. Raises TooCostly."""
        _Walk(self).of(expr, {name: _Some((value,)) for name, value in variables.items()}, 1)

    def charge(self, cost: int) -> None:
        """Take off some. Raises TooCostly."""
        self.left -= cost
        if self.left < 0:
            raise TooCostly

    def weight(self, value: Any) -> int:
        """About how many bytes a value has. Raises TooCostly."""
        if isinstance(value, str | bytes):
            return len(value) + 2
        if not isinstance(value, Mapping | list):
            return _SCALAR
        self.charge(len(value))  # looking takes its time, too
        items = value.values() if isinstance(value, Mapping) else value
        names = sum(len(name) + 4 for name in value) if isinstance(value, Mapping) else 0
        return 2 + names + sum(self.weight(item) + 1 for item in items)


_ONE_OF = ("_?_:_", "optional.of", "optional.ofNonZeroValue", "value", "orValue", "or", "dyn", "optional.none")
"""Functions that give one of their arguments."""
_PARTS = ("_[_]", "_[?_]", "_?[_]")
_TRUTHS = frozenset((
    "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "!_", "@in", "@not_strictly_false", "contains",
    "startsWith", "endsWith", "size", "hasValue", "isSorted", "int", "uint", "double", "bool",
    "indexOf_", "lastIndexOf_",
))  # fmt: skip


_SAME_ITEMS = ("kubernetes.mapped", "sort", "distinct", "reverse", "slice")
"""Functions whose results have as many items as the first argument, at most."""


class _Walk:
    """Charges the steps of one evaluation."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def of(self, expr: Expr, names: Mapping[str, _Some], times: int) -> _Some:
        """What a step may give; it runs at most `times` times."""
        self._budget.charge(times)
        if expr.form == "const":
            return _Some(None, expr.size)
        if expr.form == "ident":
            return names.get(expr.name, _Some(None, _SCALAR))
        if expr.form == "loop":
            return self._loop(expr, names, times)
        parts = [self.of(part, names, times) for part in expr.parts]
        if expr.form == "select":
            return self._field(parts[0], expr.name)
        if expr.form == "list":
            weights = [self._weight(part) for part in parts]
            made = self._made(sum(weights) + 2, times)
            return made._replace(items=len(parts), each=max(weights, default=0))
        return self._call(expr, parts, times)

    def _call(self, expr: Expr, parts: list[_Some], times: int) -> _Some:
        name = expr.name
        if name in _ONE_OF:
            return self._either(parts[1:] if name == "_?_:_" else parts)
        if name in _PARTS:
            return self._items(parts[0], names=False)
        if name == "_?._":
            return self._field(parts[0], expr.parts[1].name)
        weights = [self._weight(part) for part in parts]
        total = sum(weights) + _SCALAR
        if name in _TRUTHS:
            self._budget.charge(total * times)
            counted = self._count(parts[0]) or min(weights[0], ITERATIONS_MAX)
            return _Some(None, _SCALAR, number=counted if name == "size" else ITERATIONS_MAX)
        if name == "kubernetes.range":
            return self._made(_SCALAR * parts[0].number, times)._replace(items=parts[0].number, each=_SCALAR)
        made = self._made(self._total(name, parts, weights), times)
        if name in _SAME_ITEMS and parts[0].known is None:
            return made._replace(weight=weights[0], items=parts[0].items, each=parts[0].each)
        return made

    def _total(self, name: str, parts: list[_Some], weights: list[int]) -> int:
        """About how many bytes a function reads and makes."""
        total = sum(weights) + _SCALAR
        match name:
            case "replace":
                return (weights[0] + 1) * (weights[2] + 1)
            case "join":
                return total + weights[0] * (weights[1] if len(weights) > 1 else 1)
            case "format":
                return total + _FORMATTED * total
            case "matches" | "find" | "findAll":
                return total + 16 * weights[1]
            case "distinct":
                # Each item is compared with all before it.
                return total * (self._count(parts[0]) + 1)
            case "sort" | "@sortByAssociatedKeys":
                return total * _SORTED
            case _:
                return total

    def _loop(self, expr: Expr, names: Mapping[str, _Some], times: int) -> _Some:
        over, first, condition, step, result = expr.parts
        range_, state = self.of(over, names, times), self.of(first, names, times)
        count = self._count(range_) if not (over.form == "list" and not over.parts) else 0
        if count:
            inner = min(times * count, ITERATIONS_MAX)
            # What one iteration adds: a macro's state is a truth value, a number, or a list that grows at its end.
            within = {**names, expr.name: self._items(range_, names=True), expr.state: _Some(None, 0)}
            if expr.second:
                within[expr.second] = self._items(range_, names=False)
            self.of(condition, within, inner)
            added = self._weight(self.of(step, within, inner))
            state = self._made(self._weight(state) + count * added, times)._replace(items=count, each=added)
        return self.of(result, {**names, expr.state: state}, times)

    def _made(self, weight: int, times: int) -> _Some:
        self._budget.charge(weight * times)
        return _Some(None, weight)

    def _weight(self, some: _Some) -> int:
        if some.known is None:
            return some.weight
        return max(map(self._budget.weight, some.known), default=_SCALAR)

    def _count(self, some: _Some) -> int:
        if some.known is None:
            return min(some.weight if some.items is None else some.items, ITERATIONS_MAX)
        sizes = (len(value) for value in some.known if isinstance(value, Mapping | list))
        return min(max(sizes, default=0), ITERATIONS_MAX)

    def _field(self, some: _Some, name: str) -> _Some:
        if some.known is None:
            return _Some(None, some.weight)
        return _Some(tuple(value[name] for value in some.known if isinstance(value, Mapping) and name in value))

    def _items(self, some: _Some, *, names: bool) -> _Some:
        """The items of lists and, of maps, the names or the values."""
        if some.known is None:
            return some if some.items is None else _Some(None, some.each)
        found: list[Any] = []
        for value in some.known:
            if isinstance(value, Mapping):
                found += value if names else value.values()
            elif isinstance(value, list):
                found += value
        self._budget.charge(len(found))
        items = _Some(tuple(found))
        return items if len(found) <= KNOWN_MAX else _Some(None, self._weight(items))

    def _either(self, parts: list[_Some]) -> _Some:
        known: list[Any] = []
        for part in parts:
            if part.known is None:
                return _Some(None, max(map(self._weight, parts)))
            known += part.known
        return _Some(tuple(known))
