"""Which pods are tried when: order, parking, pauses, and what is assumed until it is seen."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.scheduling.filters import Explanation
from controlplane.scheduling.passes import PassLimits, Refusal, Scheduler
from controlplane.scheduling.rounds import FIRST_PAUSE_MS, PARKED_MS, Rounds, refused
from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.effects import Bind, Emit, UpdateStatus
from mizzen.engine.entry import Entry, deletion, replacement


class World:
    """A view, and rounds that are told of its changes."""

    def __init__(self) -> None:
        self.cache = Cache(indexes.ALL)
        self.rounds = Rounds(Scheduler())
        self.version = 0

    def put(self, obj: Any, tick: int = 0) -> None:
        """Store an object and tell of it."""
        self.version += 1
        kind = kinds.kind_of(obj)
        raw = canonical.stamp(kind, canonical.rest(obj), self.version)
        entry = Entry(kind, obj.metadata.namespace, obj.metadata.name, self.version, raw)
        self.rounds.changed([replacement(self.cache.put(entry), entry)], tick)

    def remove(self, name: str, tick: int = 0) -> None:
        """Remove a pod and tell of it."""
        self.version += 1
        gone = self.cache.remove(kinds.POD, "default", name)
        assert gone is not None
        self.rounds.changed([deletion(gone, self.version)], tick)

    def run(self, tick: int = 0, pods_max: int = 100) -> list[str]:
        """The pods that a round places, with their nodes."""
        result = self.rounds.run(self.cache, PassLimits(pods_max), tick)
        self.bindings = result.bindings
        self.refused = [refusal.pod.metadata.name for refusal in result.refusals]
        return [f"{bind.name}={bind.node}" for bind in result.bindings]

    def bound(self, bind: Bind, tick: int = 0) -> None:
        """A placement was written and is seen."""
        one = self.cache.get(kinds.POD, bind.namespace, bind.name)
        assert one is not None
        self.put(replace(one, spec=replace(one.spec, node_name=bind.node)), tick)


def node(name: str = "n1", cpu: str = "1") -> core.Node:
    amounts = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    return core.Node(metadata=meta.ObjectMeta(name=name), status=core.NodeStatus(allocatable=amounts))


def pod(name: str, cpu: str = "600m", priority: int | None = None, created: str = "", **spec: Any) -> core.Pod:
    resources = core.ResourceRequirements(requests={"cpu": cpu})
    containers = (core.Container(name="main", resources=resources),)
    metadata = meta.ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", creation_timestamp=created)
    return core.Pod(metadata=metadata, spec=core.PodSpec(containers=containers, priority=priority, **spec))


def test_the_more_important_and_the_older_come_first() -> None:
    world = World()
    world.put(node(cpu="10"))
    for one in (
        pod("young", created="2024-01-02T00:00:00Z"),
        pod("old", created="2024-01-01T00:00:00Z"),
        pod("great", priority=5, created="2024-01-03T00:00:00Z"),
    ):
        world.put(one)
    assert world.run(pods_max=2) == ["great=n1", "old=n1"]
    assert world.rounds.next_due(0) == 0
    assert world.run() == ["young=n1"]
    assert world.rounds.next_due(0) is None


def test_a_pod_is_tried_once_however_often_it_changes() -> None:
    world = World()
    world.put(node())
    world.put(pod("a"))
    world.put(pod("a", priority=3))
    world.put(pod("a", priority=1))
    assert world.run() == ["a=n1"]
    assert world.run() == []


def test_what_is_seen_of_an_assumed_pod_before_it_is_bound_is_older() -> None:
    world = World()
    world.put(node())
    world.put(pod("a"))
    assert world.run() == ["a=n1"]
    labelled = pod("a")
    world.put(replace(labelled, metadata=replace(labelled.metadata, labels={"new": "label"})))
    world.put(pod("b"))
    assert (world.run(), world.refused) == ([], ["b"])


def test_a_placement_that_was_not_written_gives_its_room_back_and_is_tried_again() -> None:
    world = World()
    world.put(node())
    world.put(pod("a"))
    world.run()
    world.rounds.failed(world.bindings[0], 10)
    assert world.rounds.next_due(10) == FIRST_PAUSE_MS
    assert world.run(10 + FIRST_PAUSE_MS) == ["a=n1"]


def test_a_late_failure_of_a_pod_that_is_bound_or_another_by_now_means_nothing() -> None:
    world = World()
    world.put(node())
    world.put(pod("a"))
    world.run()
    late = world.bindings[0]
    world.bound(late)
    world.rounds.failed(late, 0)
    world.put(pod("b"))
    assert (world.run(), world.refused) == ([], ["b"])
    assert world.rounds.next_due(1) == PARKED_MS - 1


def test_a_parked_pod_is_tried_when_something_helps_but_not_before_its_pause() -> None:
    world = World()
    world.put(node())
    world.put(pod("a"))
    world.bound(Bind("default", "a", "uid-a", "n1"))
    world.put(pod("b"))
    assert (world.run(), world.refused) == ([], ["b"])
    assert world.rounds.pending() == {"active": 0, "unschedulable": 1}
    world.remove("a", 100)
    assert world.rounds.next_due(100) == FIRST_PAUSE_MS - 100
    assert world.run(FIRST_PAUSE_MS) == ["b=n1"]


def test_a_refusal_is_noted_once_and_for_the_generation_that_it_is_about() -> None:
    one = pod("a")
    one = replace(one, metadata=replace(one.metadata, generation=2))
    why = Explanation(1, (("Insufficient cpu", 1),))
    noted, _ = refused(Refusal(one, why), 0)
    assert isinstance(noted, UpdateStatus)
    assert isinstance(noted.object, core.Pod)
    (condition,) = noted.object.status.conditions
    assert (condition.type, condition.status, condition.observed_generation) == ("PodScheduled", "False", 2)
    (event,) = refused(Refusal(noted.object, why), 60_000)
    assert isinstance(event, Emit)


def test_a_pod_that_no_node_suits_is_not_tried_because_pods_go_but_at_once_when_a_node_changes() -> None:
    world = World()
    world.put(node())
    world.put(pod("a"))
    world.bound(Bind("default", "a", "uid-a", "n1"))
    world.put(pod("picky", node_selector={"disk": "ssd"}))
    assert (world.run(), world.refused) == ([], ["picky"])
    world.remove("a", 5_000)
    assert world.rounds.pending() == {"active": 0, "unschedulable": 1}
    assert world.rounds.next_due(5_000) == PARKED_MS - 5_000
    one = node()
    world.put(replace(one, metadata=replace(one.metadata, labels={"disk": "ssd"})), 6_000)
    assert world.run(6_000) == ["picky=n1"]


def test_pauses_grow_while_a_pod_fits_nowhere() -> None:
    world = World()
    world.put(node())
    world.put(pod("big", cpu="5"))
    tick = 0
    pauses = []
    for number in range(6):
        assert (world.run(tick), world.refused) == ([], ["big"])
        world.put(node(f"more-{number}"), tick)
        due = world.rounds.next_due(tick)
        assert due is not None
        pauses.append(due)
        tick += due
    assert pauses == [1000, 2000, 4000, 8000, 10_000, 10_000]


def test_without_any_change_a_parked_pod_is_tried_after_a_while() -> None:
    world = World()
    world.put(pod("a"))
    world.run()
    assert world.rounds.next_due(0) == PARKED_MS
    world.run(PARKED_MS)
    assert world.refused == ["a"]


def test_only_what_could_make_room_helps() -> None:
    world = World()
    world.put(node())
    world.put(pod("big", cpu="5"))
    world.run()
    same = node()
    world.put(replace(same, metadata=replace(same.metadata, annotations={"seen": "now"})), 5)
    assert world.rounds.next_due(5) == PARKED_MS - 5
    world.put(node(cpu="6"), 6)
    assert world.rounds.next_due(6) == FIRST_PAUSE_MS - 6


def test_a_pod_that_ends_makes_room() -> None:
    world = World()
    world.put(node())
    world.put(pod("a"))
    world.bound(Bind("default", "a", "uid-a", "n1"))
    world.put(pod("b"))
    world.run()
    done = pod("a", node_name="n1")
    world.put(replace(done, status=core.PodStatus(phase="Succeeded")), 5)
    assert world.run(FIRST_PAUSE_MS) == ["b=n1"]


def test_what_is_deleted_or_bound_by_another_is_forgotten() -> None:
    world = World()
    world.put(node())
    for name in ("a", "b", "c"):
        world.put(pod(name, cpu="10m"))
    world.remove("a")
    world.put(pod("b", cpu="10m", node_name="n1"))
    assert world.run() == ["c=n1"]
