"""What runs on this machine, by pod: asked for as a whole, again and again, and in between corrected by own deeds.

The engine's events only say when to look. What an operation has just done is put in at once (`put`, `drop`), and a
list that was begun before then does not take it back: so nobody ever sees less than what is known already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import structlog

from mizzen.engine.values import Clock
from nodeagent.drive.metrics import Metrics
from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import ContainerState, SandboxState, Snapshot, Status

PAUSE_MIN_S = 0.05
LOOKS_MAX = 7
"""How often a list is asked for that shows an end which was told: the pause doubles, so this is some three seconds."""
PAUSE_FACTOR = 4
"""After a list, hints wait for this many times as long as it took: looking takes a fifth of the time at most."""
FAILED_PAUSE_S = 1.0

_LOG = structlog.get_logger(__name__)


State: TypeAlias = SandboxState | ContainerState


class Seen(NamedTuple):
    """One pod's part of the machine."""

    sandboxes: tuple[SandboxState, ...] = ()
    containers: tuple[ContainerState, ...] = ()

    def states(self) -> tuple[State, ...]:
        """Both."""
        return (*self.sandboxes, *self.containers)


NOTHING = Seen()


class Watcher:
    """Keeps the picture; `changed` is called with the uid of every pod that looks different from before."""

    def __init__(self, runtime: Runtime, clock: Clock, metrics: Metrics, relist_s: float) -> None:
        self._runtime = runtime
        self._clock = clock
        self._metrics = metrics
        self._relist_s = relist_s
        self._pods: dict[str, Seen] = {}
        self._touched: dict[str, int] = {}
        """By container or sandbox id: the list that was the last begun when an own deed put or dropped it."""
        self._begun = 0
        self._wanted = asyncio.Event()
        self._waiters: list[tuple[str, asyncio.Future[None]]] = []
        self._ending: dict[str, int] = {}
        """Containers said to have ended that a list still shows running, and how many more lists that is believed."""
        self.changed: Callable[[str], None] = lambda _: None
        self.ready = asyncio.Event()
        """Set once everything has been seen for the first time."""
        self.failure = ""
        """Why the engine can't be asked at the moment; empty when it can."""

    def of(self, uid: str) -> Seen:
        """What there is of a pod."""
        return self._pods.get(uid, NOTHING)

    def uids(self) -> list[str]:
        """Every pod of which there is something."""
        return list(self._pods)

    def everything(self) -> Iterable[Seen]:
        """All pods' parts."""
        return self._pods.values()

    # own deeds

    def put(self, state: State) -> None:
        """A sandbox or container was made or started."""
        before = self.of(state.pod.uid)
        others = (item for item in before.states() if item.id != state.id)
        self._pods[state.pod.uid] = _seen((*others, state))
        self._touched[state.id] = self._begun

    def drop(self, uid: str, state_id: str) -> None:
        """A container or sandbox was removed."""
        before = self.of(uid)
        containers = tuple(item for item in before.containers if item.id != state_id)
        sandboxes = tuple(item for item in before.sandboxes if item.id != state_id)
        self._touched[state_id] = self._begun
        if containers or sandboxes:
            self._pods[uid] = Seen(sandboxes, containers)
        else:
            self._pods.pop(uid, None)

    # looking

    def hint(self) -> None:
        """Something may have changed."""
        self._wanted.set()

    async def refresh(self, ended: str = "") -> None:
        """Return once a list that was begun after this call has been taken in.

        With the id of a container that is known to have `ended`, one that shows it: the engine's list lags behind.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((ended, waiter))
        if ended:
            self._ending[ended] = LOOKS_MAX
        self._wanted.set()
        await waiter

    async def run(self) -> None:
        """Look at every hint, and without one every so often, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._look_again_and_again())

    async def _follow(self) -> None:
        async for event in self._runtime.events():
            if event.action in ("create", "start"):
                continue  # made or started by the agent itself, which has put it in already
            if event.action == "die":
                self._ending[event.container_id] = LOOKS_MAX
            self.hint()

    async def _look_again_and_again(self) -> None:
        while True:
            began_ms = self._clock.monotonic_ms()
            pause_s = await self._look()
            took_s = (self._clock.monotonic_ms() - began_ms) / 1000
            if not self.failure:
                self._metrics.relisted(took_s)
                pause_s = max(pause_s, took_s * PAUSE_FACTOR)
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(max(self._relist_s - pause_s, 0.001)):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _look(self) -> float:
        """One list; returns for how long not to ask again."""
        self._wanted.clear()
        waiters, self._waiters = self._waiters, []
        self._begun += 1
        try:
            snapshot = await self._runtime.list()
        except RuntimeFailure as error:
            if not self.failure:
                _LOG.error("engine_unreachable", error=str(error))
            self.failure = str(error)
            self._waiters = waiters + self._waiters
            self._wanted.set()
            return FAILED_PAUSE_S
        if self.failure:
            _LOG.info("engine_reachable_again")
        self.failure = ""
        self._take(snapshot, self._begun)
        self.ready.set()
        for ended, waiter in waiters:
            if ended in self._ending:
                self._waiters.append((ended, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        if not self._ending:
            return PAUSE_MIN_S
        self._wanted.set()
        return PAUSE_MIN_S * (1 << (LOOKS_MAX - max(self._ending.values())))

    def _take(self, snapshot: Snapshot, number: int) -> None:
        """Take in a list; what own deeds touched after it was begun stays as they left it."""
        fresh = {state_id for state_id, begun in self._touched.items() if begun >= number}
        self._touched = {state_id: begun for state_id, begun in self._touched.items() if state_id in fresh}
        states: list[State] = [s for s in snapshot.sandboxes if s.id not in fresh]
        states += [self._steady(c) for c in snapshot.containers if c.id not in fresh]
        for seen in self._pods.values():
            states += [state for state in seen.states() if state.id in fresh]
        running = {state.id for state in states if state.status is Status.RUNNING}
        self._ending = {
            state_id: looks - 1 for state_id, looks in self._ending.items() if looks > 1 and state_id in running
        }
        before, self._pods = self._pods, _by_pod(states)
        for uid in dict.fromkeys((*before, *self._pods)):
            if before.get(uid, NOTHING) != self.of(uid):
                self.changed(uid)

    def _steady(self, state: ContainerState) -> ContainerState:
        """A running container keeps the start time that was told first, which may differ by the length of a call."""
        for known in self.of(state.pod.uid).containers:
            if known.id == state.id and known.status is Status.RUNNING and known.started_at_ms != state.started_at_ms:
                return replace(state, started_at_ms=known.started_at_ms, created_at_ms=known.created_at_ms)
        return state


def _by_pod(states: Iterable[State]) -> dict[str, Seen]:
    grouped: dict[str, list[State]] = {}
    for state in states:
        grouped.setdefault(state.pod.uid, []).append(state)
    return {uid: _seen(group) for uid, group in grouped.items()}


def _seen(states: Iterable[State]) -> Seen:
    ordered = sorted(states, key=lambda state: (state.name if isinstance(state, ContainerState) else "", state.attempt))
    return Seen(
        tuple(state for state in ordered if isinstance(state, SandboxState)),
        tuple(state for state in ordered if isinstance(state, ContainerState)),
    )
