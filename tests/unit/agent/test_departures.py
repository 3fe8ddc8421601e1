"""A pod leaves the rules of all nodes before it is asked to end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import meta_v1 as meta
from tests.unit.agent.world import World, deleted, pod, until

pytestmark = [pytest.mark.looptime, pytest.mark.asyncio]


def service(**spec: Any) -> core.Service:
    """A service."""
    return core.Service(
        metadata=meta.ObjectMeta(name="web", namespace="default"),
        spec=core.ServiceSpec(cluster_ip="10.96.0.20", ports=(core.ServicePort(port=80),), **spec),
    )


def behind(value: core.Pod, *, ready: bool) -> discovery.EndpointSlice:
    """The service's slice with one pod."""
    labels = {"kubernetes.io/service-name": "web"}
    endpoint = discovery.Endpoint(
        addresses=("10.1.0.1",),
        conditions=discovery.EndpointConditions(ready=ready),
        target_ref=core.ObjectReference(kind="Pod", uid=value.metadata.uid),
    )
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(name="web-1", namespace="default", labels=labels),
        address_type="IPv4",
        ports=(discovery.EndpointPort(port=8080, name=""),),
        endpoints=(endpoint,),
    )


def leaving(world: World) -> core.Pod:
    """The pod as it is now, once somebody has deleted it with the usual grace."""
    (present,) = (value for value in world.objects.values() if isinstance(value, core.Pod))
    return deleted(present, 30)


def stops(world: World) -> int:
    """How many containers were asked to stop."""
    return sum(1 for method, _ in world.runtime.calls if method == "stop_container")


async def serving(world: World, **spec: Any) -> None:
    """The pod is ready behind its service."""
    world.put(service(**spec))
    world.put(pod())
    await until(world.ready)
    world.put(behind(pod(), ready=True))


async def test_a_pod_is_ended_when_all_nodes_have_dropped_it(world: World) -> None:
    async with world.running() as agent:
        reach = agent._reach
        await serving(world)
        world.put(leaving(world))
        await asyncio.sleep(1)
        assert stops(world) == 0, "it is still offered"
        world.put(behind(pod(), ready=False))
        asked = world.version
        told = await reach.after(None)
        while told.asked != (asked,) or told.version < asked:
            told = await reach.after(told)
        reach.answered(asked - 1)
        await asyncio.sleep(0.5)
        assert stops(world) == 0, "some node may still lead to it"
        reach.answered(asked)
        await until(lambda: stops(world) == 1, limit_s=0.2)
        await world.until_empty()
        await until(lambda: world.events("Killing"))
        told = await reach.after(told)
        assert told.asked == (), "nothing more is asked"


async def test_a_version_that_was_enough_stays_enough(world: World) -> None:
    async with world.running() as agent:
        await serving(world)
        world.put(leaving(world))
        world.put(behind(pod(), ready=False))
        asked = world.version
        await asyncio.sleep(0.5)
        # The slice changes with another pod, before the answer has come.
        world.put(behind(pod("other"), ready=True))
        agent._reach.answered(asked)
        await until(lambda: stops(world) == 1, limit_s=0.2)


async def test_nodes_that_say_nothing_are_not_waited_for_for_ever(world: World) -> None:
    async with world.running():
        await serving(world)
        world.put(leaving(world))
        began = world.clock.monotonic_ms()
        await until(lambda: stops(world) == 1, limit_s=10)
        assert 4_900 <= world.clock.monotonic_ms() - began <= 5_100


@pytest.mark.parametrize("published", [True, False])
async def test_a_pod_that_is_not_dropped_or_never_served_is_not_waited_for(world: World, *, published: bool) -> None:
    async with world.running():
        await serving(world, publish_not_ready_addresses=published)
        if not published:
            world.delete(behind(pod(), ready=True))
        world.put(leaving(world))
        await until(lambda: stops(world) == 1, limit_s=0.2)
