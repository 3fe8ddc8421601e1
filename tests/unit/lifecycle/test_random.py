"""Whatever happens to a pod, in whatever order: what must hold all the time, and that a deleted pod ends."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.memory import durable
from nodeagent.lifecycle.observation import Failure, Verdict
from nodeagent.runtime.values import Status
from tests.unit.lifecycle.model import Machine, container, deleted, instance, pod, sandbox

WORKS = tuple(act.Operation.__subclasses__())
NAMES = ("app", "b", "one", "side")

event = st.one_of(
    st.tuples(st.just("exit"), st.sampled_from(NAMES), st.sampled_from((0, 1, 137))),
    st.tuples(st.just("pass"), st.sampled_from((1, 500, 3_000, 15_000, 700_000, -5_000)), st.just(0)),
    st.tuples(st.just("hold"), st.sampled_from(range(len(WORKS))), st.just(0)),
    st.tuples(st.just("fail"), st.sampled_from(range(len(WORKS))), st.sampled_from((0, 1))),
    st.tuples(st.just("calm"), st.just(0), st.just(0)),
    st.tuples(st.just("step"), st.just(0), st.just(0)),
    st.tuples(st.just("settle"), st.just(0), st.just(0)),
    st.tuples(st.just("restart"), st.booleans(), st.just(0)),
    st.tuples(st.just("sandbox"), st.just(0), st.just(0)),
    st.tuples(st.just("vanish"), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("reboot"), st.just(0), st.just(0)),
    st.tuples(st.just("probe"), st.sampled_from(("startup", "liveness", "readiness")), st.sampled_from((0, 1))),
    st.tuples(st.just("objects"), st.just(0), st.just(0)),
    st.tuples(st.just("image"), st.sampled_from(("shop:1", "shop:2")), st.just(0)),
)


def build(policy: str, *, init: bool, probed: bool) -> core.Pod:
    """One of the pods that things happen to."""
    probe = core.Probe(period_seconds=1) if probed else None
    inits = (container("side", restart_policy="Always"), container("one")) if init else ()
    app = container(liveness_probe=probe, readiness_probe=probe, startup_probe=probe)
    return pod(app, container("b"), restart_policy=policy, init_containers=inits)


class Story:
    """Plays events on a machine and checks what must hold after each."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.counts: dict[str, int] = {}
        self.checked = 0
        self.last: core.PodStatus | None = None

    def play(self, what: str, arg: object, more: int) -> None:
        """One event."""
        handler: Callable[[object, int], None] = getattr(self, f"on_{what}")
        handler(arg, more)
        self.check()

    def check(self) -> None:
        """What must hold at any time."""
        machine = self.machine
        lanes = [pending.lane for pending in machine.memory.pending]
        assert len(lanes) == len(set(lanes)), "two operations in one lane"
        for action in machine.log[self.checked :]:
            if isinstance(action, act.Report):
                assert action.status != self.last, "a report without news"
                self.last = action.status
                for status in (*action.status.container_statuses, *action.status.init_container_statuses):
                    assert status.restart_count >= self.counts.get(status.name, 0), "restart counts never go back"
                    self.counts[status.name] = status.restart_count
        self.checked = len(machine.log)

    def on_exit(self, name: object, code: int) -> None:
        live = [c for c in self.machine.containers if c.name == name and c.status is Status.RUNNING]
        if live:
            self.machine.exit(str(name), code)

    def on_pass(self, ms: object, _: int) -> None:
        assert isinstance(ms, int)
        self.machine.now += ms
        self.machine.once()

    def on_hold(self, which: object, _: int) -> None:
        assert isinstance(which, int)
        self.machine.held = lambda op: isinstance(op, WORKS[which])

    def on_fail(self, which: object, away: int) -> None:
        assert isinstance(which, int)
        failure = Failure("RuntimeUnavailable" if away else "RunContainerError", "no")
        self.machine.fault = lambda op: failure if isinstance(op, WORKS[which]) else None

    def on_calm(self, _: object, __: int) -> None:
        self.machine.held = lambda _: False
        self.machine.fault = lambda _: None
        self.machine.obey()

    def on_step(self, _: object, __: int) -> None:
        self.machine.once()

    def on_settle(self, _: object, __: int) -> None:
        self.machine.settle()

    def on_restart(self, remember: object, _: int) -> None:
        if self.machine.status is not None:
            self.machine.restart_agent(durable(self.machine.memory) if remember else None)
            self.last = self.machine.spec.status

    def on_sandbox(self, _: object, __: int) -> None:
        self.machine.sandboxes = [sandbox(s.attempt, Status.EXITED) for s in self.machine.sandboxes]
        self.machine.attached = False

    def on_vanish(self, name: object, _: int) -> None:
        self.machine.containers = [c for c in self.machine.containers if c.name != name]

    def on_reboot(self, _: object, __: int) -> None:
        self.on_sandbox(0, 0)
        for live in [c for c in self.machine.containers if c.status is Status.RUNNING]:
            self.machine.containers.remove(live)
            self.machine.containers.append(
                instance(
                    live.name, live.attempt, Status.EXITED, exit_code=255, sandbox_id=live.sandbox_id,
                    finished_at_ms=self.machine.now,
                )
            )  # fmt: skip
        self.on_restart(True, 0)

    def on_probe(self, kind: object, ok: int) -> None:
        for live in [c for c in self.machine.containers if c.name == "app" and c.status is Status.RUNNING]:
            self.machine.probes[live.id, kind] = Verdict(bool(ok), 3 * (1 - ok), "failed: no")  # type: ignore[index]

    def on_objects(self, _: object, __: int) -> None:
        self.machine.objects += 1

    def on_image(self, image: object, _: int) -> None:
        app, *others = self.machine.spec.spec.containers
        changed = container(
            image=image, liveness_probe=app.liveness_probe, readiness_probe=app.readiness_probe,
            startup_probe=app.startup_probe,
        )  # fmt: skip
        self.machine.images["shop:2"] = "sha256:c"
        spec = self.machine.spec
        inits, policy = spec.spec.init_containers, spec.spec.restart_policy
        fresh = pod(changed, *others, init_containers=inits, restart_policy=policy)
        self.machine.spec = core.Pod(metadata=spec.metadata, spec=fresh.spec, status=spec.status)


@settings(max_examples=150, deadline=None)
@given(
    policy=st.sampled_from(("Always", "OnFailure", "Never")),
    init=st.booleans(),
    probed=st.booleans(),
    events=st.lists(event, max_size=25),
    forced=st.booleans(),
)
def test_whatever_happens(
    policy: str, init: bool, probed: bool, events: list[tuple[str, object, int]], forced: bool
) -> None:
    machine = Machine(build(policy, init=init, probed=probed))
    story = Story(machine)
    story.play("settle", 0, 0)
    for what, arg, more in events:
        story.play(what, arg, more)
    story.play("calm", 0, 0)
    if forced:
        machine.wanted = False
    else:
        machine.spec = deleted(machine.spec)
    for _ in range(5):
        machine.after(120_000)
        story.check()
    assert machine.gone, "\n".join(machine.memory.story)
    assert (machine.containers, machine.sandboxes, machine.volumes) == ([], [], False)
