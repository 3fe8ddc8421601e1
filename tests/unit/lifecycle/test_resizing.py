"""New resources for pods that run: granted or held back by the node, given in place or with a restart."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle import resizing
from nodeagent.lifecycle.memory import durable
from nodeagent.lifecycle.observation import Failure, Rejection
from nodeagent.lifecycle.specs import limits
from tests.unit.lifecycle.model import Machine, container, pod

SMALL = core.ResourceRequirements(requests={"cpu": "100m", "memory": "64Mi"}, limits={"cpu": "200m", "memory": "64Mi"})
LARGE = core.ResourceRequirements(requests={"cpu": "150m", "memory": "96Mi"}, limits={"cpu": "300m", "memory": "96Mi"})
RESTART_FOR_MEMORY = (
    core.ContainerResizePolicy(resource_name="cpu", restart_policy="NotRequired"),
    core.ContainerResizePolicy(resource_name="memory", restart_policy="RestartContainer"),
)


def running(**spec: object) -> Machine:
    """A small pod that runs."""
    machine = Machine(pod(container(resources=SMALL, **spec)))
    machine.settle()
    return machine


def ask(machine: Machine, wanted: core.ResourceRequirements, name: str = "app") -> None:
    """Somebody changes what a container asks for."""
    before = machine.spec.spec
    containers = tuple(replace(c, resources=wanted) if c.name == name else c for c in before.containers)
    inits = tuple(replace(c, resources=wanted) if c.name == name else c for c in before.init_containers)
    metadata = replace(machine.spec.metadata, generation=machine.spec.metadata.generation + 1)
    spec = replace(before, containers=containers, init_containers=inits)
    machine.spec = replace(machine.spec, spec=spec, metadata=metadata)


def conditions(machine: Machine) -> dict[str, tuple[str, str, int]]:
    """What the status says of resizes."""
    assert machine.status is not None
    return {
        c.type: (c.reason, c.message, c.observed_generation)
        for c in machine.status.conditions
        if c.type.startswith("PodResize")
    }


def resizes(machine: Machine) -> list[act.Resize]:
    """The changes of bounds that were asked for."""
    return [action for action in machine.log if isinstance(action, act.Resize)]


def test_a_running_container_is_resized_in_place() -> None:
    machine = running()
    ask(machine, LARGE)
    machine.held = lambda operation: isinstance(operation, act.Resize)
    assert machine.settle() == ["!ResizeStarted", "Resize:app"]
    assert conditions(machine) == {"PodResizeInProgress": ("", "", 2)}
    app = machine.one()
    assert (app.allocated_resources, app.resources) == (LARGE.requests, SMALL)
    machine.held = lambda _: False
    machine.obey()
    assert machine.settle() == ["!ResizeCompleted"]
    assert [action.limits for action in resizes(machine)] == [limits(LARGE)]
    app = machine.one()
    assert (app.allocated_resources, app.resources, app.restart_count) == (LARGE.requests, LARGE, 0)
    assert conditions(machine) == {}
    said = (
        '{"containers":[{"name":"app","resources":{"limits":{"cpu":"300m","memory":"96Mi"},'
        '"requests":{"cpu":"150m","memory":"96Mi"}}}],"generation":2}'
    )
    assert machine.records("ResizeStarted") == [f"Pod resize started: {said}"]
    assert machine.records("ResizeCompleted") == [f"Pod resize completed: {said}"]


@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
def test_a_container_that_needs_it_is_started_anew(policy: str) -> None:
    machine = Machine(pod(container(resources=SMALL, resize_policy=RESTART_FOR_MEMORY), restart_policy=policy))
    machine.settle()
    ask(machine, LARGE)
    # It ends in order, which is no reason of its own to start it again.
    do = machine._do
    machine._do = lambda op: (machine.exit("app", 0), do(op))[1] if isinstance(op, act.Stop) else do(op)  # type: ignore[method-assign]
    asked = machine.settle()
    assert "Stop:app" in asked
    assert not resizes(machine)
    assert machine.records("Killing") == ["Container app resize requires restart"]
    app = machine.one()
    assert (app.restart_count, app.resources) == (1, LARGE)
    assert [a.resources for a in machine.log if isinstance(a, act.CreateAndStart)] == [SMALL, LARGE]
    assert machine.records("BackOff") == []
    assert {a.status.phase for a in machine.log if isinstance(a, act.Report)} <= {"Pending", "Running"}
    assert conditions(machine) == {}


def test_only_the_changed_resource_counts_for_the_policy() -> None:
    machine = running(resize_policy=RESTART_FOR_MEMORY)
    ask(machine, replace(SMALL, limits={**SMALL.limits, "cpu": "300m"}))
    machine.settle()
    assert len(resizes(machine)) == 1
    assert machine.one().restart_count == 0


def test_what_the_engine_need_not_know_is_done_at_once() -> None:
    machine = running()
    ask(machine, replace(SMALL, requests={**SMALL.requests, "memory": "32Mi"}))
    assert machine.settle() == ["!ResizeStarted", "!ResizeCompleted"]
    assert machine.one().allocated_resources == {"cpu": "100m", "memory": "32Mi"}


def test_what_the_node_cannot_grant_is_held() -> None:
    machine = running()
    machine.resize = Rejection("Infeasible", "Node didn't have enough capacity: cpu, requested: 9, capacity: 4")
    ask(machine, LARGE)
    assert machine.settle() == ["!ResizeInfeasible"]
    assert conditions(machine) == {"PodResizePending": ("Infeasible", machine.resize.message, 2)}
    assert (machine.one().allocated_resources, machine.one().resources) == (SMALL.requests, SMALL)
    ask(machine, SMALL)
    machine.resize = None
    assert machine.settle() == []
    assert conditions(machine) == {}


def test_what_has_no_room_yet_is_granted_when_there_is() -> None:
    machine = running()
    machine.resize = Rejection("Deferred", "Node didn't have enough resource: cpu, requested: 1, used: 4, capacity: 4")
    ask(machine, LARGE)
    machine.after(60_000)
    assert [m for m in machine.records("ResizeDeferred") if '"error":"Node didn' in m] == machine.records(
        "ResizeDeferred"
    )
    assert len(machine.records("ResizeDeferred")) == 1
    assert conditions(machine)["PodResizePending"][0] == "Deferred"
    machine.resize = None
    machine.after(resizing.DEFERRED_RETRY_MS)
    assert machine.one().resources == LARGE
    assert conditions(machine) == {}


def test_what_the_engine_refuses_is_told_and_tried_again() -> None:
    machine = running()
    message = "cannot decrease memory limits: below current usage"
    machine.fault = lambda op: Failure("ResizeError", message) if isinstance(op, act.Resize) else None
    ask(machine, LARGE)
    machine.after(35_000)
    assert conditions(machine) == {"PodResizeInProgress": ("Error", message, 2)}
    assert len(resizes(machine)) == 4
    assert len(machine.records("ResizeError")) == 1
    assert machine.one().resources == SMALL
    machine.fault = lambda _: None
    machine.after(resizing.ERROR_RETRY_MS)
    assert machine.one().resources == LARGE
    assert conditions(machine) == {}


@pytest.mark.parametrize("remembers", [True, False])
def test_a_new_agent_goes_on_with_it(remembers: bool) -> None:
    machine = running()
    machine.held = lambda operation: isinstance(operation, act.Resize)
    ask(machine, LARGE)
    machine.settle()
    machine.restart_agent(durable(machine.memory) if remembers else None)
    machine.held = lambda _: False
    machine.settle()
    assert machine.one().resources == LARGE
    assert machine.one().restart_count == 0
    assert conditions(machine) == {}


def test_what_runs_beside_the_others_is_resized_too_and_init_containers_are_not() -> None:
    sidecar = container("log", resources=SMALL, restart_policy="Always")
    machine = Machine(pod(container(), init_containers=(container("first", resources=SMALL), sidecar)))
    machine.settle()
    machine.exit("first", 0)
    machine.settle()
    ask(machine, LARGE, "log")
    ask(machine, LARGE, "first")
    machine.settle()
    assert [action.container for action in resizes(machine)] == ["log"]
    assert machine.one("log").resources == LARGE


def test_a_container_that_does_not_run_gets_it_with_its_next_start() -> None:
    machine = running()
    machine.exit()
    machine.settle()
    machine.exit()
    machine.settle()
    ask(machine, LARGE)
    machine.settle()
    assert (machine.one().resources, resizes(machine)) == (LARGE, [])
    machine.after(60_000)
    assert [a.resources for a in machine.log if isinstance(a, act.CreateAndStart)][-1] == LARGE


@pytest.mark.parametrize(
    ("wanted", "reason", "message"),
    [
        ({"cpu": "4100m"}, "Infeasible", "Node didn't have enough capacity: cpu, requested: 4100, capacity: 4000"),
        (
            {"cpu": "5", "memory": "2Ki"},
            "Infeasible",
            (
                "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000, "
                "memory, requested: 2048, capacity: 1024"
            ),
        ),
        (
            {"cpu": "3"},
            "Deferred",
            "Node didn't have enough resource: cpu, requested: 3000, used: 1500, capacity: 4000",
        ),
        ({"cpu": "2"}, None, None),
    ],
)
def test_the_node_grants_what_it_has(wanted: dict[str, str], reason: str | None, message: str | None) -> None:
    asks = pod(container(resources=core.ResourceRequirements(requests=wanted)))
    other = pod(container(resources=core.ResourceRequirements(requests={"cpu": "1500m"})))
    refused = resizing.refusal(asks, [other], {"cpu": 4000, "memory": 1024, "pods": 10})
    assert (refused and refused.reason, refused and refused.message) == (reason, message)


def test_others_count_with_what_they_were_granted() -> None:
    machine = running()
    machine.resize = Rejection("Deferred", "no")
    ask(machine, LARGE)
    machine.settle()
    assert resizing.is_wanted(machine.spec.spec, machine.memory)
    assert resizing.as_granted(machine.spec, machine.memory).spec.containers[0].resources == SMALL
