"""New resources for a pod that runs: the node grants them or not, and then gives them to each container.

Three sets of resources belong to a container: what its spec asks for, what the node has granted (`allocated`), and
what its running instance has (`actual`). A grant is for the pod as a whole. Each container is then given its part in
place, or ended and started anew where its `resizePolicy` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from mizzen.api import resources
from mizzen.api.edit import each, edited
from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.actions import Resize
from nodeagent.lifecycle.admit import no_room
from nodeagent.lifecycle.containers import Stage, is_sidecar, stage_of
from nodeagent.lifecycle.memory import ContainerMemory, Held, PodMemory, Resizing
from nodeagent.lifecycle.observation import Rejection
from nodeagent.lifecycle.specs import limits
from nodeagent.lifecycle.turn import Turn
from nodeagent.runtime.values import ContainerState

DEFERRED = "Deferred"
INFEASIBLE = "Infeasible"
DEFERRED_RETRY_MS = 5_000
"""How often it is looked whether there is room by now."""
ERROR_RETRY_MS = 10_000

_CHANGED = (resources.CPU, resources.MEMORY)


def is_wanted(spec: core.PodSpec, memory: PodMemory) -> bool:
    """Whether a pod asks for other resources than it has been granted."""
    return any(_granted(memory, container) != container.resources for container in _resizable(spec))


def as_granted(pod: core.Pod, memory: PodMemory) -> core.Pod:
    """The pod with the resources that it has been granted."""

    def granted(container: core.Container) -> core.Container:
        return edited(container, resources=_granted(memory, container))

    spec = edited(
        pod.spec,
        containers=each(pod.spec.containers, granted),
        init_containers=each(pod.spec.init_containers, granted),
    )
    return edited(pod, spec=spec)


def refusal(pod: core.Pod, others: Iterable[core.Pod], allocatable: Mapping[str, int]) -> Rejection | None:
    """Why the node does not grant what a pod asks for, beside the others as they are granted; None when it does."""
    wanted = resources.pod_requests(pod.spec)
    too_much = [
        f"{name}, requested: {wanted[name]}, capacity: {allocatable.get(name, 0)}"
        for name in _CHANGED
        if wanted.get(name, 0) > allocatable.get(name, 0)
    ]
    if too_much:
        return Rejection(INFEASIBLE, f"Node didn't have enough capacity: {', '.join(too_much)}")
    refused = no_room(pod, tuple(others), allocatable)
    return None if refused is None else Rejection(DEFERRED, refused.message)


def resize(turn: Turn) -> None:
    """Take in what the node says to new resources, and begin to give containers what they have been granted."""
    _grant(turn)
    for container in _resizable(turn.spec):
        if _lacks(turn, container):
            _give(turn, container)
    lacking = any(_lacks(turn, container) for container in _resizable(turn.spec))
    if lacking and turn.memory.resizing is None:
        turn.change(resizing=Resizing(turn.pod.metadata.generation))
    elif not lacking and turn.memory.resizing is not None:
        _record(turn, "Normal", "ResizeCompleted", "Pod resize completed", turn.memory.resizing.generation)
        turn.change(resizing=None)


def failed(turn: Turn, message: str) -> None:
    """A container could not be given what it was granted; it is tried again after a while."""
    before = turn.memory.resizing or Resizing(turn.pod.metadata.generation)
    if before.error != message:
        _record(turn, "Warning", "ResizeError", "Pod resize error", before.generation, message)
    turn.change(resizing=replace(before, error=message, retry_at_ms=turn.now + ERROR_RETRY_MS))


def _resizable(spec: core.PodSpec) -> Iterator[core.Container]:
    for container in spec.init_containers:
        if is_sidecar(container):
            yield container
    yield from spec.containers


def _granted(memory: PodMemory, container: core.Container) -> core.ResourceRequirements:
    known = memory.containers.get(container.name)
    return container.resources if known is None or known.allocated is None else known.allocated


def _grant(turn: Turn) -> None:
    generation = turn.pod.metadata.generation
    changed = [c for c in _resizable(turn.spec) if turn.of(c.name).allocated != c.resources]
    refused = turn.seen.resize
    if changed and refused is not None:
        if turn.memory.held != (held := Held(refused.reason, refused.message, generation)):
            turn.change(held=held)
            text = f"Pod resize {refused.reason}"
            _record(turn, "Warning", f"Resize{refused.reason}", text, generation, refused.message)
        if refused.reason == DEFERRED:
            turn.wake(turn.now + DEFERRED_RETRY_MS)
        return
    turn.change(held=None)
    if not changed or turn.in_flight("CreateAndStart"):
        # What is being started has been granted what it had a moment ago.
        return
    for container in changed:
        turn.note(container.name, allocated=container.resources)
    turn.change(resizing=Resizing(generation))
    _record(turn, "Normal", "ResizeStarted", "Pod resize started", generation)


def _lacks(turn: Turn, container: core.Container) -> bool:
    """Whether the running instance has other resources than the container has been granted."""
    memory = turn.of(container.name)
    if memory.renew:
        return True
    running = stage_of(memory, turn.current.get(container.name)) is Stage.RUNNING
    return running and memory.actual is not None and memory.actual != memory.allocated


def _give(turn: Turn, container: core.Container) -> None:
    memory, state = turn.of(container.name), turn.current.get(container.name)
    actual, allocated = memory.actual, memory.allocated
    if memory.renew or memory.end_by_ms or memory.applying or state is None or actual is None or allocated is None:
        return
    changed = [name for name in _CHANGED if _of(name, actual) != _of(name, allocated)]
    policies = {policy.resource_name: policy.restart_policy for policy in container.resize_policy}
    if any(policies.get(name) == "RestartContainer" for name in changed):
        turn.note(container.name, renew=True)
    elif limits(actual) == limits(allocated):
        turn.note(container.name, actual=allocated)
    else:
        _change(turn, container, memory, state)


def _change(turn: Turn, container: core.Container, memory: ContainerMemory, state: ContainerState) -> None:
    retry_at_ms = turn.memory.resizing.retry_at_ms if turn.memory.resizing is not None else 0
    if turn.now < retry_at_ms:
        turn.wake(retry_at_ms)
    elif memory.allocated is not None and not turn.busy(state.id):
        turn.note(container.name, applying=memory.allocated)
        bounds = limits(memory.allocated)
        turn.begin(
            Resize(op=turn.next_op, container=container.name, container_id=state.id, limits=bounds), lane=state.id
        )


def _of(name: str, wanted: core.ResourceRequirements) -> tuple[int | None, int | None]:
    """What is asked for of one resource: the least and the most."""
    least, most = wanted.requests.get(name), wanted.limits.get(name)
    return (
        None if least is None else resources.amount(name, least),
        None if most is None else resources.amount(name, most),
    )


def _record(turn: Turn, kind: str, reason: str, text: str, generation: int, error: str = "") -> None:
    about = {
        "containers": [{"name": c.name, "resources": c.resources} for c in _resizable(turn.spec)],
        "generation": generation,
    }
    if error:
        about["error"] = error
    said = msgspec.json.encode(about).decode()
    turn.record("Warning" if kind == "Warning" else "Normal", reason, f"{text}: {said}")
