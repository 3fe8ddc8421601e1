"""A node in values for the tests of `step`: builders for pods and observations, and a machine that obeys actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.containers import find, spec_hash
from nodeagent.lifecycle.memory import PodFailure, PodMemory
from nodeagent.lifecycle.observation import Failure, Observation, ProbeKind, Rejection, Result, Verdict
from nodeagent.lifecycle.pod import step
from nodeagent.runtime.values import ContainerState, PodRef, SandboxState, Status

NOW = 1_700_000_000_000
REF = PodRef(uid="u1", namespace="default", name="web")
IP = "10.1.0.7"
HOST_IP = "192.0.2.1"
IMAGE_ID = "sha256:aaaa"


def container(name: str = "app", **fields: Any) -> core.Container:
    """A container of the test image."""
    return core.Container(name=name, **{"image": "shop:1", "image_pull_policy": "IfNotPresent", **fields})


def pod(*containers: core.Container, **spec: Any) -> core.Pod:
    """A pod assigned to this node."""
    metadata = meta.ObjectMeta(name="web", namespace="default", uid="u1", generation=1)
    scratch = core.Volume(name="scratch", empty_dir=core.EmptyDirVolumeSource())
    wanted = {
        "restart_policy": "Always",
        "termination_grace_period_seconds": 30,
        "node_name": "n1",
        "volumes": (scratch,),
        **spec,
    }
    return core.Pod(
        metadata=metadata,
        spec=core.PodSpec(containers=containers or (container(),), **wanted),
        status=core.PodStatus(phase="Pending", qos_class="BestEffort"),
    )


def deleted(spec: core.Pod, grace_s: int = 30) -> core.Pod:
    """The pod as the control plane has it once somebody has deleted it."""
    metadata = replace(spec.metadata, deletion_timestamp="2023-11-14T22:13:50Z", deletion_grace_period_seconds=grace_s)
    return replace(spec, metadata=metadata)


def sandbox(attempt: int = 0, status: Status = Status.RUNNING) -> SandboxState:
    """A sandbox of the pod."""
    return SandboxState(id=f"s{attempt}", pod=REF, attempt=attempt, status=status, pid=100)


def instance(name: str = "app", attempt: int = 0, status: Status = Status.RUNNING, **fields: Any) -> ContainerState:
    """An instance of a container in the pod's first sandbox."""
    given = {
        "sandbox_id": "s0",
        "image_id": IMAGE_ID,
        "created_at_ms": NOW - 5000,
        "started_at_ms": NOW - 5000,
        "finished_at_ms": NOW - 1000 if status is Status.EXITED else 0,
        **fields,
    }
    return ContainerState(id=f"{name}-{attempt}", pod=REF, name=name, attempt=attempt, status=status, **given)


_NAMED = act.Stop | act.CreateAndStart | act.RemoveContainer | act.Kill | act.RunHook | act.Resize


def named(actions: Iterable[act.Action]) -> list[str]:
    """What is asked for, in short: names of operations and reasons of records; reports are left out."""
    found = []
    for action in actions:
        if isinstance(action, act.Record):
            found.append(f"!{action.reason}")
        elif isinstance(action, _NAMED):
            found.append(f"{type(action).__name__}:{action.container}")
        elif not isinstance(action, act.Report):
            found.append(type(action).__name__)
    return found


Fault = Callable[[act.Operation], Failure | None]


@dataclass
class Machine:
    """Obeys every action at once, unless a fault says otherwise or the operation is held; keeps its own clock."""

    spec: core.Pod
    now: int = NOW
    memory: PodMemory = field(default_factory=PodMemory)
    sandboxes: list[SandboxState] = field(default_factory=list)
    containers: list[ContainerState] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=lambda: {"shop:1": IMAGE_ID})
    registry: dict[str, str] = field(default_factory=dict)
    probes: dict[tuple[str, ProbeKind], Verdict] = field(default_factory=dict)
    held: Callable[[act.Operation], bool] = lambda _: False
    fault: Fault = lambda _: None
    wanted: bool = True
    served: bool = False
    rejection: Rejection | None = None
    ordered: PodFailure | None = None
    resize: Rejection | None = None
    objects: int = 0
    results: list[Result] = field(default_factory=list)
    waiting: list[act.Operation] = field(default_factory=list)
    log: list[act.Action] = field(default_factory=list)
    volumes: bool = False
    attached: bool = False
    gone: bool = False

    def seen(self) -> Observation:
        """What the agent sees now."""
        results, self.results = tuple(self.results), []
        return Observation(
            sandboxes=tuple(self.sandboxes),
            containers=tuple(self.containers),
            results=results,
            probes=self.probes,
            ip=IP if self.attached else "",
            host_ip=HOST_IP,
            objects=self.objects,
            rejection=self.rejection,
            ordered=self.ordered,
            resize=self.resize,
            wanted=self.wanted,
            served=self.served,
        )

    def once(self) -> tuple[act.Action, ...]:
        """One step; operations are obeyed afterwards."""
        self.memory, actions = step(self.spec, self.seen(), self.memory, self.now)
        self.log += actions
        kept = {pending.op for pending in self.memory.pending}
        self.waiting = [operation for operation in self.waiting if operation.op in kept]
        for action in actions:
            if isinstance(action, act.Operation):
                self.waiting.append(action)
            elif isinstance(action, act.Gone):
                self.gone = True
        self.obey()
        return actions

    def obey(self) -> None:
        """Carry out what is not held."""
        held = [operation for operation in self.waiting if self.held(operation)]
        ready = [operation for operation in self.waiting if operation not in held]
        self.waiting = held
        for operation in ready:
            failure = self.fault(operation)
            self.results.append(Result(op=operation.op, failure=failure) if failure else self._do(operation))

    def settle(self, limit: int = 60) -> list[str]:
        """Step until nothing more happens by itself; what was asked for on the way."""
        before = len(self.log)
        for _ in range(limit):
            actions = self.once()
            if not self.results and not any(isinstance(action, act.Operation) for action in actions):
                return named(self.log[before:])
        raise AssertionError(f"no rest: {named(self.log[before:])}\n" + "\n".join(self.memory.story))

    def after(self, ms: int) -> list[str]:
        """Let time pass, waking whenever the pod asked to be woken; what was asked for on the way."""
        before, until = len(self.log), self.now + ms
        self.settle()
        while self.memory.wake_at_ms is not None and self.memory.wake_at_ms <= until:
            self.now = max(self.memory.wake_at_ms, self.now + 1)
            self.settle()
        self.now = until
        self.settle()
        return named(self.log[before:])

    def restart_agent(self, memory: PodMemory | None = None) -> None:
        """The agent comes back with what its checkpoint kept."""
        self.memory = memory if memory is not None else PodMemory()
        self.waiting, self.results = [], []
        if self.status is not None:
            self.spec = replace(self.spec, status=self.status)

    def exit(self, name: str = "app", code: int = 1, **fields: Any) -> None:
        """The newest instance of a container ends."""
        newest = max((c for c in self.containers if c.name == name), key=lambda c: c.attempt)
        self._swap(newest, Status.EXITED, exit_code=code, finished_at_ms=self.now, **fields)

    @property
    def status(self) -> core.PodStatus | None:
        """The status that was reported last."""
        return next((a.status for a in reversed(self.log) if isinstance(a, act.Report)), None)

    def one(self, name: str = "app") -> core.ContainerStatus:
        """The reported status of a container."""
        assert self.status is not None
        status = self.status
        every = (*status.container_statuses, *status.init_container_statuses, *status.ephemeral_container_statuses)
        return next(item for item in every if item.name == name)

    def of_pull(self, name: str = "app") -> int:
        """The delay of a container's image back-off."""
        return self.memory.containers[name].pull.delay_ms

    def records(self, reason: str) -> list[str]:
        """The messages of the records of one reason."""
        return [a.message for a in self.log if isinstance(a, act.Record) and a.reason == reason]

    def condition(self, kind: str) -> core.PodCondition:
        """A reported condition."""
        assert self.status is not None
        return next(condition for condition in self.status.conditions if condition.type == kind)

    def _swap(self, old: ContainerState, status: Status, **changes: Any) -> None:
        fields = {name: getattr(old, name) for name in ContainerState.__slots__}
        self.containers[self.containers.index(old)] = ContainerState(**{**fields, "status": status, **changes})

    def _do(self, operation: act.Operation) -> Result:  # noqa: C901
        op = operation.op
        match operation:
            case act.SetupVolumes():
                self.volumes = True
            case act.TeardownVolumes():
                self.volumes = False
            case act.CreateSandbox(attempt=attempt):
                self.sandboxes = [s for s in self.sandboxes if s.attempt != attempt] + [sandbox(attempt)]
                self.attached = True
                return Result(op=op, ip=IP)
            case act.RemoveSandbox(sandbox_id=sandbox_id, detach=detach):
                self.sandboxes = [s for s in self.sandboxes if s.id != sandbox_id]
                self.attached = self.attached and not detach
            case act.InspectImage(image=image):
                return Result(op=op, image_id=self.images.get(image, ""))
            case act.PullImage(image=image):
                if image not in self.registry:
                    return Result(op=op, failure=Failure("ErrImagePull", f"manifest for {image} not found"))
                self.images[image] = self.registry[image]
                return Result(op=op, image_id=self.images[image], image_bytes=1234, took_ms=1500)
            case act.CreateAndStart():
                return self._start(operation)
            case act.Stop(container_id=cid) | act.Kill(container_id=cid):
                for state in [c for c in self.containers if c.id == cid and c.status is Status.RUNNING]:
                    code = 143 if isinstance(operation, act.Stop) else 137
                    self._swap(state, Status.EXITED, exit_code=code, finished_at_ms=self.now)
                    for other in [w for w in self.waiting if getattr(w, "container_id", "") == cid]:
                        self.waiting.remove(other)
                        self.results.append(Result(op=other.op))
            case act.RemoveContainer(container_id=cid):
                self.containers = [c for c in self.containers if c.id != cid]
        return Result(op=op)

    def _start(self, operation: act.CreateAndStart) -> Result:
        name, attempt = operation.container, operation.attempt
        live = [c for c in self.containers if c.name == name and c.status is Status.RUNNING]
        assert not live, f"a second live instance of {name}"
        spec = find(self.spec.spec, name)
        assert spec is not None
        self.containers = [c for c in self.containers if (c.name, c.attempt) != (name, attempt)]
        state = instance(
            name, attempt, sandbox_id=operation.sandbox_id, started_at_ms=self.now, spec_hash=spec_hash(spec)
        )
        self.containers.append(state)
        return Result(op=operation.op, container_id=state.id)
