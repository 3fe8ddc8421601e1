"""Group commit: commits made at the same time travel in one transaction.

A commit made while nothing is under way leaves at once; what comes in behind a transaction in flight waits and leaves
together. Two transactions may be in flight, so that etcd works on one while the other is being built and read.

Two commits that touch the same key never share a transaction, and keep their order. A transaction without an answer is
sent again until the deadlines of its commits; outcomes that are doubtful then are settled by `resolve`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from itertools import count

import structlog

from controlplane.store.crypt import Sealer
from controlplane.store.etcd_client import EtcdClient, NoAnswer
from controlplane.store.resolve import resolve
from controlplane.store.txn import Pending, encode, outcomes
from controlplane.store.values import (
    POSITIONS,
    Closed,
    Committed,
    Conflict,
    Op,
    Refused,
    Require,
    StoreError,
    Unavailable,
    UnknownOutcome,
)

QUEUE_MAX = 50_000
"""Most commits that may wait; more are turned away with `Unavailable`."""

IN_FLIGHT = 2
"""Transactions under way at a time."""

_GROUP_BYTES = 1 << 20  # etcd refuses requests above 1.5 MiB
_LOOK_AHEAD = 4 * POSITIONS  # commits looked at when filling a group
_SWEEP_S = 0.05
_PAUSE_S = 0.02
_PAUSE_MAX_S = 0.5

_log = structlog.get_logger(__name__)

Future = asyncio.Future[Committed | Conflict]


class GroupCommit:
    """Takes commits and sends them in groups. `run` must be running; after it ended every commit gets `Closed`."""

    def __init__(self, client: EtcdClient, sealer: Sealer | None) -> None:
        """Send through `client`, encrypting what `sealer` says."""
        self._client = client
        self._sealer = sealer
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Pending] = deque()
        self._flying: list[list[Pending]] = []
        self._wake = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self._writer = secrets.token_hex(4).encode()
        self._numbers = count(1)
        self._ended = False
        self._silent = False

    def submit(self, ops: tuple[Op, ...], deadline_s: float) -> Future:
        """Queue a checked commit and return the future of its outcome. Raises `Closed` or `Unavailable`."""
        if self._ended:
            raise Closed("the store is closed")
        if len(self._queue) >= QUEUE_MAX:
            raise Unavailable(f"{QUEUE_MAX} commits are waiting already; try again later")
        future: Future = self._loop.create_future()
        mark = b"%b.%x" % (self._writer, next(self._numbers))
        self._queue.append(Pending(ops, mark, self._loop.time() + deadline_s, future))
        self._wake.set()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        return future

    async def run(self) -> None:
        """Send what is queued, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(IN_FLIGHT):
                    tasks.create_task(self._work())
        finally:
            self._end()

    async def _work(self) -> None:
        pause_s = _PAUSE_S
        while True:
            group = take(self._queue)
            if not group:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._flying.append(group)
            try:
                await self._perform(group)
                pause_s = _PAUSE_S
            except NoAnswer as error:
                self._flying.remove(group)
                self._queue.extendleft(reversed(group))
                self._note_silence(error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
            else:
                self._flying.remove(group)

    async def _perform(self, group: list[Pending]) -> None:
        """Send one group and hand out its outcomes. Raises `NoAnswer` when it must be sent again."""
        before = self._client.revision
        try:
            answer = await self._client.txn(encode(group, self._sealer))
        except NoAnswer as error:
            if error.sent:
                for pending in group:
                    pending.tried_from = pending.tried_from or before
            raise
        except Refused as error:
            for pending in group:
                _fail(pending, error)
            return
        self._note_answer()
        for pending, outcome in zip(group, outcomes(group, answer, self._sealer), strict=True):
            if pending.tried_from and not isinstance(outcome, Committed):
                await self._settle(pending, outcome)
            else:
                _finish(pending, outcome)

    async def _settle(self, pending: Pending, outcome: Conflict | Refused) -> None:
        """Find out whether a commit conflicts because its own earlier attempt was made."""
        try:
            _finish(pending, await resolve(self._client, pending) or outcome)
        except UnknownOutcome as error:
            _fail(pending, error)

    def _note_silence(self, error: NoAnswer) -> None:
        if not self._silent:
            _log.warning("store.no_answer", commits=len(self._queue), reason=str(error))
        self._silent = True

    def _note_answer(self) -> None:
        if self._silent:
            _log.info("store.answers_again", commits=len(self._queue))
        self._silent = False

    def _sweep(self) -> None:
        """Give up on commits whose deadline is over, and drop those that nobody waits for."""
        now = self._loop.time()
        late = Unavailable("etcd did not take the commit before its deadline; it was not made")
        for pending in self._queue:
            if pending.deadline <= now:
                _fail(pending, late)
        unknown = UnknownOutcome("etcd did not answer a commit before its deadline; it may have happened: read first")
        for group in self._flying:
            for pending in group:
                if pending.deadline <= now:
                    _fail(pending, unknown)
        waits = bool(self._queue or self._flying)
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep) if waits else None

    def _end(self) -> None:
        """Let nobody wait for ever, whether the end was asked for or is a defect."""
        self._ended = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for group in self._flying:
            for pending in group:
                _fail(pending, UnknownOutcome("the store was closed while a commit was under way"))
        for pending in self._queue:
            _fail(pending, Closed("the store was closed"))


def take(queue: deque[Pending]) -> list[Pending]:
    """Remove from the front of `queue` what may share a transaction. Those that nobody waits for are dropped.

    A commit that must wait because of a key holds back later ones with any of its keys.
    """
    group: list[Pending] = []
    touched: dict[str, bool] = {}  # key -> written
    held: list[Pending] = []
    operations = widest = size = looked = 0
    while queue and looked < _LOOK_AHEAD:
        looked += 1
        pending = queue[0]
        if pending.future.done():
            queue.popleft()
            continue
        ops = pending.ops
        widest_then = max(widest, len(ops))
        full = operations + len(ops) > POSITIONS or len(group) + 1 + widest_then > POSITIONS
        if group and (full or size + pending.size > _GROUP_BYTES):
            break
        queue.popleft()
        clash = _touch(ops, touched)
        if clash:
            held.append(pending)
            continue
        group.append(pending)
        operations += len(ops)
        widest = widest_then
        size += pending.size
    queue.extendleft(reversed(held))
    return group


def _touch(ops: tuple[Op, ...], touched: dict[str, bool]) -> bool:
    """Note the keys of a commit; tell whether one of them was there in a way that forbids sharing a transaction."""
    clash = False
    for op in ops:
        writes = type(op) is not Require
        written = touched.get(op.key)
        if written is None:
            touched[op.key] = writes
        elif writes or written:
            clash = touched[op.key] = True
    return clash


def _finish(pending: Pending, outcome: Committed | Conflict | Refused) -> None:
    if pending.future.done():
        return
    if isinstance(outcome, Refused):
        pending.future.set_exception(outcome)
    else:
        pending.future.set_result(outcome)


def _fail(pending: Pending, reason: StoreError) -> None:
    """Give a commit an error of its own; what was tried before without an answer has an unknown outcome."""
    if pending.future.done():
        return
    doubt = "an attempt at a commit got no answer, so it may have happened: read first"
    error = UnknownOutcome(doubt) if pending.tried_from else type(reason)(str(reason))
    error.__cause__ = reason
    pending.future.set_exception(error)
