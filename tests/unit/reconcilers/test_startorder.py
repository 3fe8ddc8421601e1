"""What pods wait for before they start."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import startorder
from mizzen.api import workloads
from mizzen.api.types import apps_v1, batch_v1, core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Decision, Emit, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, deployment, meta, owned_by, pod, replica_set, view

KEY = Key("pods", "default", "p")


def waiting(on: str, owner: Any = None, *conditions: core_v1.PodCondition) -> core_v1.Pod:
    gates = (core_v1.PodSchedulingGate(name="other"), core_v1.PodSchedulingGate(name=workloads.DEPENDS_ON))
    made = pod("p", annotations={workloads.DEPENDS_ON: on}, spec={"scheduling_gates": gates})
    references = owned_by(owner) if owner is not None else ()
    metadata = replace(made.metadata, owner_references=references)
    return replace(made, metadata=metadata, status=core_v1.PodStatus(phase="Pending", conditions=conditions))


def decide(*objects: Any) -> Decision:
    return startorder.reconcile(KEY, view(*objects), NOW, SeededIds(1))


def named(name: str, *, available: bool, on: str = "") -> apps_v1.Deployment:
    made = deployment(1)
    condition = apps_v1.DeploymentCondition(type="Available", status="True" if available else "False")
    template = made.spec.template
    if on:
        template = replace(template, metadata=replace(template.metadata, annotations={workloads.DEPENDS_ON: on}))
    return replace(
        made,
        metadata=meta(name, generation=1),
        spec=replace(made.spec, template=template),
        status=apps_v1.DeploymentStatus(observed_generation=1, conditions=(condition,)),
    )


def job(condition: str) -> batch_v1.Job:
    conditions = (batch_v1.JobCondition(type=condition, status="True"),) if condition else ()
    return batch_v1.Job(metadata=meta("migrate"), status=batch_v1.JobStatus(conditions=conditions))


def queue(available: int) -> apps_v1.StatefulSet:
    return apps_v1.StatefulSet(
        metadata=meta("queue", generation=1),
        spec=apps_v1.StatefulSetSpec(replicas=2),
        status=apps_v1.StatefulSetStatus(observed_generation=1, available_replicas=available),
    )


def agents(available: int, generation: int = 1) -> apps_v1.DaemonSet:
    status = apps_v1.DaemonSetStatus(observed_generation=1, desired_number_scheduled=2, number_available=available)
    return apps_v1.DaemonSet(metadata=meta("agents", generation=generation), status=status)


@pytest.mark.parametrize(
    ("on", "found", "missing"),
    [
        ("deployment/db", None, "deployment/db is not there"),
        ("deployment/db", named("db", available=False), "deployment/db is not available"),
        ("deployment/db", named("db", available=True), ""),
        ("statefulset/queue", queue(1), "statefulset/queue is not available"),
        ("statefulset/queue", queue(2), ""),
        ("daemonset/agents", agents(1), "daemonset/agents is not available"),
        ("daemonset/agents", agents(2, generation=2), "daemonset/agents is not available"),
        ("daemonset/agents", agents(2), ""),
        ("job/migrate", job(""), "job/migrate is not complete"),
        ("job/migrate", job("Failed"), "job/migrate has failed"),
        ("job/migrate", job("Complete"), ""),
    ],
)
def test_what_has_to_be_there(on: str, found: Any, missing: str) -> None:
    decision = decide(waiting(on), *([found] if found is not None else []))
    update = decision.effects[0]
    assert isinstance(update, UpdateStatus)
    condition = update.object.status.conditions[0]  # type: ignore[attr-defined]
    assert (condition.type, condition.message) == (workloads.DEPENDENCIES_MET, missing)
    assert condition.status == ("False" if missing else "True")
    assert [one.message for one in decision.waiting] == [missing] * bool(missing)


def test_it_says_so_once() -> None:
    said = core_v1.PodCondition(
        type=workloads.DEPENDENCIES_MET, status="False", reason="WaitingForDependencies",
        message="job/migrate is not there",
    )  # fmt: skip
    decision = decide(waiting("job/migrate", None, said))
    assert (decision.effects, len(decision.waiting)) == ((), 1)


def test_the_gate_goes_and_other_gates_stay() -> None:
    met = core_v1.PodCondition(type=workloads.DEPENDENCIES_MET, status="True")
    update, told = decide(waiting("job/migrate", None, met), job("Complete")).effects
    assert isinstance(update, Update)
    assert [gate.name for gate in update.object.spec.scheduling_gates] == ["other"]  # type: ignore[attr-defined]
    assert isinstance(told, Emit)
    assert told.reason == "DependenciesMet"


def test_a_ring_is_told() -> None:
    web, db = named("web", available=False, on="deployment/db"), named("db", available=False, on="deployment/web")
    replicas = replica_set("web-1", owner=web)
    decision = decide(waiting("deployment/db", replicas), web, db, replicas)
    told = decision.effects[-1]
    assert isinstance(told, Emit)
    ring = "it depends on itself: deployment/web -> deployment/db -> deployment/web"
    assert (told.type, told.reason, told.message) == ("Warning", "DependencyCycle", ring)


def test_others_are_left_alone() -> None:
    assert decide() == decide(pod("p")) == Decision()
