"""How many evictions a disruption budget allows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers.disruption import CONTROLLER, reconcile, steady
from mizzen.api import budgets
from mizzen.api.types import core_v1, meta_v1, policy_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Decision, Emit, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import LABELS, NOW, at, deployment, meta, owned_by, pod, replica_set, view


def budget(disrupted: dict[str, str] | None = None, **spec: Any) -> policy_v1.PodDisruptionBudget:
    """A budget for the pods of `web`."""
    return policy_v1.PodDisruptionBudget(
        metadata=meta("web", generation=2),
        spec=policy_v1.PodDisruptionBudgetSpec(selector=meta_v1.LabelSelector(match_labels=LABELS), **spec),
        status=policy_v1.PodDisruptionBudgetStatus(disrupted_pods=disrupted or {}),
    )


def decide(*objects: Any) -> Decision:
    return reconcile(Key("poddisruptionbudgets.policy", "default", "web"), view(*objects), NOW, SeededIds(1))


def status_of(decision: Decision) -> policy_v1.PodDisruptionBudgetStatus:
    (found,) = [effect.object for effect in decision.effects if isinstance(effect, UpdateStatus)]
    assert isinstance(found, policy_v1.PodDisruptionBudget)
    return found.status


def told(decision: Decision) -> list[str]:
    return [effect.reason for effect in decision.effects if isinstance(effect, Emit)]


def workload(wanted: int, *ready: bool) -> list[Any]:
    """A Deployment that wants so many replicas, with its ReplicaSet and pods."""
    owner = deployment(wanted)
    rs = replica_set(replicas=wanted, owner=owner)
    pods = [pod(f"p{n}", rs, node="n1", ready_since=-9 if is_ready else None) for n, is_ready in enumerate(ready)]
    return [owner, rs, *pods]


@pytest.mark.parametrize(
    ("spec", "wanted", "ready", "expected", "desired", "allowed"),
    [
        pytest.param({"min_available": 2}, 3, (True, True, True), 3, 2, 1, id="number that must stay"),
        pytest.param({"min_available": "50%"}, 5, (True,) * 5, 5, 3, 2, id="share that must stay, rounded up"),
        pytest.param({"max_unavailable": 1}, 3, (True, True, True), 3, 2, 1, id="number that may go"),
        pytest.param({"max_unavailable": "34%"}, 3, (True, True, True), 3, 1, 2, id="share that may go, rounded up"),
        pytest.param({"max_unavailable": 1}, 3, (True, True, False), 3, 2, 0, id="one is missing already"),
        pytest.param({"max_unavailable": 1}, 4, (True, True, True), 4, 3, 0, id="one was not even made yet"),
        pytest.param({"max_unavailable": 5}, 3, (True,) * 3, 3, 0, 3, id="more may go than there are"),
        pytest.param({"min_available": 5}, 3, (True,) * 3, 3, 5, 0, id="more must stay than there are"),
    ],
)
def test_counts(
    spec: dict[str, Any], wanted: int, ready: tuple[bool, ...], expected: int, desired: int, allowed: int
) -> None:
    status = status_of(decide(budget(**spec), *workload(wanted, *ready)))
    assert (status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed) == (
        expected,
        desired,
        sum(ready),
        allowed,
    )
    assert status.observed_generation == 2
    said = budgets.condition(status)
    assert said is not None
    assert (said.status, said.reason) == (("True", "SufficientPods") if allowed else ("False", "InsufficientPods"))


def test_nothing_is_written_when_nothing_changed() -> None:
    objects = workload(3, True, True, True)
    first = budget(min_available=2)
    settled = msgspec.structs.replace(first, status=status_of(decide(first, *objects)))
    assert decide(settled, *objects) == Decision()


def test_an_evicted_pod_counts_as_gone_until_it_is_overdue() -> None:
    objects = workload(3, True, True, True)
    fresh = decide(budget({"p0": at(-30)}, min_available=2), *objects)
    assert status_of(fresh).disruptions_allowed == 0
    assert status_of(fresh).disrupted_pods == {"p0": at(-30)}
    assert fresh.wake_after_ms == 90_000
    overdue = decide(budget({"p0": at(-121)}, min_available=2), *objects)
    assert status_of(overdue).disruptions_allowed == 1
    assert status_of(overdue).disrupted_pods == {}
    assert told(overdue) == ["NotDeleted"]


def test_a_pod_that_ends_is_no_longer_open() -> None:
    owner, rs, *pods = workload(3, True, True, True)
    leaving = msgspec.structs.replace(
        pods[0], metadata=msgspec.structs.replace(pods[0].metadata, deletion_timestamp=at(0))
    )
    status = status_of(decide(budget({"p0": at(-1)}, min_available=1), owner, rs, leaving, *pods[1:]))
    assert (status.disrupted_pods, status.current_healthy, status.disruptions_allowed) == ({}, 2, 1)


def test_no_pods() -> None:
    decision = decide(budget(min_available=1))
    assert told(decision) == ["NoPods"]
    assert status_of(decision).disruptions_allowed == 0


def test_pods_that_nobody_owns_have_no_share() -> None:
    decision = decide(budget(max_unavailable=1), pod("lonely", node="n1", ready_since=-9))
    assert told(decision) == ["UnmanagedPods"]
    assert status_of(decision).disruptions_allowed == 0
    by_number = decide(budget(min_available=0), pod("lonely", node="n1", ready_since=-9))
    assert status_of(by_number).disruptions_allowed == 1


def test_who_owns_the_pods_cannot_be_asked() -> None:
    stranger = core_v1.ConfigMap(metadata=meta("x"))
    owned = pod("p", node="n1", ready_since=-9, labels=LABELS)
    owned = msgspec.structs.replace(
        owned, metadata=msgspec.structs.replace(owned.metadata, owner_references=owned_by(stranger))
    )
    decision = decide(budget(max_unavailable=1), stranger, owned)
    said = budgets.condition(status_of(decision))
    assert said is not None
    assert (said.status, said.reason, said.message) == (
        "False",
        "SyncFailed",
        'found no controllers for pod "p"',
    )
    assert told(decision) == ["CalculateExpectedPodCountFailed"]


def test_who_is_woken() -> None:
    mappers = {kind.plural: mapper for kind, mapper in CONTROLLER.watches}
    owner, rs, first = workload(1, True)
    seen = view(budget(min_available=1), owner, rs, first)
    key = Key("poddisruptionbudgets.policy", "default", "web")
    assert list(mappers["pods"](first, seen)) == [key]
    assert list(mappers["pods"](pod("other", labels={"app": "other"}), seen)) == []
    assert list(mappers["deployments"](owner, seen)) == [key]


@pytest.mark.parametrize(
    ("since", "changes", "wake_ms"), [(-121.0, True, None), (-100.0, False, 20_000)], ids=["overdue", "in time"]
)
def test_an_announced_eviction_that_does_not_come(since: float, changes: bool, wake_ms: int | None) -> None:
    announced = budgets.targeted(pod("p", node="n1"), "EvictionByEvictionAPI", "", NOW + round(since * 1000))
    decision = steady(Key("pods", "default", "p"), view(announced), NOW, SeededIds(1))
    assert decision.wake_after_ms == wake_ms
    found = [effect.object for effect in decision.effects if isinstance(effect, UpdateStatus)]
    assert bool(found) is changes
    if changes:
        (target,) = [c for c in found[0].status.conditions if c.type == budgets.TARGET]  # type: ignore[attr-defined]
        assert target.status == "False"
