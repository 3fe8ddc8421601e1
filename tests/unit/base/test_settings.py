"""Settings as people write them; all mistakes are told at once."""

from __future__ import annotations

import pytest

from mizzen.base.settings import Address, Problems, SettingsError, address, duration_ms


@pytest.mark.parametrize(
    ("text", "ms"), [("250ms", 250), ("30s", 30_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("2d", 172_800_000)]
)
def test_durations(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5s!", "-5s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host:6443", Address("host", 6443)),
        ("10.0.0.1", Address("10.0.0.1", 7)),
        ("[::1]:6443", Address("::1", 6443)),
        ("[::1]", Address("::1", 7)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert address(text, 7) == expected
    assert address(str(expected)) == expected


@pytest.mark.parametrize("text", ["", ":5", "host:", "host:x", "host:70000"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        address(text)


def test_all_mistakes_are_told_at_once() -> None:
    problems = Problems()
    assert problems.read("--grace", "30s", duration_ms) == 30_000
    assert problems.read("--absent", "", duration_ms, 5) == 5
    problems.check()
    problems.read("--listen", "nowhere:", address)
    problems.read("--timeout", "soon", duration_ms)
    problems.add("--data", "give a folder")
    with pytest.raises(SettingsError) as error:
        problems.check()
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["--listen", "--timeout", "--data"]
