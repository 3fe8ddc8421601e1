"""What pods have on the node's disk: folders of their own, the writable layers and the logs of their containers.

Asking costs the engine and the disk a walk over all these files, so it is done for those alone whom it matters for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mizzen.api.types import core_v1 as core
from nodeagent.drive.observe import Watcher
from nodeagent.lifecycle.eviction import Use
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import ContainerState

_BLOCK = 512


class DiskUse:
    """Measures."""

    def __init__(self, runtime: Runtime, watcher: Watcher, pods_folder: Path, engine_folder: Path) -> None:
        """`pods_folder` holds the pods' volumes, `engine_folder` what the engine keeps."""
        self._runtime = runtime
        self._watcher = watcher
        self._pods_folder = pods_folder
        self._logs_folder = engine_folder / "containers"

    async def of(self, pods: Sequence[core.Pod]) -> list[Use]:
        """What each of these pods has now. Raises RuntimeFailure."""
        layers = await self._runtime.disk_used() if pods else {}
        states = {pod.metadata.uid: self._watcher.of(pod.metadata.uid).containers for pod in pods}
        return await asyncio.to_thread(lambda: [self._use(pod, states[pod.metadata.uid], layers) for pod in pods])

    def _use(self, pod: core.Pod, states: Iterable[ContainerState], layers: Mapping[str, int]) -> Use:
        containers: dict[str, int] = {}
        for state in states:
            used = layers.get(state.id, 0) + _size(self._logs_folder / state.id)
            containers[state.name] = containers.get(state.name, 0) + used
        folders = self._pods_folder / pod.metadata.uid / "volumes"
        scratch = [v.name for v in pod.spec.volumes if v.empty_dir is not None and v.empty_dir.medium != "Memory"]
        return Use(pod, containers, {name: _size(folders / name) for name in scratch})


def _size(folder: Path) -> int:
    """The bytes that a folder takes of its disk; what goes while it is looked at counts for nothing."""
    total, left = 0, [os.fspath(folder)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError:
            continue
    return total
