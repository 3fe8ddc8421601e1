"""Sandboxes of every runtime, and the list of all there is."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import Event, PodRef, Status
from tests.conformance.runtime.rig import Rig


async def test_a_sandbox_runs_until_it_is_removed(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    assert (sandbox.pod, sandbox.attempt, sandbox.status, sandbox.network) == (rig.pod, 0, Status.RUNNING, "none")
    assert sandbox.pid > 0
    assert sandbox.started_at_ms >= sandbox.created_at_ms > 0
    assert (await rig.runtime.list()).sandboxes == (sandbox,)
    await rig.runtime.remove_sandbox(sandbox.id)
    await rig.runtime.remove_sandbox(sandbox.id)
    assert (await rig.runtime.list()).sandboxes == ()


async def test_making_the_same_sandbox_again_gives_that_one(rig: Rig) -> None:
    sandbox = await rig.sandbox()
    assert await rig.sandbox() == sandbox
    next_one = await rig.sandbox(attempt=1)
    assert next_one.id != sandbox.id
    assert [s.attempt for s in (await rig.runtime.list()).sandboxes] == [0, 1]


async def test_the_host_network(rig: Rig) -> None:
    sandbox = await rig.sandbox(network="host")
    assert sandbox.network == "host"
    assert (await rig.runtime.list()).sandboxes[0].network == "host"


async def test_the_list_is_whole_and_in_order(runtime: Runtime) -> None:
    rigs = [Rig(runtime, name) for name in ("b", "c", "a")]
    for rig in rigs:
        sandbox = await rig.sandbox()
        for name in ("two", "one"):
            await runtime.create_container(rig.spec(sandbox, "sleep 1", name=name))
    snapshot = await runtime.list()
    assert [s.pod.name for s in snapshot.sandboxes] == ["a", "b", "c"]
    assert [(c.pod.name, c.name) for c in snapshot.containers] == [
        (pod, name) for pod in ("a", "b", "c") for name in ("one", "two")
    ]
    assert await runtime.list() == snapshot


async def test_two_pods_of_one_name_are_told_apart_by_uid(rig: Rig) -> None:
    first = await rig.sandbox()
    second = await rig.runtime.create_sandbox(
        replace(rig.sandbox_spec, pod=PodRef(uid="other", namespace=rig.pod.namespace, name=rig.pod.name))
    )
    assert first.id != second.id
    assert {s.pod.uid for s in (await rig.runtime.list()).sandboxes} == {rig.pod.uid, "other"}


async def test_many_sandboxes_at_once(runtime: Runtime) -> None:
    rigs = [Rig(runtime, f"many{number}") for number in range(8)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(rig.sandbox()) for rig in rigs]
    assert len({task.result().id for task in tasks}) == 8


async def test_events_hint_at_every_step(rig: Rig) -> None:
    async with aclosing(rig.runtime.events()) as events, asyncio.timeout(20):
        assert await anext(events) == Event(action="resync")
        container_id = await rig.started("true")
        await rig.exited(container_id)
        await rig.runtime.remove_container(container_id)
        seen = []
        async for event in events:
            if event.container_id == container_id:
                assert (event.pod_uid, event.container) == (rig.pod.uid, "main")
                seen.append(event.action)
            if seen[-1:] == ["destroy"]:
                break
    assert seen == ["create", "start", "die", "destroy"]
