"""The end of pods: order, hooks, grace, force, what stays behind (nothing), and probes that end a container."""

from __future__ import annotations

import pytest

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.memory import durable
from nodeagent.lifecycle.observation import Failure, Verdict
from nodeagent.lifecycle.pod import step
from nodeagent.lifecycle.turn import IllegalTransition, Turn
from nodeagent.runtime.values import Status
from tests.unit.lifecycle.model import NOW, Machine, container, deleted, instance, pod, sandbox


def running(*containers: core.Container, **spec: object) -> Machine:
    """A machine with the pod up."""
    machine = Machine(pod(*containers, **spec))
    machine.settle()
    return machine


def stops(machine: Machine) -> list[tuple[str, int]]:
    """Which containers were asked to stop, with their grace."""
    return [(a.container, a.grace_s) for a in machine.log if isinstance(a, act.Stop)]


def pre_stop(name: str = "app") -> core.Container:
    """A container with a `preStop`."""
    handler = core.LifecycleHandler(exec=core.ExecAction(command=("bye",)))
    return container(name, lifecycle=core.Lifecycle(pre_stop=handler))


def test_a_deleted_pod_leaves_nothing_and_says_so_last() -> None:
    machine = running()
    machine.spec = deleted(machine.spec)
    asked = machine.settle()
    assert asked == ["!Killing", "Stop:app", "RemoveContainer:app", "RemoveSandbox", "TeardownVolumes", "Gone"]
    assert stops(machine) == [("app", 30)]
    assert (machine.containers, machine.sandboxes, machine.volumes, machine.attached) == ([], [], False, False)
    assert machine.records("Killing") == ["Stopping container app"]
    assert machine.status is not None
    assert machine.status.phase == "Failed", "143 is no success"
    assert machine.one().state.terminated is not None
    assert machine.settle() == []


def test_the_last_status_is_told_before_anything_is_taken_away() -> None:
    machine = running()
    machine.spec = deleted(machine.spec)
    machine.settle()
    kinds = [type(action).__name__ for action in machine.log]
    last = len(kinds) - 1 - kinds[::-1].index("Report")
    assert last < kinds.index("RemoveContainer") < kinds.index("Gone")


@pytest.mark.parametrize(("grace_s", "waits_ms"), [(30, 5000), (4, 2000), (1, 500)])
def test_a_pod_that_is_still_served_waits_and_not_for_ever(grace_s: int, waits_ms: int) -> None:
    machine = running(pre_stop())
    machine.spec = deleted(machine.spec, grace_s)
    machine.served = True
    assert machine.after(waits_ms - 1) == []
    assert machine.status is not None
    assert machine.status.phase == "Running"
    assert "RunHook:app" in machine.after(1)


def test_a_pod_that_has_left_ends_at_once_with_what_is_left_of_its_grace() -> None:
    machine = running()
    machine.spec = deleted(machine.spec)
    machine.served = True
    machine.after(2000)
    machine.served = False
    assert "Stop:app" in machine.settle()
    assert stops(machine) == [("app", 28)]


def test_a_pod_that_nobody_has_any_more_waits_for_nobody() -> None:
    machine = running()
    machine.wanted, machine.served = False, False
    assert "Stop:app" in machine.settle()


def test_a_pod_that_is_served_and_does_not_run_is_taken_away_at_once() -> None:
    machine = running(restart_policy="Never")
    machine.exit(code=0)
    machine.settle()
    machine.spec, machine.served = deleted(machine.spec), True
    assert "Gone" in machine.settle()


def test_a_pod_that_ends_well_has_succeeded() -> None:
    machine = running()
    machine.spec = deleted(machine.spec)
    machine.held = lambda op: isinstance(op, act.Stop)
    machine.settle()
    machine.exit(code=0)
    machine.held = lambda _: False
    machine.obey()
    machine.settle()
    assert machine.gone
    assert machine.status is not None
    assert machine.status.phase == "Succeeded"


def test_all_containers_are_asked_at_once() -> None:
    machine = running(container("a"), container("b"))
    machine.spec = deleted(machine.spec)
    machine.held = lambda op: isinstance(op, act.Stop)
    machine.settle()
    assert [name for name, _ in stops(machine)] == ["a", "b"]


def test_sidecars_are_ended_after_the_others_last_started_first() -> None:
    sides = tuple(container(name, restart_policy="Always") for name in ("s1", "s2"))
    machine = running(container("app"), init_containers=sides)
    machine.spec = deleted(machine.spec)
    machine.settle()
    assert [name for name, _ in stops(machine)] == ["app", "s2", "s1"]
    assert machine.gone


def test_pre_stop_comes_first_and_its_time_counts() -> None:
    machine = running(pre_stop())
    machine.spec = deleted(machine.spec)
    machine.held = lambda op: isinstance(op, act.RunHook)
    machine.settle()
    hook = next(a for a in machine.log if isinstance(a, act.RunHook))
    assert (hook.hook, hook.timeout_ms) == ("preStop", 30_000)
    assert stops(machine) == []
    machine.now += 12_000
    machine.held = lambda _: False
    machine.obey()
    machine.settle()
    assert stops(machine) == [("app", 18)]
    assert machine.gone


def test_a_pre_stop_that_never_ends_is_given_up() -> None:
    machine = running(pre_stop())
    machine.spec = deleted(machine.spec, 10)
    machine.held = lambda op: isinstance(op, act.RunHook)
    machine.settle()
    machine.after(10_000)
    assert stops(machine) == [("app", 2)], "everybody gets a chance to end in order"
    assert machine.gone


def test_a_failed_pre_stop_is_told_and_does_not_matter() -> None:
    machine = running(pre_stop())
    machine.fault = lambda op: Failure("Error", "exit 1") if isinstance(op, act.RunHook) else None
    machine.spec = deleted(machine.spec)
    machine.settle()
    assert machine.records("FailedPreStopHook") == ["PreStopHook failed"]
    assert machine.gone


def test_a_shorter_grace_overtakes_a_stop() -> None:
    machine = running()
    machine.held = lambda op: isinstance(op, act.Stop)
    machine.spec = deleted(machine.spec, 30)
    machine.settle()
    machine.now += 5_000
    machine.spec = deleted(machine.spec, 6)
    machine.settle()
    assert not [a for a in machine.log if isinstance(a, act.Kill)]
    machine.after(1_500)
    assert len([a for a in machine.log if isinstance(a, act.Kill)]) == 1
    assert machine.gone


def test_a_pod_the_control_plane_no_longer_has_is_killed() -> None:
    machine = running()
    machine.wanted = False
    machine.settle()
    assert stops(machine) == [("app", 2)]
    assert machine.gone


def test_a_pod_forced_away_while_it_ends_is_killed() -> None:
    machine = running()
    machine.held = lambda op: isinstance(op, act.Stop)
    machine.spec = deleted(machine.spec, 300)
    machine.settle()
    machine.wanted = False
    machine.after(1_500)
    assert machine.gone


def test_a_pod_deleted_before_it_was_started_just_goes() -> None:
    machine = Machine(deleted(pod()))
    assert machine.settle() == ["TeardownVolumes", "Gone"]


@pytest.mark.parametrize("work", [act.PullImage, act.SetupVolumes, act.InspectImage])
def test_a_pod_deleted_while_it_waits_does_not_wait_any_more(work: type[act.Operation]) -> None:
    machine = Machine(pod(), images={}, held=lambda op: isinstance(op, work))
    machine.settle()
    assert machine.waiting
    machine.spec = deleted(machine.spec)
    machine.settle()
    assert machine.waiting == [], "the driver cancels what is no longer in flight"
    assert machine.gone


@pytest.mark.parametrize("work", [act.SetupVolumes, act.CreateSandbox])
def test_what_could_not_be_set_up_for_long_is_taken_away_at_once(work: type[act.Operation]) -> None:
    machine = Machine(pod(), fault=lambda op: Failure("FailedMount", "no") if isinstance(op, work) else None)
    machine.sandboxes = [sandbox(status=Status.EXITED)]
    machine.after(90_000)
    machine.spec = deleted(machine.spec)
    machine.settle()
    assert machine.gone


@pytest.mark.parametrize("work", [act.CreateSandbox, act.CreateAndStart])
def test_a_start_in_flight_is_waited_for_and_then_undone(work: type[act.Operation]) -> None:
    machine = Machine(pod(), held=lambda op: isinstance(op, work))
    machine.settle()
    machine.spec = deleted(machine.spec)
    machine.settle()
    assert not machine.gone
    machine.held = lambda _: False
    machine.obey()
    machine.settle()
    assert machine.gone
    assert (machine.containers, machine.sandboxes) == ([], [])


def test_an_agent_that_comes_back_to_a_deleted_pod_ends_it() -> None:
    machine = running()
    kept = durable(machine.memory)
    machine.spec = deleted(machine.spec)
    machine.restart_agent(kept)
    machine.spec = deleted(machine.spec)
    machine.settle()
    assert machine.gone


def test_an_agent_that_restarts_while_a_pod_ends_goes_on_with_the_time_left() -> None:
    machine = running()
    machine.held = lambda op: isinstance(op, act.Stop)
    machine.spec = deleted(machine.spec, 30)
    machine.settle()
    machine.restart_agent(durable(machine.memory))
    machine.spec = deleted(machine.spec, 30)
    machine.now += 20_000
    machine.held = lambda _: False
    machine.settle()
    assert stops(machine) == [("app", 30), ("app", 10)]
    assert len(machine.records("Killing")) == 1
    assert machine.gone


def test_a_completed_pod_is_taken_away_without_another_status() -> None:
    machine = running(restart_policy="Never")
    machine.exit(code=0)
    machine.settle()
    reports = len([a for a in machine.log if isinstance(a, act.Report)])
    machine.spec = deleted(machine.spec)
    assert machine.settle() == ["RemoveContainer:app", "Gone"]
    assert len([a for a in machine.log if isinstance(a, act.Report)]) == reports


def test_a_stop_that_fails_is_tried_again() -> None:
    machine = running()
    machine.fault = lambda op: Failure("RuntimeError", "busy") if isinstance(op, act.Stop) else None
    machine.spec = deleted(machine.spec)
    machine.settle()
    assert machine.records("FailedKillPod") == ["error killing pod: busy"]
    machine.fault = lambda _: None
    machine.after(3_000)
    assert machine.gone


@pytest.mark.parametrize("work", [act.RemoveSandbox, act.TeardownVolumes, act.RemoveContainer])
def test_what_can_not_be_taken_away_is_tried_until_it_can(work: type[act.Operation]) -> None:
    machine = running()
    machine.fault = lambda op: Failure("RuntimeError", "busy") if isinstance(op, work) else None
    machine.spec = deleted(machine.spec)
    machine.settle()
    machine.after(5_000)
    assert not machine.gone
    machine.fault = lambda _: None
    machine.after(120_000)
    assert machine.gone


def test_an_old_sandbox_goes_first_and_keeps_the_network_of_the_new_one() -> None:
    machine = running()
    machine.sandboxes = [sandbox(0, Status.EXITED), sandbox(1)]
    machine.containers = [instance(attempt=0, sandbox_id="s1")]
    machine.spec = deleted(machine.spec)
    machine.settle()
    removed = [(a.sandbox_id, a.detach) for a in machine.log if isinstance(a, act.RemoveSandbox)]
    assert removed == [("s0", False), ("s1", True)]


# ------------------------------------------------------------------------------------------------------ probes


def test_a_failed_liveness_probe_restarts_the_container() -> None:
    machine = running(container(liveness_probe=core.Probe(termination_grace_period_seconds=5)))
    machine.probes["app-0", "liveness"] = Verdict(False, 3, "failed: HTTP probe failed with statuscode: 500")
    machine.settle()
    assert machine.records("Unhealthy") == ["Liveness probe failed: HTTP probe failed with statuscode: 500"]
    assert machine.records("Killing") == ["Container app failed liveness probe, will be restarted"]
    assert stops(machine) == [("app", 5)]
    assert machine.one().restart_count == 1
    assert machine.one().ready


def test_a_failed_startup_probe_restarts_the_container() -> None:
    machine = running(container(startup_probe=core.Probe()))
    assert not machine.one().started
    machine.probes["app-0", "startup"] = Verdict(False, 3, "failed: nobody there")
    machine.settle()
    assert machine.records("Killing") == ["Container app failed startup probe, will be restarted"]
    assert stops(machine) == [("app", 30)]


def test_readiness_follows_its_probe_and_only_that() -> None:
    machine = running(container(readiness_probe=core.Probe()))
    assert (machine.one().ready, machine.one().started) == (False, True)
    machine.probes["app-0", "readiness"] = Verdict(True)
    machine.settle()
    assert machine.one().ready
    machine.probes["app-0", "readiness"] = Verdict(True, 1, "failed: slow")
    machine.settle()
    assert machine.one().ready, "below the threshold"
    machine.probes["app-0", "readiness"] = Verdict(False, 3, "failed: slow")
    machine.settle()
    assert not machine.one().ready
    assert stops(machine) == []
    assert machine.records("Unhealthy") == ["Readiness probe failed: slow"] * 2


def test_no_container_is_ready_before_it_has_started() -> None:
    machine = running(container(startup_probe=core.Probe()))
    machine.settle()
    assert not machine.one().ready
    machine.probes["app-0", "startup"] = Verdict(True)
    machine.settle()
    assert machine.one().ready


# --------------------------------------------------------------------------------------------------- mistakes


def test_a_result_nobody_waits_for_is_passed_over() -> None:
    machine = running()
    from nodeagent.lifecycle.observation import Result

    machine.results.append(Result(op=99))
    assert machine.settle() == []


def test_a_mistake_tells_the_story() -> None:
    machine = running()
    turn = Turn(machine.spec, machine.seen(), machine.memory, NOW)
    turn.begin(act.SetupVolumes(op=turn.next_op))
    with pytest.raises(IllegalTransition) as caught:
        turn.begin(act.SetupVolumes(op=turn.next_op))
    assert "default/web" in str(caught.value)
    assert "CreateAndStart app" in str(caught.value)


def test_the_story_is_bounded() -> None:
    machine = running()
    for _ in range(30):
        machine.now += 700_000
        machine.exit()
        machine.settle()
    assert len(machine.memory.story) <= 24
    assert step(machine.spec, machine.seen(), machine.memory, machine.now)[0] == machine.memory
