"""Runs the two administration tools for which the kernel offers no short way: iptables and conntrack."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nodeagent.network.port import NetworkError

_TIMEOUT_S = 15


async def run(command: Sequence[str], text: str = "") -> tuple[int, str]:
    """Give the command this input and return its exit code with all it printed; FileNotFoundError when missing.

    NetworkError when it has not ended after 15 s.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            printed, _ = await process.communicate(text.encode())
    except TimeoutError as error:
        raise NetworkError(f"{command[0]} did not end within {_TIMEOUT_S} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, printed.decode(errors="replace")
