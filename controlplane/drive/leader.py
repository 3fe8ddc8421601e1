"""One control plane decides: campaigns for leadership, decides while it lasts, and begins again when it is over.

All control planes serve the API; the one that leads runs the controllers and the scheduler. Leadership is a lease, and
a lease can end without its holder noticing; therefore every write of a decider carries the fence and bounces once
somebody else leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from prometheus_client import Gauge

from controlplane.store.port import Store
from controlplane.store.registry import NotLeader
from controlplane.store.values import Closed, Require, StoreError
from mizzen.api.errors import ApiError
from mizzen.base.tasks import unless

_LOG = structlog.get_logger(__name__)
_LEADS = Gauge("leader_election_master_status", "1 while this process leads", ["name"])

RETRY_S = 1.0
"""Pause before the next campaign, in seconds."""


async def lead(
    store: Store, name: str, identity: str, ttl_s: int, decide: Callable[[Require], Coroutine[Any, Any, None]]
) -> None:
    """Run `decide(fence)` whenever this process leads, until cancelled or the store is closed.

    `decide` is cancelled when leadership is lost. Its own troubles with the store end the leadership, so that another
    process may do better; every other exception is a defect and goes up.
    """
    status = _LEADS.labels(name)
    status.set(0)
    log = _LOG.bind(name=name, identity=identity)
    closed = False
    while not closed:
        try:
            async with store.campaign(name, identity, ttl_s) as leadership:
                log.info("leading")
                status.set(1)
                await unless(leadership.lost, decide(leadership.fence))
        except* Closed:
            closed = True
        except* (NotLeader, StoreError, ApiError) as troubles:
            log.warning("leadership_troubled", error=str(_first(troubles)))
        finally:
            status.set(0)
        log.info("not_leading")
        await asyncio.sleep(RETRY_S)


def _first(troubles: BaseExceptionGroup[Any]) -> BaseException:
    """The first single exception in a group of groups."""
    first = troubles.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
