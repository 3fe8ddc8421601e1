"""Finding out what became of a commit whose answer was lost, by reading what was written.

A commit without an answer is simply sent again, with the same mark. If it now succeeds, the lost attempt did not happen
and never can, since its comparisons no longer hold. If it conflicts, either the lost attempt is the reason or somebody
else. A key that it would have written tells, its *witness*: unchanged, the commit did not happen; changed, the history
since before the first attempt shows whose mark the change bears. A removal bears no mark; whoever removed that very
version did what the commit wanted.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from aetcd.rpc import rpc_pb2 as pb

from controlplane.store.changes import Change, raw_changes
from controlplane.store.etcd_client import ATTEMPT_S, EtcdClient, NoAnswer
from controlplane.store.txn import Pending
from controlplane.store.values import Committed, Compacted, Op, Put, Remove, Require, Unavailable, UnknownOutcome
from controlplane.store.versions import expected_revision, first_safe, mark_of, revision_of

_PAUSE_S = 0.05


async def resolve(client: EtcdClient, pending: Pending) -> Committed | None:
    """Return the outcome of a commit that conflicted after an attempt without an answer; None: it did not happen.

    Raises `UnknownOutcome` when etcd does not tell before the deadline, or no more because history was compacted.
    """
    witness = next((op for op in pending.ops if type(op) is not Require), None)
    if witness is None:
        return None
    try:
        async with asyncio.timeout_at(pending.deadline):
            while True:
                try:
                    return await _look(client, pending, witness)
                except NoAnswer:
                    await asyncio.sleep(_PAUSE_S)
    except (TimeoutError, Unavailable, Compacted) as error:
        reason = str(error) or "its history did not say so in time"
        raise UnknownOutcome(f"cannot tell whether a commit of {witness.key} happened: {reason}") from error


async def _look(client: EtcdClient, pending: Pending, witness: Op) -> Committed | None:
    """Look once at what the witness says. Raises `NoAnswer` when it was not heard to the end."""
    answer = await client.range(pb.RangeRequest(key=witness.key.encode()), ATTEMPT_S)
    if _untouched(answer, witness, pending.tried_from):
        return None
    async with asyncio.timeout(ATTEMPT_S):
        return await _search(client, pending, witness)


def _untouched(answer: Any, witness: Op, tried_from: int) -> bool:
    """Tell whether a key was certainly not changed by an attempt made after revision `tried_from`."""
    found = answer.kvs[0].mod_revision if answer.kvs else 0
    return found == expected_revision(witness.expect) or 0 < found <= tried_from


async def _search(client: EtcdClient, pending: Pending, witness: Op) -> Committed | None:
    """Look for the first change of the witness after the version that the commit expected."""
    key = witness.key.encode()
    async with aclosing(raw_changes(client, first_safe(pending.tried_from), previous=True)) as batches:
        async for changes, _ in batches:
            for change in changes:
                if change.event.kv.key == key and revision_of(change.version) > expected_revision(witness.expect):
                    return _versions(pending, changes, change) if _ours(change, witness, pending.mark) else None
    raise NoAnswer("the history ended early")


def _ours(change: Change, witness: Op, mark: bytes) -> bool:
    if type(witness) is Put:
        return mark_of(change.event.kv.value) == mark
    return not change.event.kv.value and bool(change.event.prev_kv.mod_revision == expected_revision(witness.expect))


def _versions(pending: Pending, changes: list[Change], change: Change) -> Committed:
    revision = revision_of(change.version)
    written = {c.event.kv.key: c.version for c in changes if revision_of(c.version) == revision}
    return Committed(tuple(written[op.key.encode()] if type(op) in (Put, Remove) else 0 for op in pending.ops))
