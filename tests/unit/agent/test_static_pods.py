"""Static pods on a machine in memory: they come and go with their files, and the control plane has mirrors of them."""

from __future__ import annotations

import pytest
import yaml
from msgspec.structs import replace

from mizzen.api import errors
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from nodeagent.lifecycle.static import MIRROR
from tests.unit.agent.world import NODE, World, pod, until

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]

NAME = f"dns-{NODE}"


class Keeper:
    """Makes mirrors in the world's control plane."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made = 0
        self.away = False

    async def create(self, mirror: core.Pod) -> None:
        """Make one."""
        if self.away:
            raise errors.ServiceUnavailable("not now")
        self.made += 1
        metadata = replace(mirror.metadata, uid=f"mirror-{self.made}")
        self.world.put(replace(mirror, metadata=metadata, status=core.PodStatus(phase="Pending")))

    async def delete(self, mirror: core.Pod) -> None:
        """Remove one."""
        self.world.delete(mirror)

    @property
    def mirror(self) -> core.Pod | None:
        """The mirror that there is."""
        found = [one for one in self.world.objects.values() if isinstance(one, core.Pod)]
        return next((one for one in found if MIRROR in one.metadata.annotations), None)


@pytest.fixture
def keeper(world: World) -> Keeper:
    """Who makes mirrors; the node knows itself."""
    made = Keeper(world)
    world.mirrors = made
    (world.folder / "static-pods").mkdir()
    return made


def write(world: World, name: str = "dns", command: str = "sleep 1000000", **spec: object) -> None:
    """Write the file."""
    app = {"name": "app", "image": "shop:1", "imagePullPolicy": "IfNotPresent", "command": command.split()}
    document = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [app], **spec},
    }  # fmt: skip
    (world.folder / "static-pods" / f"{name}.yaml").write_text(yaml.safe_dump(document))


def knows_itself(world: World) -> None:
    """The node is told of itself."""
    world.put(core.Node(metadata=meta.ObjectMeta(name=NODE, uid="node-uid")))


async def test_it_runs_without_the_control_plane_and_is_shown_when_it_comes(world: World, keeper: Keeper) -> None:
    write(world)
    async with world.running(connected=False) as agent:
        world.learn_facts()
        await until(lambda: [slot for slot in agent.pods.slots() if slot.memory.reported])
        await until(lambda: agent.pods.is_running(next(iter(agent.pods.slots())).pod.metadata.uid), 60)
        assert keeper.mirror is None
        world.connect()
        knows_itself(world)
        await until(lambda: world.ready(NAME), 60)
        mirror = keeper.mirror
        assert mirror is not None
        assert mirror.metadata.uid == agent.pods.shown_uid(mirror.metadata.annotations[MIRROR]) == "mirror-1"
        assert agent.pods.slot("mirror-1") is agent.pods.slot(mirror.metadata.annotations[MIRROR])


async def test_a_mirror_that_is_deleted_comes_again_and_the_pod_goes_on(world: World, keeper: Keeper) -> None:
    write(world)
    async with world.running():
        knows_itself(world)
        await until(lambda: world.ready(NAME), 60)
        (before,) = await world.containers()
        first = keeper.mirror
        assert first is not None
        stamp = replace(first.metadata, deletion_timestamp="2023-11-14T22:13:50Z", deletion_grace_period_seconds=5)
        world.put(replace(first, metadata=stamp))
        await until(lambda: keeper.mirror is not None and keeper.mirror.metadata.uid == "mirror-2", 60)
        await until(lambda: keeper.mirror is not None and keeper.mirror.status.phase == "Running", 60)
        world.delete(keeper.mirror)
        await until(lambda: keeper.mirror is not None and keeper.mirror.metadata.uid == "mirror-3", 60)
        (after,) = await world.containers()
        assert after.id == before.id


async def test_a_changed_file_is_another_pod_and_none_is_none(world: World, keeper: Keeper) -> None:
    write(world)
    async with world.running():
        knows_itself(world)
        await until(lambda: world.ready(NAME), 60)
        (before,) = await world.containers()
        write(world, command="sleep 2000000")
        await until(lambda: keeper.made == 2, 60)
        await until(lambda: keeper.mirror is not None and keeper.mirror.status.phase == "Running", 60)
        (after,) = await world.containers()
        assert after.pod.uid != before.pod.uid
        (world.folder / "static-pods" / "dns.yaml").unlink()
        await until(lambda: keeper.mirror is None, 60)
        await world.until_empty()


async def test_it_is_adopted_by_the_next_agent(world: World, keeper: Keeper) -> None:
    write(world)
    async with world.running():
        knows_itself(world)
        await until(lambda: world.ready(NAME), 60)
        (before,) = await world.containers()
    async with world.running():
        await world.agent_is_quiet(30)
        (after,) = await world.containers()
        assert (after.id, keeper.made) == (before.id, 1)


async def test_a_file_that_is_wrong_says_why_and_changes_nothing(world: World, keeper: Keeper) -> None:
    write(world)
    async with world.running():
        knows_itself(world)
        await until(lambda: world.ready(NAME), 60)
        write(world, serviceAccountName="admin")
        (world.folder / "static-pods" / "junk.yaml").write_text("kind: [")
        write(world, "typo", replicas=3)
        await until(lambda: len(world.events("InvalidStaticPod")) == 3, 60)
        for words in (
            "junk.yaml: neither YAML nor JSON",
            "dns.yaml: static pods may not have a service account",
            'unknown field "spec.replicas"',
        ):
            assert any(words in message for message in world.events("InvalidStaticPod"))
        await world.agent_is_quiet(30)
        assert world.ready(NAME)
        assert keeper.made == 1


async def test_a_control_plane_that_refuses_mirrors_is_asked_again(world: World, keeper: Keeper) -> None:
    write(world)
    keeper.away = True
    async with world.running():
        knows_itself(world)
        await world.agent_is_quiet(30)
        assert keeper.mirror is None
        keeper.away = False
        await until(lambda: world.ready(NAME), 30)


async def test_the_name_of_a_static_pod_is_taken(world: World, keeper: Keeper) -> None:
    write(world)
    async with world.running():
        knows_itself(world)
        await until(lambda: world.ready(NAME), 60)
        mirror = keeper.mirror
        assert mirror is not None
        world.delete(mirror)
        world.put(pod(NAME, uid="somebody-elses"))
        await world.agent_is_quiet(30)
        assert len(await world.containers()) == 1
