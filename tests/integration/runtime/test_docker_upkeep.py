"""What a real engine tells of its disk, and images that go from it when it is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from mizzen.base.clocks import SystemClock
from nodeagent.drive.image_care import ImageCare
from nodeagent.drive.outbox import Outbox
from nodeagent.lifecycle.imagegc import Policy
from nodeagent.lifecycle.pressure import Disk
from nodeagent.runtime.docker import DockerRuntime
from tests.conformance.runtime.rig import IMAGE, Rig
from tests.fixtures.images import busybox_image

pytestmark = pytest.mark.docker


async def test_what_containers_write(runtime: DockerRuntime, rig: Rig) -> None:
    container = await rig.started("head -c 3000000 /dev/zero >/file; echo written; sleep 1000")
    await rig.says(container, "written")
    assert 3_000_000 <= (await runtime.disk_used())[container] < 3_100_000


async def test_unused_images_go(runtime: DockerRuntime, registry: str, tmp_path: Path) -> None:
    """What a registry knows goes; what was placed, or runs, or belongs to others, stays."""
    fetched = await runtime.pull_image(f"{registry}/team/app:1")
    await runtime.load_image(busybox_image("placed:1", command=("x",))[1])
    await runtime.load_image(busybox_image("others:1", command=("y",))[1])
    needed = frozenset((f"{registry}/team/app:1", "placed:1", IMAGE))
    disk, gone = Disk(total_bytes=100, free_bytes=90), list[str]()
    care = ImageCare(
        runtime=runtime, clock=SystemClock(), outbox=Outbox("n1"), policy=Policy(min_age_ms=0),
        file=tmp_path / "images.json", disk=lambda: disk, used=lambda: needed, removed=gone.append,
    )  # fmt: skip
    await care.look()
    needed = frozenset()
    await care.look()
    assert gone == []
    disk = Disk(total_bytes=100, free_bytes=1)
    await care.look()
    assert gone == [fetched.id]
    for name in ("placed:1", "others:1", IMAGE):
        assert await runtime.image_status(name) is not None
    for name in ("placed:1", "others:1"):
        await runtime.remove_image(name)
