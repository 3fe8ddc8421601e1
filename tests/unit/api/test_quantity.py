"""Amounts as text and as numbers."""

from __future__ import annotations

import pytest

from mizzen.api import quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"), ("0.0", "0"), ("1", "1"), ("1000m", "1"), ("1.5", "1500m"), ("100m", "100m"), ("0.1", "100m"),
        ("1500m", "1500m"), ("1000", "1k"), ("1024", "1024"), ("1.5Gi", "1536Mi"), ("1024Mi", "1Gi"), ("64Mi", "64Mi"),
        ("1028Mi", "1028Mi"), ("0.5Ki", "512"), ("1023", "1023"), ("1.5Ki", "1536"), ("1e3", "1e3"), ("1E3", "1e3"),
        ("12E6", "12e6"), ("1E", "1E"), ("1000E", "1e21"), ("8Ei", "9223372036854775807"), ("7Ei", "7Ei"),
        (".5", "500m"),
        ("5.", "5"), ("+1", "1"), ("-1.5", "-1500m"), ("0.9n", "1n"), ("-0.9n", "-1n"), ("1.2345", "1234500u"),
        ("18446744073709551616", "18446744073709551616"), ("128974848", "128974848"),
        ("129e6", "129e6"), ("123Mi", "123Mi"),
        ("00100", "100"), ("0Mi", "0"),
    ],
)  # fmt: skip
def test_canonical(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical
    assert quantity.canonical(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "quantities must match the regular expression"),
        ("abc", "quantities must match the regular expression"),
        ("1 Gi", "quantities must match the regular expression"),
        ("1.2.3", "quantities must match the regular expression"),
        ("1x", "quantities must match the regular expression"),
        ("1ki", "unable to parse quantity's suffix"),
        ("1GB", "quantities must match the regular expression"),
        ("1e", "unable to parse quantity's suffix"),
        (".", "unable to parse numeric part of quantity"),
        ("1" * 2000, "quantities must match the regular expression"),
        ("1e999999999", "unable to parse quantity's suffix"),
    ],
)
def test_malformed(text: str, message: str) -> None:
    with pytest.raises(quantity.QuantityError, match=message.replace("(", r"\(")):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("text", "milli", "units"),
    [("1", 1000, 1), ("1m", 1, 1), ("1n", 1, 1), ("1.0001", 1001, 2), ("-1.5", -1500, -2), ("1Ki", 1024000, 1024)],
)
def test_rounds_up(text: str, milli: int, units: int) -> None:
    assert quantity.milli(text) == milli
    assert quantity.units(text) == units


def test_arithmetic_keeps_the_left_suffixes() -> None:
    assert quantity.add("1Gi", "512Mi") == "1536Mi"
    assert quantity.add("0", "512Mi") == "512Mi"
    assert quantity.add("1G", "1Mi") == "1001048576"
    assert quantity.sub("1", "1500m") == "-500m"
    assert quantity.compare("1000m", "1") == 0
    assert quantity.compare("1Gi", "1G") == 1
    assert quantity.compare("1M", "1Mi") == -1


def test_of_numbers() -> None:
    assert quantity.of_milli(1500) == "1500m"
    assert quantity.of_milli(2000) == "2"
    assert quantity.of_units(2**30, quantity.Format.BINARY) == "1Gi"
    assert quantity.of_units(110) == "110"
