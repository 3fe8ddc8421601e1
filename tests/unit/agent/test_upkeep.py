"""What the agent does for the node's sake: pods that take too much go, and all go in order before the machine does."""

from __future__ import annotations

from pathlib import Path

import pytest

from mizzen.api.types import core_v1 as core
from nodeagent.drive.disk_use import DiskUse
from nodeagent.drive.image_care import ImageCare
from nodeagent.drive.outbox import NODE, STATUS, Outbox
from nodeagent.drive.shutdown import ShutDown
from nodeagent.lifecycle.imagegc import Policy
from nodeagent.lifecycle.pressure import Disk
from nodeagent.runtime.archive import ImageConfig, build
from nodeagent.runtime.fake import FakeRuntime
from tests.unit.agent.world import LoopClock, World, container, pod, until

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]


def phase(world: World, name: str = "web") -> tuple[str, str]:
    """Phase and reason of a pod as the control plane has it."""
    status = world.status(name)
    return (status.phase, status.reason) if status is not None else ("", "")


async def test_a_container_that_writes_too_much_goes(world: World) -> None:
    limits = core.ResourceRequirements(limits={"ephemeral-storage": "1Mi"})
    async with world.running():
        world.put(pod("web", container(resources=limits)))
        world.put(pod("free"))
        await until(lambda: world.ready() and world.ready("free"))
        for state in await world.containers():
            world.runtime.written[state.id] = 2 << 20
        await until(lambda: phase(world) == ("Failed", "Evicted"), 30)
        assert world.ready("free"), "it has no bound"
        assert world.events("Evicted") == [
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
        ]
        await world.agent_is_quiet(30)
        assert phase(world) == ("Failed", "Evicted")


async def test_pods_end_in_order_before_the_machine_does(world: World) -> None:
    stubborn = ("sh", "-c", "trap '' TERM; sleep 1000000")
    with pytest.raises(BaseExceptionGroup) as caught:
        async with world.running(shutdown_grace_s=20, shutdown_critical_s=5) as agent:
            world.put(pod("web", container(command=stubborn), termination_grace_period_seconds=60))
            world.put(pod("dns", priority=2_000_000_000))
            await until(lambda: world.ready() and world.ready("dns"))
            agent.power_fails()
            await until(lambda: phase(world)[0] == "Failed" and phase(world, "dns")[0] == "Failed", 60)
            await world.agent_is_quiet(60)
    assert caught.group_contains(ShutDown)
    assert phase(world) == phase(world, "dns") == ("Failed", "Terminated")
    failed = [i.name for i in world.stored if i.kind == STATUS and isinstance(i.value, core.PodStatus) and
              i.value.phase == "Failed"]  # fmt: skip
    assert failed == ["web", "dns"], "critical pods are the last"
    statuses = [i.value for i in world.stored if i.kind == NODE and isinstance(i.value, core.NodeStatus)]
    ready = statuses[-1].conditions[-1]
    assert (ready.status, ready.message) == ("False", "node is shutting down")
    async with world.running():
        await world.agent_is_quiet(60)
        assert phase(world) == ("Failed", "Terminated"), "what has ended does not come back with the machine"


async def test_images_go_when_the_disk_is_full_and_are_remembered(tmp_path: Path) -> None:
    clock = LoopClock()
    runtime, outbox, gone = FakeRuntime(clock), Outbox("n1"), []
    ids = {}
    for name in ("used", "old"):
        runtime.add_remote_image(f"{name}:1")
        ids[name] = (await runtime.pull_image(f"{name}:1")).id
    ids["placed"], archive = build("placed:1", {}, ImageConfig(), "amd64")
    await runtime.load_image(archive)
    needed = {*ids.values()}
    full = Disk(total_bytes=100, free_bytes=50)

    def care() -> ImageCare:
        return ImageCare(
            runtime=runtime, clock=clock, outbox=outbox, policy=Policy(min_age_ms=0), file=tmp_path / "images.json",
            disk=lambda: full, used=lambda: frozenset(needed), removed=gone.append,
        )  # fmt: skip

    await care().look()
    needed = {ids["used"]}
    await care().look()
    assert gone == []
    full = Disk(total_bytes=100, free_bytes=1)
    await care().look()
    assert gone == [ids["old"]], "another agent has remembered it"
    assert {image.id for image in await runtime.list_images()} >= {ids["used"], ids["placed"]}
    (item,) = outbox.take()
    assert isinstance(item.value, core.Event)
    assert (item.value.reason, item.value.involved_object.kind) == ("FreeDiskSpaceFailed", "Node")


async def test_what_a_pod_has_on_the_disk(world: World) -> None:
    scratch = (
        core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource()),
        core.Volume(name="ram", empty_dir=core.EmptyDirVolumeSource(medium="Memory")),
    )
    async with world.running() as agent:
        web = pod(volumes=scratch)
        world.put(web)
        await until(world.ready)
        (state,) = await world.containers()
        engine, pods = world.folder / "engine", world.folder / "pods"
        for folder in (engine / "containers" / state.id, pods / "uid-web/volumes/v/deep", pods / "uid-web/volumes/ram"):
            folder.mkdir(parents=True)
            (folder / "file").write_bytes(b"x" * 100_000)
        world.runtime.written[state.id] = 7
        (use,) = await DiskUse(world.runtime, agent.watcher, pods, engine).of([web])
        assert 100_000 <= use.containers["app"] - 7 < 120_000
        assert list(use.volumes) == ["v"]
        assert 100_000 <= use.volumes["v"] < 120_000


async def test_a_pod_that_waits_for_the_image_of_a_volume_looks_again_when_it_was_placed(world: World) -> None:
    models = core.Volume(name="v", image=core.ImageVolumeSource(reference="models:1", pull_policy="IfNotPresent"))
    async with world.running() as agent:
        world.put(pod(volumes=(models,)))
        await until(lambda: len(world.events("FailedMount")) >= 6, 120)
        await world.runtime.load_image(build("models:1", {}, ImageConfig(), "amd64")[1])
        agent._images_loaded()
        await until(world.ready, 5)
        assert "models:1" in agent._upkeep._images_needed()
