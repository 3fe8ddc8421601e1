"""Volumes that are the files of an image: taken out once, read-only, and gone with their last pod."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.base.clocks import SystemClock
from nodeagent.lifecycle.downward import Sources
from nodeagent.lifecycle.storage import Storage
from nodeagent.runtime.fake import FakeRuntime
from nodeagent.volumes.disk import DiskVolumes
from nodeagent.volumes.images import ImageVolumes
from nodeagent.volumes.port import VolumeFailure
from tests.unit.volumes.pods import UID, pod

OTHER = "4b1d1f6e-0000-4000-8000-000000000002"
FILES = core.Volume(name="v", image=core.ImageVolumeSource(reference="models:1"))
MOUNTING = core.Container(name="main", volume_mounts=(core.VolumeMount(name="v", mount_path="/models"),))


def of(uid: str) -> core.Pod:
    made = pod(FILES)
    return core.Pod(metadata=replace_uid(made.metadata, uid), spec=made.spec)


def replace_uid(metadata: meta.ObjectMeta, uid: str) -> meta.ObjectMeta:
    return meta.ObjectMeta(name=metadata.name, namespace=metadata.namespace, uid=uid)


async def made(disk: Path) -> tuple[ImageVolumes, Sources]:
    runtime = FakeRuntime(SystemClock())
    runtime.add_remote_image("models:1")
    info = await runtime.pull_image("models:1")
    found = ImageVolumes(DiskVolumes(disk / "pods"), runtime, disk / "image-volumes")
    return found, Sources(storage=Storage(images={"v": info.id}))


def kept(disk: Path) -> list[str]:
    """The images whose files are on the disk."""
    return sorted(path.name for path in (disk / "image-volumes" / "images").iterdir())


async def test_pods_share_the_files_of_an_image(disk: Path) -> None:
    volumes, sources = await made(disk)
    paths = await volumes.setup(of(UID), sources)
    image = sources.storage.images["v"]
    assert (Path(paths["v"]) / "id").read_text() == image
    (mount,) = await volumes.mounts(of(UID), MOUNTING, {})
    assert mount.read_only
    await volumes.setup(of(OTHER), sources)
    assert kept(disk) == [image.removeprefix("sha256:")]
    await volumes.teardown(UID)
    assert kept(disk) == [image.removeprefix("sha256:")]
    assert await volumes.orphans([]) == (OTHER,)
    await volumes.teardown(OTHER)
    await volumes.teardown(OTHER)
    assert (kept(disk), await volumes.orphans([])) == ([], ())


async def test_a_pod_keeps_its_image_when_the_name_means_another(disk: Path) -> None:
    volumes, sources = await made(disk)
    paths = await volumes.setup(of(UID), sources)
    other = replace(sources, storage=Storage(images={"v": "sha256:" + "0" * 64}))
    assert await volumes.setup(of(UID), other) == paths
    with pytest.raises(VolumeFailure, match="is not on the node"):
        await volumes.setup(of(OTHER), other)
    await volumes.teardown(OTHER)
    await volumes.teardown(UID)
    assert kept(disk) == []
