"""What headers may say."""

from __future__ import annotations

import unicodedata

from controlplane.server.rest_answers import WARNINGS_MAX, bounded, warning_header


def test_a_warning_quotes_what_clients_sent() -> None:
    assert warning_header('unknown field "a\\b"') == '299 - "unknown field \\"a\\\\b\\""'


def test_a_warning_holds_no_control_characters() -> None:
    controls = [chr(code) for code in range(0x110) if unicodedata.category(chr(code)) == "Cc"]
    assert warning_header(f"a{''.join(controls)}b") == f'299 - "a{" " * len(controls)}b"'


def test_warnings_are_sent_once_and_cut_where_they_are_too_long_together() -> None:
    assert bounded(["a", "b", "a", ""]) == ["a", "b"]
    whole = ["x" * 4000, "y" * 96]
    assert bounded(whole) == whole
    assert [len(text) for text in bounded([*whole, "z"])] == [256, 96, 1]
    many = bounded(f"{i:04}{'x' * 300}" for i in range(100))
    assert (len(many), sum(map(len, many))) == (16, WARNINGS_MAX)
