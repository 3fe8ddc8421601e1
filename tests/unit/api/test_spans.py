"""Spans of time as Go writes them."""

from __future__ import annotations

import pytest

from mizzen.api import spans

TEXTS = ["0s", "10.02s", "1m30s", "1h0m5.5s", "250ms", "1.5µs", "7ns", "-3s", "48h0m0s"]


@pytest.mark.parametrize("text", TEXTS)
def test_there_and_back(text: str) -> None:
    assert spans.render(spans.parse(text)) == text


def test_other_ways_to_write() -> None:
    assert spans.parse("") == spans.parse("0") == 0
    assert spans.parse("1.5h") == spans.parse("1h30m") == 5_400_000_000_000


@pytest.mark.parametrize("text", ["1", "s", "1d", "1s x", "1s1"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        spans.parse(text)
