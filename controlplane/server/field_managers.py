"""Who is recorded as the manager of the fields that a request sets: whom it names, else the program that sends it."""

from __future__ import annotations

from mizzen.api.managed.entries import UNKNOWN

NAME_MAX_BYTES = 128
"""Longest name of a field manager."""


def manager_of(user_agent: str) -> str:
    """Whom a program is known as that does not say: its name without version, as far as that can be a name."""
    name = "".join(filter(str.isprintable, user_agent.partition("/")[0]))
    return name.encode()[:NAME_MAX_BYTES].decode(errors="ignore") or UNKNOWN
