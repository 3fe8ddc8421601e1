"""Parts of volumes, and the ways out of them that stay shut."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.volumes import mounts, subpath
from nodeagent.volumes.disk import DiskVolumes
from tests.unit.volumes.pods import UID, config_map, pod

SCRATCH = core.Volume(name="scratch", empty_dir=core.EmptyDirVolumeSource())
CONFIG = core.Volume(name="config", config_map=core.ConfigMapVolumeSource(name="c"))
SOURCES = Sources(config_maps={"c": config_map("c", {"key": "1"})})


class Place:
    """A pod with a scratch and a config volume on a disk."""

    def __init__(self, disk: Path) -> None:
        self.volumes = DiskVolumes(disk)
        self.pod = pod(SCRATCH, CONFIG)
        self.scratch = disk / UID / "volumes" / "scratch"

    async def part(self, path: str, volume: str = "scratch") -> Path:
        """Where the runtime is told to find a part of a volume."""
        wanted = core.VolumeMount(name=volume, mount_path="/there", sub_path=path)
        container = core.Container(name="main", volume_mounts=(wanted,))
        (found,) = await self.volumes.mounts(self.pod, container, {})
        return Path(found.host_path)


@pytest.fixture
async def place(disk: Path) -> Place:
    found = Place(disk)
    await found.volumes.setup(found.pod, SOURCES)
    return found


async def test_a_missing_part_becomes_a_folder(place: Place) -> None:
    part = await place.part("a/b")
    (part / "file").write_text("seen")
    assert (place.scratch / "a" / "b" / "file").read_text() == "seen"
    assert stat.S_IMODE((place.scratch / "a").stat().st_mode) == 0o777


async def test_a_file_and_a_link_inside(place: Place) -> None:
    (place.scratch / "file").write_text("one")
    (place.scratch / "link").symlink_to("file")
    assert (await place.part("file")).read_text() == "one"
    assert (await place.part("link")).read_text() == "one"


async def test_a_key_of_a_config_map(place: Place) -> None:
    assert (await place.part("key", "config")).read_text() == "1"
    with pytest.raises(ConfigError, match='failed to prepare subPath for volumeMount "config" of container "main"'):
        await place.part("none", "config")


@pytest.mark.parametrize("target", ["/etc", "../../..", "/etc/passwd", "/proc/self/root/etc"])
async def test_a_link_that_leads_out(place: Place, target: str) -> None:
    (place.scratch / "out").symlink_to(target)
    for path in ("out", "out/inner", "out/passwd"):
        with pytest.raises(ConfigError, match="failed to prepare subPath"):
            await place.part(path)
    assert not (Path("/etc") / "inner").exists()


@pytest.mark.parametrize("path", ["..", "../config", "a/../../config", "/etc"])
async def test_a_path_that_leads_out(place: Place, path: str) -> None:
    with pytest.raises(ConfigError, match="failed to prepare subPath"):
        await place.part(path)


async def test_the_next_container_sees_what_is_there_then(place: Place) -> None:
    (place.scratch / "part").write_text("old")
    await place.part("part")
    (place.scratch / "part").unlink()
    (place.scratch / "part").mkdir()
    assert (await place.part("part")).is_dir()
    assert len(mounts.mounted_under(str(place.scratch.parents[1]))) == 1


async def test_taking_a_pod_away_spares_what_was_bound(place: Place, disk: Path) -> None:
    host = disk / "host"
    (host / "sub").mkdir(parents=True)
    (host / "sub" / "precious").touch()
    volume = core.Volume(name="host", host_path=core.HostPathVolumeSource(path=str(host)))
    place.pod = pod(volume)
    await place.part("sub", "host")
    await place.volumes.teardown(UID)
    assert (host / "sub" / "precious").exists()
    assert mounts.mounted_under(str(disk)) == ()
    assert not (disk / UID).exists()


def test_a_file_is_read_and_nothing_else(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "deep").mkdir(parents=True)
    (volume / "deep/file").write_bytes(b"12345")
    (volume / "link").symlink_to("deep/file")
    (tmp_path / "secret").write_bytes(b"x")
    (volume / "out").symlink_to(tmp_path / "secret")
    os.mkfifo(volume / "pipe")
    assert subpath.read(str(volume), "deep/file", 10) == b"12345"
    assert subpath.read(str(volume), "link", 3) == b"1234"
    assert subpath.read(str(volume), "none", 3) is None
    for path in ("out", "../secret", "pipe", "deep"):
        with pytest.raises(OSError, match=r"plain file|cross-device"):
            subpath.read(str(volume), path, 3)
