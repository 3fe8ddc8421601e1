"""The tokens of this node's pods: asked from the control plane, kept in memory, renewed before they run out.

A token is written into its pod's volume and nowhere else: no checkpoint holds one. While the control plane is away,
pods keep the token that they have; one that starts meanwhile starts without (there is nobody to show it to) and gets
it as soon as the control plane is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import structlog

from mizzen.api.references import TokenWish, tokens_of
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Clock
from nodeagent.volumes.port import VolumeFailure

RENEW_AT = 0.8
"""Which part of a token's life passes before another is asked for."""
CHECK_EVERY_S = 30.0
"""How often tokens are looked through; the shortest has two minutes left when it is due."""
AWAY_S = 5.0
"""How long a pod that starts waits for the control plane before it starts without a token."""
ASKED_AT_ONCE = 16

_LOG = structlog.get_logger(__name__)


class Away(Exception):
    """The control plane can't be asked at the moment."""


class Refused(Exception):
    """The control plane gives no such token; the text says why."""


class Issued(NamedTuple):
    """A token, and for how many milliseconds from now it is good."""

    token: str
    lifetime_ms: int


Ask: TypeAlias = Callable[[core.Pod, TokenWish], Awaitable[Issued]]
"""Asks the control plane. Raises Away or Refused."""


@dataclass(frozen=True, slots=True)
class _Kept:
    token: str
    due_ms: int
    until_ms: int


class Tokens:
    """What pods were given."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._kept: dict[str, dict[TokenWish, _Kept]] = {}
        self._lacking: dict[str, None] = {}
        """Pods that started without."""
        self._connected = asyncio.Event()
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)
        self.changed: Callable[[str], None] = lambda _: None
        """Called with the uid of a pod whose volumes should be set up again, because a token is due."""

    def connected(self) -> None:
        """The control plane can be asked (again)."""
        self._connected.set()
        lacking, self._lacking = self._lacking, {}
        for uid in lacking:
            self.changed(uid)

    def disconnected(self) -> None:
        """The control plane can't be asked until further notice."""
        self._connected.clear()

    async def of(self, pod: core.Pod, of_drivers: tuple[TokenWish, ...] = ()) -> Mapping[TokenWish, str]:
        """The tokens that a pod's volumes want; empty texts where none can be had now. Raises VolumeFailure.

        `of_drivers` are those that its storage drivers want beside them.
        """
        wishes = dict.fromkeys((*tokens_of(pod), *of_drivers))
        if not wishes:
            return {}
        return {wish: await self._one(pod, wish) for wish in wishes}

    def forget(self, uid: str) -> None:
        """A pod is gone."""
        self._kept.pop(uid, None)
        self._lacking.pop(uid, None)

    async def run(self) -> None:
        """Have tokens renewed in time, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            now_ms = self._clock.monotonic_ms()
            for uid in [uid for uid, kept in self._kept.items() if any(one.due_ms <= now_ms for one in kept.values())]:
                self.changed(uid)

    async def _one(self, pod: core.Pod, wish: TokenWish) -> str:
        uid = pod.metadata.uid
        kept = self._kept.get(uid, {}).get(wish)
        if kept is not None and self._clock.monotonic_ms() < kept.due_ms:
            return kept.token
        try:
            issued = await self._asked(pod, wish)
        except (Away, Refused) as error:
            if kept is not None and self._clock.monotonic_ms() < kept.until_ms:
                return kept.token
            if isinstance(error, Away):
                _LOG.warning("token_not_to_be_had", pod=f"{pod.metadata.namespace}/{pod.metadata.name}")
                self._lacking[uid] = None
                return ""
            raise VolumeFailure(f"failed to fetch token: {error}") from error
        now_ms = self._clock.monotonic_ms()
        due_ms = now_ms + int(issued.lifetime_ms * RENEW_AT)
        self._kept.setdefault(uid, {})[wish] = _Kept(issued.token, due_ms, now_ms + issued.lifetime_ms)
        return issued.token

    async def _asked(self, pod: core.Pod, wish: TokenWish) -> Issued:
        try:
            async with asyncio.timeout(AWAY_S):
                await self._connected.wait()
        except TimeoutError as error:
            raise Away from error
        async with self._asking:
            return await self._ask(pod, wish)
