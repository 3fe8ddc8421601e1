"""How full the volumes of claims are, on the agent's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from nodeagent.drive.pods import Pods, Slot
from nodeagent.drive.volume_stats import VolumeStats
from nodeagent.lifecycle.memory import PodMemory
from nodeagent.volumes.fake import FakeVolumes
from nodeagent.volumes.port import Usage, VolumeFailure


@dataclass
class Slots:
    """Pods as far as they are looked at."""

    found: list[Slot]

    def slots(self) -> list[Slot]:
        return self.found


class Measured(FakeVolumes):
    """Volumes of which something is known."""

    async def usage(self, pod_uid: str, volume: str) -> Usage | None:
        if volume == "broken":
            raise VolumeFailure("the driver is away")
        return Usage(capacity_bytes=100, used_bytes=40) if volume == "v" else None


def slot(name: str, volume: str, claim: str, volumes: Any = "ready") -> Slot:
    source = core.PersistentVolumeClaimVolumeSource(claim_name=claim)
    mounted = (core.Volume(name=volume, persistent_volume_claim=source), core.Volume(name="scratch"))
    metadata = meta.ObjectMeta(name=name, namespace="shop", uid=name)
    pod = core.Pod(metadata=metadata, spec=core.PodSpec(volumes=mounted))
    return Slot(pod, PodMemory(volumes=volumes), wanted=True, since_ms=0)


async def test_each_claim_is_told_once() -> None:
    registry = CollectorRegistry()
    slots = Slots(
        [slot("a", "v", "data"), slot("b", "v", "data"), slot("c", "broken", "lost"), slot("d", "v", "later", "")]
    )
    stats = VolumeStats(Measured(), cast("Pods", slots), registry)
    await stats.look()
    page = generate_latest(registry).decode()
    told = [line for line in page.splitlines() if not line.startswith("#")]
    assert told == [
        'kubelet_volume_stats_capacity_bytes{namespace="shop",persistentvolumeclaim="data"} 100.0',
        'kubelet_volume_stats_used_bytes{namespace="shop",persistentvolumeclaim="data"} 40.0',
    ]
    slots.found.clear()
    await stats.look()
    assert "shop" not in generate_latest(registry).decode()
