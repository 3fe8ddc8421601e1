"""What a node does beside running pods: it takes images away, keeps pressure off, and ends in order.

readings, usage --> evictor --fail--> pods
                       |                 ^
disk --> image care <--+    shutdown ----+
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mizzen.engine.values import Clock
from nodeagent.drive import machine
from nodeagent.drive.context import NodeContext
from nodeagent.drive.disk_use import DiskUse
from nodeagent.drive.evictor import Evictor
from nodeagent.drive.image_care import ImageCare
from nodeagent.drive.images import Images
from nodeagent.drive.node_status import NodeStatus
from nodeagent.drive.observe import Watcher
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.pods import Pods
from nodeagent.drive.settings import AgentSettings
from nodeagent.drive.shutdown import Shutdown
from nodeagent.drive.usage import Meter
from nodeagent.lifecycle.containers import everything
from nodeagent.runtime import references
from nodeagent.runtime.errors import InvalidImageName
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import RuntimeInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the upkeep works with."""

    runtime: Runtime
    clock: Clock
    info: RuntimeInfo
    node: NodeContext
    outbox: Outbox
    watcher: Watcher
    meter: Meter
    pods: Pods
    images: Images
    status: NodeStatus


class Upkeep:
    """All of it."""

    def __init__(self, settings: AgentSettings, around: Around) -> None:
        """Nothing happens before its tasks run."""
        self._around = around
        around.meter.shown = around.pods.shown_uid
        self.images = ImageCare(
            runtime=around.runtime,
            clock=around.clock,
            outbox=around.outbox,
            policy=settings.image_policy,
            file=settings.data_dir / "images.json",
            disk=lambda: machine.disk(around.info.root_dir),
            used=self._images_needed,
            removed=around.images.forget,
        )
        self.evictor = Evictor(
            node=around.node,
            pods=around.pods,
            meter=around.meter,
            disk=DiskUse(around.runtime, around.watcher, settings.data_dir / "pods", Path(around.info.root_dir)),
            images=self.images,
            readings=around.status.readings,
            outbox=around.outbox,
            clock=around.clock,
            thresholds=(*settings.eviction_hard, *settings.eviction_soft),
            hold_ms=settings.pressure_hold_s * 1000,
            soft_grace_s=settings.soft_grace_s,
        )
        self.evictor.changed = around.status.tell
        self.shutdown = Shutdown(
            node=around.node,
            pods=around.pods,
            outbox=around.outbox,
            tell=around.status.tell,
            grace_s=settings.shutdown_grace_s,
            critical_s=settings.shutdown_critical_s,
        )

    def tasks(self) -> tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...]:
        """What runs as long as the agent does, by name."""
        return ("images", self.images.run), ("pressure", self.evictor.run), ("shutdown", self.shutdown.run)

    def _images_needed(self) -> frozenset[str]:
        """The ids and names of images that pods here have or are about to have."""
        found = {state.image_id for seen in self._around.watcher.everything() for state in seen.containers}
        for slot in self._around.pods.slots():
            found |= {kept.image for kept in slot.memory.containers.values()}
            spec = slot.pod.spec
            named = [container.image for container in everything(spec)]
            named += [volume.image.reference for volume in spec.volumes if volume.image is not None]
            found |= {locator for name in named if (locator := _locator(name))}
        return frozenset(found)


def _locator(name: str) -> str:
    """How the engine calls an image; empty for a name that is none."""
    try:
        return references.parse(name).locator
    except InvalidImageName:
        return ""
