"""Looking into a pod: ephemeral containers are started once, beside whatever the pod is doing."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.logs import chosen_container
from nodeagent.lifecycle.memory import durable
from nodeagent.lifecycle.observation import Failure
from nodeagent.runtime.values import Status
from tests.unit.lifecycle.model import Machine, container, pod, sandbox


def look_into(machine: Machine, name: str = "debugger", **fields: Any) -> None:
    """Somebody adds an ephemeral container."""
    added = core.EphemeralContainer(name=name, **{"image": "shop:1", "image_pull_policy": "IfNotPresent", **fields})
    spec = replace(machine.spec.spec, ephemeral_containers=(*machine.spec.spec.ephemeral_containers, added))
    metadata = replace(machine.spec.metadata, generation=machine.spec.metadata.generation + 1)
    machine.spec = replace(machine.spec, spec=spec, metadata=metadata)


def starts(machine: Machine, name: str = "debugger") -> list[act.CreateAndStart]:
    """The starts of a container."""
    return [a for a in machine.log if isinstance(a, act.CreateAndStart) and a.container == name]


def test_it_starts_beside_what_runs_and_is_shown_by_itself() -> None:
    machine = Machine(pod())
    machine.settle()
    look_into(machine)
    assert machine.settle() == ["InspectImage", "!Pulled", "CreateAndStart:debugger", "!Created", "!Started"]
    status = machine.status
    assert status is not None
    (shown,) = status.ephemeral_container_statuses
    assert shown.state.running is not None
    assert (shown.ready, shown.started, shown.restart_count) == (False, None, 0)
    assert shown.resources == core.ResourceRequirements()
    assert [s.name for s in status.container_statuses] == ["app"]
    assert (status.phase, machine.condition("Ready").status, status.observed_generation) == ("Running", "True", 2)
    paths = [a.field_path for a in machine.log if isinstance(a, act.Record) and a.reason == "Started"]
    assert paths == ["spec.containers{app}", "spec.ephemeralContainers{debugger}"]


@pytest.mark.parametrize("code", [0, 1])
def test_it_is_never_started_again(code: int) -> None:
    machine = Machine(pod())
    look_into(machine)
    machine.settle()
    machine.exit("debugger", code)
    machine.after(600_000)
    machine.restart_agent(durable(machine.memory))
    machine.after(600_000)
    machine.restart_agent()
    machine.after(600_000)
    assert len(starts(machine)) == 1
    ended = machine.one("debugger").state.terminated
    assert ended is not None
    assert ended.exit_code == code
    assert machine.status is not None
    assert machine.status.phase == "Running"


def test_it_does_not_wait_for_init_containers() -> None:
    machine = Machine(pod(init_containers=(container("one"),)))
    machine.settle()
    look_into(machine)
    machine.settle()
    assert machine.one("debugger").state.running is not None
    assert machine.one("app").state.waiting == core.ContainerStateWaiting(reason="PodInitializing")


def test_an_image_that_it_cannot_have_holds_up_nobody_else() -> None:
    machine = Machine(pod())
    look_into(machine, image="nowhere:1")
    machine.after(1000)
    assert machine.one("app").state.running is not None
    waiting = machine.one("debugger").state.waiting
    assert waiting is not None
    assert waiting.reason == "ErrImagePull"


def test_it_is_told_whose_processes_to_see() -> None:
    machine = Machine(pod())
    look_into(machine, target_container_name="app")
    machine.settle()
    assert [start.target_id for start in starts(machine)] == ["app-0"]
    assert [start.target_id for start in starts(machine, "app")] == [""]


def test_without_its_target_it_waits_and_says_so_once() -> None:
    machine = Machine(pod(), fault=lambda op: Failure("CreateContainerError", "no") if _is_app(op) else None)
    look_into(machine, target_container_name="app")
    machine.after(60_000)
    assert machine.one("debugger").state.waiting == core.ContainerStateWaiting(
        reason="CreateContainerConfigError", message="unable to find target container app"
    )
    assert machine.records("Failed").count("Error: unable to find target container app") == 1
    machine.fault = lambda _: None
    machine.after(60_000)
    assert machine.one("debugger").state.running is not None


def _is_app(operation: act.Operation) -> bool:
    return isinstance(operation, act.CreateAndStart) and operation.container == "app"


def test_it_ends_with_the_pod() -> None:
    machine = Machine(pod(restart_policy="Never"))
    look_into(machine)
    machine.settle()
    machine.exit("app", 0)
    machine.settle()
    assert machine.status is not None
    assert machine.status.phase == "Succeeded"
    assert machine.one("debugger").state.terminated is not None
    assert not [c for c in machine.containers if c.status is Status.RUNNING]


def test_it_does_not_come_back_with_a_new_sandbox() -> None:
    machine = Machine(pod())
    look_into(machine)
    machine.settle()
    machine.sandboxes = [sandbox(0, Status.EXITED)]
    machine.after(60_000)
    assert len(starts(machine, "app")) == 2
    assert len(starts(machine)) == 1


def test_it_can_be_asked_for_by_name() -> None:
    machine = Machine(pod())
    look_into(machine)
    assert chosen_container(machine.spec, "debugger") == "debugger"
    assert chosen_container(machine.spec, "") == "app"
