"""What every new pod gets."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controlplane.admission.binding import bind
from mizzen.api import errors
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.admission import NOW, NOW_MS, Cluster

CLUSTER = Cluster.with_namespaces("shop")


def _pod(**spec: object) -> core.Pod:
    container = core.Container(name="c", image="img:1")
    return core.Pod(
        metadata=meta.ObjectMeta(name="p"),
        spec=core.PodSpec(containers=(container,), **spec),  # type: ignore[arg-type]
    )


def _made(pod: core.Pod) -> core.Pod:
    made: core.Pod = CLUSTER.create(pod, "shop").object
    return made


def test_the_account_is_the_default_one() -> None:
    made = _made(_pod())
    assert made.spec.service_account_name == made.spec.service_account == "default"
    assert _made(_pod(service_account_name="robot")).spec.service_account == "robot"


def test_priorities() -> None:
    assert _made(_pod()).spec.priority == 0
    assert _made(_pod(priority_class_name="system-node-critical")).spec.priority == 2_000_001_000
    with pytest.raises(errors.Forbidden, match="no PriorityClass with name gold was found"):
        _made(_pod(priority_class_name="gold"))
    with pytest.raises(errors.Forbidden, match="must not be provided in pod spec"):
        _made(_pod(priority=7))


def _keys(pod: core.Pod) -> list[tuple[str, str, int | None]]:
    return [(t.key.rpartition("/")[2], t.effect, t.toleration_seconds) for t in pod.spec.tolerations]


def test_a_pod_outlives_a_short_loss_of_its_node() -> None:
    assert _keys(_made(_pod())) == [("not-ready", "NoExecute", 300), ("unreachable", "NoExecute", 300)]


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (core.Toleration(operator="Exists"), ["", ]),
        (core.Toleration(key="node.kubernetes.io/not-ready", operator="Exists", effect="NoExecute"),
         ["not-ready", "unreachable"]),
        (core.Toleration(key="node.kubernetes.io/not-ready", operator="Exists", effect="NoSchedule"),
         ["not-ready", "not-ready", "unreachable"]),
    ],
)  # fmt: skip
def test_tolerations_that_are_given_are_not_repeated(given: core.Toleration, keys: list[str]) -> None:
    assert [key for key, _, _ in _keys(_made(_pod(tolerations=(given,))))] == keys


def test_an_update_keeps_what_it_leaves_out() -> None:
    old = CLUSTER.create(_pod(), "shop").object
    bare = replace(old, spec=replace(old.spec, priority=None, preemption_policy=None, tolerations=()))
    assert CLUSTER.update(bare, old).object == old


def test_binding_is_once_and_for_all() -> None:
    pod = _made(_pod())
    bound = bind(pod, "n1", NOW_MS, uid=pod.metadata.uid)
    assert bound.spec.node_name == "n1"
    (condition,) = bound.status.conditions
    assert (condition.type, condition.status, condition.last_transition_time) == ("PodScheduled", "True", NOW)
    assert bound.metadata.generation == pod.metadata.generation
    with pytest.raises(errors.Conflict, match='already assigned to node "n1"'):
        bind(bound, "n2", NOW_MS)
    with pytest.raises(errors.Conflict, match="UID in precondition"):
        bind(pod, "n1", NOW_MS, uid="other")
    gated = replace(pod, spec=replace(pod.spec, scheduling_gates=(core.PodSchedulingGate(name="g"),)))
    with pytest.raises(errors.Conflict, match="schedulingGates"):
        bind(gated, "n1", NOW_MS)
    going = replace(pod, metadata=replace(pod.metadata, deletion_timestamp=NOW))
    with pytest.raises(errors.Conflict, match="is being deleted"):
        bind(going, "n1", NOW_MS)
