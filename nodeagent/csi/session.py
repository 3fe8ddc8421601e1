"""What is said to a storage driver over its socket, and to a plugin that registers. One connection per conversation.

The wire is that of the published Container Storage Interface, version 1, and of plugin registration, version 1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from mizzen.wire.gen.csi.v1 import csi_pb2, csi_pb2_grpc
from mizzen.wire.gen.pluginregistration.v1 import pluginregistration_pb2, pluginregistration_pb2_grpc
from nodeagent.csi.wanted import Wanted
from nodeagent.volumes.port import Usage, VolumeFailure

CALL_DEADLINE_S = 120.0
"""Attaching to a back end and making a file system may take long."""
ASK_DEADLINE_S = 10.0

_Rpc = csi_pb2.NodeServiceCapability.RPC
_Mode = csi_pb2.VolumeCapability.AccessMode
STAGES, STATS, EXPANDS, TELLS_WRITERS, MOUNTS_FOR_GROUP = (
    _Rpc.STAGE_UNSTAGE_VOLUME, _Rpc.GET_VOLUME_STATS, _Rpc.EXPAND_VOLUME, _Rpc.SINGLE_NODE_MULTI_WRITER,
    _Rpc.VOLUME_MOUNT_GROUP,
)  # fmt: skip
TELLS_HEALTH = _Rpc.VOLUME_CONDITION
_MODES = {
    "ReadWriteOnce": _Mode.SINGLE_NODE_WRITER,
    "ReadWriteOncePod": _Mode.SINGLE_NODE_WRITER,
    "ReadOnlyMany": _Mode.MULTI_NODE_READER_ONLY,
    "ReadWriteMany": _Mode.MULTI_NODE_MULTI_WRITER,
}
_PRECISE_MODES = {
    **_MODES,
    "ReadWriteOnce": _Mode.SINGLE_NODE_MULTI_WRITER,
    "ReadWriteOncePod": _Mode.SINGLE_NODE_SINGLE_WRITER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """What a plugin says of itself when it registers."""

    type: str
    name: str
    endpoint: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """What a driver calls its node."""

    node_id: str
    volumes_max: int = 0
    """0: the driver knows no bound."""
    topology: Mapping[str, str] = field(default_factory=dict)


async def plugin_of(socket: str) -> Plugin:
    """Ask who registers at a socket. Raises VolumeFailure."""
    async with _channel(socket, "GetInfo") as channel:
        stub: Any = pluginregistration_pb2_grpc.RegistrationStub(channel)  # type: ignore[no-untyped-call]  # generated
        info = await stub.GetInfo(pluginregistration_pb2.InfoRequest(), timeout=ASK_DEADLINE_S)
        return Plugin(
            type=info.type, name=info.name, endpoint=info.endpoint or socket, versions=tuple(info.supported_versions)
        )


async def answer(socket: str, error: str) -> None:
    """Tell a plugin that it was taken, or why not. Raises VolumeFailure."""
    async with _channel(socket, "NotifyRegistrationStatus") as channel:
        stub: Any = pluginregistration_pb2_grpc.RegistrationStub(channel)  # type: ignore[no-untyped-call]  # generated
        status = pluginregistration_pb2.RegistrationStatus(plugin_registered=not error, error=error)
        await stub.NotifyRegistrationStatus(status, timeout=ASK_DEADLINE_S)


async def node_info(endpoint: str) -> NodeInfo:
    """Ask a driver about its node. Raises VolumeFailure."""
    async with _channel(endpoint, "NodeGetInfo") as channel:
        stub: Any = csi_pb2_grpc.NodeStub(channel)  # type: ignore[no-untyped-call]  # generated
        info = await stub.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), timeout=ASK_DEADLINE_S)
        return NodeInfo(
            node_id=info.node_id,
            volumes_max=info.max_volumes_per_node,
            topology=dict(info.accessible_topology.segments),
        )


@asynccontextmanager
async def driver_at(endpoint: str) -> AsyncIterator[Driver]:
    """Talk to a driver. Raises VolumeFailure with what it answers when it refuses."""
    async with _channel(endpoint, "NodeGetCapabilities") as channel:
        stub: Any = csi_pb2_grpc.NodeStub(channel)  # type: ignore[no-untyped-call]  # generated
        answered = await stub.NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest(), timeout=ASK_DEADLINE_S)
        yield Driver(stub, frozenset(one.rpc.type for one in answered.capabilities))


class Driver:
    """A driver and what it can do. Every call raises VolumeFailure, by way of `driver_at`."""

    def __init__(self, stub: Any, abilities: frozenset[int]) -> None:
        self._stub = stub
        self._abilities = abilities

    def can(self, ability: int) -> bool:
        """Whether it has one of the abilities above."""
        return ability in self._abilities

    async def stage(self, wanted: Wanted, staging: str) -> None:
        """Make a volume ready in a folder."""
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=wanted.handle,
            publish_context=wanted.publish_context,
            staging_target_path=staging,
            volume_capability=self._capability(wanted),
            secrets=wanted.stage_secrets,
            volume_context=wanted.attributes,
        )
        await self._stub.NodeStageVolume(request, timeout=CALL_DEADLINE_S)

    async def publish(self, wanted: Wanted, staging: str, target: str) -> None:
        """Show a volume at a path."""
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=wanted.handle,
            publish_context=wanted.publish_context,
            staging_target_path=staging,
            target_path=target,
            volume_capability=self._capability(wanted),
            readonly=wanted.is_read_only,
            secrets=wanted.publish_secrets,
            volume_context={**wanted.attributes, **wanted.pod_info},
        )
        await self._stub.NodePublishVolume(request, timeout=CALL_DEADLINE_S)

    async def unpublish(self, handle: str, target: str) -> None:
        """No longer show a volume."""
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=handle, target_path=target)
        await self._stub.NodeUnpublishVolume(request, timeout=CALL_DEADLINE_S)

    async def unstage(self, handle: str, staging: str) -> None:
        """Undo the staging."""
        request = csi_pb2.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=staging)
        await self._stub.NodeUnstageVolume(request, timeout=CALL_DEADLINE_S)

    async def expand(self, wanted: Wanted, staging: str, path: str) -> int:
        """Let a volume grow; to how many bytes it did, 0 when the driver does not say."""
        request = csi_pb2.NodeExpandVolumeRequest(
            volume_id=wanted.handle,
            volume_path=path,
            capacity_range=csi_pb2.CapacityRange(required_bytes=wanted.grow_to_bytes),
            staging_target_path=staging,
            volume_capability=self._capability(wanted),
            secrets=wanted.expand_secrets,
        )
        answered = await self._stub.NodeExpandVolume(request, timeout=CALL_DEADLINE_S)
        return int(answered.capacity_bytes)

    async def stats(self, handle: str, path: str, staging: str) -> Usage:
        """How full a volume is."""
        request = csi_pb2.NodeGetVolumeStatsRequest(volume_id=handle, volume_path=path, staging_target_path=staging)
        answered = await self._stub.NodeGetVolumeStats(request, timeout=ASK_DEADLINE_S)
        by_unit = {one.unit: one for one in answered.usage}
        size, inodes = by_unit.get(csi_pb2.VolumeUsage.BYTES), by_unit.get(csi_pb2.VolumeUsage.INODES)
        return Usage(
            capacity_bytes=size.total if size is not None else None,
            available_bytes=size.available if size is not None else None,
            used_bytes=size.used if size is not None else None,
            inodes=inodes.total if inodes is not None else None,
            inodes_free=inodes.available if inodes is not None else None,
            inodes_used=inodes.used if inodes is not None else None,
            health_status_abnormal=answered.volume_condition.abnormal if self.can(TELLS_HEALTH) else None,
        )

    def _capability(self, wanted: Wanted) -> csi_pb2.VolumeCapability:
        modes = _PRECISE_MODES if self.can(TELLS_WRITERS) else _MODES
        access = _Mode(mode=modes.get(wanted.access_mode, _Mode.UNKNOWN))
        if wanted.is_block:
            return csi_pb2.VolumeCapability(block=csi_pb2.VolumeCapability.BlockVolume(), access_mode=access)
        group = str(wanted.group) if wanted.group is not None and self.can(MOUNTS_FOR_GROUP) else ""
        mount = csi_pb2.VolumeCapability.MountVolume(
            fs_type=wanted.fs_type, mount_flags=wanted.mount_options, volume_mount_group=group
        )
        return csi_pb2.VolumeCapability(mount=mount, access_mode=access)


@asynccontextmanager
async def _channel(socket: str, what: str) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to a socket. Raises VolumeFailure for whatever a call over it comes to."""
    try:
        # Sockets have no host name that a server could be asked for.
        async with grpc.aio.insecure_channel(f"unix://{socket}", [("grpc.default_authority", "localhost")]) as channel:
            yield channel
    except grpc.aio.AioRpcError as error:
        code = "".join(word.capitalize() for word in error.code().name.split("_"))
        raise VolumeFailure(f"rpc error: code = {code} desc = {error.details() or what}") from error
