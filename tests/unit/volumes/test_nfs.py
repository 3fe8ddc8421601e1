"""Folders of NFS servers: mounted through `mount` and its helper, made before the first use, removed or put aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mizzen.api import nfsvolumes, volumes
from mizzen.api.nfsvolumes import Place
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from nodeagent.lifecycle.downward import Sources
from nodeagent.volumes.disk import DiskVolumes
from nodeagent.volumes.nfs import Nfs
from nodeagent.volumes.port import VolumeFailure
from tests.fixtures.nfs_stand_in import stand_in
from tests.unit.volumes.pods import UID, pod

DATA = core.Volume(name="v", persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name="data"))


@pytest.fixture
def share(disk: Path) -> Path:
    """The folder that the server `nas` shows as `/share`."""
    folder = disk / "server" / "nas" / "share"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def nfs(disk: Path, share: Path) -> Iterator[Nfs]:
    """Mounts from that server."""
    with stand_in(disk / "server") as found:
        yield found


def made(folder: str, server: str = "nas") -> Sources:
    """The claim `data` with a volume that was made for it."""
    metadata = meta.ObjectMeta(name="pv", annotations={nfsvolumes.SHARE: "/share"}, finalizers=(volumes.NFS,))
    source = core.NFSVolumeSource(server=server, path=f"/share/{folder}")
    spec = core.PersistentVolumeSpec(nfs=source, mount_options=("hard",))
    return Sources(claims={"data": core.PersistentVolume(metadata=metadata, spec=spec)})


async def test_a_folder_is_made_by_who_mounts_it_first(disk: Path, share: Path, nfs: Nfs) -> None:
    disks = DiskVolumes(disk / "pods", nfs)
    paths = await disks.setup(pod(DATA), made("team/data"))
    (Path(paths["v"]) / "file").write_text("kept")
    assert (share / "team" / "data" / "file").read_text() == "kept"
    assert (share / "team" / "data").stat().st_mode & 0o777 == 0o777
    assert await disks.setup(pod(DATA), made("team/data")) == paths
    await disks.teardown(UID)
    assert (share / "team" / "data" / "file").read_text() == "kept"
    await disks.setup(pod(DATA), made("team/data"))
    mounted = (disk / "server" / "mounted").read_text().splitlines()
    assert [line.split()[0] for line in mounted] == ["nas:/share", "nas:/share/team/data", "nas:/share/team/data"]
    assert all(line.endswith("-o rw,hard") for line in mounted)


async def test_a_pod_names_a_folder_of_a_server(disk: Path, share: Path, nfs: Nfs) -> None:
    (share / "file").write_text("there")
    named = core.Volume(name="v", nfs=core.NFSVolumeSource(server="nas", path="/share", read_only=True))
    paths = await DiskVolumes(disk / "pods", nfs).setup(pod(named), Sources())
    assert (Path(paths["v"]) / "file").read_text() == "there"
    with pytest.raises(OSError, match="Read-only"):
        (Path(paths["v"]) / "file").write_text("changed")


async def test_what_mount_says_is_told(disk: Path, nfs: Nfs) -> None:
    named = core.Volume(name="v", nfs=core.NFSVolumeSource(server="nas", path="/other"))
    with pytest.raises(VolumeFailure) as failure:
        await DiskVolumes(disk / "pods", nfs).setup(pod(named), Sources())
    said = (
        'MountVolume.SetUp failed for volume "v" : mount failed: exit status 32: mount.nfs: mounting nas:/other failed'
    )
    assert failure.value.message.startswith(said)
    with pytest.raises(VolumeFailure, match="Connection timed out"):
        await DiskVolumes(disk / "pods", nfs).setup(pod(DATA), made("x", server="down"))


async def test_a_machine_without_the_program_says_what_to_install(disk: Path) -> None:
    named = core.Volume(name="v", nfs=core.NFSVolumeSource(server="nas", path="/share"))
    missing = Nfs("nothing-of-the-kind")
    assert not missing.has_client
    with pytest.raises(VolumeFailure, match=r"has no mount\.nothing-of-the-kind; install .*nfs-common"):
        await DiskVolumes(disk / "pods", missing).setup(pod(named), Sources())


def test_a_folder_is_removed(share: Path, nfs: Nfs) -> None:
    (share / "a" / "b" / "deep").mkdir(parents=True)
    (share / "a" / "b" / "deep" / "file").write_text("x")
    nfs.remove("nas", Place("/share", "a/b"), ())
    assert [path.name for path in share.iterdir()] == ["a"]
    nfs.remove("nas", Place("/share", "a/b"), ())
    nfs.remove("nas", Place("/share", "gone/b"), ())
    assert not list((share / "a").iterdir())


def test_a_folder_is_put_aside_and_nothing_that_was_there_is_lost(share: Path, nfs: Nfs) -> None:
    for text in ("first", "second"):
        (share / "a").mkdir()
        (share / "a" / "file").write_text(text)
        nfs.archive("nas", Place("/share", "a"), (), f"pv-{text}")
    found = {path.name: (path / "file").read_text() for path in share.iterdir()}
    assert found == {"archived-a": "first", "archived-a-pv-second": "second"}


def test_nothing_outside_of_the_share_is_removed(disk: Path, share: Path, nfs: Nfs) -> None:
    outside = disk / "outside"
    (outside / "b").mkdir(parents=True)
    (share / "a").symlink_to(outside)
    with pytest.raises(OSError, match="cross-device"):
        nfs.remove("nas", Place("/share", "a/b"), ())
    assert (outside / "b").exists()
