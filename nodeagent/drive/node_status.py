"""Keeps the Node object's status true: what the machine has and offers, how it feels, where it is reached.

Told when it changes and otherwise every few minutes; that the node is alive is what heartbeats say, not this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from mizzen.api import nfsvolumes, quantity, resources
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.volumes import LOCAL_FOLDER
from mizzen.engine.values import Clock
from nodeagent.drive import machine
from nodeagent.drive.context import NodeContext
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.settings import AgentSettings
from nodeagent.lifecycle.pressure import Readings, conditions, same_but_for_heartbeat
from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import ImageInfo, RuntimeInfo
from nodeagent.volumes.nfs import Nfs

KUBELET_VERSION = "v1.36.0"
REPORT_EVERY_MS = 300_000
IMAGES_EVERY_MS = 60_000
IMAGES_MAX = 50

_LOG = structlog.get_logger(__name__)


class NodeStatus:
    """The status and the loop that keeps it."""

    def __init__(
        self,
        *,
        settings: AgentSettings,
        node: NodeContext,
        runtime: Runtime,
        info: RuntimeInfo,
        outbox: Outbox,
        clock: Clock,
        problems: Callable[[], tuple[str, ...]],
        nfs: Nfs,
        volumes_in_use: Callable[[], tuple[str, ...]],
    ) -> None:
        self._settings = settings
        self._node = node
        self._runtime = runtime
        self._info = info
        self._outbox = outbox
        self._clock = clock
        self._problems = problems
        self._nfs = nfs
        self._volumes_in_use = volumes_in_use
        self._images: tuple[core.ContainerImage, ...] = ()
        self._images_at_ms = -IMAGES_EVERY_MS
        self._told: core.NodeStatus | None = None
        self._told_at_ms = 0
        self._capacity = self._measure()
        node.allocatable = self._allocatable()
        node.memory_bytes = info.memory_bytes
        node.app_armor = info.app_armor
        node.pids_max = settings.pids_max
        node.unsafe_sysctls = settings.unsafe_sysctls
        node.seccomp_folder = settings.seccomp_folder

    def object(self) -> core.Node:
        """The Node as the agent wants it registered."""
        name, info = self._node.name, self._info
        labels = {
            "beta.kubernetes.io/arch": info.architecture,
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": info.architecture,
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            **self._settings.labels,
        }
        annotations = {
            LOCAL_FOLDER: str(self._settings.local_folder),
            nfsvolumes.CLIENT: "true" if self._nfs.has_client else "false",
        }
        taints = tuple(core.Taint(key=k, value=v, effect=e) for k, v, e in self._settings.taints)
        return core.Node(
            metadata=meta.ObjectMeta(name=name, labels=labels, annotations=annotations),
            spec=core.NodeSpec(taints=taints),
            status=self.status(),
        )

    def status(self) -> core.NodeStatus:
        """The status now."""
        before = self._told.conditions if self._told is not None else ()
        node = self._node
        return core.NodeStatus(
            capacity=self._capacity,
            allocatable=node.offered(),
            conditions=conditions(self._problems(), node.pressures, before, self._clock.now()),
            addresses=(
                core.NodeAddress(type="InternalIP", address=node.ip),
                core.NodeAddress(type="Hostname", address=node.name),
            ),
            node_info=self._node_info(),
            images=self._images,
            volumes_in_use=self._volumes_in_use(),
            runtime_handlers=tuple(self._handler(name) for name in ("", *self._info.handlers)),
            features=core.NodeFeatures(supplemental_groups_policy=True),
        )

    def _handler(self, name: str) -> core.NodeRuntimeHandler:
        # User namespaces for pods are not among what the engine can be asked for.
        features = core.NodeRuntimeHandlerFeatures(
            recursive_read_only_mounts=self._node.deep_read_only, user_namespaces=False
        )
        return core.NodeRuntimeHandler(name=name, features=features)

    async def run(self) -> None:
        """Look and tell until cancelled."""
        while True:
            await self._look_at_images()
            self.tell()
            await asyncio.sleep(self._settings.status_s)

    def tell(self, *, always: bool = False) -> None:
        """Report the status if it has changed, or was last told long ago."""
        status, now_ms = self.status(), self._clock.monotonic_ms()
        fresh = self._told is not None and now_ms - self._told_at_ms < REPORT_EVERY_MS
        if not always and fresh and self._told is not None and same_but_for_heartbeat(status, self._told):
            return
        self._told, self._told_at_ms = status, now_ms
        self._outbox.node(status)

    async def _look_at_images(self) -> None:
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._images_at_ms < IMAGES_EVERY_MS:
            return
        try:
            found = await self._runtime.list_images()
        except RuntimeFailure as error:
            _LOG.debug("images_unknown", error=str(error))
            return
        self._images_at_ms = now_ms
        largest = sorted(found, key=lambda image: (-image.size_bytes, image.id))[:IMAGES_MAX]
        self._images = tuple(_shown(image) for image in largest)

    def readings(self) -> Readings:
        """What the machine says of itself now."""
        count, most = machine.pids()
        return Readings(
            memory_free_bytes=machine.memory_free_bytes(),
            memory_bytes=self._info.memory_bytes,
            volumes=machine.disk(str(self._settings.data_dir)),
            images=machine.disk(self._info.root_dir),
            pids=count,
            pids_max=most,
        )

    def _measure(self) -> dict[str, str]:
        disk = machine.disk(str(self._settings.data_dir))
        return {
            resources.CPU: quantity.of_milli(self._info.cpus * 1000),
            resources.EPHEMERAL_STORAGE: f"{disk.total_bytes // 1024}Ki",
            resources.MEMORY: f"{self._info.memory_bytes // 1024}Ki",
            resources.PODS: str(self._settings.pods_max),
        }

    def _allocatable(self) -> dict[str, str]:
        settings, disk = self._settings, machine.disk(str(self._settings.data_dir))
        return {
            **self._capacity,
            resources.CPU: quantity.of_milli(max(self._info.cpus * 1000 - settings.reserved_cpu_milli, 0)),
            resources.EPHEMERAL_STORAGE: str(disk.total_bytes * 9 // 10),
            resources.MEMORY: f"{max(self._info.memory_bytes - settings.reserved_memory_bytes, 0) // 1024}Ki",
        }

    def _node_info(self) -> core.NodeSystemInfo:
        info = self._info
        return core.NodeSystemInfo(
            machine_id=machine.machine_id(),
            system_uuid=machine.system_uuid(),
            boot_id=machine.boot_id(),
            kernel_version=info.kernel,
            os_image=info.os,
            container_runtime_version=f"{info.name}://{info.version}",
            kubelet_version=KUBELET_VERSION,
            operating_system="linux",
            architecture=info.architecture,
        )


def _shown(image: ImageInfo) -> core.ContainerImage:
    return core.ContainerImage(names=(*image.digests, *image.tags) or (image.id,), size_bytes=image.size_bytes)
