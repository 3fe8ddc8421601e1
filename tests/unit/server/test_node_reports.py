"""What node agents report: stored once, merged with what others know, never on somebody else's pod."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from controlplane.server.node_reports import LEASE_NAMESPACE, REPORT_MAX_BYTES, Reports
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from controlplane.store.values import Unavailable
from mizzen.api import errors, kinds
from mizzen.api.managed import entries, objects, sets
from mizzen.api.managed.entries import Writer
from mizzen.api.types import core_v1 as core
from mizzen.base.ids import SeededIds
from mizzen.wire.gen.mizzen.v1 import node_pb2
from tests.fixtures import cluster_objects
from tests.fixtures.cluster_objects import NOW, at, pod

Report = node_pb2.Report


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.ms = NOW

    def now(self) -> int:
        """The time."""
        return self.ms

    def monotonic_ms(self) -> int:
        """The same."""
        return self.ms


class Rig:
    """Reports into a registry, and another registry over the same store through which others write."""

    def __init__(self, registry: Registry, other: Registry) -> None:
        self.registry = registry
        self.other = other
        self.clock = Clock()
        self.reports = Reports(registry, self.clock, SeededIds(1))

    async def create(self, obj: Any) -> Any:
        """Store an object as others do; it is seen by both."""
        made = await self.other.create(replace(obj, metadata=replace(obj.metadata, resource_version="")))
        await self.registry.fresh()
        return made

    async def change(self, obj: Any, **metadata: Any) -> Any:
        """Change an object's metadata as others do; the reports' cache may not know of it yet."""
        return await self.other.update(
            replace(obj, metadata=replace(obj.metadata, **metadata)), int(obj.metadata.resource_version)
        )

    def pod(self, name: str = "web") -> core.Pod | None:
        """The pod as it is."""
        return self.registry.view.get(kinds.POD, "default", name)

    def events(self) -> list[core.Event]:
        """All events."""
        return list(self.registry.view.list(kinds.EVENT))


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    """An empty cluster."""
    async with AsyncExitStack() as stack:
        backend = MemoryBackend()
        registries = []
        for _ in range(2):
            store = MemoryStore(backend)
            stack.push_async_callback(store.close)
            registry = Registry(store)
            await registry.start()
            stack.push_async_callback(registry.close)
            registries.append(registry)
        yield Rig(*registries)


def report(kind: Any, value: Any = None, *, name: str = "web", uid: str = "uid-web") -> Report:
    """A report as an agent sends it."""
    json = value if isinstance(value, bytes) else msgspec.json.encode(value) if value is not None else b""
    return Report(kind=kind, namespace="default", name=name, uid=uid, json=json)


def running(**more: Any) -> core.PodStatus:
    """The status of a pod that runs."""
    ready = core.PodCondition(type="Ready", status="True", last_transition_time=at())
    return core.PodStatus(**{"phase": "Running", "pod_ip": "10.1.0.5", "conditions": (ready,), **more})


# --------------------------------------------------------------------------------------------------------- status


async def test_a_status_is_stored_beside_what_others_have_set() -> None:
    async with rig() as r:
        have = pod("web", node="n1")
        others = core.PodCondition(type="DisruptionTarget", status="True", last_transition_time=at())
        status = replace(have.status, conditions=(*have.status.conditions, others), nominated_node_name="n9")
        await r.create(replace(have, status=replace(status, qos_class="Burstable")))
        await r.reports.apply("n1", report(Report.POD_STATUS, running()))
        stored = r.pod()
        assert stored is not None
        assert (stored.status.phase, stored.status.pod_ip) == ("Running", "10.1.0.5")
        assert [(c.type, c.status) for c in stored.status.conditions] == [
            ("Ready", "True"),
            ("DisruptionTarget", "True"),
        ]
        assert (stored.status.nominated_node_name, stored.status.qos_class) == ("n9", "Burstable")
        await r.reports.apply("n1", report(Report.POD_STATUS, running()))
        assert r.pod() == stored, "what is known already is not written again"


async def test_others_pods_are_left_alone() -> None:
    async with rig() as r:
        await r.create(pod("web", node="n1"))
        before = r.pod()
        for node, told in (
            ("n2", report(Report.POD_STATUS, running())),
            ("n1", report(Report.POD_STATUS, running(), uid="uid-older")),
            ("n1", report(Report.POD_STATUS, running(), name="gone")),
            ("n2", report(Report.POD_GONE)),
        ):
            await r.reports.apply(node, told)
        assert r.pod() == before


@pytest.mark.parametrize(("had", "told"), [("Succeeded", "Running"), ("Failed", "Pending"), ("Failed", "Succeeded")])
async def test_a_finished_pod_stays_finished(had: str, told: str) -> None:
    async with rig() as r:
        await r.create(pod("web", node="n1", phase=had))
        await r.reports.apply("n1", report(Report.POD_STATUS, running(phase=told, message="news")))
        stored = r.pod()
        assert stored is not None
        assert stored.status.phase == had
        assert stored.status.message == ("news" if told == "Succeeded" else ""), "what it tells of its end is kept"


async def test_a_status_is_read_as_strictly_as_what_users_send() -> None:
    async with rig() as r:
        await r.create(pod("web", node="n1"))
        sloppy = b'{"phase":"Running","startTime":"2026-03-01T13:00:00+01:00","hostIP":null,"unknown":1}'
        await r.reports.apply("n1", report(Report.POD_STATUS, sloppy))
        stored = r.pod()
        assert stored is not None
        assert stored.status.start_time == "2026-03-01T12:00:00Z"
        for garbage in (
            b"",
            b"{",
            b"[]",
            b'"\xff"',
            b'{"phase":1}',
            b'{"startTime":"yesterday"}',
            b" " * REPORT_MAX_BYTES + b"{}",
        ):
            await r.reports.apply("n1", report(Report.POD_STATUS, garbage))
        await r.reports.apply("n1", Report())
        assert r.pod() == stored


async def test_a_status_is_decided_again_when_others_were_faster() -> None:
    async with rig() as r:
        have = await r.create(pod("web", node="n1"))
        for number in range(3):
            have = await r.change(have, labels={"round": str(number)})
        await r.reports.apply("n1", report(Report.POD_STATUS, running()))
        stored = r.pod()
        assert stored is not None
        assert (stored.metadata.labels, stored.status.phase) == ({"round": "2"}, "Running")


# ----------------------------------------------------------------------------------------------------------- gone


async def test_a_pod_that_is_gone_is_removed_if_it_was_to_go() -> None:
    async with rig() as r:
        have = await r.create(pod("web", node="n1"))
        await r.reports.apply("n1", report(Report.POD_GONE))
        assert r.pod() is not None, "nobody wanted it to go"
        await r.change(have, deletion_timestamp=at(), deletion_grace_period_seconds=30)
        await r.registry.fresh()
        await r.reports.apply("n1", report(Report.POD_GONE))
        assert r.pod() is None
        await r.reports.apply("n1", report(Report.POD_GONE))


async def test_finalizers_keep_a_pod_that_has_nothing_left_on_its_node() -> None:
    async with rig() as r:
        going = {"deletion_timestamp": at(), "deletion_grace_period_seconds": 30, "finalizers": ("a.b/c",)}
        have = await r.create(pod("web", node="n1"))
        await r.change(have, **going)
        await r.registry.fresh()
        await r.reports.apply("n1", report(Report.POD_GONE))
        kept = r.pod()
        assert kept is not None
        assert (kept.metadata.deletion_grace_period_seconds, kept.metadata.finalizers) == (0, ("a.b/c",))
        await r.reports.apply("n1", report(Report.POD_GONE))
        assert r.pod() == kept, "the agent is told of no change, so it does not report for ever"


async def test_a_pod_goes_although_others_write_to_it() -> None:
    async with rig() as r:
        have = await r.create(pod("web", node="n1"))
        have = await r.change(have, deletion_timestamp=at(), deletion_grace_period_seconds=30)
        await r.registry.fresh()
        await r.change(have, labels={"late": "yes"})
        await r.reports.apply("n1", report(Report.POD_GONE))
        assert r.pod() is None


# --------------------------------------------------------------------------------------------------------- events


def event(
    reason: str = "Pulled", message: str = "m", *, uid: str = "uid-web", count: int = 1, kind: str = "Pod"
) -> core.Event:
    """An event about the pod."""
    about = core.ObjectReference(kind=kind, namespace="default", name="web", uid=uid)
    return core.Event(
        involved_object=about, reason=reason, message=message, type="Normal", count=count,
        source=core.EventSource(component="kubelet", host="n1"),
    )  # fmt: skip


def reported(*events: core.Event) -> list[Report]:
    """Reports of events."""
    return [report(Report.EVENT, one) for one in events]


async def test_events_are_counted() -> None:
    async with rig() as r:
        await r.create(pod("web", node="n1"))
        await r.reports.store("n1", reported(event(), event(), event(count=5), event("Started"), event(count=10**9)))
        found = {e.reason: e for e in r.events()}
        assert {reason: e.count for reason, e in found.items()} == {"Pulled": 1_000_007, "Started": 1}
        one = found["Started"]
        assert (one.involved_object.name, one.source.component, one.metadata.namespace) == ("web", "kubelet", "default")
        r.clock.ms += 60_000
        await r.reports.store("n1", reported(event("Started")))
        again = next(e for e in r.events() if e.reason == "Started")
        assert (again.count, again.first_timestamp, again.last_timestamp) == (2, at(), at(60))


async def test_a_flood_of_events_is_combined_and_cut() -> None:
    async with rig() as r:
        await r.create(pod("web", node="n1"))
        await r.reports.store("n1", reported(*(event(message=f"{n}" + "x" * 5000) for n in range(40))))
        assert len(r.events()) == 11
        combined = max(r.events(), key=lambda e: e.count)
        assert (combined.count, combined.message[:9]) == (30, "(combined")
        assert max(len(e.message) for e in r.events()) < 1100


async def test_events_of_many_pods_in_one_batch() -> None:
    async with rig() as r:
        for n in range(100):
            await r.create(pod(f"p{n}", node="n1"))
        batch = []
        for n in range(100):
            about = core.ObjectReference(kind="Pod", namespace="default", name=f"p{n}", uid=f"uid-p{n}")
            batch.append(report(Report.EVENT, replace(event(), involved_object=about), uid=f"uid-p{n}"))
        await r.reports.store("n1", batch)
        assert len(r.events()) == 100


async def test_events_on_what_is_not_the_nodes_are_dropped() -> None:
    async with rig() as r:
        await r.create(pod("web", node="n1"))
        await r.reports.store("n2", reported(event(), event(kind="Node")))
        await r.reports.store("n1", reported(event(uid="uid-older")))
        assert r.events() == []
        await r.reports.register("n1", core.Node())
        await r.reports.store("n1", reported(event("NodeHasDiskPressure", kind="Node")))
        (about,) = [e.involved_object for e in r.events()]
        assert (about.kind, about.name) == ("Node", "n1")


async def test_an_event_before_the_end_of_its_pod_is_kept() -> None:
    async with rig() as r:
        have = await r.create(pod("web", node="n1"))
        await r.change(have, deletion_timestamp=at(), deletion_grace_period_seconds=30)
        await r.registry.fresh()
        batch = [
            report(Report.POD_GONE),
            *reported(event("Killing")),
            report(Report.POD_STATUS, running(phase="Failed")),
        ]
        await r.reports.store("n1", batch)
        assert r.pod() is None
        assert [e.reason for e in r.events()] == ["Killing"]


# ----------------------------------------------------------------------------------------------- when it can't be


async def test_what_can_not_be_stored_now_is_not_taken_for_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig() as r:
        await r.create(pod("web", node="n1"))
        await r.create(pod("api", node="n1"))
        batch = [report(Report.POD_STATUS, running()), report(Report.POD_STATUS, running(), name="api", uid="uid-api")]
        for error in (Unavailable("etcd is away"), errors.Timeout("the cache is behind")):

            async def fails(*args: Any, error: Exception = error, **options: Any) -> Any:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(r.registry, "update", fails)
                with pytest.raises(type(error)):
                    await r.reports.store("n1", batch)
        await r.reports.store("n1", batch)
        stored = [r.pod("web"), r.pod("api")]
        assert [p is not None and p.status.phase for p in stored] == ["Running", "Running"]


async def test_a_writer_that_is_always_faster_does_not_make_a_report_count_as_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with rig() as r:
        await r.create(pod("web", node="n1"))

        async def bounces(*args: Any, **options: Any) -> Any:
            raise errors.Conflict(kinds.POD, "web")

        monkeypatch.setattr(r.registry, "update", bounces)
        with pytest.raises(errors.Conflict):
            await r.reports.apply("n1", report(Report.POD_STATUS, running()))


# ------------------------------------------------------------------------------------------------- nodes and leases


async def test_a_node_is_made_and_brought_up_to_date() -> None:
    async with rig() as r:
        wanted = cluster_objects.node("n1")
        wanted = replace(
            wanted, metadata=replace(wanted.metadata, labels={"zone": "a"}, namespace="", resource_version="")
        )
        made = await r.reports.register("n1", wanted)
        assert (made.metadata.name, made.metadata.labels) == ("n1", {"zone": "a"})
        assert [t.key for t in made.spec.taints] == ["node.kubernetes.io/not-ready"], (
            "not before it is known to be well"
        )
        assert made.metadata.uid != wanted.metadata.uid
        await r.registry.fresh()
        have = r.registry.view.get(kinds.NODE, "", "n1")
        assert have is not None
        await r.change(have, labels={"zone": "b", "gpu": "no"})
        again = replace(wanted, metadata=replace(wanted.metadata, labels={"zone": "a"}))
        await r.reports.register("n1", again)
        after = r.registry.view.get(kinds.NODE, "", "n1")
        assert after is not None
        assert (after.metadata.labels, after.metadata.uid) == ({"zone": "a", "gpu": "no"}, made.metadata.uid)


async def test_a_node_status_keeps_times_and_the_conditions_of_others() -> None:
    async with rig() as r:
        others = core.NodeCondition(type="NetworkUnavailable", status="False", last_transition_time=at(-60))
        ready = core.NodeCondition(
            type="Ready", status="True", last_transition_time=at(-60), last_heartbeat_time=at(-60)
        )
        have = cluster_objects.node("n1")
        have = replace(
            have, metadata=replace(have.metadata, namespace=""), status=core.NodeStatus(conditions=(others, ready))
        )
        await r.create(have)
        news = replace(ready, last_transition_time=at(), last_heartbeat_time=at())
        told = core.NodeStatus(conditions=(news,), allocatable={"cpu": "4000m"})
        await r.reports.apply("n1", report(Report.NODE_STATUS, told, name="n1", uid=""))
        stored = r.registry.view.get(kinds.NODE, "", "n1")
        assert stored is not None
        times = {c.type: (c.last_transition_time, c.last_heartbeat_time) for c in stored.status.conditions}
        assert times == {"Ready": (at(-60), at()), "NetworkUnavailable": (at(-60), "")}
        assert stored.status.allocatable == {"cpu": "4"}
        garbage = core.NodeStatus(allocatable={"cpu": "much"})
        await r.reports.apply("n1", report(Report.NODE_STATUS, garbage, name="n1", uid=""))
        assert r.registry.view.get(kinds.NODE, "", "n1") == stored, "the scheduler could not read it"
        await r.reports.apply("n9", report(Report.NODE_STATUS, told, name="n1", uid=""))


async def test_a_node_status_keeps_the_resources_of_others() -> None:
    async with rig() as r:
        gpu = {"example.com/gpu": "2"}
        have = cluster_objects.node("n1")
        have = replace(
            have,
            metadata=replace(have.metadata, namespace=""),
            status=core.NodeStatus(capacity={"cpu": "4", "memory": "1Gi", **gpu}, allocatable={"cpu": "3"}),
        )
        await r.create(have)
        told = core.NodeStatus(capacity={"cpu": "8"}, allocatable={"cpu": "7"})
        await r.reports.apply("n1", report(Report.NODE_STATUS, told, name="n1", uid=""))
        stored = r.registry.view.get(kinds.NODE, "", "n1")
        assert stored is not None
        assert (stored.status.capacity, stored.status.allocatable) == ({"cpu": "8", **gpu}, {"cpu": "7", **gpu})


async def test_heartbeats_renew_a_lease_that_belongs_to_the_node() -> None:
    async with rig() as r:
        await r.reports.heartbeat("n1")
        assert r.registry.view.get(kinds.LEASE, LEASE_NAMESPACE, "n1") is None, "there is no such node"
        node = await r.reports.register("n1", core.Node())
        await r.reports.heartbeat("n1")
        lease = r.registry.view.get(kinds.LEASE, LEASE_NAMESPACE, "n1")
        assert lease is not None
        assert [(o.kind, o.uid) for o in lease.metadata.owner_references] == [("Node", node.metadata.uid)]
        assert (lease.spec.holder_identity, lease.spec.lease_duration_seconds) == ("n1", 40)
        r.clock.ms += 10_000
        await r.other.fresh()
        await r.change(lease, labels={"others": "write too"})
        await r.reports.heartbeat("n1")
        renewed = r.registry.view.get(kinds.LEASE, LEASE_NAMESPACE, "n1")
        assert renewed is not None
        assert renewed.spec.acquire_time == lease.spec.acquire_time == "2026-03-01T12:00:00.000000Z"
        assert renewed.spec.renew_time == "2026-03-01T12:00:10.000000Z"
        assert renewed.metadata.labels == {"others": "write too"}


async def test_a_node_that_comes_back_is_alive_before_it_is_well() -> None:
    async with rig() as r:
        await r.reports.register("n1", core.Node())
        await r.registry.fresh()
        changed: list[Any] = []
        r.registry.subscribe(lambda changes, _: changed.extend(change.entry.kind for change in changes))
        r.clock.ms += 60_000
        ready = core.NodeCondition(type="Ready", status="True")
        await r.reports.register("n1", core.Node(status=core.NodeStatus(conditions=(ready,))))
        await r.registry.fresh()
        assert changed == [kinds.LEASE, kinds.NODE]


async def test_two_control_planes_make_one_lease_and_one_node() -> None:
    async with rig() as r:
        second = Reports(r.other, r.clock, SeededIds(2))
        first = await r.reports.register("n1", core.Node())
        assert (await second.register("n1", core.Node())).metadata.uid == first.metadata.uid
        await r.reports.heartbeat("n1")
        await second.heartbeat("n1")
        await r.registry.fresh()
        assert len(r.registry.view.list(kinds.LEASE)) == 1


# ------------------------------------------------------------------------------------------------- managed fields


def owned(obj: Any) -> dict[str, list[str]]:
    """What the agent is known to have set, by subresource."""
    assert {one.manager for one in obj.metadata.managed_fields} <= {"kubelet"}
    return {one.subresource: list(sets.paths(entries.fields_in(one))) for one in obj.metadata.managed_fields}


async def test_what_an_agent_reports_is_known_to_be_the_kubelets() -> None:
    async with rig() as r:
        node = await r.reports.register("n1", core.Node(metadata=cluster_objects.meta("n1", "", labels={"a": "b"})))
        assert ".metadata.labels.a" in owned(node)[""]
        lease = r.registry.view.get(kinds.LEASE, LEASE_NAMESPACE, "n1")
        assert ".spec.renewTime" in owned(lease)[""]
        status = replace(node.status, conditions=(core.NodeCondition(type="Ready", status="True"),))
        await r.reports.apply("n1", report(Report.NODE_STATUS, status, name="n1"))
        stored = r.registry.view.get(kinds.NODE, "", "n1")
        assert '.status.conditions[type="Ready"].status' in owned(stored)["status"]


async def test_a_pod_s_status_is_owned_and_its_time_moves_on() -> None:
    async with rig() as r:
        made = pod("web", node="n1")
        made = objects.with_entries(made, objects.created(made, Writer("kubelet", "v1"), at(), without=("status",)))
        await r.create(made)
        await r.reports.apply("n1", report(Report.POD_STATUS, running()))
        first = r.pod()
        assert '.status.conditions[type="Ready"].lastTransitionTime' in owned(first)["status"]
        r.clock.ms += 5000
        ready = core.PodCondition(type="Ready", status="False", last_transition_time=at(5))
        await r.reports.apply("n1", report(Report.POD_STATUS, running(conditions=(ready,))))
        second = r.pod()
        assert owned(second) == owned(first)
        assert first is not None
        assert second is not None
        (before,) = [one for one in first.metadata.managed_fields if one.subresource]
        (after,) = [one for one in second.metadata.managed_fields if one.subresource]
        assert (before.time, after.time) == (at(), at(5))
