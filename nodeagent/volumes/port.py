"""The port to the node's disk: all that the agent asks for pods' volumes and files.

Level-triggered: `setup` brings all of a pod's volumes to what they should be, the first time and at every change of
what they are made from; nothing happens to what is right already. The disk alone tells what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import Sources
from nodeagent.runtime.values import Device, Mount


class VolumeFailure(Exception):
    """A volume could not be made ready or taken away; the text is for a `FailedMount` event. Worth a retry later."""

    reason = "FailedMount"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How full a volume is; None where it is not known."""

    capacity_bytes: int | None = None
    available_bytes: int | None = None
    used_bytes: int | None = None
    inodes: int | None = None
    inodes_free: int | None = None
    inodes_used: int | None = None
    health_status_abnormal: bool | None = None


class Volumes(Protocol):
    """The volumes of this node's pods. Calls for different pods may run at once, for one pod only one after another."""

    async def setup(self, pod: core.Pod, sources: Sources) -> Mapping[str, str]:
        """Make the pod's volumes ready or up to date; the path of each by its name. Raises VolumeFailure."""
        ...

    async def mounts(self, pod: core.Pod, container: core.Container, variables: Mapping[str, str]) -> tuple[Mount, ...]:
        """The container's mounts of volumes that are set up, with `subPath` resolved safely.

        `variables` is the container's environment, for `subPathExpr`. Raises ConfigError when one of them cannot be.
        """
        ...

    async def devices(self, pod: core.Pod, container: core.Container) -> tuple[Device, ...]:
        """The container's block devices (`volumeDevices`) of volumes that are set up.

        Raises ConfigError when one of them cannot be.
        """
        ...

    async def write(self, pod_uid: str, name: str, content: bytes, mode: int = 0o644) -> str:
        """Keep a file of the agent's own with the pod (its hosts file, say) and return its path.

        An existing one is rewritten in place, so that a container which has it mounted sees the change.
        """
        ...

    async def read(self, pod_uid: str, name: str, limit_bytes: int) -> bytes:
        """The end of a file kept with `write`, which a container may have changed; nothing when there is none."""
        ...

    async def read_inside(self, pod_uid: str, volume: str, path: str, limit_bytes: int) -> bytes | None:
        """A file in a volume that is set up; None when there is none. Nothing outside the volume is ever read.

        Raises ConfigError for what is no plain file, or larger than the limit.
        """
        ...

    async def usage(self, pod_uid: str, volume: str) -> Usage | None:
        """How full a volume that is set up is; None where that can't be told. Raises VolumeFailure."""
        ...

    async def teardown(self, pod_uid: str) -> None:
        """Take away everything of the pod's: mounts, files, folders. None there is success. Raises VolumeFailure."""
        ...

    async def orphans(self, known: Iterable[str]) -> tuple[str, ...]:
        """The uids of pods that have something on this disk and are not known; to be torn down."""
        ...
