"""The container runtime of a modelled node: what the lifecycle's operations do to it, and how long they take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from mizzen.api.types import core_v1
from mizzen.engine.values import Instant
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.containers import find, spec_hash
from nodeagent.lifecycle.observation import Failure, Result
from nodeagent.runtime.values import ContainerState, PodRef, SandboxState, Status

S = TypeVar("S", SandboxState, ContainerState)
DURATION_MS: dict[type[act.Operation], int] = {
    act.SetupVolumes: 5,
    act.TeardownVolumes: 5,
    act.CreateSandbox: 120,
    act.RemoveSandbox: 60,
    act.InspectImage: 3,
    act.PullImage: 1500,
    act.CreateAndStart: 90,
    act.Resize: 20,
    act.RunHook: 20,
    act.Stop: 150,
    act.Kill: 20,
    act.RemoveContainer: 30,
}
KILLED = 137
STOPPED = 143


@dataclass
class ModelRuntime:
    """Sandboxes and containers of one machine; they outlive its agent, and end with its power."""

    images: set[str] | None
    """What can be pulled; None: everything is there already."""
    slow_images: dict[str, int] = field(default_factory=dict)
    """Milliseconds that a pull takes, where not as usual."""
    local: set[str] = field(default_factory=set)
    sandboxes: dict[str, SandboxState] = field(default_factory=dict)
    containers: dict[str, ContainerState] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    """By pod uid."""
    attached: int = 0
    changes: int = 0
    """Rises whenever a container comes, ends or goes."""

    def duration_ms(self, operation: act.Operation) -> int:
        """How long an operation takes."""
        if isinstance(operation, act.PullImage):
            return self.slow_images.get(operation.image, DURATION_MS[act.PullImage])
        return DURATION_MS[type(operation)]

    def do(self, pod: core_v1.Pod, operation: act.Operation, now: Instant) -> Result:
        """Carries an operation out."""
        uid, op = pod.metadata.uid, operation.op
        match operation:
            case act.CreateSandbox():
                return Result(op=op, ip=self._sandbox(pod, operation.attempt, now))
            case act.RemoveSandbox():
                self.sandboxes.pop(operation.sandbox_id, None)
                if operation.detach:
                    self.addresses.pop(uid, None)
            case act.InspectImage():
                found = self.images is None or operation.image in self.local
                return Result(op=op, image_id=f"sha256:{operation.image}" if found else "")
            case act.PullImage():
                if self.images is not None and operation.image not in self.images:
                    why = f"manifest for {operation.image} not found"
                    return Result(op=op, failure=Failure("ErrImagePull", why))
                self.local.add(operation.image)
                return Result(op=op, image_id=f"sha256:{operation.image}")
            case act.CreateAndStart():
                return self._start(pod, operation, now)
            case act.Stop() | act.Kill():
                code = STOPPED if isinstance(operation, act.Stop) else KILLED
                self.end(operation.container_id, code, now)
            case act.RemoveContainer():
                self.containers.pop(operation.container_id, None)
                self.changes += 1
        return Result(op=op)

    def _sandbox(self, pod: core_v1.Pod, attempt: int, now: Instant) -> str:
        ref = _ref(pod)
        name = f"{ref.uid}/s{attempt}"
        if name not in self.sandboxes:
            self.sandboxes[name] = SandboxState(
                id=name, pod=ref, attempt=attempt, status=Status.RUNNING, pid=1, created_at_ms=now, started_at_ms=now
            )
        if ref.uid not in self.addresses:
            self.attached += 1
            self.addresses[ref.uid] = f"10.244.0.{self.attached}"
        return self.addresses[ref.uid]

    def _start(self, pod: core_v1.Pod, operation: act.CreateAndStart, now: Instant) -> Result:
        ref, name = _ref(pod), operation.container
        if operation.sandbox_id not in self.sandboxes:
            return Result(op=operation.op, failure=Failure("RunContainerError", "its sandbox is gone"))
        spec = find(pod.spec, name)
        assert spec is not None, f"pod {ref.name} has no container {name}"
        identity = f"{ref.uid}/{name}/{operation.attempt}"
        self.changes += 1
        self.containers[identity] = ContainerState(
            id=identity,
            pod=ref,
            name=name,
            attempt=operation.attempt,
            status=Status.RUNNING,
            sandbox_id=operation.sandbox_id,
            spec_hash=spec_hash(spec),
            image=spec.image,
            image_id=operation.image,
            pid=1,
            created_at_ms=now,
            started_at_ms=now,
        )
        return Result(op=operation.op, container_id=identity)

    def adopt(self, pod: core_v1.Pod, now: Instant) -> None:
        """What the status of a real pod says is running, runs here too."""
        running = [s for s in pod.status.container_statuses if s.state.running is not None]
        if not running:
            return
        self._sandbox(pod, 0, now)
        self.addresses[pod.metadata.uid] = pod.status.pod_ip or self.addresses[pod.metadata.uid]
        for status in running:
            operation = act.CreateAndStart(
                op=0,
                container=status.name,
                attempt=status.restart_count,
                sandbox_id=f"{pod.metadata.uid}/s0",
                image=status.image_id,
                resources=status.resources or core_v1.ResourceRequirements(),
            )
            self._start(pod, operation, now)

    def end(self, container_id: str, code: int, now: Instant) -> None:
        """A container's process ends."""
        found = self.containers.get(container_id)
        if found is not None and found.status is Status.RUNNING:
            self.changes += 1
            self.containers[container_id] = replace(
                found, status=Status.EXITED, exit_code=code, finished_at_ms=now, pid=0
            )

    def power_off(self, now: Instant) -> None:
        """Everything ends at once; addresses are lost."""
        for identity in list(self.containers):
            self.end(identity, KILLED, now)
        self.sandboxes = {i: replace(s, status=Status.EXITED, pid=0) for i, s in self.sandboxes.items()}
        self.addresses.clear()

    def of(self, uid: str) -> tuple[tuple[SandboxState, ...], tuple[ContainerState, ...]]:
        """What there is of a pod, in order."""
        return _sorted(self.sandboxes, uid), _sorted(self.containers, uid)

    def uids(self) -> list[str]:
        """The pods that anything is there of."""
        held = {state.pod.uid for state in self.sandboxes.values()}
        return sorted(held | {state.pod.uid for state in self.containers.values()})


def _sorted(states: dict[str, S], uid: str) -> tuple[S, ...]:
    own = [state for state in states.values() if state.pod.uid == uid]
    return tuple(sorted(own, key=lambda state: (state.attempt, state.id)))


def _ref(pod: core_v1.Pod) -> PodRef:
    return PodRef(uid=pod.metadata.uid, namespace=pod.metadata.namespace, name=pod.metadata.name)
