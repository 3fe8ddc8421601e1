"""Why an object is as it is, in words for people."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from controlplane.server.why import reasons
from mizzen.api import kinds
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.engine.effects import Waiting
from mizzen.engine.loop import Story
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, deployment, node, pod


def silent(key: Key) -> Mapping[str, Story]:
    """Deciders that have nothing to say."""
    return {}


def said(kind: object, obj: object) -> list[tuple[str, str]]:
    """The reasons of an object about which no decider speaks."""
    return [(r.reason, r.message) for r in reasons(silent, kind, obj)]  # type: ignore[arg-type]


def test_the_deciders_speak_first_and_in_order() -> None:
    waits = Waiting("Tolerating", "until noon", Key("nodes", "", "n1"), NOW)
    told = {
        "scheduler": Story(NOW, (Waiting("NoRoom", "0/3 nodes are available"),)),
        "evictor": Story(NOW, (waits,), error="it broke", failures=2),
    }
    asked: list[Key] = []

    def stories(key: Key) -> Mapping[str, Story]:
        asked.append(key)
        return told

    unready = core.PodCondition(type="Ready", status="False", reason="NotReady", last_transition_time=at())
    obj = replace(pod("web"), status=core.PodStatus(phase="Pending", conditions=(unready,)))
    found = reasons(stories, kinds.POD, obj)
    assert asked == [Key("pods", "default", "web")]
    assert [(r.reason, r.message, r.since) for r in found] == [
        ("Retrying", "evictor: it broke", ""),
        ("Tolerating", "until noon", at()),
        ("NoRoom", "0/3 nodes are available", ""),
        ("NotReady", "Ready is False", at()),
    ]
    assert (found[1].object.resource, found[1].object.name) == ("nodes", "n1")


def test_good_conditions_are_no_reasons() -> None:
    assert said(kinds.POD, pod("web", node="n1", ready_since=-10)) == []
    assert said(kinds.NODE, node("n1")) == []
    available = apps.DeploymentCondition(type="Available", status="True")
    assert said(kinds.DEPLOYMENT, replace(deployment(), status=apps.DeploymentStatus(conditions=(available,)))) == []
    assert said(kinds.CONFIG_MAP, core.ConfigMap()) == []
    empty = core.NamespaceCondition(type="NamespaceContentRemaining", status="False", reason="ContentRemoved")
    assert said(kinds.NAMESPACE, core.Namespace(status=core.NamespaceStatus(conditions=(empty,)))) == []
    done = core.PodCondition(type="Ready", status="False", reason="PodCompleted")
    assert said(kinds.POD, replace(pod("job"), status=core.PodStatus(phase="Succeeded", conditions=(done,)))) == []


def test_some_conditions_are_bad_when_they_are_true() -> None:
    pressure = core.NodeCondition(type="DiskPressure", status="True", message="the disk is full")
    unknown = core.NodeCondition(type="Ready", status="Unknown", reason="NodeStatusUnknown")
    found = said(kinds.NODE, replace(node("n1"), status=core.NodeStatus(conditions=(pressure, unknown))))
    assert found == [("DiskPressure", "the disk is full"), ("NodeStatusUnknown", "Ready is Unknown")]


def test_who_keeps_what_is_being_deleted() -> None:
    going = replace(
        core.ConfigMap(), metadata=replace(pod("x").metadata, finalizers=("a.b/c",), deletion_timestamp=at())
    )
    (found,) = reasons(silent, kinds.CONFIG_MAP, going)
    assert (found.reason, found.since) == ("Finalizers", at())
    assert "these finalizers keep it: a.b/c" in found.message
    staying = replace(going, metadata=replace(going.metadata, deletion_timestamp=None))
    assert said(kinds.CONFIG_MAP, staying) == []


def crashed(code: int, message: str = "") -> core.ContainerStateTerminated:
    """A container that has ended."""
    return core.ContainerStateTerminated(exit_code=code, reason="Error" if code else "Completed", message=message)


def test_what_containers_wait_for_and_how_they_ended() -> None:
    waiting = core.ContainerState(waiting=core.ContainerStateWaiting(reason="CrashLoopBackOff", message="back-off 20s"))
    pulling = core.ContainerState(waiting=core.ContainerStateWaiting(reason="ContainerCreating"))
    running = core.ContainerState(running=core.ContainerStateRunning(started_at=at()))
    before = core.ContainerState(terminated=crashed(2, "no config"))
    statuses = (
        core.ContainerStatus(name="a", state=waiting, last_state=before),
        core.ContainerStatus(name="b", state=pulling),
        core.ContainerStatus(name="c", state=core.ContainerState(terminated=crashed(1))),
        core.ContainerStatus(name="d", state=core.ContainerState(terminated=crashed(0))),
        core.ContainerStatus(name="e", state=running, last_state=before, ready=True, restart_count=1),
    )
    init = (core.ContainerStatus(name="i", state=pulling),)
    status = core.PodStatus(phase="Pending", container_statuses=statuses, init_container_statuses=init)
    assert said(kinds.POD, replace(pod("web"), status=status)) == [
        ("ContainerCreating", "container i: ContainerCreating"),
        ("CrashLoopBackOff", "container a: back-off 20s"),
        ("Error", "container a ended before with exit code 2 no config"),
        ("ContainerCreating", "container b: ContainerCreating"),
        ("Error", "container c has ended with exit code 1"),
    ]


def test_why_a_pod_was_put_to_an_end() -> None:
    status = core.PodStatus(phase="Failed", reason="Evicted", message="the node was low on memory")
    assert said(kinds.POD, replace(pod("web"), status=status)) == [("Evicted", "the node was low on memory")]
