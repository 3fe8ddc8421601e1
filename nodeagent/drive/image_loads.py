"""Images that come down a stream from the control plane, on their way into the node's engine.

The engine's pace is the stream's: a piece is read when the one before was taken. What was placed is looked at again by
the pods that wait for an image, at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.port import Runtime

AT_ONCE = 2
"""Archives that the engine unpacks at the same time; the others wait with their first bytes."""


class LoadBroken(RuntimeFailure):
    """The archive ended in the middle: whoever sent it has left."""


class ImageLoads:
    """Takes images in."""

    def __init__(self, runtime: Runtime, loaded: Callable[[], None]) -> None:
        """`loaded` is called when there are new images."""
        self._runtime = runtime
        self._loaded = loaded
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self, archive: AsyncIterator[bytes]) -> tuple[str, ...]:
        """Take an archive in; the names of its images. Raises RuntimeFailure."""
        async with self._slots:
            names = await self._runtime.load_image(archive)
        self._loaded()
        return names
