"""Fields that hold a number or a text: ports by number or name, amounts absolute or in percent."""

from __future__ import annotations

import re

_PERCENT = re.compile(r"[0-9]+%", re.ASCII)


class IntOrStringError(ValueError):
    """The text is neither a number nor a percentage."""


def is_percent(value: int | str) -> bool:
    """Whether the value is a text such as `25%`."""
    return isinstance(value, str) and _PERCENT.fullmatch(value) is not None


def scaled(value: int | str, total: int, *, round_up: bool) -> int:
    """The absolute amount: a number as it is, a percentage of `total` rounded as asked.

    Raises IntOrStringError for a text that is no percentage.
    """
    if isinstance(value, int):
        return value
    if not is_percent(value):
        raise IntOrStringError(f"invalid value for IntOrString: invalid type: string is not a percentage: {value!r}")
    product = int(value[:-1]) * total
    return -(-product // 100) if round_up else product // 100
