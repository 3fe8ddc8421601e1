"""Being the one leader of a name: a key that only one can create, bound to a lease that must be renewed.

The key's version is the fence: a commit that requires it bounces as soon as the key is gone, whatever a leader that
hung or was cut off still believes. `lost` is set by the leader's own clock, counted from before each renewal was sent,
so it comes before anybody else can be elected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import NamedTuple

import structlog
from aetcd.rpc import kv_pb2
from aetcd.rpc import rpc_pb2 as pb

from controlplane.store.etcd_client import ATTEMPT_S, EtcdClient, NoAnswer
from controlplane.store.keys import leader_key
from controlplane.store.values import DEADLINE_S, Require, StoreError
from controlplane.store.versions import pack, version_at

_PAUSE_S = 0.2

_log = structlog.get_logger(__name__)


class EtcdLeadership:
    """Leadership of one name; see `port.Leadership`."""

    def __init__(self, identity: str, fence: Require) -> None:
        """Hold what a leader needs to know."""
        self.identity = identity
        self.fence = fence
        self.lost = asyncio.Event()


class _Term(NamedTuple):
    """An election that was won. `valid_until` is in the loop's time."""

    lease: int
    revision: int
    ttl_s: int
    valid_until: float


@asynccontextmanager
async def campaign(client: EtcdClient, name: str, identity: str, ttl_s: int) -> AsyncIterator[EtcdLeadership]:
    """Wait to be elected, hold leadership while the context is open, then resign. See `port.Store.campaign`."""
    key = leader_key(name)
    term = await _win(client, key, identity, ttl_s)
    leadership = EtcdLeadership(identity, Require(key, version_at(term.revision, 0)))
    _log.info("leader.elected", name=name, identity=identity)
    renewal = asyncio.create_task(_renew(client, key, term, leadership), name=f"renew {key}")
    try:
        yield leadership
    finally:
        leadership.lost.set()
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal
        await _revoke(client, term.lease)
        _log.info("leader.resigned", name=name, identity=identity)


async def _win(client: EtcdClient, key: str, identity: str, ttl_s: int) -> _Term:
    """Stand for election until it is won."""
    while True:
        try:
            await _vacant(client, key, ttl_s)
            term = await _stand(client, key, identity, ttl_s)
            if term is not None:
                return term
        except StoreError as error:
            if not error.retryable:
                raise
            _log.warning("leader.cannot_stand", key=key, reason=str(error))
            await asyncio.sleep(_PAUSE_S)


async def _vacant(client: EtcdClient, key: str, ttl_s: int) -> None:
    """Return when nobody holds `key`."""
    raw = key.encode()
    while True:
        answer = await client.range(pb.RangeRequest(key=raw), DEADLINE_S)
        if not answer.kvs:
            return
        create = pb.WatchCreateRequest(key=raw, start_revision=answer.header.revision + 1)
        with suppress(NoAnswer, TimeoutError):
            async with asyncio.timeout(ttl_s), aclosing(client.watch(create)) as answers:
                async for said in answers:
                    if said.canceled or any(event.type == kv_pb2.Event.EventType.DELETE for event in said.events):
                        break


async def _stand(client: EtcdClient, key: str, identity: str, ttl_s: int) -> _Term | None:
    """Try to create the key under a new lease. In any doubt the lease is ended, and the key with it."""
    raw = key.encode()
    begun = asyncio.get_running_loop().time()
    lease, granted_s = await client.grant_lease(ttl_s, DEADLINE_S)
    put = pb.PutRequest(key=raw, value=pack(identity.encode(), 0, b"%x.0" % lease), lease=lease)
    request = pb.TxnRequest(
        compare=[pb.Compare(key=raw, target=pb.Compare.CompareTarget.MOD, mod_revision=0)],
        success=[pb.RequestOp(request_put=put)],
    )
    won = False
    try:
        answer = await client.txn(request.SerializeToString())
        won = answer.succeeded
        return _Term(lease, answer.header.revision, granted_s, begun + granted_s) if won else None
    finally:
        if not won:
            await _revoke(client, lease)


async def _renew(client: EtcdClient, key: str, term: _Term, leadership: EtcdLeadership) -> None:
    """Renew until the lease or the key is gone or etcd stays silent for too long; then say so."""
    loop = asyncio.get_running_loop()
    valid_until = term.valid_until
    wait_s = term.ttl_s / 3
    try:
        while (left_s := valid_until - loop.time()) > 0:
            await asyncio.sleep(min(wait_s, left_s))
            begun = loop.time()
            try:
                granted_s = await client.renew_lease(term.lease, max(0.0, min(ATTEMPT_S, valid_until - begun)))
                if granted_s <= 0 or not await _held(client, key, term, valid_until - begun):
                    break
                valid_until = begun + granted_s
                wait_s = granted_s / 3
            except NoAnswer:
                wait_s = _PAUSE_S
    except StoreError as error:
        _log.error("leader.cannot_renew", key=key, reason=str(error))
    finally:
        leadership.lost.set()
    _log.warning("leader.lost", key=key, identity=leadership.identity)


async def _held(client: EtcdClient, key: str, term: _Term, deadline_s: float) -> bool:
    answer = await client.range(pb.RangeRequest(key=key.encode()), deadline_s)
    return bool(answer.kvs) and answer.kvs[0].mod_revision == term.revision


async def _revoke(client: EtcdClient, lease: int) -> None:
    """End a lease as well as possible; it runs out anyway."""
    try:
        await client.revoke_lease(lease, ATTEMPT_S)
    except StoreError as error:
        _log.warning("leader.lease_left_to_expire", reason=str(error))
