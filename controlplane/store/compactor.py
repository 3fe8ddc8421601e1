"""Forgetting history in time: etcd slows down fourfold with 250,000 revisions of it.

Every interval the history from before the last interval is compacted, so between one and two intervals stay for watches
to resume from. Several control planes may do this side by side; it does no harm.
"""

from __future__ import annotations

import asyncio

import structlog

from controlplane.store.port import Store
from controlplane.store.values import Closed, StoreError

INTERVAL_S = 300.0
"""Seconds between compactions."""

_log = structlog.get_logger(__name__)


async def run_compactor(store: Store, interval_s: float = INTERVAL_S) -> None:
    """Compact `store` until cancelled or until it is closed. What fails is tried again an interval later."""
    keep_from = 0
    while True:
        try:
            if keep_from:
                await store.compact(keep_from)
                _log.debug("store.compacted", version=keep_from)
            keep_from = await store.current()
        except Closed:
            return
        except StoreError as error:
            _log.warning("store.compaction_failed", reason=str(error))
        await asyncio.sleep(interval_s)
