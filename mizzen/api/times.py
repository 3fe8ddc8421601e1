"""Instants as the API writes them: RFC 3339 text on the outside, integer milliseconds since the epoch inside.

Not a clock: nothing here knows what time it is. `Time` has whole seconds, `MicroTime` has microseconds; both are UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_LAYOUT = "2006-01-02T15:04:05Z07:00"


class TimeError(ValueError):
    """The text is not an RFC 3339 instant."""


@lru_cache(maxsize=8192)
def parse_us(text: str) -> int:
    """Microseconds since the epoch; finer fractions are cut off. Raises TimeError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise TimeError(f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{text}" as "2006"')
    whole, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(whole + (fraction or "")[:7] + zone)
    except ValueError as error:
        raise TimeError(f'parsing time "{text}": {error}') from error
    return (moment - _EPOCH) // _MICROSECOND


def parse(text: str) -> int:
    """Milliseconds since the epoch. Raises TimeError."""
    return parse_us(text) // 1000


@lru_cache(maxsize=8192)
def render(ms: int) -> str:
    """A `Time`: whole seconds, UTC."""
    return _moment(ms * 1000).isoformat(timespec="seconds")[:19] + "Z"


def render_micro(ms: int) -> str:
    """A `MicroTime`, UTC."""
    return _render_us(ms * 1000)


@lru_cache(maxsize=8192)
def canonical(text: str) -> str:
    """A `Time` as the API prints it: in UTC and without a fraction. Raises TimeError."""
    return render(parse_us(text) // 1_000_000 * 1000)


def canonical_micro(text: str) -> str:
    """A `MicroTime` as the API prints it: in UTC with six digits. Raises TimeError."""
    return _render_us(parse_us(text))


def _render_us(us: int) -> str:
    return _moment(us).isoformat(timespec="microseconds")[:26] + "Z"


def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
