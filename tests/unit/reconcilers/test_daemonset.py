"""What the DaemonSet controller decides, turn by turn."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers import daemonnodes, daemonset
from mizzen.api import defaults, kinds
from mizzen.api.types import apps_v1, core_v1, meta_v1
from tests.fixtures.cluster_objects import LABELS, meta, node, template
from tests.unit.reconcilers.sets import Rig, faithful, running

replace = msgspec.structs.replace
NODES = ("n1", "n2", "n3", "n4")


def daemon_set(image: str = "web:v1", **spec: Any) -> apps_v1.DaemonSet:
    """A DaemonSet `web` with defaults."""
    selector = meta_v1.LabelSelector(match_labels=LABELS)
    made = apps_v1.DaemonSetSpec(selector=selector, template=spec.pop("template", template(image)), **spec)
    return defaults.apply(apps_v1.DaemonSet(metadata=meta("web", generation=1), spec=made))


def rig(*nodes: core_v1.Node, **spec: Any) -> Rig:
    return Rig(daemonset.CONTROLLER, daemon_set(**spec), *(nodes or map(node, NODES)))


def place(pod: core_v1.Pod) -> core_v1.Pod | None:
    """The scheduler and the kubelet in one."""
    bound = replace(pod, spec=replace(pod.spec, node_name=daemonnodes.node_of(pod)))
    return faithful(bound)


def unwell(pod: core_v1.Pod) -> core_v1.Pod | None:
    """The same, but nothing gets ready."""
    bound = place(pod)
    return running(bound, ready=False) if bound is not None else None


def update(world: Rig, image: str, **spec: Any) -> None:
    """The user changes the image."""
    owner = world.get(kinds.DAEMON_SET, "web")
    metadata = replace(owner.metadata, generation=owner.metadata.generation + 1)
    world.put(replace(owner, metadata=metadata, spec=replace(owner.spec, template=template(image), **spec)))


def where(world: Rig) -> list[str]:
    """Node and image of every pod, those on their way out in brackets."""
    found = []
    for pod in world.list(kinds.POD):
        text = f"{daemonnodes.node_of(pod)} {pod.spec.containers[0].image.removeprefix('web:')}"
        found.append(f"({text})" if pod.metadata.deletion_timestamp else text)
    return sorted(found, key=lambda text: text.strip("()"))


def status(world: Rig) -> apps_v1.DaemonSetStatus:
    found: apps_v1.DaemonSetStatus = world.get(kinds.DAEMON_SET, "web").status
    return found


def test_every_node_gets_one() -> None:
    world = rig()
    world.rounds(1, place)
    assert where(world) == ["n1 v1", "n2 v1", "n3 v1", "n4 v1"]
    now = status(world)
    assert (now.desired_number_scheduled, now.number_ready, now.number_available, now.number_unavailable) == (
        4,
        4,
        4,
        0,
    )
    assert (now.current_number_scheduled, now.updated_number_scheduled, now.number_misscheduled) == (4, 4, 0)
    world.put(node("n5"))
    world.rounds(1, place)
    assert "n5 v1" in where(world)


def test_a_pod_is_meant_for_one_node_and_bears_what_daemons_bear() -> None:
    preferred = core_v1.PreferredSchedulingTerm(weight=1)
    wanted = core_v1.NodeSelectorRequirement(key="kubernetes.io/hostname", operator="In", values=("n1",))
    term = core_v1.NodeSelectorTerm(match_expressions=(wanted,))
    affinity = core_v1.NodeAffinity(
        required_during_scheduling_ignored_during_execution=core_v1.NodeSelector(node_selector_terms=(term,)),
        preferred_during_scheduling_ignored_during_execution=(preferred,),
    )
    base = template()
    spec = replace(base.spec, affinity=core_v1.Affinity(node_affinity=affinity), host_network=True)
    world = rig(template=replace(base, spec=spec))
    world.settle()
    (pod,) = world.list(kinds.POD)
    placed = pod.spec.affinity.node_affinity
    assert placed.preferred_during_scheduling_ignored_during_execution == (preferred,)
    (only,) = placed.required_during_scheduling_ignored_during_execution.node_selector_terms
    assert [(f.key, f.operator, f.values) for f in only.match_fields] == [("metadata.name", "In", ("n1",))]
    assert {(t.key.removeprefix("node.kubernetes.io/"), t.effect) for t in pod.spec.tolerations} == {
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
        ("network-unavailable", "NoSchedule"),
    }


@pytest.mark.parametrize(
    ("changed", "starts", "stays"),
    [
        ({}, True, True),
        ({"spec": {"unschedulable": True}}, True, True),
        ({"spec": {"taints": (core_v1.Taint(key="own", effect="NoSchedule"),)}}, False, True),
        ({"spec": {"taints": (core_v1.Taint(key="own", effect="PreferNoSchedule"),)}}, True, True),
        ({"spec": {"taints": (core_v1.Taint(key="own", effect="NoExecute"),)}}, False, False),
        ({"spec": {"taints": (core_v1.Taint(key="node.kubernetes.io/unreachable", effect="NoExecute"),)}}, True, True),
        ({"labels": {"disk": "hdd"}}, False, False),
    ],
)
def test_where_a_daemon_starts_and_where_it_may_stay(changed: dict[str, Any], starts: bool, stays: bool) -> None:
    one = node("n1", **{"labels": {"disk": "ssd"}, **changed})
    spec = replace(template().spec, node_selector={"disk": "ssd"})
    assert daemonnodes.fate(spec, one) == (starts, stays)


def test_a_node_that_is_no_longer_for_it_loses_its_pod() -> None:
    base = template()
    world = rig(
        *(node(name, labels={"disk": "ssd"}) for name in NODES[:2]),
        template=replace(base, spec=replace(base.spec, node_selector={"disk": "ssd"})),
    )
    world.rounds(1, place)
    world.put(node("n2"))
    world.settle()
    assert where(world) == ["n1 v1", "(n2 v1)"]
    assert status(world).desired_number_scheduled == 1


def test_one_pod_too_many_goes() -> None:
    world = rig(node("n1"))
    world.rounds(1, place)
    (first,) = world.list(kinds.POD)
    second = replace(first, metadata=replace(first.metadata, name="a-younger", uid="", creation_timestamp=None))
    world.now += 60_000
    world.put(second)
    world.settle()
    assert world.pods == ["(a-younger)", first.metadata.name]


def test_pods_for_a_node_that_is_gone_and_was_never_reached_go() -> None:
    world = rig(node("n1"), node("n2"))
    world.settle()
    del world.objects[("nodes", "", "n2")]
    world.settle()
    assert where(world) == ["n1 v1"]


def fail(world: Rig, phase: str = "Failed") -> core_v1.Pod:
    """The only pod ends."""
    (pod,) = world.list(kinds.POD)
    world.put(replace(pod, status=core_v1.PodStatus(phase=phase)))
    return pod


def test_a_failed_pod_is_replaced_at_once_and_again_ever_later() -> None:
    world = rig(node("n1"))
    world.rounds(1, place)
    for pause_ms in (None, 1_000, 2_000, 4_000):
        failed = fail(world)
        if pause_ms is not None:
            assert world.turn().wake_after_ms == pause_ms
            assert world.pods == [failed.metadata.name]
            world.now += pause_ms
        world.settle()
        (new,) = world.list(kinds.POD)
        assert new.metadata.uid != failed.metadata.uid
    told = f"FailedDaemonPod: Found failed daemon pod default/{failed.metadata.name} on node n1, will try to kill it"
    assert told in world.told


def test_the_pause_after_failures_has_a_bound_and_begins_anew_after_a_good_while() -> None:
    world = rig(node("n1"))
    world.rounds(1, place)
    (pod,) = world.list(kinds.POD)
    noted = {"mizzen.dev/failed-before": "40"}
    world.put(replace(pod, metadata=replace(pod.metadata, annotations=noted)))
    fail(world)
    assert world.turn().wake_after_ms == daemonset.PAUSE_MAX_MS
    world.now += 2 * daemonset.PAUSE_MAX_MS + 1
    world.settle()
    (new,) = world.list(kinds.POD)
    assert new.metadata.annotations == {"mizzen.dev/failed-before": "1"}


def test_a_pod_that_succeeded_is_replaced_at_once() -> None:
    world = rig(node("n1"))
    world.rounds(1, place)
    ended = fail(world, "Succeeded")
    world.settle()
    name = ended.metadata.name
    told = f"SucceededDaemonPod: Found succeeded daemon pod default/{name} on node n1, will try to delete it"
    assert told in world.told
    (new,) = world.list(kinds.POD)
    assert (new.metadata.uid != ended.metadata.uid, new.metadata.annotations) == (True, {})


def test_what_has_stopped_is_not_waited_for_although_a_finalizer_holds_it() -> None:
    world = rig(node("n1"))
    world.rounds(1, place)
    (pod,) = world.list(kinds.POD)
    held = replace(pod.metadata, deletion_timestamp="2026-03-01T12:00:00Z", finalizers=("example.com/hold",))
    world.put(replace(pod, metadata=held))
    world.settle()
    assert len(world.pods) == 1, "it may still run"
    world.put(replace(pod, metadata=held, status=core_v1.PodStatus(phase="Failed")))
    world.settle()
    assert len(world.pods) == 2


def test_pods_on_their_way_out_count_until_they_have_stopped() -> None:
    world = rig(node("n1"), node("n2"))
    world.rounds(1, place)
    world.put(node("n2", spec={"taints": (core_v1.Taint(key="own", effect="NoExecute"),)}))
    world.settle()
    assert where(world) == ["n1 v1", "(n2 v1)"]
    now = status(world)
    assert (now.desired_number_scheduled, now.current_number_scheduled, now.number_misscheduled) == (1, 1, 1)
    world.rounds(1, place)
    assert status(world).number_misscheduled == 0


def test_an_update_takes_one_node_at_a_time() -> None:
    world = rig()
    world.rounds(1, place)
    update(world, "web:v2")
    world.settle()
    assert where(world) == ["(n1 v1)", "n2 v1", "n3 v1", "n4 v1"]
    world.kubelets(place)
    world.settle()
    world.settle()
    assert where(world) == ["n1 v2", "n2 v1", "n3 v1", "n4 v1"]
    world.rounds(9, place)
    assert where(world) == ["n1 v2", "n2 v2", "n3 v2", "n4 v2"]
    assert status(world).updated_number_scheduled == 4


def test_an_update_that_does_not_get_ready_stops_and_can_be_mended() -> None:
    world = rig()
    world.rounds(1, place)
    update(world, "web:broken")

    def kubelet(pod: core_v1.Pod) -> core_v1.Pod | None:
        return unwell(pod) if pod.spec.containers[0].image == "web:broken" else place(pod)

    world.rounds(5, kubelet)
    assert where(world) == ["n1 broken", "n2 v1", "n3 v1", "n4 v1"]
    update(world, "web:v3")
    world.rounds(10, kubelet)
    assert where(world) == ["n1 v3", "n2 v3", "n3 v3", "n4 v3"]


def test_half_of_the_nodes_may_be_without() -> None:
    rolling = apps_v1.RollingUpdateDaemonSet(max_unavailable="50%", max_surge=0)
    world = rig(update_strategy=apps_v1.DaemonSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling))
    world.rounds(1, place)
    update(world, "web:v2")
    world.settle()
    assert where(world) == ["(n1 v1)", "(n2 v1)", "n3 v1", "n4 v1"]


def test_with_surge_no_node_is_ever_without() -> None:
    rolling = apps_v1.RollingUpdateDaemonSet(max_unavailable=0, max_surge=1)
    world = rig(update_strategy=apps_v1.DaemonSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling))
    world.rounds(1, place)
    world.now += 60_000
    update(world, "web:v2")
    world.settle()
    assert where(world) == ["n1 v1", "n1 v2", "n2 v1", "n3 v1", "n4 v1"]
    world.kubelets(lambda pod: unwell(pod) if pod.spec.containers[0].image == "web:v2" else place(pod))
    world.settle()
    assert "n1 v1" in where(world)
    assert (status(world).updated_number_scheduled, status(world).number_ready) == (0, 4), "the older of two counts"
    world.kubelets(place)
    world.settle()
    assert where(world)[:2] == ["(n1 v1)", "n1 v2"]
    world.rounds(9, place)
    assert where(world) == ["n1 v2", "n2 v2", "n3 v2", "n4 v2"]


def test_with_surge_the_old_one_goes_too_when_it_stops_being_ready() -> None:
    rolling = apps_v1.RollingUpdateDaemonSet(max_unavailable=0, max_surge=1)
    world = rig(node("n1"), update_strategy=apps_v1.DaemonSetUpdateStrategy(rolling_update=rolling))
    world.rounds(1, place)
    update(world, "web:v2")
    world.settle()
    for pod in world.list(kinds.POD):
        world.put(unwell(pod))
    world.settle()
    assert where(world) == ["(n1 v1)", "n1 v2"]


def test_with_surge_a_pod_on_its_way_out_is_not_waited_for() -> None:
    rolling = apps_v1.RollingUpdateDaemonSet(max_unavailable=0, max_surge=1)
    world = rig(node("n1"), update_strategy=apps_v1.DaemonSetUpdateStrategy(rolling_update=rolling))
    world.rounds(1, place)
    (pod,) = world.list(kinds.POD)
    world.put(replace(pod, metadata=replace(pod.metadata, deletion_timestamp="2026-03-01T12:00:00Z")))
    world.settle()
    assert sorted(where(world)) == ["(n1 v1)", "n1 v1"]


def test_without_surge_one_pod_stays_on_a_node_also_where_nothing_is_rolled() -> None:
    rolling = apps_v1.RollingUpdateDaemonSet(max_unavailable=0, max_surge=1)
    world = rig(node("n1"), update_strategy=apps_v1.DaemonSetUpdateStrategy(rolling_update=rolling))
    world.rounds(1, place)
    world.now += 60_000
    update(world, "web:v2")
    world.settle()
    assert where(world) == ["n1 v1", "n1 v2"]
    update(world, "web:v2", update_strategy=apps_v1.DaemonSetUpdateStrategy(type="OnDelete"))
    world.kubelets(unwell)
    world.rounds(1, place)
    assert where(world) == ["n1 v1"]


def test_on_delete_replaces_only_what_somebody_deletes() -> None:
    world = rig(update_strategy=apps_v1.DaemonSetUpdateStrategy(type="OnDelete"))
    world.rounds(1, place)
    update(world, "web:v2")
    world.rounds(3, place)
    assert where(world) == ["n1 v1", "n2 v1", "n3 v1", "n4 v1"]
    assert (status(world).updated_number_scheduled, len(world.list(kinds.CONTROLLER_REVISION))) == (0, 2)
    victim = next(pod for pod in world.list(kinds.POD) if pod.spec.node_name == "n3")
    del world.objects[("pods", "default", victim.metadata.name)]
    world.rounds(1, place)
    assert where(world) == ["n1 v1", "n2 v1", "n3 v2", "n4 v1"]


def test_old_revisions_that_still_run_count_towards_the_limit() -> None:
    strategy = apps_v1.DaemonSetUpdateStrategy(type="OnDelete")
    world = rig(node("n1"), update_strategy=strategy, revision_history_limit=2)
    world.rounds(1, place)
    for number in range(2, 6):
        update(world, f"web:v{number}")
        world.settle()
    assert [r.revision for r in world.list(kinds.CONTROLLER_REVISION)].count(5) == 1
    assert sorted(r.revision for r in world.list(kinds.CONTROLLER_REVISION)) == [1, 4, 5]


def test_min_ready_seconds_are_waited_for() -> None:
    world = rig(node("n1"), min_ready_seconds=10)
    world.settle()
    world.kubelets(place)
    assert world.turn().wake_after_ms == 10_000
    assert (status(world).number_ready, status(world).number_available) == (1, 0)
    world.now += 10_000
    world.settle()
    assert status(world).number_available == 1
