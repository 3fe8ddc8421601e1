"""What the Deployment controller decides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers import rollout
from controlplane.reconcilers.deployment import reconcile
from controlplane.reconcilers.rollout import Generation, Limits
from mizzen.api import times
from mizzen.api.types import apps_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Decision, Delete, Emit, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, deployment, pod, replica_set, view

REVISION = "deployment.kubernetes.io/revision"
SIZE = {"deployment.kubernetes.io/desired-replicas": "3", "deployment.kubernetes.io/max-replicas": "4"}


def decide(*objects: Any, now: int = NOW) -> Decision:
    return reconcile(Key("deployments.apps", "default", "web"), view(*objects), now, SeededIds(1))


def of(decision: Decision, kind: type) -> list[Any]:
    return [effect for effect in decision.effects if isinstance(effect, kind)]


def sizes(decision: Decision) -> dict[str, int]:
    changed = [e.object for e in of(decision, Update) if isinstance(e.object, apps_v1.ReplicaSet)]
    return {rs.metadata.name: rs.spec.replicas for rs in changed}


def generation(owner: Any, name: str, image: str, revision: int, replicas: int, available: int) -> apps_v1.ReplicaSet:
    counts = {"replicas": replicas, "ready_replicas": available, "available_replicas": available}
    return replica_set(
        name, replicas, owner=owner, image=image, status=counts, annotations={REVISION: str(revision), **SIZE}
    )


@pytest.mark.parametrize(
    ("surge", "unavailable", "desired", "wanted"),
    [
        ("25%", "25%", 3, Limits(1, 0)),
        ("25%", "25%", 10, Limits(3, 2)),
        (0, 0, 3, Limits(0, 1)),
        (0, "1%", 3, Limits(0, 1)),
        (2, 5, 3, Limits(2, 3)),
        ("100%", 0, 4, Limits(4, 0)),
    ],
)
def test_limits_round_as_kubernetes_does(surge: Any, unavailable: Any, desired: int, wanted: Limits) -> None:
    rolling = apps_v1.RollingUpdateDeployment(max_surge=surge, max_unavailable=unavailable)
    strategy = apps_v1.DeploymentStrategy(type="RollingUpdate", rolling_update=rolling)
    assert rollout.limits(deployment(desired, strategy=strategy)) == wanted


@pytest.mark.parametrize(
    ("active", "maximum", "desired", "limit", "wanted"),
    [
        ([("a", 8), ("b", 2)], 10, 20, Limits(0, 1), {"a": 16, "b": 4}),
        ([("a", 8), ("b", 2)], 0, 20, Limits(0, 1), {"a": 16, "b": 4}),
        ([("a", 5), ("b", 5)], 10, 11, Limits(0, 1), {"a": 6, "b": 5}),
        ([("a", 9), ("b", 3)], 12, 0, Limits(3, 0), {"a": 0, "b": 0}),
        ([("a", 8), ("b", 3)], 13, 15, Limits(3, 2), {"a": 14, "b": 4}),
        ([("a", 3), ("b", 1)], 4, 6, Limits(0, 1), {"a": 5, "b": 1}),
        ([("a", 8), ("b", 5)], 13, 5, Limits(3, 2), {"a": 5, "b": 3}),
        ([("a", 4)], 4, 4, Limits(0, 1), {}),
    ],
)
def test_scaling_is_shared_in_proportion(
    active: Any, maximum: int, desired: int, limit: Limits, wanted: dict[str, int]
) -> None:
    generations = [Generation(name, count, count, maximum) for name, count in active]
    got = rollout.proportional(desired, limit, generations, sum(count for _, count in active))
    assert {name: got[name] for name in wanted} == wanted
    if got:
        assert sum(got.values()) == (desired + limit.surge if desired else 0)


def test_the_first_replica_set_is_made_whole() -> None:
    owner = deployment(3)
    decision = decide(owner)
    made = of(decision, Create)[0].object
    assert made.spec.replicas == 3
    assert made.metadata.annotations[REVISION] == "1"
    tag = made.metadata.labels["pod-template-hash"]
    assert made.metadata.name == f"web-{tag}"
    assert made.spec.selector.match_labels["pod-template-hash"] == tag
    assert of(decision, Emit)[0].message == f"Scaled up replica set web-{tag} from 0 to 3"


def test_a_new_template_starts_within_the_surge() -> None:
    owner = deployment(3, "web:v2")
    made = of(decide(owner, generation(owner, "web-1", "web:v1", 1, 3, 3)), Create)[0].object
    assert made.spec.replicas == 1
    assert made.metadata.annotations[REVISION] == "2"


def test_a_template_from_before_there_was_a_default_is_the_same() -> None:
    owner = annotated(deployment(3), "1")
    stored = generation(owner, "web-1", "web:v1", 1, 3, 3)
    spec = msgspec.structs.replace(stored.spec.template.spec, termination_grace_period_seconds=None)
    bare = msgspec.structs.replace(stored.spec.template, spec=spec)
    assert bare.spec != owner.spec.template.spec
    before = msgspec.structs.replace(stored, spec=msgspec.structs.replace(stored.spec, template=bare))
    assert not of(decide(owner, before), Create)
    other = msgspec.structs.replace(bare, spec=msgspec.structs.replace(spec, termination_grace_period_seconds=7))
    another = msgspec.structs.replace(stored, spec=msgspec.structs.replace(stored.spec, template=other))
    assert of(decide(owner, another), Create)


def test_old_ones_shrink_when_new_ones_are_available() -> None:
    owner = annotated(deployment(3, "web:v2"), "2")
    old, new = generation(owner, "web-1", "web:v1", 1, 3, 3), generation(owner, "web-2", "web:v2", 2, 1, 1)
    assert sizes(decide(owner, old, new)) == {"web-1": 2}


def test_old_ones_stay_while_new_ones_are_not_available() -> None:
    owner = annotated(deployment(3, "web:v2"), "2")
    old, new = generation(owner, "web-1", "web:v1", 1, 3, 3), generation(owner, "web-2", "web:v2", 2, 1, 0)
    assert sizes(decide(owner, old, new)) == {}


def test_what_is_not_available_goes_first() -> None:
    owner = annotated(deployment(3, "web:v3"), "3")
    broken = generation(owner, "web-2", "web:v2", 2, 1, 0)
    old, new = generation(owner, "web-1", "web:v1", 1, 3, 3), generation(owner, "web-3", "web:v3", 3, 0, 0)
    assert sizes(decide(owner, old, broken, new)) in ({"web-2": 0}, {"web-3": 0})


def annotated(owner: apps_v1.Deployment, revision: str) -> apps_v1.Deployment:
    metadata = msgspec.structs.replace(owner.metadata, annotations={REVISION: revision})
    return msgspec.structs.replace(owner, metadata=metadata)


def test_an_undo_gives_the_old_replica_set_the_next_revision() -> None:
    owner = annotated(deployment(3, "web:v1"), "2")
    old, new = generation(owner, "web-2", "web:v2", 2, 3, 3), generation(owner, "web-1", "web:v1", 1, 0, 0)
    refreshed = next(e.object for e in of(decide(owner, old, new), Update) if e.object.metadata.name == "web-1")
    assert refreshed.metadata.annotations[REVISION] == "3"
    assert refreshed.metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"


def test_paused_rolls_nothing_but_scales() -> None:
    owner = deployment(5, "web:v2", paused=True)
    old = generation(owner, "web-1", "web:v1", 1, 3, 3)
    decision = decide(owner, old)
    assert not of(decision, Create)
    assert sizes(decision) == {"web-1": 5}


@pytest.mark.parametrize(("desired", "wanted"), [(5, {"web-1": 2, "web-2": 3}), (3, {"web-1": 1, "web-2": 2})])
def test_of_two_that_are_as_large_the_newer_one_is_favoured(desired: int, wanted: dict[str, int]) -> None:
    owner = annotated(deployment(desired, "web:v2"), "2")
    marks = {"deployment.kubernetes.io/desired-replicas": "4", "deployment.kubernetes.io/max-replicas": "4"}
    rolling = apps_v1.RollingUpdateDeployment(max_surge=0, max_unavailable=1)
    strategy = apps_v1.DeploymentStrategy(type="RollingUpdate", rolling_update=rolling)
    owner = msgspec.structs.replace(owner, spec=msgspec.structs.replace(owner.spec, strategy=strategy))
    sets = []
    for number in (1, 2):
        made = generation(owner, f"web-{number}", f"web:v{number}", number, 2, 2)
        metadata = msgspec.structs.replace(
            made.metadata, annotations={**made.metadata.annotations, **marks}, creation_timestamp=at(number)
        )
        sets.append(msgspec.structs.replace(made, metadata=metadata))
    assert sizes(decide(owner, *sets)) == wanted


def test_paused_forgets_old_revisions_beyond_the_limit() -> None:
    owner = annotated(deployment(3, "web:v4", paused=True, revision_history_limit=1), "3")
    kept = [generation(owner, f"web-{n}", f"web:v{n}", n, 0, 0) for n in (1, 2)]
    now = generation(owner, "web-3", "web:v3", 3, 3, 3)
    assert [effect.key.name for effect in of(decide(owner, *kept, now), Delete)] == ["web-1", "web-2"]


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    owner = deployment(3, "web:v2", strategy=apps_v1.DeploymentStrategy(type="Recreate"))
    old = generation(owner, "web-1", "web:v1", 1, 3, 3)
    assert sizes(decide(owner, old)) == {"web-1": 0}
    empty = generation(owner, "web-1", "web:v1", 1, 0, 0)
    assert not of(decide(owner, empty, pod("p", empty, node="n1", deletion_timestamp=at(-1))), Create)
    assert of(decide(owner, empty), Create)[0].object.spec.replicas == 3


def test_history_beyond_the_limit_is_forgotten() -> None:
    owner = annotated(deployment(3, "web:v3", revision_history_limit=1), "3")
    new = generation(owner, "web-3", "web:v3", 3, 3, 3)
    old = [generation(owner, f"web-{n}", f"web:v{n}", n, 0, 0) for n in (1, 2)]
    assert [e.key.name for e in of(decide(owner, *old, new), Delete)] == ["web-1"]


def test_a_complete_rollout_says_so() -> None:
    owner = annotated(deployment(3), "1")
    new = generation(owner, "web-1", "web:v1", 1, 3, 3)
    status = of(decide(owner, new), UpdateStatus)[0].object.status
    conditions = {c.type: (c.status, c.reason) for c in status.conditions}
    assert conditions["Available"] == ("True", "MinimumReplicasAvailable")
    assert conditions["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert (status.replicas, status.updated_replicas, status.unavailable_replicas) == (3, 3, 0)


@pytest.mark.parametrize(("old", "new", "both"), [(2, 1, 3), (0, 0, 0), (None, 1, None)])
def test_pods_on_their_way_out_are_counted_when_all_are_known(
    old: int | None, new: int | None, both: int | None
) -> None:
    owner = deployment(image="demo:v2", replicas=1)
    sets = [
        msgspec.structs.replace(rs, status=msgspec.structs.replace(rs.status, terminating_replicas=count))
        for rs, count in (
            (generation(owner, "web-1", "demo:v1", 1, 0, 0), old),
            (generation(owner, "web-2", "demo:v2", 2, 1, 1), new),
        )
    ]
    (told,) = of(decide(annotated(owner, "2"), *sets), UpdateStatus)
    assert told.object.status.terminating_replicas == both


def test_a_rollout_that_hangs_exceeds_its_deadline() -> None:
    owner = annotated(deployment(3, progress_deadline_seconds=60), "1")
    begun = apps_v1.DeploymentCondition(
        type="Progressing",
        status="True",
        reason="ReplicaSetUpdated",
        last_update_time=at(-30),
        last_transition_time=at(-30),
    )
    counted = apps_v1.DeploymentStatus(
        observed_generation=1, replicas=3, updated_replicas=3, unavailable_replicas=3, conditions=(begun,)
    )
    owner = msgspec.structs.replace(owner, status=counted)
    new = generation(owner, "web-1", "web:v1", 1, 3, 0)
    assert decide(owner, new).wake_after_ms == 30_000
    late = of(decide(owner, new, now=NOW + 30_000), UpdateStatus)[0].object.status
    progressing = next(c for c in late.conditions if c.type == "Progressing")
    assert (progressing.status, progressing.reason) == ("False", "ProgressDeadlineExceeded")
    assert times.parse(progressing.last_transition_time) == NOW + 30_000


def test_pods_that_may_not_be_made_are_a_condition_of_the_deployment() -> None:
    owner = annotated(deployment(3), "1")
    failure = apps_v1.ReplicaSetCondition(
        type="ReplicaFailure", status="True", reason="FailedCreate", message="no", last_transition_time=at(-5)
    )
    rs = generation(owner, "web-1", "web:v1", 1, 3, 1)
    failed = msgspec.structs.replace(rs, status=msgspec.structs.replace(rs.status, conditions=(failure,)))
    (written,) = of(decide(owner, failed), UpdateStatus)
    (told,) = [one for one in written.object.status.conditions if one.type == "ReplicaFailure"]
    assert (told.status, told.reason, told.message, told.last_transition_time) == ("True", "FailedCreate", "no", at(-5))
    (healed,) = of(decide(written.object, rs), UpdateStatus)
    assert "ReplicaFailure" not in {one.type for one in healed.object.status.conditions}


@pytest.mark.parametrize("stranger", [False, True], ids=["another template of its own", "somebody else's"])
def test_a_name_that_is_taken_is_counted_and_another_is_made(*, stranger: bool) -> None:
    owner = deployment(3, "web:v2")
    name = f"web-{rollout.template_hash(owner.spec.template, 0)}"
    taken = replica_set(name, 0, owner=None if stranger else owner)
    if stranger:
        taken = msgspec.structs.replace(
            taken, metadata=msgspec.structs.replace(taken.metadata, labels={"app": "other"})
        )
    (told,) = decide(owner, taken).effects
    assert isinstance(told, UpdateStatus)
    assert told.object.status.collision_count == 1
    made = of(decide(told.object, taken), Create)[0].object
    assert made.metadata.name == f"web-{rollout.template_hash(owner.spec.template, 1)}" != name
