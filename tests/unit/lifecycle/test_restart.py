"""Containers that end: restart policies, back-off, status of the crash loop, sandboxes that die, adoption."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.containers import (
    CRASH_FIRST_MS,
    CRASH_MAX_MS,
    crash_next,
    crash_wait_ms,
    duration,
    restarts,
)
from nodeagent.lifecycle.memory import Backoff, durable
from nodeagent.runtime.values import Status
from tests.unit.lifecycle.model import NOW, Machine, container, instance, pod, sandbox


def rules(operator: str, *codes: int) -> tuple[core.ContainerRestartRule, ...]:
    """A rule that restarts for these exit codes."""
    on = core.ContainerRestartRuleOnExitCodes(operator=operator, values=codes)
    return (core.ContainerRestartRule(action="Restart", exit_codes=on),)


@pytest.mark.parametrize(
    ("policy", "code", "init", "own", "again"),
    [
        pytest.param("Always", 0, False, {}, True, id="always-success"),
        pytest.param("Always", 1, False, {}, True, id="always-failure"),
        pytest.param("OnFailure", 0, False, {}, False, id="on-failure-success"),
        pytest.param("OnFailure", 1, False, {}, True, id="on-failure-failure"),
        pytest.param("Never", 0, False, {}, False, id="never-success"),
        pytest.param("Never", 137, False, {}, False, id="never-failure"),
        pytest.param("Always", 0, True, {}, False, id="init-success"),
        pytest.param("Always", 1, True, {}, True, id="init-failure"),
        pytest.param("OnFailure", 1, True, {}, True, id="init-on-failure"),
        pytest.param("Never", 1, True, {}, False, id="init-never"),
        pytest.param("Never", 0, True, {"restart_policy": "Always"}, True, id="sidecar-of-a-job"),
        pytest.param("Never", 1, False, {"restart_policy": "OnFailure"}, True, id="container-overrides-never"),
        pytest.param("Always", 1, False, {"restart_policy": "Never"}, False, id="container-overrides-always"),
        pytest.param("Never", 42, False, {"restart_policy_rules": rules("In", 42)}, True, id="rule-in"),
        pytest.param("Never", 1, False, {"restart_policy_rules": rules("In", 42)}, False, id="rule-not-met"),
        pytest.param("Never", 1, False, {"restart_policy_rules": rules("NotIn", 42)}, True, id="rule-not-in"),
    ],
)
def test_restart_policy(policy: str, code: int, init: bool, own: dict[str, object], again: bool) -> None:
    spec = core.PodSpec(restart_policy=policy)
    assert restarts(spec, container(**own), code, init=init) is again


def test_crash_backoff_doubles_to_its_limit_and_is_forgotten_after_ten_minutes() -> None:
    backoff, now, delays = Backoff(), NOW, []
    for _ in range(8):
        assert crash_wait_ms(backoff, now, now) == backoff.delay_ms
        now += backoff.delay_ms
        backoff = crash_next(backoff, now, now)
        delays.append(backoff.delay_ms)
    assert delays == [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]
    later = now + 2 * CRASH_MAX_MS + 1
    assert crash_wait_ms(backoff, later, later) == 0
    assert crash_next(backoff, later, later) == Backoff(CRASH_FIRST_MS, later)


def test_a_clock_that_was_set_back_does_not_hold_a_container_for_longer() -> None:
    assert crash_wait_ms(Backoff(10_000, NOW), NOW + 3_600_000, NOW) == 10_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0s"), (850, "850ms"), (1500, "1.5s"), (10_000, "10s"), (80_000, "1m20s"), (300_000, "5m0s"),
     (3_600_000, "1h0m0s"), (61_050, "1m1.05s")],
)  # fmt: skip
def test_durations_read_as_in_kubernetes(ms: int, text: str) -> None:
    assert duration(ms) == text


def test_the_first_end_is_answered_at_once_the_second_waits() -> None:
    machine = Machine(pod())
    machine.settle()
    machine.now += 60_000
    machine.exit(code=1)
    assert "CreateAndStart:app" in machine.settle()
    app = machine.one()
    assert app.restart_count == 1
    assert app.last_state.terminated is not None
    assert (app.last_state.terminated.reason, app.last_state.terminated.exit_code) == ("Error", 1)
    machine.now += 1_000
    machine.exit(code=1)
    assert machine.settle() == ["!BackOff"]
    app = machine.one()
    assert app.state.waiting == core.ContainerStateWaiting(
        reason="CrashLoopBackOff",
        message="back-off 10s restarting failed container=app pod=web_default(u1)",
    )
    assert app.last_state.terminated is not None
    assert app.last_state.terminated.container_id == "docker://app-1"
    assert machine.records("BackOff") == ["Back-off restarting failed container app in pod web_default(u1)"]
    assert machine.status is not None
    assert machine.status.phase == "Running"
    assert machine.condition("Ready").status == "False"
    assert machine.after(9_000) == []
    assert "CreateAndStart:app" in machine.after(1_500)
    assert machine.one().restart_count == 2


def test_a_container_in_a_crash_loop_is_shown_waiting_until_it_runs_again() -> None:
    machine = Machine(pod())
    machine.settle()
    machine.exit(code=1)
    machine.settle()
    machine.exit(code=1)
    machine.settle()
    before = len(machine.log)
    machine.after(10_500)
    states = [
        action.status.container_statuses[0].state for action in machine.log[before:] if isinstance(action, act.Report)
    ]
    assert [state.running is not None for state in states] == [True]


def test_one_container_in_a_crash_loop_does_not_hold_up_the_other() -> None:
    machine = Machine(pod(container("a"), container("b")))
    machine.settle()
    for _ in range(2):
        machine.exit("a")
        machine.settle()
    machine.exit("b")
    assert "CreateAndStart:b" in machine.settle()
    assert machine.one("a").state.waiting is not None


def test_the_instance_before_is_kept_for_its_logs_older_ones_go() -> None:
    machine = Machine(pod())
    machine.settle()
    for _ in range(3):
        machine.now += 700_000
        machine.exit()
        machine.settle()
    assert [c.attempt for c in machine.containers] == [2, 3]


@pytest.mark.parametrize(
    ("policy", "code", "phase", "reason"),
    [
        pytest.param("Never", 0, "Succeeded", "PodCompleted", id="never-success"),
        pytest.param("Never", 2, "Failed", "PodFailed", id="never-failure"),
        pytest.param("OnFailure", 0, "Succeeded", "PodCompleted", id="on-failure-success"),
    ],
)
def test_a_pod_that_is_over_rests(policy: str, code: int, phase: str, reason: str) -> None:
    machine = Machine(pod(restart_policy=policy))
    machine.settle()
    machine.exit(code=code)
    asked = machine.settle()
    assert asked == ["RemoveSandbox", "TeardownVolumes"]
    assert machine.status is not None
    assert machine.status.phase == phase
    assert machine.condition("Ready").reason == reason
    assert machine.status.pod_ip
    assert [c.name for c in machine.containers] == ["app"], "kept for its logs"
    assert machine.settle() == []


def test_a_completed_pod_waits_for_all_containers() -> None:
    machine = Machine(pod(container("a"), container("b"), restart_policy="Never"))
    machine.settle()
    machine.exit("a", 0)
    machine.settle()
    assert machine.status is not None
    assert machine.status.phase == "Running"
    assert machine.one("a").state.terminated is not None
    machine.exit("b", 0)
    machine.settle()
    assert machine.status.phase == "Succeeded"


def test_a_job_ends_its_sidecars() -> None:
    side = container("side", restart_policy="Always")
    machine = Machine(pod(init_containers=(side,), restart_policy="Never"))
    machine.settle()
    machine.exit("app", 0)
    assert "Stop:side" in machine.settle()
    assert machine.status is not None
    assert machine.status.phase == "Succeeded"


def test_out_of_memory_is_told() -> None:
    machine = Machine(pod(restart_policy="Never"))
    machine.settle()
    machine.exit(code=137, oom_killed=True)
    machine.settle()
    terminated = machine.one().state.terminated
    assert terminated is not None
    assert (terminated.reason, terminated.exit_code) == ("OOMKilled", 137)


def test_a_changed_image_replaces_the_container() -> None:
    machine = Machine(pod())
    machine.settle()
    machine.spec = pod(container(image="shop:2"))
    machine.images["shop:2"] = "sha256:c"
    machine.held = lambda op: isinstance(op, act.Stop)
    machine.settle()
    assert machine.one().image == "shop:1", "what still runs is the old one"
    machine.held = lambda _: False
    machine.obey()
    machine.settle()
    assert machine.records("Killing") == ["Container app definition changed, will be restarted"]
    assert (machine.one().restart_count, machine.one().image) == (1, "shop:2")
    assert machine.one().ready


def test_a_dead_sandbox_is_replaced_with_everything_in_it() -> None:
    machine = Machine(pod(init_containers=(container("one"),)))
    machine.settle()
    machine.exit("one", 0)
    machine.settle()
    machine.sandboxes = [sandbox(0, Status.EXITED)]
    machine.attached = False
    asked = machine.settle()
    assert asked.index("!SandboxChanged") < asked.index("CreateSandbox") < asked.index("CreateAndStart:one")
    assert "Stop:app" in asked
    machine.exit("one", 0)
    machine.settle()
    assert [s.attempt for s in machine.sandboxes] == [1]
    assert machine.one().restart_count == 1
    assert machine.one().ready


def test_a_pod_that_never_restarts_does_not_get_a_second_sandbox() -> None:
    machine = Machine(pod(restart_policy="Never"))
    machine.settle()
    machine.sandboxes = [sandbox(0, Status.EXITED)]
    machine.exit(code=255)
    asked = machine.settle()
    assert "CreateSandbox" not in asked
    assert machine.status is not None
    assert machine.status.phase == "Failed"


def test_a_container_that_vanished_is_started_again_under_the_next_number() -> None:
    machine = Machine(pod())
    machine.settle()
    machine.containers = []
    machine.settle()
    app = machine.one()
    assert app.restart_count == 1
    assert app.last_state.terminated is not None
    assert app.last_state.terminated.reason == "ContainerStatusUnknown"


def test_a_reboot_brings_the_pod_back_with_its_counts() -> None:
    machine = Machine(pod())
    machine.settle()
    kept = durable(machine.memory)
    machine.sandboxes = [sandbox(0, Status.EXITED)]
    machine.exit(code=255)
    machine.attached = False
    machine.restart_agent(kept)
    machine.settle()
    assert machine.one().restart_count == 1
    assert machine.one().ready
    assert [s.attempt for s in machine.sandboxes] == [1]


# ---------------------------------------------------------------------------------------------------- adoption


@pytest.mark.parametrize("remember", [True, False], ids=["with-checkpoint", "without-checkpoint"])
def test_a_new_agent_leaves_what_runs_alone(remember: bool) -> None:
    probe = core.Probe(period_seconds=10)
    machine = Machine(pod(container(readiness_probe=probe, startup_probe=probe)))
    machine.settle()
    machine.probes["app-0", "startup"] = machine.probes["app-0", "readiness"] = _passed()
    machine.settle()
    assert machine.condition("Ready").status == "True"
    told = machine.status
    machine.probes = {}
    machine.restart_agent(durable(machine.memory) if remember else None)
    machine.now += 5_000
    assert machine.settle() == ["SetupVolumes"], "volumes are looked after, nothing else is touched"
    assert machine.status == told, "nothing to report"


def _passed() -> object:
    from nodeagent.lifecycle.observation import Verdict

    return Verdict(True)


def test_a_new_agent_without_memory_goes_on_counting() -> None:
    machine = Machine(pod())
    machine.settle()
    machine.now += 60_000
    machine.exit()
    machine.settle()
    machine.restart_agent()
    machine.now += 60_000
    machine.exit()
    machine.settle()
    assert machine.one().restart_count == 2


def test_a_container_made_but_not_started_is_started_under_its_number() -> None:
    machine = Machine(pod(), sandboxes=[sandbox()], attached=True)
    machine.containers = [instance(status=Status.CREATED)]
    machine.settle()
    assert machine.one().restart_count == 0
    assert machine.one().ready


def test_a_completed_pod_is_not_run_again_by_a_new_agent() -> None:
    machine = Machine(pod(restart_policy="Never"))
    machine.settle()
    machine.exit(code=0)
    machine.settle()
    machine.restart_agent()
    machine.containers = []
    assert "CreateSandbox" not in machine.settle()
    assert machine.status is not None
    assert machine.status.phase == "Succeeded"


def test_an_unknown_container_is_waited_for() -> None:
    machine = Machine(pod(), sandboxes=[sandbox()], attached=True)
    machine.containers = [instance(status=Status.UNKNOWN)]
    asked = machine.settle()
    assert "CreateAndStart:app" not in asked
    assert machine.memory.wake_at_ms is not None


def test_strays_of_an_older_attempt_are_stopped() -> None:
    machine = Machine(pod(), sandboxes=[sandbox()], attached=True)
    machine.containers = [instance(attempt=0), instance(attempt=1)]
    assert "Stop:app" in machine.settle()
    assert [c.attempt for c in machine.containers if c.status is Status.RUNNING] == [1]


def test_a_deadline_fails_the_pod() -> None:
    machine = Machine(pod(active_deadline_seconds=60))
    machine.settle()
    assert machine.after(59_000) == []
    asked = machine.after(2_000)
    assert "Stop:app" in asked
    assert machine.status is not None
    assert (machine.status.phase, machine.status.reason) == ("Failed", "DeadlineExceeded")
    assert machine.status.message == "Pod was active on the node longer than the specified deadline"
    assert machine.one().state.terminated is not None


def test_conditions_of_others_stay_and_gates_count() -> None:
    spec = pod(readiness_gates=(core.PodReadinessGate(condition_type="example.com/lb"),))
    machine = Machine(spec)
    machine.settle()
    ready = machine.condition("Ready")
    assert (ready.status, ready.reason) == ("False", "ReadinessGatesNotReady")
    assert ready.message == 'corresponding condition of pod readiness gate "example.com/lb" does not exist.'
    foreign = core.PodCondition(type="example.com/lb", status="True")
    machine.spec = replace(spec, status=replace(spec.status, conditions=(foreign,)))
    machine.settle()
    assert machine.condition("Ready").status == "True"
    assert machine.condition("example.com/lb") == foreign


def test_a_transition_time_stays_while_the_status_does() -> None:
    machine = Machine(pod())
    machine.settle()
    since = machine.condition("PodScheduled").last_transition_time
    machine.now += 60_000
    machine.exit()
    machine.settle()
    assert machine.condition("PodScheduled").last_transition_time == since
