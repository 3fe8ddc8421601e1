"""One step in the making: the scratch pad that the deciding modules share while `step` runs, then thrown away.

It is mutable, but nobody outside `step` ever sees it. Its methods keep the few rules that hold everywhere: one
operation in flight per lane, every operation numbered and remembered, the story bounded.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant
from nodeagent.lifecycle.actions import Action, AnyOperation, Record
from nodeagent.lifecycle.memory import STORY_MAX, ContainerMemory, Pending, PodMemory
from nodeagent.lifecycle.observation import Observation
from nodeagent.runtime.values import ContainerState, SandboxState, Status

POD_LANE = ""


class IllegalTransition(Exception):
    """Something happened to a pod that no rule allows; a mistake of the program. Carries the pod's recent story."""

    def __init__(self, turn: Turn, what: str) -> None:
        pod = turn.pod.metadata
        lines = "\n  ".join(turn.story) or "nothing"
        super().__init__(f"pod {pod.namespace}/{pod.name} ({pod.uid}): {what}\nbefore that:\n  {lines}")


class Turn:
    """The inputs of one step and what has been decided so far."""

    def __init__(self, pod: core.Pod, seen: Observation, memory: PodMemory, now: Instant) -> None:
        self.pod = pod
        self.spec = pod.spec
        self.seen = seen
        self.now = now
        self.memory = memory
        self.containers: dict[str, ContainerMemory] = dict(memory.containers)
        self.pending: list[Pending] = list(memory.pending)
        self.story: list[str] = list(memory.story)
        self.actions: list[Action] = []
        self.wake_at_ms: int | None = None
        self.current: dict[str, ContainerState] = {}
        """The newest instance of each container."""
        self.strays: list[ContainerState] = []
        """Every older instance."""
        self.sandbox: SandboxState | None = None
        self._sort_out()

    def _sort_out(self) -> None:
        for state in self.seen.containers:
            newest = self.current.get(state.name)
            if newest is None or state.attempt >= newest.attempt:
                self.current[state.name] = state
                if newest is not None:
                    self.strays.append(newest)
            else:
                self.strays.append(state)
        if self.seen.sandboxes:
            self.sandbox = max(self.seen.sandboxes, key=lambda sandbox: sandbox.attempt)

    # memory

    def of(self, name: str) -> ContainerMemory:
        """What is remembered of one container."""
        found = self.containers.get(name)
        return ContainerMemory() if found is None else found

    def note(self, name: str, **changes: Any) -> ContainerMemory:
        """Change what is remembered of one container."""
        changed = replace(self.of(name), **changes)
        self.containers[name] = changed
        return changed

    def change(self, **changes: Any) -> None:
        """Change what is remembered of the pod."""
        self.memory = replace(self.memory, **changes)

    def tell(self, line: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{self.now} {line}")

    def wake(self, at_ms: int) -> None:
        """Ask for another step at this time at the latest."""
        at_ms = max(at_ms, self.now + 1)
        if self.wake_at_ms is None or at_ms < self.wake_at_ms:
            self.wake_at_ms = at_ms

    # operations

    def busy(self, lane: str = POD_LANE) -> bool:
        """Whether an operation of this lane is in flight."""
        return any(pending.lane == lane for pending in self.pending)

    def in_flight(self, work: str, container_id: str = "") -> Pending | None:
        """The operation of this name in flight, for this container where one is given."""
        for pending in self.pending:
            if pending.work == work and container_id in ("", pending.container_id):
                return pending
        return None

    def abandon(self, *works: str) -> None:
        """Forget operations of these names: the driver cancels what nobody waits for."""
        self.pending = [pending for pending in self.pending if pending.work not in works]

    def abandon_hooks(self) -> None:
        """Forget every `postStart` in flight."""
        self.pending = [pending for pending in self.pending if pending.work != "RunHook" or pending.lane]

    @property
    def next_op(self) -> int:
        """The number for the next operation."""
        return self.memory.next_op

    def begin(self, action: AnyOperation, lane: str = POD_LANE, until_ms: int = 0) -> None:
        """Start an operation; its lane must be free. `until_ms`: when it ends by itself at the latest, if planned."""
        work = type(action).__name__
        if action.op != self.memory.next_op or self.busy(lane):
            raise IllegalTransition(self, f"{work} #{action.op} while lane {lane!r} is busy")
        container = getattr(action, "container", "")
        container_id = getattr(action, "container_id", "")
        image = getattr(action, "image", "")
        self.pending.append(Pending(action.op, work, lane, container, container_id, image, self.now, until_ms))
        self.change(next_op=action.op + 1)
        self.actions.append(action)
        self.tell(f"{work} {container} #{action.op}")

    def record(self, kind: Literal["Normal", "Warning"], reason: str, message: str, container: str = "") -> None:
        """Tell people what happened."""
        path = f"spec.{self._list_of(container)}{{{container}}}" if container else ""
        self.actions.append(Record(kind, reason, message, path))
        self.tell(f"{reason}: {message[:80]}")

    def _list_of(self, name: str) -> str:
        if any(container.name == name for container in self.spec.init_containers):
            return "initContainers"
        if any(container.name == name for container in self.spec.ephemeral_containers):
            return "ephemeralContainers"
        return "containers"

    # the pod

    @property
    def name(self) -> str:
        """The pod as kubelet's messages write it."""
        meta = self.pod.metadata
        return f"{meta.name}_{meta.namespace}({meta.uid})"

    def alive(self) -> list[ContainerState]:
        """Every instance that is running, the newest of each container first."""
        return [state for state in (*self.current.values(), *self.strays) if state.status is Status.RUNNING]

    def finish(self) -> tuple[PodMemory, tuple[Action, ...]]:
        """The step's answer."""
        memory = replace(
            self.memory,
            containers=self.containers,
            pending=tuple(self.pending),
            wake_at_ms=self.wake_at_ms,
            story=tuple(self.story[-STORY_MAX:]),
        )
        return memory, tuple(self.actions)
