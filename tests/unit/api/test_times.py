"""Instants as text and as numbers."""

from __future__ import annotations

import pytest

from mizzen.api import times


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2024-02-29T12:00:00Z", 1709208000000),
        ("2024-02-29T13:00:00+01:00", 1709208000000),
        ("2024-02-29T12:00:00.123456Z", 1709208000123),
        ("2024-02-29T12:00:00.123456789Z", 1709208000123),
        ("2024-02-29T12:00:00.5Z", 1709208000500),
        ("1969-12-31T23:59:59Z", -1000),
    ],
)
def test_parse(text: str, ms: int) -> None:
    assert times.parse(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "2024-02-30T00:00:00Z", "2024-02-29", "2024-02-29T12:00:00", "2024-02-29 12:00:00Z", "x", "20240229T120000Z"],
)
def test_malformed(text: str) -> None:
    with pytest.raises(times.TimeError):
        times.parse(text)


def test_render() -> None:
    assert times.render(1709208000999) == "2024-02-29T12:00:00Z"
    assert times.render_micro(1709208000999) == "2024-02-29T12:00:00.999000Z"


def test_canonical() -> None:
    assert times.canonical("2024-02-29T13:00:00.9+01:00") == "2024-02-29T12:00:00Z"
    assert times.canonical_micro("2024-02-29T13:00:00.1234567+01:00") == "2024-02-29T12:00:00.123456Z"
