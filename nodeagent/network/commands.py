"""Runs the two administration tools for which the kernel offers no short way: iptables and conntrack."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence

from nodeagent.network.port import NetworkError

_TIMEOUT_S = 15


async def run(command: Sequence[str], text: str = "") -> tuple[int, str]:
    """Give the command this input and return its exit code with all it printed; FileNotFoundError when missing.

    NetworkError when it has not ended after 15 s. It runs from a thread, which copes with a tool that ends before it
    has read its input.
    """
    return await asyncio.to_thread(_run, command, text)


def _run(command: Sequence[str], text: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NetworkError(f"{command[0]} did not end within {_TIMEOUT_S} s") from error
    return done.returncode, done.stdout
