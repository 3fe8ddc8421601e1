"""The scheduler's driver: pods are bound, refused with a reason, and tried again when that may help."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.drive.scheduler import SchedulerDriver
from controlplane.store.registry import NotLeader
from controlplane.store.values import UnknownOutcome
from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine import indexes
from mizzen.engine.effects import Bind, Create
from tests.unit.drive.conftest import Cluster, pod

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def scheduling(cluster: Cluster) -> AsyncIterator[None]:
    """Schedule while the block lasts."""
    driver = SchedulerDriver(
        cluster.registry, cluster.performer, cluster.write_of, cluster.emitted.append, cluster.clock, cluster.ids
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(driver.run(cluster.fence))
        yield
        task.cancel()


async def add_node(cluster: Cluster, name: str, cpu: str = "1", pods: str = "110") -> core.Node:
    amounts = {"cpu": cpu, "memory": "8Gi", "pods": pods}
    status = core.NodeStatus(capacity=amounts, allocatable=amounts)
    return await cluster.registry.create(core.Node(metadata=meta.ObjectMeta(name=name), status=status))


async def add_pods(cluster: Cluster, *pods: core.Pod) -> None:
    performed = await cluster.performer.perform([Create(one) for one in pods], cluster.fence)
    assert performed.error is None


def where(cluster: Cluster) -> dict[str, str]:
    """The bound pods and their nodes, as far as the log has told."""
    entries = cluster.registry.entries(kinds.POD)
    pods = [entry.object() for entry in entries]
    return {one.metadata.name: one.spec.node_name for one in pods if one.spec.node_name}


def get(cluster: Cluster, name: str) -> core.Pod:
    found = cluster.registry.view.get(kinds.POD, "default", name)
    assert found is not None
    return found


async def test_pods_are_spread_over_the_nodes_and_bound(cluster: Cluster) -> None:
    for name in ("n1", "n2"):
        await add_node(cluster, name)
    async with scheduling(cluster):
        await add_pods(cluster, *(pod(f"p{number:02}") for number in range(20)))
        await cluster.until(lambda: len(where(cluster)) == 20)
    assert Counter(where(cluster).values()) == {"n1": 10, "n2": 10}
    condition = get(cluster, "p00").status.conditions[-1]
    assert (condition.type, condition.status) == ("PodScheduled", "True")
    assert [event.reason for event in cluster.emitted] == ["Scheduled"] * 20
    assert len(cluster.registry.view.select(indexes.PODS_BY_NODE, "n1")) == 10


async def test_what_is_there_when_it_begins_counts(cluster: Cluster) -> None:
    await add_node(cluster, "n1")
    await add_pods(cluster, pod("early", cpu="800m"))
    await cluster.performer.perform([Bind("default", "early", get(cluster, "early").metadata.uid, "n1")], cluster.fence)
    await add_pods(cluster, pod("late", cpu="800m"), pod("small"))
    async with scheduling(cluster):
        await cluster.until(lambda: "small" in where(cluster) and get(cluster, "late").status.conditions)
    assert where(cluster) == {"early": "n1", "small": "n1"}


async def test_it_begins_only_when_it_has_seen_what_an_earlier_leader_did(cluster: Cluster) -> None:
    await add_node(cluster, "n1")
    await add_pods(cluster, pod("early", cpu="800m"), pod("late", cpu="800m"))
    await cluster.registry.fresh()
    cluster.log.hold()
    earlier = Cluster(cluster.backend)
    await earlier.registry.start()
    async with scheduling(cluster):
        bind = Bind("default", "early", get(earlier, "early").metadata.uid, "n1")
        assert (await earlier.performer.perform([bind], cluster.fence)).error is None
        await earlier.registry.fresh()
        cluster.log.go()
        await cluster.until(lambda: get(cluster, "late").status.conditions)
    assert where(cluster) == {"early": "n1"}
    await earlier.close()


async def test_a_pod_that_fits_nowhere_is_told_why_and_placed_when_a_node_comes(cluster: Cluster) -> None:
    await add_node(cluster, "n1")
    async with scheduling(cluster):
        await add_pods(cluster, pod("big", cpu="3"))
        await cluster.until(lambda: get(cluster, "big").status.conditions)
        (condition,) = get(cluster, "big").status.conditions
        assert (condition.reason, condition.message) == (
            "Unschedulable",
            "0/1 nodes are available: 1 Insufficient cpu.",
        )
        await cluster.until(lambda: cluster.emitted)
        assert cluster.emitted[-1].reason == "FailedScheduling"
        await add_node(cluster, "n2", cpu="4")
        await cluster.until(lambda: where(cluster) == {"big": "n2"})


async def test_room_that_becomes_free_is_used(cluster: Cluster) -> None:
    await add_node(cluster, "n1")
    async with scheduling(cluster):
        await add_pods(cluster, pod("first", cpu="800m"))
        await cluster.until(lambda: "first" in where(cluster))
        await add_pods(cluster, pod("second", cpu="800m"))
        await cluster.until(lambda: get(cluster, "second").status.conditions)
        version = int(get(cluster, "first").metadata.resource_version)
        await cluster.registry.delete(kinds.POD, "default", "first", version)
        await cluster.until(lambda: "second" in where(cluster))


async def test_a_refused_pod_is_not_tried_without_a_reason(cluster: Cluster) -> None:
    await add_node(cluster, "n1")
    async with scheduling(cluster):
        await add_pods(cluster, pod("big", cpu="3"))
        await cluster.until(lambda: cluster.emitted)
        began = cluster.clock.monotonic_ms()
        await cluster.until(lambda: cluster.clock.monotonic_ms() - began > 30_000)
    assert len(cluster.emitted) == 1


async def test_more_pods_than_room_never_overcommit_a_node(cluster: Cluster) -> None:
    for number in range(4):
        await add_node(cluster, f"n{number}", pods="8")
    async with scheduling(cluster):
        for portion in range(10):
            await add_pods(cluster, *(pod(f"p{portion}-{number}", cpu="1m") for number in range(10)))
        await cluster.until(lambda: len(where(cluster)) == 32)
        await cluster.until(lambda: len(cluster.emitted) >= 100)
    assert Counter(where(cluster).values()) == {f"n{number}": 8 for number in range(4)}


async def test_a_binding_in_whose_way_something_is_does_not_hold_up_the_others(cluster: Cluster) -> None:
    await add_node(cluster, "n1")
    await add_pods(cluster, pod("a"), pod("b"))

    async def meanwhile() -> None:
        one = get(cluster, "a")
        labelled = replace(one, metadata=replace(one.metadata, labels={"new": "label"}))
        await cluster.registry.update(labelled, int(one.metadata.resource_version))

    cluster.store.before = meanwhile
    async with scheduling(cluster):
        await cluster.until(lambda: where(cluster) == {"a": "n1", "b": "n1"})
    assert get(cluster, "a").metadata.labels == {"new": "label"}


async def test_a_pod_deleted_before_it_is_bound_gives_its_room_back(cluster: Cluster) -> None:
    await add_node(cluster, "n1")
    await add_pods(cluster, pod("a", cpu="800m"))

    async def meanwhile() -> None:
        version = int(get(cluster, "a").metadata.resource_version)
        await cluster.registry.delete(kinds.POD, "default", "a", version)

    cluster.store.before = meanwhile
    async with scheduling(cluster):
        await cluster.until(lambda: not cluster.registry.entries(kinds.POD))
        await add_pods(cluster, pod("b", cpu="800m"))
        await cluster.until(lambda: where(cluster) == {"b": "n1"})


@pytest.mark.parametrize("happened", [True, False])
async def test_a_lost_answer_is_settled_by_looking(
    cluster: Cluster, happened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_node(cluster, "n1")
    await add_pods(cluster, pod("a", cpu="800m"))
    commit = cluster.registry.commit
    lose = 1

    async def losing(writes: Sequence[Any], **kwargs: Any) -> Any:
        nonlocal lose
        if not lose:
            return await commit(writes, **kwargs)
        lose -= 1
        if happened:
            await commit(writes, **kwargs)
        raise UnknownOutcome("the answer was lost")

    monkeypatch.setattr(cluster.registry, "commit", losing)
    async with scheduling(cluster):
        await cluster.until(lambda: where(cluster) == {"a": "n1"})
        await add_pods(cluster, pod("b", cpu="800m"), pod("c", cpu="100m"))
        await cluster.until(lambda: "c" in where(cluster) and get(cluster, "b").status.conditions)
    assert where(cluster) == {"a": "n1", "c": "n1"}


async def test_gated_pods_and_those_of_others_are_left_alone(cluster: Cluster) -> None:
    await add_node(cluster, "n1")
    gated = pod("gated", scheduling_gates=(core.PodSchedulingGate(name="wait"),))
    async with scheduling(cluster):
        await add_pods(cluster, gated, pod("other", scheduler_name="mine"), pod("ours"))
        await cluster.until(lambda: where(cluster) == {"ours": "n1"})
        one = get(cluster, "gated")
        open_now = replace(one, spec=replace(one.spec, scheduling_gates=()))
        await cluster.registry.update(open_now, int(one.metadata.resource_version))
        await cluster.until(lambda: where(cluster) == {"ours": "n1", "gated": "n1"})


async def test_without_leadership_the_scheduler_ends(cluster: Cluster) -> None:
    await add_node(cluster, "n1")
    await add_pods(cluster, pod("a"))
    with pytest.RaisesGroup(pytest.RaisesExc(NotLeader), flatten_subgroups=True):
        async with cluster.other().campaign("test", "other", 5), scheduling(cluster):
            await cluster.until(lambda: False)
    assert where(cluster) == {}
