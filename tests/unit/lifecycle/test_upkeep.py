"""What a node decides for its own sake: what it lacks, which images and pods go for it, and in which order it ends."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle import imagegc, thresholds
from nodeagent.lifecycle.actions import Stop
from nodeagent.lifecycle.admit import Host, admit
from nodeagent.lifecycle.eviction import Use, evicted, has_limits, over_limit
from nodeagent.lifecycle.imagegc import Known, Policy
from nodeagent.lifecycle.memory import PodFailure, durable
from nodeagent.lifecycle.pressure import DISK, MEMORY, Disk, Readings, conditions, held, same_but_for_heartbeat
from nodeagent.lifecycle.shutdown import groups
from nodeagent.lifecycle.static import FROM_FILE, SOURCE
from nodeagent.lifecycle.thresholds import Crossed, Threshold, crossed
from nodeagent.runtime.values import ImageInfo
from tests.unit.lifecycle.model import NOW, Machine, container, pod

MIB, GIB = 1 << 20, 1 << 30
DEFAULT = thresholds.parse(thresholds.DEFAULT)


# ---------------------------------------------------------------------------------------------------- pressure


def readings(**changed: Any) -> Readings:
    """A machine that is well, but for what is given."""
    disk = Disk(total_bytes=100, free_bytes=50, total_inodes=100, free_inodes=50)
    given = {"memory_free_bytes": 8 * GIB, "memory_bytes": 16 * GIB, "volumes": disk, "images": disk, "pids": 100,
             "pids_max": 1000, **changed}  # fmt: skip
    return Readings(**given)


@pytest.mark.parametrize(
    ("changed", "signals"),
    [
        pytest.param({}, [], id="well"),
        pytest.param({"memory_free_bytes": 99 * MIB}, ["memory.available"], id="memory"),
        pytest.param({"volumes": Disk(total_bytes=100, free_bytes=9)}, ["nodefs.available"], id="volumes"),
        pytest.param({"images": Disk(total_bytes=100, free_bytes=14)}, ["imagefs.available"], id="images"),
        pytest.param({"images": Disk(total_bytes=9, free_bytes=9, total_inodes=100, free_inodes=4)},
                     ["imagefs.inodesFree"], id="inodes"),
        pytest.param({"pids": 901}, ["pid.available"], id="pids"),
        pytest.param({"volumes": Disk(), "images": Disk()}, [], id="unknown-disks"),
        pytest.param({"volumes": Disk(total_bytes=100), "memory_free_bytes": 1}, ["memory.available",
                     "nodefs.available"], id="memory-first"),
    ],
)  # fmt: skip
def test_the_kubelets_thresholds(changed: dict[str, Any], signals: list[str]) -> None:
    assert [one.threshold.signal for one in crossed(DEFAULT, readings(**changed))] == signals


def test_thresholds_as_an_operator_writes_them() -> None:
    found = thresholds.parse("memory.available<1.5Gi,nodefs.available<12.5%")
    assert found == (
        Threshold("memory.available", amount=3 * GIB // 2),
        Threshold("nodefs.available", percent=12.5),
    )
    assert thresholds.parse("") == ()
    (one,) = crossed(thresholds.parse("memory.available<60%"), readings())
    assert (one.least, one.available) == (16 * GIB * 60 // 100, 8 * GIB)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("memory.available", "is no threshold; write SIGNAL<AMOUNT"),
        ("disk<10%", "SIGNAL is one of memory.available"),
        ("nodefs.available<lots", "neither an amount like 100Mi nor a share like 10%"),
        ("nodefs.available<101%", "neither an amount"),
        ("pid.available<1,pid.available<2", "pid.available has two thresholds"),
    ],
)
def test_thresholds_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        thresholds.parse(text)


def test_some_thresholds_are_borne_for_a_while() -> None:
    found = thresholds.soft(thresholds.parse("memory.available<60%"), {"memory.available": 90_000})
    both = crossed((*found, *DEFAULT), readings(volumes=Disk(total_bytes=100)))
    assert [one.threshold.signal for one in both] == ["nodefs.available", "memory.available"]
    since = {one.threshold: NOW for one in both}
    assert thresholds.worn_out(both, since, NOW + 89_999) == both[:1]
    assert thresholds.worn_out(both, since, NOW + 90_000) == both
    with pytest.raises(ValueError, match=r"memory.available needs a time for which it is borne"):
        thresholds.soft(found, {})


def test_a_pressure_counts_for_a_while() -> None:
    felt = held({}, [DISK], NOW, 300_000)
    assert held(felt, [], NOW + 299_999, 300_000) == felt
    assert held(felt, [MEMORY], NOW + 300_000, 300_000) == {MEMORY: NOW + 300_000}


def test_a_node_says_what_it_lacks_and_why_it_can_not_run_pods() -> None:
    before = conditions((), (DISK,), (), NOW)
    assert {c.type: c.status for c in before} == {
        "MemoryPressure": "False", "DiskPressure": "True", "PIDPressure": "False", "Ready": "True",
    }  # fmt: skip
    later = conditions(("container runtime is down",), (DISK,), before, NOW + 60_000)
    ready = later[-1]
    assert (ready.status, ready.reason, ready.message) == ("False", "KubeletNotReady", "container runtime is down")
    assert ready.last_transition_time != before[-1].last_transition_time
    assert later[0].last_transition_time == before[0].last_transition_time
    well, again = (core.NodeStatus(conditions=conditions((), (DISK,), before, NOW + ms)) for ms in (0, 60_000))
    assert same_but_for_heartbeat(well, again)
    assert not same_but_for_heartbeat(well, core.NodeStatus(conditions=later))


BEARS = core.Toleration(key="node.kubernetes.io/memory-pressure", operator="Exists", effect="NoSchedule")
MODEST = container(resources=core.ResourceRequirements(requests={"memory": "1Mi"}))


@pytest.mark.parametrize(
    ("pressures", "spec", "message"),
    [
        ((), pod(), ""),
        ((MEMORY,), pod(), "The node had condition: [MemoryPressure]. "),
        ((MEMORY,), pod(MODEST), ""),
        ((MEMORY,), pod(tolerations=(BEARS,)), ""),
        ((MEMORY,), pod(priority=2_000_000_000), ""),
        ((DISK,), pod(MODEST), "The node had condition: [DiskPressure]. "),
        ((MEMORY, DISK), pod(MODEST), "The node had condition: [DiskPressure MemoryPressure]. "),
    ],
)
def test_who_is_taken_in_spite_of_it(pressures: tuple[str, ...], spec: core.Pod, message: str) -> None:
    rejection = admit(spec, [], Host(allocatable={"pods": 9, "memory": GIB}, pressures=pressures))
    assert (rejection.message if rejection else "") == message
    assert rejection is None or rejection.reason == "Evicted"


def test_nobody_is_taken_on_the_way_out() -> None:
    rejection = admit(pod(priority=2_000_000_000), [], Host(allocatable={"pods": 9}, shutting_down=True))
    assert rejection is not None
    assert (rejection.reason, rejection.message) == ("NodeShutdown", "Pod was rejected as the node is shutting down.")


# ------------------------------------------------------------------------------------------------------- images


def image(name: str, size: int = 10, *, placed: bool = False) -> ImageInfo:
    """An image; `placed`: by hand, so that no registry knows it."""
    return ImageInfo(id=name, tags=(f"{name}:1",), digests=() if placed else (f"{name}@sha256:1",), size_bytes=size)


A, B, C, PLACED = image("a"), image("b"), image("c"), image("placed", placed=True)
HOUR = 3_600_000
LONG_AGO = {name: Known(NOW - 9 * HOUR, NOW - hours * HOUR) for name, hours in {"a": 1, "b": 3, "c": 2}.items()}


@pytest.mark.parametrize(
    ("free", "changed", "used", "removed", "bytes_"),
    [
        pytest.param(16, {}, (), [], 0, id="below-the-threshold"),
        pytest.param(15, {}, (), ["b", "c", "a"], 5, id="longest-unused-first"),
        pytest.param(15, {}, ("b",), ["c", "a"], 5, id="never-one-in-use"),
        pytest.param(0, {"high_percent": 100}, (), [], 0, id="switched-off"),
        pytest.param(0, {"min_age_ms": 10 * HOUR}, (), [], 20, id="all-too-young"),
        pytest.param(90, {"max_unused_ms": 2 * HOUR}, (), ["b"], 0, id="unused-for-too-long"),
    ],
)
def test_which_images_go(
    free: int, changed: dict[str, int], used: tuple[str, ...], removed: list[str], bytes_: int
) -> None:
    disk = Disk(total_bytes=100, free_bytes=free)
    decision = imagegc.choose(LONG_AGO, (A, B, C, PLACED, image("others")), used, disk, Policy(**changed), NOW)
    assert ([one.id for one in decision.remove], decision.free_bytes) == (removed, bytes_)


def test_under_pressure_all_unused_images_go_but_those_that_can_not_come_back() -> None:
    known = {**LONG_AGO, "placed": Known(0, 0)}
    found = imagegc.choose(known, (A, B, PLACED), ("a",), Disk(), Policy(), NOW, pressed=True)
    assert [one.id for one in found.remove] == ["b"]


def test_what_is_remembered_of_images() -> None:
    known = imagegc.remembered({}, (A, B), {"a"}, NOW)
    assert known == {"a": Known(NOW, NOW)}, "what others run here is none of ours"
    known = imagegc.remembered(known, (A, B), set(), NOW + 5)
    assert known == {"a": Known(NOW, NOW)}
    assert imagegc.remembered(known, (A, B), {"a"}, NOW + 9) == {"a": Known(NOW, NOW + 9)}
    assert imagegc.remembered(known, (B,), set(), NOW + 9) == {}


# --------------------------------------------------------------------------------------------------- eviction


def asking(name: str, memory: str = "", priority: int = 0, **annotations: str) -> core.Pod:
    """A pod that asks for so much memory."""
    requests = {"memory": memory, "ephemeral-storage": memory} if memory else {}
    made = pod(container(resources=core.ResourceRequirements(requests=requests)), priority=priority)
    return replace(made, metadata=replace(made.metadata, name=name, uid=name, annotations=annotations))


def using(asked: core.Pod, mib: int) -> Use:
    """What a pod uses."""
    return Use(asked, {"app": mib * MIB})


LACKING = Crossed(Threshold("memory.available", amount=100 * MIB), 100 * MIB, 50 * MIB)


@pytest.mark.parametrize(
    ("uses", "first"),
    [
        ([using(asking("big", "1Gi"), 900), using(asking("small", "1Mi"), 2)], "small"),
        ([using(asking("precious", priority=9), 900), using(asking("cheap"), 2)], "cheap"),
        ([using(asking("a", "1Mi"), 5), using(asking("b", "1Mi"), 9)], "b"),
        ([using(asking("within", "1Gi"), 900), using(asking("less", "1Gi"), 100)], "within"),
        ([using(asking("critical", priority=2_000_000_000), 900), using(asking("meek", "1Gi"), 1)], "meek"),
        ([using(asking("static", **{SOURCE: FROM_FILE}), 900)], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_who_goes_first(uses: list[Use], first: str) -> None:
    found = evicted(uses, LACKING)
    assert (found[0].metadata.name if found else "") == first


def test_it_is_told_who_took_what() -> None:
    found = evicted([using(asking("a", "1Mi"), 5)], LACKING)
    assert found is not None
    assert found[1] == PodFailure(
        "Evicted",
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container app was using 5Mi, request is 1Mi, has larger consumption of memory. ",
        1,
        disrupted=True,
    )
    many = [
        Use(asking("few"), {"app": 5}),
        Use(asking("many"), {"app": 900}),
        Use(asking("dear", priority=1), {"app": 999}),
    ]
    bomb = evicted(many, Crossed(Threshold("pid.available", amount=5), 5, 1))
    assert bomb is not None
    assert (bomb[0].metadata.name, bomb[1].message) == (
        "many",
        "The node was low on resource: pids. Threshold quantity: 5, available: 1. ",
    )
    borne = Crossed(Threshold("memory.available", amount=100 * MIB, patience_ms=1), 100 * MIB, 50 * MIB)
    gentle = evicted([using(asking("a"), 5)], borne, 20)
    assert gentle is not None
    assert gentle[1].grace_s == 20
    inodes = evicted([using(asking("a"), 5)], Crossed(Threshold("nodefs.inodesFree", percent=5), 500, 99))
    assert inodes is not None
    assert inodes[1].message.startswith(
        "The node was low on resource: inodes. Threshold quantity: 500, available: 99. "
    )


def bounded(limit: str = "", size_limit: str = "", medium: str = "") -> core.Pod:
    """A pod whose container and folder have bounds."""
    limits = {"ephemeral-storage": limit} if limit else {}
    scratch = core.EmptyDirVolumeSource(medium=medium, size_limit=size_limit or None)
    app = container(resources=core.ResourceRequirements(limits=limits))
    return pod(app, volumes=(core.Volume(name="v", empty_dir=scratch),))


@pytest.mark.parametrize(
    ("spec", "container_mib", "volume_mib", "message"),
    [
        (bounded(), 900, 900, ""),
        (bounded(size_limit="5Mi"), 0, 5, ""),
        (bounded(size_limit="5Mi"), 0, 6, 'Usage of EmptyDir volume "v" exceeds the limit "5Mi". '),
        (bounded(size_limit="5Mi", medium="Memory"), 0, 6, ""),
        (bounded("5Mi"), 3, 3, "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "),
        (bounded("5Mi"), 5, 0, ""),
    ],
)
def test_who_goes_for_what_it_has_on_the_disk(
    spec: core.Pod, container_mib: int, volume_mib: int, message: str
) -> None:
    failure = over_limit(Use(spec, {"app": container_mib * MIB}, {"v": volume_mib * MIB}))
    assert (failure.message if failure else "") == message
    assert has_limits(spec) or not message


def test_one_container_over_its_limit() -> None:
    limited = core.ResourceRequirements(limits={"ephemeral-storage": "1Mi"})
    spec = pod(container("a", resources=limited), container("b"))
    failure = over_limit(Use(spec, {"a": 2 * MIB, "b": 900 * MIB}))
    assert failure is not None
    assert failure.message == 'Container a exceeded its local ephemeral storage limit "1Mi". '


# ----------------------------------------------------------------------------------------------------- the end


def test_the_order_in_which_pods_end() -> None:
    ordinary, critical = asking("web"), asking("dns", priority=2_000_000_000)
    found = groups([critical, ordinary], 30, 10)
    assert [(one.pods, one.within_s) for one in found] == [((ordinary,), 20), ((critical,), 10)]
    failure = found[0].failure_of(ordinary)
    assert (failure.reason, failure.grace_s, failure.disrupted) == ("Terminated", 20, True)
    quick = pod(termination_grace_period_seconds=3)
    assert found[0].failure_of(quick).grace_s == 3


def test_a_pod_ends_when_its_node_wants_it_to() -> None:
    machine = Machine(pod())
    machine.settle()
    machine.ordered = PodFailure("Evicted", "The node was low on resource: memory. ", 1, disrupted=True)
    machine.settle()
    assert machine.records("Evicted") == [machine.ordered.message]
    assert [one.grace_s for one in machine.log if isinstance(one, Stop)] == [2], "the least that anybody gets"
    status = machine.status
    assert status is not None
    assert (status.phase, status.reason, status.message) == ("Failed", "Evicted", machine.ordered.message)
    target = machine.condition("DisruptionTarget")
    assert (target.status, target.reason, target.message) == ("True", "TerminationByKubelet", machine.ordered.message)
    machine.restart_agent(durable(machine.memory))
    machine.settle()
    assert machine.status == status
    assert machine.sandboxes == []


def test_a_pod_that_has_ended_or_was_deleted_is_not_ended_again() -> None:
    machine = Machine(pod(restart_policy="Never"))
    machine.settle()
    machine.exit(code=0)
    machine.settle()
    machine.ordered = PodFailure("Evicted", "x", 1, disrupted=True)
    machine.settle()
    assert machine.status is not None
    assert machine.status.phase == "Succeeded"
