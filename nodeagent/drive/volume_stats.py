"""How full the volumes of claims are, under the kubelet's names, as last asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mizzen.api.types import core_v1 as core
from mizzen.api.volumes import claims_of
from nodeagent.drive.pods import Pods
from nodeagent.volumes.port import Usage, VolumeFailure, Volumes

ASK_EVERY_S = 60.0
_LABELS = ("namespace", "persistentvolumeclaim")
_LOG = structlog.get_logger(__name__)


class VolumeStats(Collector):
    """The volumes of this node's claims; two pods with one claim count once."""

    def __init__(self, volumes: Volumes, pods: Pods, registry: CollectorRegistry) -> None:
        """Nothing is asked before `run`."""
        self._volumes = volumes
        self._pods = pods
        self._found: dict[tuple[str, str], Usage] = {}
        registry.register(self)

    async def run(self) -> None:
        """Ask again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(ASK_EVERY_S)

    async def look(self) -> None:
        """Ask about every volume once."""
        found: dict[tuple[str, str], Usage] = {}
        for slot in tuple(self._pods.slots()):
            for volume, claim in _mounted(slot.pod):
                key = (slot.pod.metadata.namespace, claim)
                if key in found or slot.memory.volumes != "ready":
                    continue
                try:
                    usage = await self._volumes.usage(slot.pod.metadata.uid, volume)
                except VolumeFailure as error:
                    _LOG.debug("volume_not_measured", claim="/".join(key), error=error.message)
                    continue
                if usage is not None:
                    found[key] = usage
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """What was found, for the page."""
        families = {
            name: GaugeMetricFamily(f"kubelet_volume_stats_{name}", text, labels=_LABELS)
            for name, text in (
                ("capacity_bytes", "Size of the volume"),
                ("available_bytes", "Bytes of the volume that are free"),
                ("used_bytes", "Bytes of the volume that are taken"),
                ("inodes", "Inodes of the volume"),
                ("inodes_free", "Inodes of the volume that are free"),
                ("inodes_used", "Inodes of the volume that are taken"),
                ("health_status_abnormal", "1 if the volume's driver says that something is wrong with it"),
            )
        }
        for key, usage in sorted(self._found.items()):
            for name, family in families.items():
                value = getattr(usage, name)
                if value is not None:
                    family.add_metric(key, float(value))
        return families.values()


def _mounted(pod: core.Pod) -> Iterable[tuple[str, str]]:
    """The pod's names of the volumes that are of claims, with the claims."""
    for volume in pod.spec.volumes:
        for name, _ in claims_of(core.Pod(metadata=pod.metadata, spec=core.PodSpec(volumes=(volume,)))):
            yield volume.name, name
