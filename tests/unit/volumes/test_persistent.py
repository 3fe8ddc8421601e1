"""Volumes that outlive their pods: what a claim comes to on its node."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.volumes import LOCAL, PROVISIONED_BY
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.volumes.disk import DiskVolumes
from nodeagent.volumes.plan import Persistent, plan
from nodeagent.volumes.port import VolumeFailure
from tests.fixtures.loops import loop_device
from tests.unit.volumes.pods import UID, pod

DATA = core.Volume(name="v", persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name="data"))
FIXED = core.Volume(
    name="v", persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name="data", read_only=True)
)


def bound(annotations: dict[str, str] | None = None, **spec: Any) -> Sources:
    metadata = meta.ObjectMeta(name="pv", annotations=annotations or {})
    return Sources(claims={"data": core.PersistentVolume(metadata=metadata, spec=core.PersistentVolumeSpec(**spec))})


def in_folder(path: Path, *, is_own: bool = True) -> Sources:
    return bound({PROVISIONED_BY: LOCAL} if is_own else {}, local=core.LocalVolumeSource(path=str(path)))


def mounting(**more: Any) -> core.Container:
    return core.Container(name="main", volume_mounts=(core.VolumeMount(name="v", mount_path="/there", **more),))


def test_what_a_claim_comes_to() -> None:
    nfs = core.NFSVolumeSource(server="nas", path="/share", read_only=True)
    found = plan(pod(DATA), DATA, bound(nfs=nfs, mount_options=("vers=4.1",)))
    assert found == Persistent("/share", server="nas", options=("vers=4.1", "ro"))
    host = core.HostPathVolumeSource(path="/srv")
    assert plan(pod(DATA), DATA, bound(host_path=host)) == Persistent("/srv")
    with pytest.raises(ConfigError) as failure:
        plan(pod(DATA), DATA, Sources())
    assert failure.value.message == "error processing PVC shop/data: PVC is not bound"
    with pytest.raises(ConfigError, match="of a type that this node does not support"):
        plan(pod(DATA), DATA, bound(csi=core.CSIPersistentVolumeSource(driver="d", volume_handle="h")))


async def test_data_stays_when_the_pod_goes(disk: Path) -> None:
    volumes, folder = DiskVolumes(disk / "pods"), disk / "local-volumes" / "pv"
    paths = await volumes.setup(pod(DATA), in_folder(folder))
    assert await volumes.setup(pod(DATA), in_folder(folder)) == paths
    shown = disk / "pods" / UID / "volumes" / "v"
    assert paths == {"v": str(shown)}
    (shown / "kept").write_text("yes")
    (mount,) = await volumes.mounts(pod(DATA), mounting(), {})
    assert (mount.host_path, mount.read_only) == (paths["v"], False)
    (part,) = await volumes.mounts(pod(DATA), mounting(sub_path="a/b"), {})
    assert (folder / "a" / "b").is_dir()
    assert part.host_path != mount.host_path
    (fixed,) = await volumes.mounts(pod(FIXED), mounting(), {})
    assert fixed.read_only
    await volumes.teardown(UID)
    assert (folder / "kept").read_text() == "yes"
    assert not (disk / "pods" / UID).exists()


async def test_files_are_given_to_the_pod_s_group(disk: Path) -> None:
    folder = disk / "local-volumes" / "pv"
    folder.mkdir(parents=True)
    (folder / "file").touch(mode=0o600)
    outside = disk / "outside"
    outside.touch()
    before = outside.stat()
    (folder / "link").symlink_to(outside)
    grouped = pod(DATA, security_context=core.PodSecurityContext(fs_group=4711))
    await DiskVolumes(disk / "pods").setup(grouped, in_folder(folder))
    assert (folder.stat().st_gid, folder.stat().st_mode & stat.S_ISGID) == (4711, stat.S_ISGID)
    assert ((folder / "file").stat().st_gid, (folder / "file").stat().st_mode & 0o777) == (4711, 0o660)
    assert outside.stat() == before


async def test_a_folder_of_somebody_else_must_be_there(disk: Path) -> None:
    with pytest.raises(VolumeFailure) as failure:
        await DiskVolumes(disk / "pods").setup(pod(DATA), in_folder(disk / "none", is_own=False))
    path = disk / "none"
    assert failure.value.message == f'MountVolume.SetUp failed for volume "v" : path "{path}" does not exist'


async def test_a_block_device_is_given_as_it_is(disk: Path) -> None:
    given = core.Container(name="main", volume_devices=(core.VolumeDevice(name="v", device_path="/dev/data"),))
    with loop_device(disk / "image", 1 << 20) as device:
        volumes, link = DiskVolumes(disk / "pods"), disk / "by-id"
        link.symlink_to(device)
        named = bound(local=core.LocalVolumeSource(path=str(link)), volume_mode="Block")
        await volumes.setup(pod(DATA), named)
        await volumes.setup(pod(DATA), named)
        (found,) = await volumes.devices(pod(DATA), given)
        assert (found.host_path, found.container_path, found.permissions) == (device, "/dev/data", "rwm")
        (fixed,) = await volumes.devices(pod(FIXED), given)
        assert fixed.permissions == "r"
        await volumes.teardown(UID)
        assert link.is_symlink()
    with pytest.raises(VolumeFailure, match="is not a block device"):
        await volumes.setup(pod(DATA), bound(local=core.LocalVolumeSource(path=str(disk)), volume_mode="Block"))
    nfs = core.NFSVolumeSource(server="nas", path="/share")
    with pytest.raises(ConfigError, match="of a type that has no block devices"):
        plan(pod(DATA), DATA, bound(nfs=nfs, volume_mode="Block"))


@pytest.mark.parametrize(("policy", "given"), [(None, True), ("Always", True), ("OnRootMismatch", False)])
async def test_what_comes_later_is_given_to_the_group_as_the_pod_says(
    disk: Path, policy: str | None, given: bool
) -> None:
    folder = disk / "local-volumes" / "pv"
    context = core.PodSecurityContext(fs_group=4711, fs_group_change_policy=policy)
    grouped, volumes = pod(DATA, security_context=context), DiskVolumes(disk / "pods")
    await volumes.setup(grouped, in_folder(folder))
    await volumes.teardown(UID)
    (folder / "late").touch()
    os.chown(folder / "late", 0, 0)
    await volumes.setup(grouped, in_folder(folder))
    assert ((folder / "late").stat().st_gid == 4711) == given
