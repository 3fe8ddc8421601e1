"""The agent's own ends and beginnings: nothing that runs notices, nothing is lost, nothing stays behind."""

from __future__ import annotations

import msgspec
import pytest

from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import meta_v1 as meta
from nodeagent.drive.checkpoint import VERSION, Checkpoint, CheckpointFile
from nodeagent.network.port import AttachedPod
from nodeagent.runtime.values import ContainerState, Status
from tests.unit.agent.world import FACTS, World, container, deleted, pod, until

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]


def only(world: World) -> core.Pod:
    """The one pod that the control plane has."""
    (found,) = (value for value in world.objects.values() if isinstance(value, core.Pod))
    return found


def ids(states: tuple[ContainerState, ...]) -> set[str]:
    """Which containers these are."""
    return {state.id for state in states}


async def test_a_new_agent_adopts_what_runs(world: World) -> None:
    probe = core.Probe(exec=core.ExecAction(command=("true",)), period_seconds=10)
    async with world.running():
        world.put(pod("web", container(readiness_probe=probe)))
        await until(world.ready)
    before, told = await world.containers(), len(world.stored)
    async with world.running():
        await until(lambda: len(world.stored) > told)  # the node's own status
        await world.agent_is_quiet(30)
    assert ids(await world.containers()) == ids(before)
    assert [item for item in world.stored[told:] if item.kind == "status"] == [], "nobody notices"


async def test_without_its_checkpoint_it_still_adopts_and_goes_on_counting(world: World) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
        (state,) = await world.containers()
        await world.runtime.kill_container(state.id)
        await until(lambda: world.restarts() == 1 and world.ready())
    before = ids(await world.containers())
    (world.folder / "checkpoint.json").unlink()
    async with world.running():
        await world.agent_is_quiet(30)
        assert ids(await world.containers()) == before
        running = next(s for s in await world.containers() if s.status is Status.RUNNING)
        await world.runtime.kill_container(running.id)
        await until(lambda: world.restarts() == 2)


async def test_without_the_control_plane_pods_and_services_go_on_from_the_checkpoint(world: World) -> None:
    service = core.Service(
        metadata=meta.ObjectMeta(name="svc", namespace="default"),
        spec=core.ServiceSpec(cluster_ip="10.96.0.20", ports=(core.ServicePort(port=80),)),
    )
    slices = discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name="svc-1", namespace="default", labels={"kubernetes.io/service-name": "svc"}
        ),
        address_type="IPv4",
        ports=(discovery.EndpointPort(port=8080, name=""),),
        endpoints=(discovery.Endpoint(addresses=("10.1.0.9",)),),
    )  # fmt: skip
    probe = core.Probe(exec=core.ExecAction(command=("test", "-f", "/ok")), period_seconds=1, failure_threshold=3)
    async with world.running():
        world.put(service)
        world.put(slices)
        world.put(pod("web", container(liveness_probe=probe, command=("sh", "-c", "touch /ok; sleep 1000000"))))
        await until(world.ready)
    world.network.services = type(world.network.services)()
    told = len(world.stored)
    async with world.running(connected=False):
        await until(lambda: "default/svc" in world.network.services.services)
        (rule,) = world.network.services.services.values()
        assert [b.ip for b in rule.ports[0].backends] == ["10.1.0.9"]
        assert world.network.config is not None
        (state,) = await world.containers()
        await world.runtime.exec_sync(state.id, ("rm", "/ok"), 1)
        await until(lambda: world.restarts() == 1, limit_s=30)
    assert len(world.stored) > told


async def test_after_a_reboot_pods_come_back_without_the_control_plane(world: World) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
    world.runtime.power_off()
    world.network.attached.clear()
    world.runtime.restored()
    async with world.running(connected=False):
        await until(lambda: world.restarts() == 1 and world.ready())
        sandboxes = [s for s in (await world.runtime.list()).sandboxes if s.status is Status.RUNNING]
        assert len(sandboxes) == 1
        assert set(world.network.attached) == {"uid-web"}


async def test_a_back_off_outlives_the_agent(world: World) -> None:
    crashing = container(command=("sh", "-c", "sleep 1; exit 1"))
    async with world.running():
        world.put(pod("web", crashing))
        await until(lambda: world.restarts() == 3)
        await until(lambda: not world.ready())
    async with world.running():
        began = world.clock.now()
        await until(lambda: world.restarts() == 4)
        assert world.clock.now() - began > 30_000, "the 40 s began before the restart"


async def test_nothing_unknown_is_touched_before_the_control_plane_has_told_everything(world: World) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
    (world.folder / "checkpoint.json").unlink()
    before = ids(await world.containers())
    async with world.running(connected=False):
        await world.agent_is_quiet(60)
        assert ids(await world.containers()) == before
        assert "uid-web" in world.network.attached


async def test_what_belongs_to_nobody_is_taken_away_after_a_whole_round(world: World) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
    world.objects.clear()
    (world.folder / "checkpoint.json").unlink()
    world.network.attached["uid-lost"] = AttachedPod("uid-lost", "10.1.0.99", "mz123")
    world.volumes.files["uid-older"] = {"hosts": b""}
    async with world.running():
        await world.until_empty()


@pytest.mark.parametrize("forced", [False, True], ids=["deleted", "forced"])
async def test_a_pod_deleted_while_the_agent_was_away_is_ended_on_return(world: World, forced: bool) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
    key = next(iter(world.objects))
    if forced:
        del world.objects[key]
    else:
        world.objects[key] = deleted(world.objects[key])
    async with world.running():
        await world.until_empty()
        await until(lambda: not world.objects)


async def test_what_was_gone_and_was_not_heard_of_is_told_again(world: World) -> None:
    async with world.running():
        world.put(pod())
        await until(world.ready)
    world.put(deleted(only(world)))
    file = CheckpointFile(world.folder / "checkpoint.json")
    kept = file.load()
    memories = {uid: msgspec.structs.replace(memory, gone=True) for uid, memory in kept.pods.items()}
    file.save(msgspec.structs.replace(kept, pods=memories))
    async with world.running():
        await world.until_empty()
        await until(lambda: not [one for one in world.objects.values() if isinstance(one, core.Pod)], 60)


async def test_a_resumed_session_keeps_what_it_is_not_told_again(world: World) -> None:
    async with world.running() as agent:
        world.put(pod())
        await until(world.ready)
        agent.welcomed(FACTS, "epoch-1", resumed=True)
        agent.told([], world.version, synced=True)
        await world.agent_is_quiet(30)
        assert world.ready()
        assert world.restarts() == 0


async def test_a_checkpoint_that_can_not_be_read_is_put_aside(world: World) -> None:
    path = world.folder / "checkpoint.json"
    path.write_bytes(b'{"version": 1, "objects": [[')
    async with world.running():
        world.put(pod())
        await until(world.ready)
    assert (world.folder / "checkpoint.unreadable").exists()
    assert CheckpointFile(path).load().version == VERSION


async def test_a_checkpoint_of_another_version_is_not_used(world: World) -> None:
    path = world.folder / "checkpoint.json"
    path.write_bytes(msgspec.json.encode({"version": VERSION + 1}))
    assert CheckpointFile(path).load() == Checkpoint()


async def test_a_checkpoint_brings_everything_back(world: World) -> None:
    async with world.running() as agent:
        world.put(pod())
        await until(world.ready)
        memory = agent.pods.memories()["uid-web"]
    kept = CheckpointFile(world.folder / "checkpoint.json").load()
    assert kept.facts == FACTS
    assert [(o.resource, o.name) for o in kept.objects] == [("pods", "web")]
    assert kept.pods["uid-web"] == memory
    assert (world.folder / "checkpoint.json").stat().st_mode & 0o777 == 0o600


async def test_stopping_the_agent_stops_no_container(world: World) -> None:
    world.runtime.latency_ms["stop_container"] = 1
    async with world.running():
        for number in range(5):
            world.put(pod(f"p{number}"))
        await until(lambda: all(world.ready(f"p{number}") for number in range(5)))
    states = await world.containers()
    assert [state.status for state in states] == [Status.RUNNING] * 5
    assert len(world.network.attached) == 5
