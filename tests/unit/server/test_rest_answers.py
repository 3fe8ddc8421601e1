"""What headers may say."""

from __future__ import annotations

import unicodedata

from controlplane.server.rest_answers import warning_header


def test_a_warning_quotes_what_clients_sent() -> None:
    assert warning_header('unknown field "a\\b"') == '299 - "unknown field \\"a\\\\b\\""'


def test_a_warning_holds_no_control_characters() -> None:
    controls = [chr(code) for code in range(0x110) if unicodedata.category(chr(code)) == "Cc"]
    assert warning_header(f"a{''.join(controls)}b") == f'299 - "a{" " * len(controls)}b"'
