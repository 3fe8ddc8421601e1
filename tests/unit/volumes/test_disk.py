"""The volumes port: what its twin and the disk have in common, and what only a disk can show."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.runtime.values import Mount
from nodeagent.volumes import mounts
from nodeagent.volumes.disk import DiskVolumes
from nodeagent.volumes.fake import FakeVolumes
from nodeagent.volumes.port import VolumeFailure, Volumes
from tests.unit.volumes.pods import UID, config_map, pod, secret

SCRATCH = core.Volume(name="scratch", empty_dir=core.EmptyDirVolumeSource())
MEMORY = core.Volume(name="memory", empty_dir=core.EmptyDirVolumeSource(medium="Memory", size_limit="1Mi"))
CONFIG = core.Volume(name="config", config_map=core.ConfigMapVolumeSource(name="c"))
SECRET = core.Volume(name="secret", secret=core.SecretVolumeSource(secret_name="s", default_mode=0o400))
SOURCES = Sources(config_maps={"c": config_map("c", {"key": "1"})}, secrets={"s": secret("s", key=b"hidden")})


@pytest.fixture(params=["disk", "fake"])
def volumes(request: pytest.FixtureRequest) -> Volumes:
    if request.param == "fake":
        return FakeVolumes()
    return DiskVolumes(request.getfixturevalue("disk"))


def _mounting(*wanted: core.VolumeMount) -> core.Container:
    return core.Container(name="main", volume_mounts=wanted)


def _mount(name: str, **options: Any) -> core.VolumeMount:
    return core.VolumeMount(name=name, mount_path="/there", **options)


async def test_setup_mounts_and_teardown(volumes: Volumes) -> None:
    subject = pod(SCRATCH, MEMORY, CONFIG, SECRET)
    paths = await volumes.setup(subject, SOURCES)
    assert sorted(paths) == ["config", "memory", "scratch", "secret"]
    assert await volumes.setup(subject, SOURCES) == paths

    container = _mounting(_mount("scratch"), _mount("config"), _mount("scratch", read_only=True))
    assert await volumes.mounts(subject, container, {}) == (
        Mount(host_path=paths["scratch"], container_path="/there"),
        Mount(host_path=paths["config"], container_path="/there", read_only=True),
        Mount(host_path=paths["scratch"], container_path="/there", read_only=True),
    )
    assert await volumes.orphans([]) == (UID,)
    assert await volumes.orphans([UID, "other"]) == ()
    await volumes.teardown(UID)
    await volumes.teardown(UID)
    assert await volumes.orphans([]) == ()


async def test_a_missing_object_is_told_with_its_volume(volumes: Volumes) -> None:
    with pytest.raises(VolumeFailure) as failure:
        await volumes.setup(pod(SCRATCH, CONFIG), Sources())
    assert failure.value.message == 'MountVolume.SetUp failed for volume "config" : configmap "c" not found'


async def test_propagation_and_host_paths(volumes: Volumes, tmp_path: Path) -> None:
    volume = core.Volume(name="host", host_path=core.HostPathVolumeSource(path=str(tmp_path), type="Directory"))
    subject = pod(volume)
    assert await volumes.setup(subject, SOURCES) == {"host": str(tmp_path)}
    container = _mounting(_mount("host", mount_propagation="HostToContainer"))
    assert await volumes.mounts(subject, container, {}) == (
        Mount(host_path=str(tmp_path), container_path="/there", propagation="rslave"),
    )


async def test_mounting_what_the_pod_lacks(volumes: Volumes) -> None:
    with pytest.raises(ConfigError, match="none"):
        await volumes.mounts(pod(), _mounting(_mount("none")), {})


async def test_a_sub_path_needs_its_variables(volumes: Volumes) -> None:
    subject = pod(SCRATCH)
    await volumes.setup(subject, SOURCES)
    container = _mounting(_mount("scratch", sub_path_expr="logs/$(POD)"))
    assert len(await volumes.mounts(subject, container, {"POD": "web"})) == 1
    with pytest.raises(ConfigError, match='missing value for "POD"'):
        await volumes.mounts(subject, container, {})


async def test_files_of_the_agents_own(volumes: Volumes) -> None:
    path = await volumes.write(UID, "hosts", b"one")
    assert await volumes.write(UID, "hosts", b"twothree") == path
    assert await volumes.write(UID, "termination/main-0", b"", 0o666) != path
    assert await volumes.read(UID, "hosts", 5) == b"three"
    assert await volumes.read(UID, "none", 5) == b""
    assert await volumes.orphans([]) == (UID,)


def _stat(path: str, *parts: str) -> os.stat_result:
    return Path(path, *parts).stat()


async def test_modes_and_media(disk: Path) -> None:
    paths = await DiskVolumes(disk).setup(pod(SCRATCH, MEMORY, CONFIG, SECRET), SOURCES)
    assert stat.S_IMODE(_stat(paths["scratch"]).st_mode) == 0o777
    assert stat.S_IMODE(_stat(paths["memory"]).st_mode) == 0o777
    assert os.statvfs(paths["memory"]).f_blocks * os.statvfs(paths["memory"]).f_frsize == 1 << 20
    assert stat.S_IMODE(_stat(paths["secret"], "key").st_mode) == 0o400
    assert (Path(paths["secret"]) / "key").read_bytes() == b"hidden"
    mounted = mounts.mounted_under(str(disk))
    assert sorted(mounted) == sorted([paths["memory"], paths["secret"]])


async def test_a_restart_finds_what_is_there(disk: Path) -> None:
    subject = pod(SCRATCH, MEMORY, SECRET)
    paths = await DiskVolumes(disk).setup(subject, SOURCES)
    for name in ("scratch", "memory"):
        (Path(paths[name]) / "kept").write_text("yes")
    assert await DiskVolumes(disk).setup(subject, SOURCES) == paths
    assert [(Path(paths[name]) / "kept").read_text() for name in ("scratch", "memory")] == ["yes", "yes"]
    assert len(mounts.mounted_under(str(disk))) == 2


async def test_a_changed_config_map_reaches_the_files(disk: Path) -> None:
    volumes = DiskVolumes(disk)
    paths = await volumes.setup(pod(CONFIG), SOURCES)
    await volumes.setup(pod(CONFIG), Sources(config_maps={"c": config_map("c", {"key": "2"})}))
    assert (Path(paths["config"]) / "key").read_text() == "2"


async def test_a_group_owns_the_volumes(disk: Path) -> None:
    subject = pod(SCRATCH, SECRET, security_context=core.PodSecurityContext(fs_group=1234))
    paths = await DiskVolumes(disk).setup(subject, SOURCES)
    key, scratch = _stat(paths["secret"], "key"), _stat(paths["scratch"])
    assert (key.st_gid, stat.S_IMODE(key.st_mode)) == (1234, 0o440)
    assert (scratch.st_gid, stat.S_IMODE(scratch.st_mode)) == (1234, 0o2777)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Directory", "is not a directory"),
        ("File", "is not a file"),
        ("Socket", "is not a socket file"),
        ("CharDevice", "is not a character device"),
        ("Nonsense", "is not a type"),
    ],
)
async def test_a_host_path_of_another_kind(tmp_path: Path, kind: str, message: str) -> None:
    source = core.HostPathVolumeSource(path=str(tmp_path / "none"), type=kind)
    with pytest.raises(VolumeFailure, match=message):
        await DiskVolumes(tmp_path / "root").setup(pod(core.Volume(name="v", host_path=source)), SOURCES)


async def test_host_paths_that_are_made(tmp_path: Path) -> None:
    wanted = [("one", "DirectoryOrCreate"), ("two", "FileOrCreate"), ("three", "")]
    subject = pod(
        *(
            core.Volume(name=name, host_path=core.HostPathVolumeSource(path=str(tmp_path / name), type=kind))
            for name, kind in wanted
        )
    )
    volumes = DiskVolumes(tmp_path / "root")
    await volumes.setup(subject, SOURCES)
    assert [(tmp_path / name).is_dir() for name, _ in wanted] == [True, False, True]
    (tmp_path / "one" / "precious").touch()
    await volumes.teardown(UID)
    assert (tmp_path / "one" / "precious").exists()


@pytest.mark.parametrize("uid", ["..", "a/b", "", "."])
async def test_a_uid_is_never_a_path(tmp_path: Path, uid: str) -> None:
    with pytest.raises(VolumeFailure):
        await DiskVolumes(tmp_path).teardown(uid)


@pytest.mark.parametrize("how", ["Enabled", "IfPossible"])
async def test_what_is_mounted_below_is_read_only_too(disk: Path, how: str) -> None:
    host, below = disk / "host", disk / "host" / "below"
    below.mkdir(parents=True)
    mounts.mount_tmpfs(str(below), mode=0o755, size_bytes=1 << 20, executable=False)
    (below / "file").touch()
    volume = core.Volume(name="v", host_path=core.HostPathVolumeSource(path=str(host)))
    container = _mounting(_mount("v", read_only=True, recursive_read_only=how))
    volumes = DiskVolumes(disk / "pods")
    await volumes.setup(pod(volume), Sources())
    for _ in range(2):
        (mount,) = await volumes.mounts(pod(volume), container, {})
        for path in (Path(mount.host_path) / "new", Path(mount.host_path) / "below" / "new"):
            with pytest.raises(OSError, match="Read-only"):
                path.touch()
        assert (Path(mount.host_path) / "below" / "file").exists()
    (below / "new").touch()
    await volumes.teardown(UID)
    assert mounts.mounted_under(str(disk)) == (str(below),), "the host's own mounts stay"
    assert (below / "new").exists()


async def test_a_part_is_read_only_with_all_below(disk: Path) -> None:
    volume = core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource())
    container = _mounting(_mount("v", read_only=True, recursive_read_only="Enabled", sub_path="a"))
    volumes = DiskVolumes(disk / "pods")
    await volumes.setup(pod(volume), Sources())
    (mount,) = await volumes.mounts(pod(volume), container, {})
    with pytest.raises(OSError, match="Read-only"):
        (Path(mount.host_path) / "new").touch()
    await volumes.teardown(UID)
    assert mounts.mounted_under(str(disk)) == ()


async def test_huge_pages(disk: Path) -> None:
    if "hugetlbfs" not in Path("/proc/filesystems").read_text():  # noqa: ASYNC240
        pytest.skip("this kernel has no huge pages")
    volume = core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource(medium="HugePages-2Mi"))
    asked = core.ResourceRequirements(requests={"hugepages-2Mi": "2Mi"})
    volumes = DiskVolumes(disk / "pods")
    made = pod(volume, containers=(core.Container(name="main", resources=asked),))
    paths = await volumes.setup(made, Sources())
    assert await volumes.setup(made, Sources()) == paths
    assert mounts.mounted_under(str(disk)) == (paths["v"],)
    assert os.statvfs(paths["v"]).f_bsize == 2 << 20
    await volumes.teardown(UID)
    assert mounts.mounted_under(str(disk)) == ()
