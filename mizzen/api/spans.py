"""Spans of time as Go writes and reads them: `10.02s`, `1h30m0s`, `250ms`."""

from __future__ import annotations

import re
from fractions import Fraction

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_SECOND = 1_000_000_000
_UNITS_NS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND,
}  # fmt: skip


def parse(text: str) -> int:
    """The nanoseconds of a span; an empty text is none. Raises ValueError."""
    digits = text.lstrip("+-")
    parts = list(_PART.finditer(digits))
    if digits not in ("", "0") and "".join(part.group() for part in parts) != digits:
        raise ValueError(f"invalid duration {text!r}; write it like 1m30s")
    total = sum((Fraction(part[1]) * _UNITS_NS[part[2]] for part in parts), Fraction(0))
    return -int(total) if text.startswith("-") else int(total)


def render(ns: int) -> str:
    """The shortest usual text of a span of nanoseconds."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns == 0:
        return "0s"
    if ns < _SECOND:
        unit = next(unit for unit in ("ms", "µs", "ns") if ns >= _UNITS_NS[unit])
        return f"{sign}{_decimal(ns, _UNITS_NS[unit])}{unit}"
    minutes, rest = divmod(ns, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    lead = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{lead}{_decimal(rest, _SECOND)}s"


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    places = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{places}" if places else str(whole)
