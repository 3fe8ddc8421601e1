"""Kubernetes' libraries for lists, sets, regular expressions, quantities and semantic versions, and `jsonpatch`."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from mizzen.api import quantity, structural
from mizzen.api.cel import values
from mizzen.api.cel.functions import ANY, BOOL, DOUBLE, DYN, INT, LIST, TEXT, TEXTS, NoSuchOverload, member, plain

_QUANTITY, _SEMVER = "kubernetes.Quantity", "kubernetes.Semver"
_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+([0-9A-Za-z.-]+))?"
)
_LOOSE = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?((?:[-+].*)?)")
_WHOLE_MAX = 1 << 63


def overloads() -> list[tuple[str, Any]]:
    """All of them."""
    return [*_lists(), *_sets(), *_patterns(), *_quantities(), *_versions(), *_ordered()]


# -- lists and sets ----------------------------------------------------------------------------------------------------


def _lists() -> list[tuple[str, Any]]:
    return [
        member("isSorted", BOOL, [LIST], lambda items: all(left <= right for left, right in pairwise(items))),
        member("sum", DYN, [LIST], sum),
        member("min", DYN, [LIST], min),
        member("max", DYN, [LIST], max),
    ]


def _sets() -> list[tuple[str, Any]]:
    return [
        plain("sets.contains", BOOL, [LIST, LIST], _contains),
        plain("sets.intersects", BOOL, [LIST, LIST], _intersects),
        plain(
            "sets.equivalent",
            BOOL,
            [LIST, LIST],
            lambda items, others: _contains(items, others) and _contains(others, items),
        ),
    ]


def _contains(items: Any, wanted: Any) -> bool:
    return all(_has(items, item) for item in wanted)


def _intersects(items: Any, others: Any) -> bool:
    return any(_has(others, item) for item in items)


def _has(items: Any, wanted: Any) -> bool:
    return any(item == wanted and isinstance(item, bool) is isinstance(wanted, bool) for item in items)


# -- texts -------------------------------------------------------------------------------------------------------------


def _patterns() -> list[tuple[str, Any]]:
    return [
        member("find", TEXT, [TEXT, TEXT], _find),
        member("findAll", TEXTS, [TEXT, TEXT], _find_all),
        member("findAll", TEXTS, [TEXT, TEXT, INT], _find_all, "_n"),
        plain("jsonpatch.escapeKey", TEXT, [TEXT], lambda key: key.replace("~", "~0").replace("/", "~1")),
    ]


def _find(text: str, pattern: str) -> str:
    found = structural.expression(pattern).search(text)
    return found.group(0) if found else ""


def _find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    found = [one.group(0) for one in structural.expression(pattern).finditer(text)]
    return found if most < 0 else found[:most]


# -- quantities --------------------------------------------------------------------------------------------------------


def _quantities() -> list[tuple[str, Any]]:
    kind = values.type_of(_QUANTITY)
    return [
        plain("quantity", kind, [TEXT], _quantity),
        plain("isQuantity", BOOL, [TEXT], lambda text: _works(quantity.parse, text)),
        member("isInteger", BOOL, [kind], lambda one: _whole(one) is not None),
        member("asInteger", INT, [kind], _as_integer),
        member("asApproximateFloat", DOUBLE, [kind], lambda one: _nano(one) / quantity.NANO),
        member("sign", INT, [kind], lambda one: (_nano(one) > 0) - (_nano(one) < 0)),
        member("add", kind, [kind, kind], lambda one, other: _quantity(quantity.add(one.text, other.text))),
        member("add", kind, [kind, INT], lambda one, more: _quantity(quantity.add(one.text, str(more))), "_int"),
        member("sub", kind, [kind, kind], lambda one, other: _quantity(quantity.sub(one.text, other.text))),
        member("sub", kind, [kind, INT], lambda one, less: _quantity(quantity.sub(one.text, str(less))), "_int"),
    ]


def _quantity(text: str) -> Any:
    return values.made(_QUANTITY, text=quantity.canonical(text))


def _nano(one: Any) -> int:
    return quantity.parse(one.text).nano


def _whole(one: Any) -> int | None:
    whole, rest = divmod(_nano(one), quantity.NANO)
    return whole if not rest and -_WHOLE_MAX <= whole < _WHOLE_MAX else None


def _as_integer(one: Any) -> int:
    whole = _whole(one)
    if whole is None:
        raise ValueError("cannot convert value to integer")
    return whole


# -- versions ----------------------------------------------------------------------------------------------------------


def _versions() -> list[tuple[str, Any]]:
    kind = values.type_of(_SEMVER)
    return [
        plain("semver", kind, [TEXT], _semver),
        plain("semver", kind, [TEXT, BOOL], _semver, "_normalized"),
        plain("isSemver", BOOL, [TEXT], lambda text: _works(_semver, text)),
        plain("isSemver", BOOL, [TEXT, BOOL], lambda text, loose: _works(_semver, text, loose), "_normalized"),
        member("major", INT, [kind], lambda one: _parts(one.text)[0]),
        member("minor", INT, [kind], lambda one: _parts(one.text)[1]),
        member("patch", INT, [kind], lambda one: _parts(one.text)[2]),
    ]


def _semver(text: str, loose: bool = False) -> Any:
    if loose and (found := _LOOSE.fullmatch(text)):
        text = ".".join(str(int(found[i] or "0")) for i in (1, 2, 3)) + found[4]
    _parts(text)
    return values.made(_SEMVER, text=text)


def _parts(text: str) -> tuple[Any, ...]:
    """What a version is ordered by. Source: semver.org, section 11."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a semantic version")
    before = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in (found[4] or "").split(".") if one)
    return int(found[1]), int(found[2]), int(found[3]), not before, before


# -- what both have ----------------------------------------------------------------------------------------------------


def _ordered() -> list[tuple[str, Any]]:
    def compared(one: Any, other: Any) -> int:
        left, right = _rank(one), _rank(other)
        if values.name_of(one) != values.name_of(other):
            raise NoSuchOverload
        return int(left > right) - int(left < right)

    return [
        member("compareTo", INT, [ANY, ANY], compared),
        member("isLessThan", BOOL, [ANY, ANY], lambda one, other: compared(one, other) < 0),
        member("isGreaterThan", BOOL, [ANY, ANY], lambda one, other: compared(one, other) > 0),
    ]


def _rank(one: Any) -> Any:
    match values.name_of(one):
        case "kubernetes.Quantity":
            return _nano(one)
        case "kubernetes.Semver":
            return _parts(one.text)
        case _:
            raise NoSuchOverload


def _works(make: Callable[..., Any], *given: Any) -> bool:
    try:
        make(*given)
    except ValueError:
        return False
    return True
