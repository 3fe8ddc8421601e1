"""The end of a pod: all containers asked to stop at once, sidecars after the others, then everything taken away.

A pod that serves is asked to stop when it has left the rules of all nodes, or after a short while: see `leaving`.

Two ways lead here. A pod that is *over* (completed, failed, past its deadline) has its sandbox and volumes removed and
keeps its dead containers for their logs. A pod that is being *deleted* loses everything and ends with `Gone`.
"""

from __future__ import annotations

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.actions import Gone, RemoveSandbox, TeardownVolumes
from nodeagent.lifecycle.containers import Stage, exit_code, is_sidecar, remaining_ms, restarts
from nodeagent.lifecycle.leaving import leave_by_ms
from nodeagent.lifecycle.memory import Backoff, Ending, PodFailure
from nodeagent.lifecycle.starts import stage, wants_anything
from nodeagent.lifecycle.stops import end, grace_s, remove
from nodeagent.lifecycle.turn import Turn

FORCED_GRACE_S = 1
TERMINAL = ("Succeeded", "Failed")

_ABANDONED = ("InspectImage", "PullImage", "SetupVolumes")


def is_deleted(turn: Turn) -> bool:
    """Whether the pod is to be taken away; from then on `memory.ending` says until when."""
    meta = turn.pod.metadata
    wanted = turn.seen.wanted
    if wanted and meta.deletion_timestamp is None:
        if turn.memory.ending is not None:
            # The control plane had lost the pod for a moment and has it again.
            turn.change(ending=None, cleaning=False, gone=False, admitted=True)
        return False
    grace = meta.deletion_grace_period_seconds
    seconds = grace_s(turn.spec) if grace is None else max(grace, FORCED_GRACE_S)
    if not wanted:
        seconds = FORCED_GRACE_S
    ending = turn.memory.ending
    since = turn.now if ending is None or not wanted else min(ending.since_ms, turn.now)
    by_ms = since + seconds * 1000
    if ending is None:
        turn.tell(f"is to end within {seconds} s")
        turn.change(ending=Ending(turn.now, by_ms))
    elif by_ms < ending.by_ms:
        turn.change(ending=Ending(ending.since_ms, by_ms))
    return True


def past_deadline(turn: Turn) -> None:
    """Fail a pod that has been on the node for longer than it may."""
    seconds = turn.spec.active_deadline_seconds
    if seconds is None or turn.memory.failure is not None:
        return
    due_ms = turn.memory.start_ms + seconds * 1000
    if turn.now < due_ms:
        turn.wake(due_ms)
        return
    message = "Pod was active on the node longer than the specified deadline"
    turn.change(failure=PodFailure("DeadlineExceeded", message))
    turn.record("Normal", "DeadlineExceeded", message)


def obey(turn: Turn) -> None:
    """Fail a pod that the node wants to end."""
    ordered = turn.seen.ordered
    if ordered is None or turn.memory.failure is not None or phase_before(turn) in TERMINAL:
        return
    turn.change(failure=ordered)
    turn.record("Warning", ordered.reason, ordered.message)


def is_over(turn: Turn) -> bool:
    """Whether nothing of the pod is to run any more although nobody deletes it."""
    if turn.memory.failure is not None or phase_before(turn) in TERMINAL:
        return True
    if any(_init_failed(turn, container) for container in turn.spec.init_containers):
        return True
    return bool(turn.spec.containers) and not wants_anything(turn)


def phase_before(turn: Turn) -> str:
    """The phase that was last told."""
    return (turn.memory.reported or turn.pod.status).phase


def _init_failed(turn: Turn, container: core.Container) -> bool:
    at = stage(turn, container)
    if is_sidecar(container) or at not in (Stage.EXITED, Stage.LOST):
        return False
    code = exit_code(at, turn.current.get(container.name))
    return code != 0 and not restarts(turn.spec, container, code, init=True)


def wind_down(turn: Turn) -> None:
    """One step towards a pod of which nothing runs."""
    turn.abandon(*_ABANDONED)
    failure = turn.memory.failure
    grace = failure.grace_s if failure is not None and failure.grace_s is not None else grace_s(turn.spec)
    if not _all_ended(turn, turn.now + grace * 1000) or turn.busy():
        return
    if not _sandboxes_gone(turn) or turn.memory.volumes == "down":
        return
    _teardown(turn)


def take_away(turn: Turn) -> None:
    """One step towards a pod of which nothing is left."""
    turn.abandon(*_ABANDONED)
    ending = turn.memory.ending
    if turn.memory.gone or ending is None or _is_leaving(turn, ending):
        return
    if not _all_ended(turn, ending.by_ms) or turn.busy():
        return
    if not turn.memory.cleaning:
        # The last status is told before anything disappears; see `step`. What could not be set up, and would be
        # tried again minutes later, does not hold up taking away what there is of it.
        turn.change(cleaning=True, volumes_retry=Backoff(), sandbox_retry=Backoff())
    for state in (*turn.current.values(), *turn.strays):
        remove(turn, state)
    if turn.seen.containers or not _sandboxes_gone(turn):
        return
    if turn.memory.volumes != "down":
        _teardown(turn)
        return
    turn.change(gone=True)
    turn.actions.append(Gone())


def _is_leaving(turn: Turn, ending: Ending) -> bool:
    """Whether nothing may be stopped yet because the pod is still sent new connections."""
    until_ms = leave_by_ms(ending.since_ms, ending.by_ms)
    if not turn.seen.served or turn.now >= until_ms or not turn.alive():
        return False
    turn.wake(until_ms)
    return True


def _all_ended(turn: Turn, by_ms: int) -> bool:
    """Whether no instance runs any more; otherwise the next ones are ended here."""
    alive = turn.alive()
    if not alive:
        return True
    # A postStart that is still running does not hold up the end of its container.
    turn.abandon_hooks()
    sidecars = [container.name for container in turn.spec.init_containers if is_sidecar(container)]
    first = [state for state in alive if state.name not in sidecars]
    if not first and not turn.busy():
        last = max(sidecars.index(state.name) for state in alive)
        first = [state for state in alive if state.name == sidecars[last]]
    for state in first:
        end(turn, state, min(by_ms, turn.of(state.name).end_by_ms or by_ms), f"Stopping container {state.name}")
    return False


def _sandboxes_gone(turn: Turn) -> bool:
    if not turn.seen.sandboxes:
        return True
    if turn.memory.sandbox_retry.delay_ms and (wait := remaining_ms(turn.memory.sandbox_retry, turn.now)):
        turn.wake(turn.now + wait)
        return False
    oldest, *newer = sorted(turn.seen.sandboxes, key=lambda sandbox: sandbox.attempt)
    turn.begin(RemoveSandbox(op=turn.next_op, sandbox_id=oldest.id, detach=not newer))
    return False


def _teardown(turn: Turn) -> None:
    if turn.memory.volumes_retry.delay_ms and (wait := remaining_ms(turn.memory.volumes_retry, turn.now)):
        turn.wake(turn.now + wait)
        return
    turn.begin(TeardownVolumes(op=turn.next_op))
