"""Forgets flows to backends that are gone.

A UDP flow has no end that the kernel could see, so a client that keeps sending from one port would be led to the old
backend for as long as it sends. TCP needs nothing: the dead end answers or times out and the client connects anew.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from nodeagent.network.commands import run
from nodeagent.network.port import NetworkError

_NOTHING_DELETED = "0 flow entries"
_log = structlog.get_logger(__name__)


async def forget_udp(backends: Iterable[str]) -> None:
    """Delete every UDP flow that was rewritten to one of these addresses. Failing is logged: it heals by timeouts."""
    for address in backends:
        try:
            code, printed = await run(["conntrack", "-D", "-p", "udp", "--dst-nat", address])
        except FileNotFoundError:
            _log.warning("conntrack_missing", hint="install conntrack: UDP clients may stick to a backend that is gone")
            return
        except NetworkError as error:
            _log.warning("conntrack_failed", backend=address, error=str(error))
            continue
        if code and _NOTHING_DELETED not in printed:
            _log.warning("conntrack_failed", backend=address, error=printed.strip())
