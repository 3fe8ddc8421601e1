"""Takes unused images away when the engine's disk fills up, and remembers which ones pods here have had.

What goes is decided in `nodeagent.lifecycle.imagegc`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from mizzen.engine.values import Clock
from nodeagent.drive.outbox import Outbox
from nodeagent.lifecycle.actions import Record
from nodeagent.lifecycle.imagegc import Known, Policy, choose, remembered
from nodeagent.lifecycle.pressure import Disk
from nodeagent.runtime.errors import ImageInUse, RuntimeFailure
from nodeagent.runtime.port import Runtime

LOOK_S = 60.0
"""How often the disk is looked at."""
KEEP_MS = 600_000
"""How often it is written down that nothing but the times of use has changed."""

_LOG = structlog.get_logger(__name__)


class ImageCare:
    """The images of the node."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        clock: Clock,
        outbox: Outbox,
        policy: Policy,
        file: Path,
        disk: Callable[[], Disk],
        used: Callable[[], frozenset[str]],
        removed: Callable[[str], None],
    ) -> None:
        """`file` remembers images; `used` are the ids and names that pods need now; `removed` is told of each."""
        self._runtime = runtime
        self._clock = clock
        self._outbox = outbox
        self._policy = policy
        self._file = file
        self._disk = disk
        self._used = used
        self._removed = removed
        self._known: dict[str, Known] | None = None
        self._kept_at_ms = 0
        self._busy = asyncio.Lock()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self, *, pressed: bool = False) -> int:
        """Take away what is to go now; how many bytes that freed, as far as the engine knows.

        `pressed`: everything unused, because otherwise pods would have to go.
        """
        async with self._busy:
            try:
                return await self._look(pressed=pressed)
            except RuntimeFailure as error:
                _LOG.debug("images_not_looked_at", error=str(error))
                return 0

    async def _look(self, *, pressed: bool) -> int:
        images = await self._runtime.list_images()
        names = self._used()
        used = {
            image.id for image in images if image.id in names or not names.isdisjoint((*image.tags, *image.digests))
        }
        known, now = await self._remember(), self._clock.now()
        fresh = remembered(known, images, used, now)
        decision = choose(fresh, images, used, self._disk(), self._policy, now, pressed=pressed)
        freed = 0
        for image in decision.remove:
            if decision.free_bytes and freed >= decision.free_bytes:
                break
            try:
                await self._runtime.remove_image(image.id)
            except ImageInUse:
                continue
            except RuntimeFailure as error:
                _LOG.warning("image_not_removed", image=image.id, error=str(error))
                continue
            _LOG.info("image_removed", image=image.id, names=image.tags or image.digests, bytes=image.size_bytes)
            self._removed(image.id)
            fresh.pop(image.id, None)
            freed += image.size_bytes
        if decision.free_bytes and freed < decision.free_bytes:
            self._tell_failure(decision.free_bytes, freed)
        await self._keep(fresh)
        return freed

    def _tell_failure(self, wanted: int, freed: int) -> None:
        message = (
            f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
            f"but only found {freed} bytes eligible to free."
        )
        self._outbox.node_event(Record("Warning", "FreeDiskSpaceFailed", message), self._clock.now())

    async def _remember(self) -> dict[str, Known]:
        if self._known is None:
            self._known = await asyncio.to_thread(_read, self._file)
        return self._known

    async def _keep(self, known: dict[str, Known]) -> None:
        before, self._known = self._known, known
        now_ms = self._clock.monotonic_ms()
        if before is not None and known.keys() == before.keys() and now_ms - self._kept_at_ms < KEEP_MS:
            return
        self._kept_at_ms = now_ms
        try:
            await asyncio.to_thread(_write, self._file, known)
        except OSError as error:
            _LOG.warning("images_not_remembered", error=str(error))


def _read(file: Path) -> dict[str, Known]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Known])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        # What is forgotten is only when images were used last: they stay a little longer.
        _LOG.warning("images_forgotten", error=str(error))
        return {}


def _write(file: Path, known: dict[str, Known]) -> None:
    beside = file.with_suffix(".new")
    beside.write_bytes(msgspec.json.encode(known))
    beside.replace(file)
