"""What goes over the sockets of drivers is what the published interfaces say: names and numbers."""

from __future__ import annotations

import pytest

from mizzen.wire.gen.csi.v1 import csi_pb2
from mizzen.wire.gen.pluginregistration.v1 import pluginregistration_pb2

STAGE = "volume_id 1, publish_context 2, staging_target_path 3, volume_capability 4, secrets 5, volume_context 6"
PUBLISH = (
    "volume_id 1, publish_context 2, staging_target_path 3, target_path 4, volume_capability 5, readonly 6, secrets 7, "
    "volume_context 8"
)
EXPAND = "volume_id 1, volume_path 2, capacity_range 3, staging_target_path 4, volume_capability 5, secrets 6"
PUBLISHED = {
    "NodeStageVolumeRequest": STAGE,
    "NodeUnstageVolumeRequest": "volume_id 1, staging_target_path 2",
    "NodePublishVolumeRequest": PUBLISH,
    "NodeUnpublishVolumeRequest": "volume_id 1, target_path 2",
    "NodeExpandVolumeRequest": EXPAND,
    "NodeExpandVolumeResponse": "capacity_bytes 1",
    "NodeGetInfoResponse": "node_id 1, max_volumes_per_node 2, accessible_topology 3",
    "NodeGetVolumeStatsRequest": "volume_id 1, volume_path 2, staging_target_path 3",
    "NodeGetVolumeStatsResponse": "usage 1, volume_condition 2",
    "VolumeUsage": "available 1, total 2, used 3, unit 4",
    "VolumeCapability": "block 1, mount 2, access_mode 3",
    "VolumeCapability.MountVolume": "fs_type 1, mount_flags 2, volume_mount_group 3",
    "VolumeCapability.AccessMode": "mode 1",
    "CapacityRange": "required_bytes 1, limit_bytes 2",
    "Topology": "segments 1",
    "NodeServiceCapability": "rpc 1",
}
REGISTRATION = {
    "PluginInfo": "type 1, name 2, endpoint 3, supported_versions 4",
    "RegistrationStatus": "plugin_registered 1, error 2",
}
MODES = (
    "UNKNOWN 0, SINGLE_NODE_WRITER 1, SINGLE_NODE_READER_ONLY 2, MULTI_NODE_READER_ONLY 3, MULTI_NODE_SINGLE_WRITER 4, "
    "MULTI_NODE_MULTI_WRITER 5, SINGLE_NODE_SINGLE_WRITER 6, SINGLE_NODE_MULTI_WRITER 7"
)
ABILITIES = (
    "UNKNOWN 0, STAGE_UNSTAGE_VOLUME 1, GET_VOLUME_STATS 2, EXPAND_VOLUME 3, VOLUME_CONDITION 4, "
    "SINGLE_NODE_MULTI_WRITER 5, VOLUME_MOUNT_GROUP 6"
)


@pytest.mark.parametrize(
    ("file", "message", "fields"),
    [(csi_pb2, *item) for item in PUBLISHED.items()]
    + [(pluginregistration_pb2, *item) for item in REGISTRATION.items()],
    ids=[*PUBLISHED, *REGISTRATION],
)
def test_messages_have_the_published_numbers(file: object, message: str, fields: str) -> None:
    found = file
    for part in message.split("."):
        found = getattr(found, part)
    numbered = found.DESCRIPTOR.fields  # type: ignore[attr-defined]
    assert ", ".join(f"{one.name} {one.number}" for one in numbered) == fields


def test_words_have_the_published_numbers() -> None:
    modes = csi_pb2.VolumeCapability.AccessMode.Mode.DESCRIPTOR.values
    assert ", ".join(f"{one.name} {one.number}" for one in modes) == MODES
    abilities = csi_pb2.NodeServiceCapability.RPC.Type.DESCRIPTOR.values
    assert ", ".join(f"{one.name} {one.number}" for one in abilities) == ABILITIES


def test_calls_have_the_published_names() -> None:
    services = csi_pb2.DESCRIPTOR.services_by_name
    assert services["Node"].full_name == "csi.v1.Node"
    registration = pluginregistration_pb2.DESCRIPTOR.services_by_name["Registration"]
    assert registration.full_name == "pluginregistration.Registration"
    assert [method.name for method in registration.methods] == ["GetInfo", "NotifyRegistrationStatus"]
