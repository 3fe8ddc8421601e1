"""Images for the drivers: looked up once in a while instead of for every container, and fetched once for all who wait.

Which image a pod needs and what a failure means is decided in `nodeagent.lifecycle.images`.
"""

from __future__ import annotations

import asyncio

from mizzen.engine.values import Clock
from nodeagent.drive.metrics import Metrics
from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import ImageInfo, RegistryAuth

TRUST_MS = 30_000
"""How long an image that was seen is taken to be there still; a start that finds it gone says so."""


class Images:
    """The node's images."""

    def __init__(self, runtime: Runtime, clock: Clock, metrics: Metrics, pulls_at_once: int) -> None:
        self._runtime = runtime
        self._clock = clock
        self._metrics = metrics
        self._slots = asyncio.Semaphore(pulls_at_once)
        self._known: dict[str, tuple[int, ImageInfo]] = {}
        self._users: dict[str, str] = {}
        self._pulls: dict[tuple[str, RegistryAuth | None], asyncio.Task[tuple[ImageInfo, int] | RuntimeFailure]] = {}

    async def inspect(self, ref: str) -> ImageInfo | None:
        """The image on the node, None when there is none. Raises RuntimeFailure."""
        now = self._clock.monotonic_ms()
        known = self._known.get(ref)
        if known is not None and now - known[0] < TRUST_MS:
            return known[1]
        with self._metrics.operation("image_status"):
            info = await self._runtime.image_status(ref)
        if info is None:
            self._known.pop(ref, None)
        else:
            self._remember(ref, info)
        return info

    async def pull(self, ref: str, auth: RegistryAuth | None, group: asyncio.TaskGroup) -> tuple[ImageInfo, int]:
        """Fetch an image, together with everybody who wants the same; its milliseconds. Raises RuntimeFailure."""
        key = (ref, auth)
        task = self._pulls.get(key)
        if task is None:
            # In the group of all operations, because it must outlive the first of those who wait.
            task = self._pulls[key] = group.create_task(self._pull(ref, auth))
            task.add_done_callback(lambda _: self._pulls.pop(key, None))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, RuntimeFailure):
            raise outcome
        return outcome

    async def _pull(self, ref: str, auth: RegistryAuth | None) -> tuple[ImageInfo, int] | RuntimeFailure:
        """A failure is returned: raised, it would end the whole group."""
        async with self._slots:
            began_ms = self._clock.monotonic_ms()
            try:
                with self._metrics.operation("pull_image"):
                    info = await self._runtime.pull_image(ref, auth)
            except RuntimeFailure as failure:
                return failure
        self._remember(ref, info)
        return info, self._clock.monotonic_ms() - began_ms

    def user_of(self, image_id: str) -> str:
        """Whom an image runs as by itself, for one that was inspected or fetched."""
        return self._users.get(image_id, "")

    def forget(self, image_id: str = "") -> None:
        """The image turned out to be gone; without an id, any name may mean another image now."""
        self._known = {ref: known for ref, known in self._known.items() if image_id and known[1].id != image_id}

    def _remember(self, ref: str, info: ImageInfo) -> None:
        self._known[ref] = (self._clock.monotonic_ms(), info)
        self._users[info.id] = info.user
