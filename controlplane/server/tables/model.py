"""Columns, cells and the words that every table shares.

Why: the texts in the cells are an interface of their own; they are written down once here. What it is not: HTTP, or
the choice of which kind has which table (`render`).

Vocabulary: a *cell* is text, a whole number or a truth value; a *wide* column is shown only with `-o wide`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from mizzen.api import times
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Instant

Cell: TypeAlias = str | int | bool

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"
LATER = -1
"""As the present: spans until now become marks, for a row that is kept and shown again and again (`render.Kept`)."""

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_H = 24
_YEAR_H = 24 * 365


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a table as the API describes it."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


class RowCondition(msgspec.Struct, frozen=True, kw_only=True):
    """A remark on a row, such as that its pod has completed."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One object's cells, in the order of the columns."""

    cells: tuple[Cell, ...]
    conditions: tuple[RowCondition, ...] = ()


@dataclass(frozen=True, slots=True)
class TableOf:
    """How one kind is printed."""

    columns: tuple[Column, ...]
    row: Callable[[Any, Instant], Row]


NAME = Column(name="Name", format="name", description="Name of the object, unique within its namespace.")
AGE = Column(name="Age", description="Time since the object was created.")


def column(name: str, description: str, *, wide: bool = False, whole: bool = False, truth: bool = False) -> Column:
    """A column of text, of whole numbers or of truth values."""
    type_ = "integer" if whole else "boolean" if truth else "string"
    return Column(name=name, type=type_, description=description, priority=1 if wide else 0)


def duration(ms: int) -> str:
    """A span of time in one or two units, precise where it is short: `45s`, `3m12s`, `5h`, `2d3h`, `1y40d`."""
    seconds = ms // 1000
    if seconds < 0:
        return "0s" if seconds >= -1 else "<invalid>"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds}s"
    minutes = seconds // _MINUTE_S
    if minutes < 10:
        return _two(minutes, "m", seconds % _MINUTE_S, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = seconds // _HOUR_S
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 2 * _DAY_H:
        return f"{hours}h"
    return _days(hours)


def steady_s(seconds: int) -> int:
    """For how many seconds from an age of `seconds` on `duration` surely says the same; at least 1."""
    if seconds < 10 * _MINUTE_S:
        return 1
    step = _MINUTE_S if seconds < 8 * _HOUR_S else _HOUR_S
    return step - seconds % step


def _days(hours: int) -> str:
    if hours < 8 * _DAY_H:
        return _two(hours // _DAY_H, "d", hours % _DAY_H, "h")
    if hours < 2 * _YEAR_H:
        return f"{hours // _DAY_H}d"
    if hours < 8 * _YEAR_H:
        return _two(hours // _YEAR_H, "y", hours // _DAY_H % 365, "d")
    return f"{hours // _YEAR_H}y"


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def since(time: str | None, now: Instant) -> str:
    """The span from a time until now, `<unknown>` where there is no time."""
    if not time:
        return UNKNOWN
    ms = times.parse(time)
    return f"\0{ms}\0" if now == LATER else duration(now - ms)


def age(metadata: meta.ObjectMeta, now: Instant) -> str:
    """The age of an object."""
    return since(metadata.creation_timestamp, now)


def joined(values: Iterable[str], empty: str = NONE) -> str:
    """Texts with commas between them, or the word for nothing."""
    return ",".join(values) or empty


def labels_text(labels: Mapping[str, str]) -> str:
    """`a=b,c=d` in the order of the keys, or `<none>`."""
    return joined(f"{key}={labels[key]}" for key in sorted(labels))


_OPERATORS = {"In": "in", "NotIn": "notin"}


def selector_text(selector: meta.LabelSelector | None) -> str:
    """A label selector as one writes it on the command line, or `<none>`."""
    if selector is None:
        return NONE
    parts = [(key, f"{key}={value}") for key, value in selector.match_labels.items()]
    parts += [(term.key, _requirement(term)) for term in selector.match_expressions]
    return joined(text for _, text in sorted(parts))


def _requirement(term: meta.LabelSelectorRequirement) -> str:
    if term.operator == "Exists":
        return term.key
    if term.operator == "DoesNotExist":
        return f"!{term.key}"
    return f"{term.key} {_OPERATORS.get(term.operator, term.operator)} ({','.join(sorted(term.values))})"


def containers_cells(spec: core.PodSpec) -> tuple[str, str]:
    """The wide cells Containers and Images of what has a pod template."""
    return ",".join(c.name for c in spec.containers), ",".join(c.image for c in spec.containers)


CONTAINERS = column("Containers", "Names of the containers in the template.", wide=True)
IMAGES = column("Images", "Images that the template's containers run.", wide=True)
SELECTOR = column("Selector", "Labels by which the object finds its pods.", wide=True)
