"""When a Deployment's revision is taken back, and where to."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import rollback
from mizzen.api import workloads
from mizzen.api.types import apps_v1, core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Decision, Emit, Update
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, deployment, pod, replica_set, view

REVISION = "deployment.kubernetes.io/revision"
GOOD = {workloads.WAS_AVAILABLE: "true"}


def decide(*objects: Any) -> Decision:
    return rollback.reconcile(Key("deployments.apps", "default", "web"), view(*objects), NOW, SeededIds(1))


def web(
    settings: dict[str, str] | None = None, counts: tuple[int, ...] = (4, 1, 3), late: str = "", **spec: Any
) -> apps_v1.Deployment:
    """A Deployment that rolls to v2; `counts`: replicas, updated, available; `late`: a ReplicaSet."""
    made = deployment(3, "web:v2", **spec)
    condition = apps_v1.DeploymentCondition(
        type="Progressing", status="False", reason="ProgressDeadlineExceeded",
        message=f'ReplicaSet "{late}" has timed out progressing.',
    )  # fmt: skip
    status = apps_v1.DeploymentStatus(
        observed_generation=1, replicas=counts[0], updated_replicas=counts[1], available_replicas=counts[2],
        conditions=(condition,) if late else (),
    )  # fmt: skip
    notes = {workloads.AUTO_ROLLBACK: "true"} if settings is None else settings
    return replace(made, metadata=replace(made.metadata, annotations=notes), status=status)


def old(owner: Any, name: str, revision: int, image: str = "web:v1", **notes: str) -> apps_v1.ReplicaSet:
    return replica_set(name, 1, owner=owner, image=image, annotations={REVISION: str(revision), **notes})


def crashing(owner: Any, restarts: int, reason: str, *, ready: bool = False) -> core_v1.Pod:
    made = pod("p", owner, node="n", ready_since=-5 if ready else None)
    state = core_v1.ContainerState(waiting=core_v1.ContainerStateWaiting(reason=reason))
    status = core_v1.ContainerStatus(name="web", restart_count=restarts, state=state)
    return replace(made, status=replace(made.status, container_statuses=(status,)))


def test_a_revision_without_progress_goes_back_to_the_last_good_one() -> None:
    owner = web(late="web-new")
    sets = [old(owner, "web-a", 1, "web:v0", **GOOD), old(owner, "web-b", 2, **GOOD), old(owner, "web-c", 3, "web:vx")]
    update, told = decide(owner, *sets, old(owner, "web-new", 4, "web:v2")).effects
    assert isinstance(update, Update)
    changed: Any = update.object
    assert changed.spec.template.spec.containers[0].image == "web:v1"
    assert "pod-template-hash" not in changed.spec.template.metadata.labels
    assert changed.metadata.annotations[workloads.FAILED_REVISION] == "4"
    assert isinstance(told, Emit)
    assert (told.reason, told.message) == (
        "DeploymentRolledBack", "Rolled back from revision 4 to revision 2: it made no progress for 600 seconds",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("restarts", "reason", "ready", "back"),
    [
        (3, "PodInitializing", False, True),
        (1, "CrashLoopBackOff", False, True),
        (0, "CrashLoopBackOff", False, False),
        (2, "PodInitializing", False, False),
        (9, "CrashLoopBackOff", True, False),
    ],
)
def test_a_revision_that_keeps_crashing_goes_back(restarts: int, reason: str, ready: bool, back: bool) -> None:
    owner = web()
    new = old(owner, "web-new", 2, "web:v2")
    decision = decide(owner, old(owner, "web-a", 1, **GOOD), new, crashing(new, restarts, reason, ready=ready))
    assert bool(decision.effects) is back


@pytest.mark.parametrize(
    "owner",
    [
        web({}, late="web-new"),
        web({workloads.AUTO_ROLLBACK: "false"}, late="web-new"),
        web(late="web-other"),
        web(late="web-new", paused=True),
        replace(web(late="web-new"), metadata=replace(web().metadata, generation=2)),
    ],
    ids=["unasked", "off", "another's condition", "paused", "not observed"],
)
def test_what_is_left_alone(owner: apps_v1.Deployment) -> None:
    assert decide(owner, old(owner, "web-a", 1, **GOOD), old(owner, "web-new", 2, "web:v2")) == Decision()


def test_a_good_revision_is_never_taken_back() -> None:
    owner = web(late="web-new")
    assert decide(owner, old(owner, "web-a", 1, **GOOD), old(owner, "web-new", 2, "web:v2", **GOOD)) == Decision()


def test_a_complete_revision_is_noted_as_good() -> None:
    owner = web(counts=(3, 3, 3))
    (update,) = decide(owner, old(owner, "web-new", 1, "web:v2")).effects
    assert isinstance(update, Update)
    assert update.object.metadata.annotations[workloads.WAS_AVAILABLE] == "true"


def test_without_a_good_revision_it_says_so() -> None:
    owner = web(late="web-new")
    decision = decide(owner, old(owner, "web-a", 1), old(owner, "web-new", 2, "web:v2"))
    (told,) = decision.effects
    assert isinstance(told, Emit)
    assert told.reason == decision.waiting[0].reason == "NothingToRollBackTo"


def test_another_try_forgets_the_failed_one() -> None:
    owner = web({workloads.AUTO_ROLLBACK: "true", workloads.FAILED_REVISION: "2"})
    (update,) = decide(owner, old(owner, "web-a", 3, **GOOD), old(owner, "web-new", 4, "web:v2")).effects
    assert isinstance(update, Update)
    assert workloads.FAILED_REVISION not in update.object.metadata.annotations
