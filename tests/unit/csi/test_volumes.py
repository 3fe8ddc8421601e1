"""A storage driver shows volumes to pods: the order of calls, what it is told, and that all of it is undone."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mizzen.api import csivolumes
from mizzen.api.references import TokenWish
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import storage_v1 as storage
from nodeagent.csi.abandon import abandon
from nodeagent.csi.registrations import Registrations
from nodeagent.csi.session import EXPANDS, MOUNTS_FOR_GROUP, STAGES, STATS, TELLS_HEALTH, TELLS_WRITERS
from nodeagent.csi.volumes import CsiVolumes
from nodeagent.lifecycle.downward import Sources
from nodeagent.lifecycle.storage import Storage
from nodeagent.volumes import mounts
from nodeagent.volumes.disk import DiskVolumes
from nodeagent.volumes.port import Usage, VolumeFailure
from tests.fixtures.csi_driver import NAME, TestDriver, serving
from tests.fixtures.loops import loop_device
from tests.unit.volumes.pods import UID, pod

OTHER = "4b1d1f6e-0000-4000-8000-000000000002"
DATA = core.Volume(name="v", persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name="data"))
MOUNTING = core.Container(name="main", volume_mounts=(core.VolumeMount(name="v", mount_path="/there"),))
NOT_ATTACHED = storage.CSIDriverSpec(attach_required=False)


class World:
    """A node with a driver."""

    def __init__(self, disk: Path, driver: TestDriver, boot: str) -> None:
        self.disk, self.driver = disk, driver
        self.registrations = Registrations(disk / "kubelet" / "plugins_registry")
        others = DiskVolumes(disk / "pods")
        self.volumes = CsiVolumes(others, self.registrations, disk / "kubelet", disk / "csi", boot)
        self.grown: list[tuple[str, str, int]] = []
        self.volumes.grown = lambda namespace, claim, size: self.grown.append((namespace, claim, size))

    def left(self) -> list[str]:
        """What is left of volumes below the folders of the node."""
        folders = (
            self.disk / "kubelet" / "pods",
            self.disk / "kubelet" / "plugins" / "kubernetes.io",
            self.disk / "csi",
        )
        return [str(path) for folder in folders for path in folder.rglob("*") if not path.is_dir()]


@asynccontextmanager
async def world(disk: Path, boot: str = "boot", **driver: Any) -> AsyncIterator[World]:
    found = World(disk, TestDriver(backend=disk / "backend", **driver), boot)
    async with serving(found.driver, disk / "kubelet"):
        await found.registrations.look()
        found.driver.calls.clear()
        yield found


def of(uid: str, volume: core.Volume = DATA, **spec: Any) -> core.Pod:
    made = pod(volume, **spec)
    return core.Pod(metadata=meta.ObjectMeta(name="web", namespace="shop", uid=uid), spec=made.spec)


def sources(
    driver: storage.CSIDriverSpec | None = NOT_ATTACHED, attached: Any = None, secrets: Any = None, shows: str = "",
    tokens: Any = None, size: str = "1Gi", modes: tuple[str, ...] = ("ReadWriteOnce",), block: bool = False, **csi: Any,
) -> Sources:  # fmt: skip
    """A claim that is bound to a volume of the driver, and what is known of that."""
    source = core.CSIPersistentVolumeSource(driver=NAME, volume_handle="disk-1", **csi)
    spec = core.PersistentVolumeSpec(
        csi=source, access_modes=modes, capacity={"storage": size}, volume_mode="Block" if block else "Filesystem"
    )
    volume = core.PersistentVolume(metadata=meta.ObjectMeta(name="pv"), spec=spec)
    asked = core.VolumeResourceRequirements(requests={"storage": size})
    claim = core.PersistentVolumeClaim(
        spec=core.PersistentVolumeClaimSpec(resources=asked),
        status=core.PersistentVolumeClaimStatus(capacity={"storage": shows or size}),
    )
    known = {} if driver is None else {NAME: storage.CSIDriver(metadata=meta.ObjectMeta(name=NAME), spec=driver)}
    attachment = csivolumes.attachment_name(NAME, "disk-1", "n1")
    facts = Storage(
        node="n1", drivers=known, attached=frozenset({csivolumes.unique_name(NAME, "disk-1")}),
        attachments={attachment: attached} if attached else {}, secrets=secrets or {},
        bound={"data": claim},
    )  # fmt: skip
    return Sources(claims={"data": volume}, storage=facts, tokens=tokens or {})


async def test_a_volume_is_staged_once_and_shown_to_each_pod(disk: Path) -> None:
    async with world(disk) as node:
        paths = await node.volumes.setup(of(UID), sources())
        assert await node.volumes.setup(of(UID), sources()) == paths
        await node.volumes.setup(of(OTHER), sources())
        assert node.driver.names() == ["NodeStageVolume", "NodePublishVolume", "NodePublishVolume"]
        (Path(paths["v"]) / "file").write_text("kept")
        assert (disk / "backend" / "disk-1" / "file").read_text() == "kept"
        (mount,) = await node.volumes.mounts(of(UID), MOUNTING, {})
        assert (mount.host_path, mount.read_only) == (paths["v"], False)

        staged, published = node.driver.last("NodeStageVolume"), node.driver.last("NodePublishVolume")
        plugins = disk / "kubelet" / "plugins" / "kubernetes.io" / "csi" / NAME
        assert Path(staged.staging_target_path).relative_to(plugins).name == "globalmount"
        expected = disk / "kubelet" / "pods" / OTHER / "volumes" / "kubernetes.io~csi" / "pv" / "mount"
        assert (published.target_path, published.staging_target_path) == (str(expected), staged.staging_target_path)

        node.driver.calls.clear()
        await node.volumes.teardown(UID)
        assert node.driver.names() == ["NodeUnpublishVolume"], "the other pod still has it"
        await node.volumes.teardown(OTHER)
        await node.volumes.teardown(OTHER)
        assert node.driver.names() == ["NodeUnpublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"]
        assert node.left() == []
        assert (disk / "backend" / "disk-1" / "file").read_text() == "kept"


async def test_pods_that_start_together_stage_once(disk: Path) -> None:
    async with world(disk) as node:
        await asyncio.gather(*(node.volumes.setup(of(uid), sources()) for uid in (UID, OTHER)))
        assert node.driver.names().count("NodeStageVolume") == 1
        await asyncio.gather(*(node.volumes.teardown(uid) for uid in (UID, OTHER)))
        assert node.driver.names().count("NodeUnstageVolume") == 1


async def test_a_driver_that_does_not_stage(disk: Path) -> None:
    async with world(disk, abilities=()) as node:
        await node.volumes.setup(of(UID), sources())
        assert node.driver.names() == ["NodePublishVolume"]
        assert node.driver.last("NodePublishVolume").staging_target_path == ""
        await node.volumes.teardown(UID)
        assert node.left() == []


async def test_after_the_machine_has_started_again_it_is_shown_anew(disk: Path) -> None:
    async with world(disk) as node:
        await node.volumes.setup(of(UID), sources())
    for point in mounts.mounted_under(str(disk)):
        mounts.unmount(point)
    async with world(disk, boot="next") as node:
        (disk / "kubelet/pods" / UID / "volumes/kubernetes.io~csi/pv/mount").rmdir()
        await node.volumes.setup(of(UID), sources())
        assert node.driver.names() == ["NodeStageVolume", "NodePublishVolume"]


async def test_what_a_driver_is_told(disk: Path) -> None:
    spec = storage.CSIDriverSpec(
        attach_required=False, pod_info_on_mount=True, token_requests=(storage.TokenRequest(audience="vault"),)
    )
    payload = base64.urlsafe_b64encode(json.dumps({"exp": 1_900_000_000}).encode()).decode().rstrip("=")
    given = {
        ("shop", "keys"): core.Secret(data={"user": b"me"}),
        ("kube-system", "more"): core.Secret(data={"k": b"v"}),
    }
    seen = sources(
        spec, secrets=given, tokens={TokenWish("vault", 3600): f"h.{payload}.s"}, fs_type="ext4",
        volume_attributes={"tier": "fast"}, node_stage_secret_ref=core.SecretReference(namespace="shop", name="keys"),
        node_publish_secret_ref=core.SecretReference(namespace="kube-system", name="more"),
    )  # fmt: skip
    async with world(disk, abilities=(STAGES, TELLS_WRITERS, MOUNTS_FOR_GROUP)) as node:
        grouped = of(UID, service_account_name="clerk", security_context=core.PodSecurityContext(fs_group=4711))
        await node.volumes.setup(grouped, seen)
        staged, published = node.driver.last("NodeStageVolume"), node.driver.last("NodePublishVolume")
        assert (dict(staged.secrets), dict(staged.volume_context)) == ({"user": "me"}, {"tier": "fast"})
        assert dict(published.secrets) == {"k": "v"}
        context = dict(published.volume_context)
        tokens = json.loads(context.pop("csi.storage.k8s.io/serviceAccount.tokens"))
        assert tokens == {"vault": {"token": f"h.{payload}.s", "expirationTimestamp": "2030-03-17T17:46:40Z"}}
        assert context == {
            "tier": "fast",
            "csi.storage.k8s.io/pod.name": "web",
            "csi.storage.k8s.io/pod.namespace": "shop",
            "csi.storage.k8s.io/pod.uid": UID,
            "csi.storage.k8s.io/serviceAccount.name": "clerk",
            "csi.storage.k8s.io/ephemeral": "false",
        }
        capability = published.volume_capability
        assert (capability.mount.fs_type, capability.mount.volume_mount_group) == ("ext4", "4711")
        assert capability.access_mode.mode == 7, "SINGLE_NODE_MULTI_WRITER"
        assert (disk / "backend" / "disk-1").stat().st_gid == 0, "the driver mounts for the group"


@pytest.mark.parametrize(
    ("policy", "fs_type", "given"),
    [(None, "ext4", True), (None, "", False), ("File", "", True), ("None", "ext4", False)],
)
async def test_files_are_given_to_the_group_as_the_policy_says(
    disk: Path, policy: str | None, fs_type: str, given: bool
) -> None:
    spec = storage.CSIDriverSpec(attach_required=False, fs_group_policy=policy)
    async with world(disk) as node:
        grouped = of(UID, security_context=core.PodSecurityContext(fs_group=4711))
        await node.volumes.setup(grouped, sources(spec, fs_type=fs_type))
        assert ((disk / "backend" / "disk-1").stat().st_gid == 4711) == given


async def test_a_volume_that_lives_in_its_pod(disk: Path) -> None:
    spec = storage.CSIDriverSpec(
        attach_required=False, volume_lifecycle_modes=("Ephemeral",), pod_info_on_mount=True, requires_republish=True
    )
    inline = core.Volume(name="v", csi=core.CSIVolumeSource(driver=NAME, volume_attributes={"size": "1"}))
    async with world(disk) as node:
        await node.volumes.setup(of(UID, inline), sources(spec))
        await node.volumes.setup(of(UID, inline), sources(spec))
        assert node.driver.names() == ["NodePublishVolume"] * 2, "never staged, and renewed when asked again"
        published = node.driver.last("NodePublishVolume")
        assert published.volume_id == csivolumes.inline_handle(UID, "v")
        assert published.volume_context["csi.storage.k8s.io/ephemeral"] == "true"
        assert node.volumes.renewed() == (UID,)
        await node.volumes.teardown(UID)
        assert node.left() == []


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (None, f'volume mode "Ephemeral" not supported by driver {NAME} (no CSIDriver object)'),
        (NOT_ATTACHED, f'volume mode "Ephemeral" not supported by driver {NAME} (only supports ["Persistent"])'),
    ],
)
async def test_only_drivers_that_say_so_have_volumes_that_live_in_pods(
    disk: Path, spec: storage.CSIDriverSpec | None, why: str
) -> None:
    inline = core.Volume(name="v", csi=core.CSIVolumeSource(driver=NAME))
    async with world(disk) as node:
        with pytest.raises(VolumeFailure) as failure:
            await node.volumes.setup(of(UID, inline), sources(spec))
    assert failure.value.message == f'MountVolume.SetUp failed for volume "v" : {why}'


async def test_it_is_mounted_when_it_is_attached(disk: Path) -> None:
    async with world(disk) as node:
        with pytest.raises(
            VolumeFailure, match=r"waiting for external-attacher of .* CSI driver to attach volume disk-1"
        ):
            await node.volumes.setup(of(UID), sources(None))
        error = storage.VolumeError(message="no free slot")
        failed = storage.VolumeAttachment(status=storage.VolumeAttachmentStatus(attached=False, attach_error=error))
        with pytest.raises(VolumeFailure, match="no free slot"):
            await node.volumes.setup(of(UID), sources(None, failed))
        assert node.driver.names() == []
        assert node.volumes.in_use() == ()
        status = storage.VolumeAttachmentStatus(attached=True, attachment_metadata={"lun": "3"})
        await node.volumes.setup(of(UID), sources(None, storage.VolumeAttachment(status=status)))
        assert dict(node.driver.last("NodeStageVolume").publish_context) == {"lun": "3"}
        assert dict(node.driver.last("NodePublishVolume").publish_context) == {"lun": "3"}
        assert node.volumes.in_use() == (f"kubernetes.io/csi/{NAME}^disk-1",)
        await node.volumes.teardown(UID)
        assert node.volumes.in_use() == ()


async def test_a_volume_grows_on_the_node(disk: Path) -> None:
    async with world(disk) as node:
        await node.volumes.setup(of(UID), sources())
        await node.volumes.setup(of(UID), sources(size="2Gi", shows="1Gi"))
        request = node.driver.last("NodeExpandVolume")
        assert request.capacity_range.required_bytes == 2 << 30
        assert Path(request.volume_path).name == "mount"
        assert request.staging_target_path == node.driver.last("NodeStageVolume").staging_target_path
        assert node.grown == [("shop", "data", 2 << 30)]
    async with world(disk, abilities=(STAGES,)) as node:
        await node.volumes.setup(of(UID), sources(size="2Gi", shows="1Gi"))
        assert node.grown == [("shop", "data", 2 << 30)], "there is nothing to do on the node"


async def test_what_a_driver_refuses_is_told_and_undone_later(disk: Path) -> None:
    async with world(disk, refuses="NodePublishVolume") as node:
        with pytest.raises(VolumeFailure) as failure:
            await node.volumes.setup(of(UID), sources())
        said = "rpc error: code = Internal desc = the back end is on fire"
        assert failure.value.message == f'MountVolume.SetUp failed for volume "v" : {said}'
        await node.volumes.teardown(UID)
        assert node.driver.names()[-2:] == ["NodeUnpublishVolume", "NodeUnstageVolume"]
        assert node.left() == []


async def test_a_pod_that_is_gone_is_found_by_its_volumes(disk: Path) -> None:
    async with world(disk, refuses="NodeUnstageVolume") as node:
        await node.volumes.setup(of(UID), sources())
        with pytest.raises(VolumeFailure, match=r'UnmountVolume\.TearDown failed for volume "v" : .*on fire'):
            await node.volumes.teardown(UID)
        assert await node.volumes.orphans([]) == (UID,)
        node.driver.refuses = ""
        await node.volumes.teardown(UID)
        assert await node.volumes.orphans([]) == ()
        assert node.left() == []


@pytest.fixture
def device(disk: Path) -> Iterator[str]:
    """A block device of a megabyte."""
    with loop_device(disk / "image", 1 << 20) as path:
        yield path


async def test_a_block_device_of_a_driver(disk: Path, device: str) -> None:
    given = core.Container(name="main", volume_devices=(core.VolumeDevice(name="v", device_path="/dev/data"),))
    async with world(disk, device=device, abilities=(STAGES, EXPANDS)) as node:
        await node.volumes.setup(of(UID), sources(block=True))
        assert node.driver.last("NodePublishVolume").volume_capability.HasField("block")
        (found,) = await node.volumes.devices(of(UID), given)
        assert (found.container_path, found.permissions) == ("/dev/data", "rwm")
        assert os.stat(found.host_path).st_rdev == os.stat(device).st_rdev  # noqa: PTH116
        await node.volumes.teardown(UID)
        assert node.left() == []


async def test_how_full_a_volume_is(disk: Path) -> None:
    async with world(disk, abilities=(STAGES, STATS, TELLS_HEALTH)) as node:
        await node.volumes.setup(of(UID), sources())
        assert await node.volumes.usage(UID, "v") == Usage(
            capacity_bytes=100, available_bytes=60, used_bytes=40, inodes=10, inodes_free=7, inodes_used=3,
            health_status_abnormal=True,
        )  # fmt: skip
        asked = node.driver.last("NodeGetVolumeStats")
        assert (asked.volume_id, Path(asked.volume_path).name) == ("disk-1", "mount")
        await node.volumes.teardown(UID)
    async with world(disk) as node:
        await node.volumes.setup(of(UID), sources())
        measured = await node.volumes.usage(UID, "v")
        assert measured is not None and measured.capacity_bytes, "the kernel tells where the driver does not"
        assert measured.health_status_abnormal is None


async def test_a_machine_that_is_given_up_keeps_no_mounts(disk: Path) -> None:
    async with world(disk) as node:
        await node.volumes.setup(of(UID), sources())
        await node.volumes.setup(of(OTHER), sources())
        await DiskVolumes(disk / "pods").teardown(UID)
        await DiskVolumes(disk / "pods").teardown(OTHER)
    (disk / "backend" / "disk-1" / "file").touch()
    abandon(disk / "csi")
    abandon(disk / "csi")
    assert mounts.mounted_under(str(disk)) == ()
    assert node.left() == []
    assert (disk / "backend" / "disk-1" / "file").exists()
