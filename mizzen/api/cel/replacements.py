"""The functions that `macros` writes into expressions."""

from __future__ import annotations

from typing import Any

from cel_expr_python import cel

from mizzen.api.cel import macros, values
from mizzen.api.cel.functions import ANY, DYN, INT, LIST, TEXT, member, plain

RANGE_MAX = 10_000
"""Most numbers of `lists.range`: as many as one evaluation may go through."""
_ADDRESSES = ("net.IP", "net.CIDR")


def overloads() -> list[tuple[str, Any]]:
    """All of them."""
    first, last = macros.RENAMED["indexOf"], macros.RENAMED["lastIndexOf"]
    anything = cel.Type.Map(DYN, DYN)
    return [
        plain(macros.MAPPED, anything, [LIST], _mapped),
        plain(macros.MERGED, anything, [LIST], _merged),
        plain(macros.RANGE, cel.Type.List(INT), [INT], _range),
        plain(macros.SHOWN, DYN, [ANY], lambda one: one.text if values.name_of(one) in _ADDRESSES else one),
        member(first, INT, [TEXT, TEXT], lambda text, part: text.find(part)),
        member(first, INT, [TEXT, TEXT, INT], _find, "_from"),
        member(first, INT, [LIST, ANY], lambda items, one: next(_places(items, one), -1), "_list"),
        member(last, INT, [TEXT, TEXT], lambda text, part: text.rfind(part)),
        member(last, INT, [TEXT, TEXT, INT], _find_last, "_from"),
        member(last, INT, [LIST, ANY], lambda items, one: max(_places(items, one), default=-1), "_list"),
    ]


def _mapped(pairs: Any) -> dict[Any, Any]:
    return {pair[0]: pair[1] for pair in pairs}


def _merged(maps: Any) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for one in maps:
        for key, value in one.items():
            if key in made:
                raise ValueError(f"insert failed: key {key!r} already exists")
            made[key] = value
    return made


def _range(count: int) -> list[int]:
    if count > RANGE_MAX:
        raise ValueError(f"a range has at most {RANGE_MAX} numbers")
    return list(range(count))


def _find(text: str, part: str, first: int) -> int:
    _check(text, first)
    return text.find(part, first)


def _find_last(text: str, part: str, last: int) -> int:
    _check(text, last)
    return text.rfind(part, 0, last + len(part))


def _check(text: str, place: int) -> None:
    if not 0 <= place <= len(text):
        raise ValueError(f"index out of range: {place}")


def _places(items: Any, wanted: Any) -> Any:
    return (i for i, one in enumerate(items) if one == wanted and isinstance(one, bool) is isinstance(wanted, bool))
