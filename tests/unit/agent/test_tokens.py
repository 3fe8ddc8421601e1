"""Pods' tokens on their node: asked for once, renewed in time, and kept while nobody can be asked."""

from __future__ import annotations

import pytest

from mizzen.api.references import TokenWish
from mizzen.api.types import core_v1 as core
from nodeagent.drive.tokens import Away, Issued, Refused
from nodeagent.volumes.plan import Files
from tests.unit.agent.world import World, container, pod, until

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]

LIFE_S = 3607
SOURCE = core.ServiceAccountTokenProjection(path="token", expiration_seconds=LIFE_S)
VOLUME = core.Volume(
    name="v",
    projected=core.ProjectedVolumeSource(sources=(core.VolumeProjection(service_account_token=SOURCE),)),
)
MOUNT = core.VolumeMount(name="v", mount_path="/token")


class Plane:
    """A control plane that gives tokens with numbers on them."""

    def __init__(self) -> None:
        self.given: list[tuple[str, TokenWish]] = []
        self.error: Exception | None = None

    async def token(self, wanted: core.Pod, wish: TokenWish) -> Issued:
        if self.error is not None:
            raise self.error
        self.given.append((wanted.metadata.name, wish))
        return Issued(f"token-{len(self.given)}", LIFE_S * 1000)


def with_token() -> core.Pod:
    return pod("web", container(volume_mounts=(MOUNT,)), volumes=(VOLUME,))


def shown(world: World) -> str | None:
    plan = world.volumes.plans["uid-web"]["v"]
    assert isinstance(plan, Files)
    assert plan.in_memory
    if plan.kept == ("token",):
        return None
    return plan.files["token"].content.decode()


async def test_a_token_is_renewed_before_it_runs_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane()
    async with world.running() as agent:
        monkeypatch.setattr(agent.session, "token", plane.token)
        world.put(with_token())
        await until(world.ready)
        assert plane.given == [("web", TokenWish("", LIFE_S))]
        assert shown(world) == "token-1"
        await world.agent_is_quiet(LIFE_S * 0.79)
        assert shown(world) == "token-1"
        await world.agent_is_quiet(LIFE_S * 0.05)
        assert (shown(world), len(plane.given)) == ("token-2", 2)
        assert world.restarts() == 0


async def test_a_token_stays_while_nobody_can_be_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane()
    async with world.running() as agent:
        monkeypatch.setattr(agent.session, "token", plane.token)
        world.put(with_token())
        await until(world.ready)
        plane.error = Away()
        await world.agent_is_quiet(LIFE_S * 0.9)
        assert shown(world) == "token-1"
        plane.error = None
        await until(lambda: shown(world) == "token-2")


async def test_a_pod_starts_without_and_gets_its_token_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane()
    async with world.running() as agent:
        monkeypatch.setattr(agent.session, "token", plane.token)
        agent.parted()
        world.put(with_token())
        await until(world.ready, limit_s=20)
        assert shown(world) is None
        world.connect()
        await until(lambda: shown(world) == "token-1", limit_s=20)


async def test_a_refusal_is_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane()
    plane.error = Refused('serviceaccounts "x" not found')
    async with world.running() as agent:
        monkeypatch.setattr(agent.session, "token", plane.token)
        world.put(with_token())
        await until(lambda: world.events("FailedMount"))
        assert 'failed to fetch token: serviceaccounts "x" not found' in world.events("FailedMount")[0]
        plane.error = None
        await until(world.ready)
