"""When a cron job is due: the five fields of cron, and words such as `@daily`.

The form is that of cron as everybody knows it, with names of months and days, lists, ranges and steps; Sunday is 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class CronError(ValueError):
    """The text is not a schedule; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Field:
    """The values of one field of a schedule."""

    values: frozenset[int]
    every: bool
    """The field is `*`. Of the two fields for days, one that is `*` does not count."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The moments at which something is due, in whatever time zone the clock shows."""

    minutes: Field
    hours: Field
    days: Field
    """Days of the month, from 1."""
    months: Field
    """From 1 for January."""
    weekdays: Field
    """From 0 for Sunday."""


@dataclass(frozen=True, slots=True)
class Every:
    """Due again and again, so much later each time."""

    seconds: int


@dataclass(frozen=True, slots=True)
class _Range:
    low: int
    high: int
    names: tuple[str, ...] = ()


_RANGES = (_Range(0, 59), _Range(0, 23), _Range(1, 31), _Range(1, 12, _MONTHS), _Range(0, 6, _DAYS))


def parse(text: str) -> Schedule | Every:
    """The schedule that a text means. Raises CronError."""
    if text.startswith(_EVERY):
        return Every(_seconds(text.removeprefix(_EVERY)))
    if text.startswith("@"):
        if text not in _WORDS:
            raise CronError(f"unrecognized descriptor: {text}")
        text = _WORDS[text]
    fields = text.split()
    if not fields:
        raise CronError("empty spec string")
    if len(fields) != len(_RANGES):
        raise CronError(f"expected exactly {len(_RANGES)} fields, found {len(fields)}: [{' '.join(fields)}]")
    return Schedule(*(_field(field, bounds) for field, bounds in zip(fields, _RANGES, strict=True)))


def _seconds(text: str) -> int:
    if _DURATION.fullmatch(text) is None:
        raise CronError(f"failed to parse duration {_EVERY}{text}: invalid duration")
    total_ns = sum(float(number) * _UNITS_NS[unit] for number, unit in _DURATION_PART.findall(text))
    return max(1, int(total_ns) // 10**9)


def _field(text: str, bounds: _Range) -> Field:
    parts = [_part(part, bounds) for part in text.split(",")]
    return Field(frozenset().union(*(values for values, _ in parts)), any(every for _, every in parts))


def _part(text: str, bounds: _Range) -> tuple[frozenset[int], bool]:
    """The values of one item of a list, and whether it begins with a star."""
    span, slash, step_text = text.partition("/")
    if "/" in step_text:
        raise CronError(f"too many slashes: {text}")
    low_text, hyphen, high_text = span.partition("-")
    if "-" in high_text:
        raise CronError(f"too many hyphens: {text}")
    star = low_text in ("*", "?")
    low = bounds.low if star else _number(low_text, bounds.names)
    high = bounds.high if star else _number(high_text, bounds.names) if hyphen else low
    step = 1
    if slash:
        step = _number(step_text, ())
        if not hyphen:
            high = bounds.high
    if low < bounds.low:
        raise CronError(f"beginning of range ({low}) below minimum ({bounds.low}): {text}")
    if high > bounds.high:
        raise CronError(f"end of range ({high}) above maximum ({bounds.high}): {text}")
    if low > high:
        raise CronError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
    if not step:
        raise CronError(f"step of range should be a positive number: {text}")
    return frozenset(range(low, high + 1, step)), star and step == 1


def _number(text: str, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        # Days count from 0, months from 1.
        return names.index(text.lower()) + (names is _MONTHS)
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise CronError(f"failed to parse int from {text}")
    return int(text)
