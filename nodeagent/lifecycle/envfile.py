"""Files of variables, as Kubernetes' `fileKeyRef` reads them. Pure.

    # a comment
    NAME='any text, literally,
    and over several lines'   # another one

Values stand in single quotes, and nothing in them means anything; no blank is on either side of `=`. See KEP-3721.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[^\s=']+")
_REST = re.compile(r"[ \t]*(?:#.*)?")


class EnvFileError(Exception):
    """The text is no file of variables; says in which line, and what to write."""


def value_in(text: str, key: str) -> str | None:
    """The value of a variable, as the last line that sets it says; None when none does. Raises EnvFileError."""
    found, at, number = None, 0, 0
    while at < len(text):
        number += 1
        end = _end(text, at)
        line = text[at:end].lstrip(" \t\r")
        if not line.strip() or line.startswith("#"):
            at = end + 1
            continue
        name, value, at = _assignment(text, end - len(line), number)
        number += value.count("\n")
        found = value if name == key else found
    return found


def _assignment(text: str, at: int, number: int) -> tuple[str, str, int]:
    """Name, value, and where the next line begins."""
    match = _NAME.match(text, at)
    if match is None or text[match.end() : match.end() + 2] != "='":
        raise EnvFileError(f"line {number}: write NAME='value', in single quotes and without blanks around =")
    begin = match.end() + 2
    end = text.find("'", begin)
    if end < 0:
        raise EnvFileError(f"line {number}: the value's closing quote is missing")
    stop = _end(text, end + 1)
    if _REST.fullmatch(text[end + 1 : stop].rstrip("\r")) is None:
        raise EnvFileError(f"line {number}: after the value's closing quote only a comment may follow")
    return match[0], text[begin:end], stop + 1


def _end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
