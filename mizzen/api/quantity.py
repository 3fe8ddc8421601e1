"""Amounts of resources as the API writes them: `250m`, `64Mi`, `1.5Gi`, `1e3`.

A quantity is exact: an integer count of nano units (10^-9) together with the family of suffixes that it was written
in, which it keeps when it is written again. In the API types a quantity is text; this module gives the text a meaning.

Vocabulary: *canonical* is the one text for a value and family: no fraction, the largest suffix that loses nothing.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

NANO = 10**9
_MAX_BINARY = (2**63 - 1) * NANO
_PATTERN = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([^0-9.].*)?", re.ASCII)
_SUFFIX = re.compile(r"[eEinumkKMGTP]*[-+]?[0-9]*", re.ASCII)
_EXPONENT = re.compile(r"[eE][-+]?[0-9]+", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_BINARY_BY_POWER = ("", *_BINARY)
_EXPONENT_MAX = 1000
_LENGTH_MAX = 1000
"""Beyond these a number is a mistake or an attack; nobody has that much of anything."""


class QuantityError(ValueError):
    """The text is not a quantity; the message says which part is wrong."""


class Format(Enum):
    """The family of suffixes."""

    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


class Quantity(NamedTuple):
    """An exact amount."""

    nano: int
    format: Format = Format.DECIMAL


@lru_cache(maxsize=16384)
def parse(text: str) -> Quantity:
    """The amount that a text means; parts finer than nano are rounded away from zero. Raises QuantityError."""
    match = _NUMBER.fullmatch(text)
    if not text or match is None or len(text) > _LENGTH_MAX:
        raise QuantityError(f"quantities must match the regular expression '{_PATTERN}'")
    sign, whole, fraction, suffix = match[1], match[2], match[3] or "", match[4] or ""
    if _SUFFIX.fullmatch(suffix) is None:
        raise QuantityError(f"quantities must match the regular expression '{_PATTERN}'")
    base, exponent, family = _interpret(suffix)
    if not whole and not fraction:
        raise QuantityError("unable to parse numeric part of quantity")
    nano = _nano(int(whole + fraction), len(fraction), base, exponent)
    if family is Format.BINARY:
        nano = min(nano, _MAX_BINARY)
        if nano < NANO:
            family = Format.DECIMAL
    return Quantity(-nano if sign == "-" else nano, family)


def render(quantity: Quantity) -> str:
    """The canonical text of an amount."""
    nano, family = quantity
    if nano == 0:
        return "0"
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    # A larger sum would be read back as the largest amount that binary suffixes have.
    if family is Format.BINARY and 1024 * NANO <= nano <= _MAX_BINARY and nano % NANO == 0:
        number, power = nano // NANO, 0
        while power < 6 and number % 1024 == 0:
            number, power = number // 1024, power + 1
        return f"{sign}{number}{_BINARY_BY_POWER[power]}"
    exponent = -9
    while nano % 1000 == 0:
        nano, exponent = nano // 1000, exponent + 3
    if family is not Format.EXPONENT and exponent in _DECIMAL_BY_EXPONENT:
        return f"{sign}{nano}{_DECIMAL_BY_EXPONENT[exponent]}"
    return f"{sign}{nano}e{exponent}" if exponent else f"{sign}{nano}"


@lru_cache(maxsize=16384)
def canonical(text: str) -> str:
    """The canonical text for a text. Raises QuantityError."""
    return render(parse(text))


@lru_cache(maxsize=16384)
def milli(text: str) -> int:
    """The amount in thousandths, rounded away from zero: CPU in millicores. Raises QuantityError."""
    return _away_from_zero(parse(text).nano, 10**6)


@lru_cache(maxsize=16384)
def units(text: str) -> int:
    """The amount in whole units, rounded away from zero: bytes, pods, devices. Raises QuantityError."""
    return _away_from_zero(parse(text).nano, NANO)


def of_milli(amount: int) -> str:
    """The text for so many thousandths."""
    return render(Quantity(amount * 10**6))


def of_units(amount: int, family: Format = Format.DECIMAL) -> str:
    """The text for so many whole units."""
    return render(Quantity(amount * NANO, family))


def add(left: str, right: str) -> str:
    """The sum, in the left side's suffixes (the right side's where the left is zero). Raises QuantityError."""
    return _combine(parse(left), parse(right), 1)


def sub(left: str, right: str) -> str:
    """The difference, in the left side's suffixes (the right side's where the left is zero). Raises QuantityError."""
    return _combine(parse(left), parse(right), -1)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1, as the left amount is less than, equal to or more than the right. Raises QuantityError."""
    a, b = parse(left).nano, parse(right).nano
    return (a > b) - (a < b)


def _interpret(suffix: str) -> tuple[int, int, Format]:
    """Base, exponent and family of a suffix."""
    if suffix in _DECIMAL:
        return 10, _DECIMAL[suffix], Format.DECIMAL
    if suffix in _BINARY:
        return 2, _BINARY[suffix], Format.BINARY
    if _EXPONENT.fullmatch(suffix) and abs(int(suffix[1:])) <= _EXPONENT_MAX:
        return 10, int(suffix[1:]), Format.EXPONENT
    raise QuantityError("unable to parse quantity's suffix")


def _nano(digits: int, places: int, base: int, exponent: int) -> int:
    """`digits` with so many decimal places times `base` to the `exponent`, in nano units, rounded up."""
    if base == 2:
        divisor: int = 10**places
        return -(-(digits << exponent) * NANO // divisor)
    shift = exponent + 9 - places
    factor: int = 10 ** abs(shift)
    return digits * factor if shift >= 0 else -(-digits // factor)


def _away_from_zero(nano: int, unit: int) -> int:
    return -(-nano // unit) if nano >= 0 else nano // unit


def _combine(left: Quantity, right: Quantity, sign: int) -> str:
    family = left.format if left.nano else right.format
    return render(Quantity(left.nano + sign * right.nano, family))
