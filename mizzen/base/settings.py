"""Reading settings from text. Mistakes are collected, so that a user sees all of them at once and what to do.

problems = Problems()
timeout_ms = problems.read("--timeout", "30s", duration_ms)
problems.check()    # raises SettingsError naming every wrong setting
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class SettingsError(Exception):
    """One or more settings are wrong; the message has a line for each."""


class Address(NamedTuple):
    """A host name or IP address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Problems:
    """Collects what is wrong with the settings."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lines: list[str] = []

    def read(self, name: str, text: str, parse: Callable[[str], T], default: T | None = None) -> T | None:
        """Return the parsed setting, `default` where the text is empty, None (and a problem) where it is wrong."""
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.add(name, str(error))
            return None

    def add(self, name: str, what: str) -> None:
        """Note that a setting is wrong, and how to put it right."""
        self._lines.append(f"{name}: {what}")

    def check(self) -> None:
        """Raise SettingsError when there are problems."""
        if self._lines:
            raise SettingsError("\n".join(self._lines))


def duration_ms(text: str) -> int:
    """Read a duration such as `30s`, `1m30s` or `250ms`. Raises ValueError."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration; write it like 250ms, 30s or 1m30s")
    return sum(round(float(number) * _UNIT_MS[unit]) for number, unit in parts)


def address(text: str, default_port: int = 0) -> Address:
    """Read `host:port`, `[v6]:port`, or a host alone where there is a default port. Raises ValueError."""
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not an address; write it like host:6443")
    return Address(host, int(port))
