"""What a controller's eviction means for the store."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission.effects import write_of
from controlplane.admission.request import Settings
from mizzen.api import kinds, workloads
from mizzen.api.errors import TooManyRequests
from mizzen.api.types import meta_v1, policy_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Evict
from mizzen.engine.writes import Write
from tests.fixtures.cluster_objects import LABELS, NOW, at, deployment, meta, pod, replica_set, view

OWNER = deployment(1)
SURGES = replace(OWNER, metadata=replace(OWNER.metadata, annotations={workloads.SURGE_BEFORE_EVICT: "true"}))
SET = replica_set("web-1", 1, owner=OWNER)
POD = pod("a", SET, node="n1", ready_since=-5, spec={"termination_grace_period_seconds": 30})
GOING = replace(POD, metadata=replace(POD.metadata, deletion_timestamp=at(-1)))
EVICT = Evict("default", "a", "uid-a")


def budget(allowed: int) -> policy_v1.PodDisruptionBudget:
    spec = policy_v1.PodDisruptionBudgetSpec(selector=meta_v1.LabelSelector(match_labels=LABELS))
    status = policy_v1.PodDisruptionBudgetStatus(disruptions_allowed=allowed)
    return policy_v1.PodDisruptionBudget(metadata=meta("pdb"), spec=spec, status=status)


def write(*objects: Any, effect: Evict = EVICT) -> Write | None:
    return write_of(effect, view(*objects), NOW, SeededIds(1), Settings())


def test_a_pod_goes_with_a_reason_and_its_budget_pays_in_the_same_commit() -> None:
    made = write(OWNER, SET, POD, budget(1))
    assert made is not None
    assert (made.kind, made.name, made.object.metadata.deletion_timestamp) == (kinds.POD, "a", at(30))
    assert ("DisruptionTarget", "EvictionByEvictionAPI") in {(c.type, c.reason) for c in made.object.status.conditions}
    (paid,) = made.beside
    assert paid.object.status.disruptions_allowed == 0
    assert paid.object.status.disrupted_pods == {"a": at()}


@pytest.mark.parametrize(
    ("objects", "effect"),
    [((), EVICT), ((GOING,), EVICT), ((POD,), Evict("default", "a", "another"))],
    ids=["it is gone", "it goes", "it is another one"],
)
def test_nothing_is_left_to_do(objects: tuple[Any, ...], effect: Evict) -> None:
    assert write(*objects, effect=effect) is None


@pytest.mark.parametrize(
    ("healthy", "desired", "reason", "message", "why"),
    [
        (2, 2, "InsufficientPods", "", "The disruption budget pdb needs 2 healthy pods and has 2 currently"),
        (4, 3, "SyncFailed", "no scale", "currently because it failed sync: no scale"),
        (4, 3, "Other", "not now", "The disruption budget pdb does not allow evicting pods currently (Other): not now"),
        (4, 3, "InsufficientPods", "", "The disruption budget pdb does not allow evicting pods currently"),
    ],
)
def test_why_a_budget_has_nothing_to_give(healthy: int, desired: int, reason: str, message: str, why: str) -> None:
    said = meta_v1.Condition(type="DisruptionAllowed", status="False", reason=reason, message=message)
    status = policy_v1.PodDisruptionBudgetStatus(
        current_healthy=healthy, desired_healthy=desired, conditions=(said,), disruptions_allowed=0
    )
    with pytest.raises(TooManyRequests) as refused:
        write(OWNER, SET, POD, replace(budget(0), status=status))
    assert refused.value.details is not None
    (cause,) = refused.value.details.causes
    assert cause.message.endswith(why)


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ((OWNER, SET, POD, budget(0)), "violate the pod's disruption budget"),
        ((SURGES, SET, POD), "before its replacement is ready"),
    ],
)
def test_a_refusal_stores_nothing(objects: tuple[Any, ...], why: str) -> None:
    with pytest.raises(TooManyRequests, match=why):
        write(*objects)
