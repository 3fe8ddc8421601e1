"""The tokens of the language: enough to rewrite expressions while what is in texts and comments stays."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
      |(?P<text>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      |(?P<quoted>`[^`]*`)
      |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<number>0[xX][0-9A-Fa-f]+[uU]?|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[uU]?)
      |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
CLOSING = {"(": ")", "[": "]", "{": "}"}

Token = tuple[str, str]
"""What it is (`skip`, `text`, `quoted`, `name`, `number`, `other`), and how it is written."""


def of(text: str) -> list[Token]:
    """The tokens of an expression; joined they are its text."""
    return [(found.lastgroup or "", found[0]) for found in _TOKEN.finditer(text)]
