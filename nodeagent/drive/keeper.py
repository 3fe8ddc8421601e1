"""Writes the checkpoint: soon after a change, never more often than the disk likes, and once at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
import structlog

from nodeagent.drive import machine
from nodeagent.drive.checkpoint import Checkpoint, CheckpointFile, ClusterFacts, Kept
from nodeagent.drive.objects import Objects
from nodeagent.lifecycle.memory import PodMemory

PAUSE_S = 1.0
PAUSE_FACTOR = 20
"""Writing takes at most a twentieth of the time, however much there is to write."""

_LOG = structlog.get_logger(__name__)


class Keeper:
    """The loop around the file."""

    def __init__(self, file: CheckpointFile, content: Callable[[], Checkpoint], dirty: Callable[[], bool]) -> None:
        """`content` makes the checkpoint; `dirty` says (once) whether it would differ from the last."""
        self.file = file
        self._content = content
        self._dirty = dirty
        self._boot_id = machine.boot_id()

    async def run(self) -> None:
        """Keep until cancelled."""
        while True:
            took_s = await self.save() if self._dirty() else 0.0
            await asyncio.sleep(max(PAUSE_S, took_s * PAUSE_FACTOR))

    async def save(self) -> float:
        """Write now; the seconds that it took. A disk that is full is logged, and the old checkpoint stays."""
        began = time.monotonic()
        try:
            await asyncio.to_thread(self.file.save, self._content())
        except OSError as error:
            _LOG.error("checkpoint_not_written", error=str(error), hint="is the agent's disk full?")
        return time.monotonic() - began

    def checkpoint(self, objects: Objects, facts: ClusterFacts, pods: Mapping[str, PodMemory]) -> Checkpoint:
        """The checkpoint of these."""
        kept = tuple(
            Kept(entry.kind.resource, entry.namespace, entry.name, entry.version, msgspec.Raw(entry.raw))
            for entry in objects.entries()
        )
        return Checkpoint(
            boot_id=self._boot_id,
            epoch=objects.epoch,
            position=objects.version,
            facts=facts,
            objects=kept,
            pods=pods,
        )
