"""`step`: the one function that decides everything about a pod on its node.

    what is wanted (spec) --.
    what is seen ------------> step --> what to remember, what to do
    what is remembered -----'

It is called whenever one of its inputs may have changed, and when `memory.wake_at_ms` is due; calling it once more
changes nothing. Order within a step: take in the results of operations, bring the memory up to date with what is
seen, decide whether the pod is to live or to end, begin the next operations, and report the status if it changed.
"""

from __future__ import annotations

from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Instant
from nodeagent.lifecycle.actions import Action, Report
from nodeagent.lifecycle.ending import (
    TERMINAL,
    is_deleted,
    is_over,
    obey,
    past_deadline,
    phase_before,
    take_away,
    wind_down,
)
from nodeagent.lifecycle.look import look
from nodeagent.lifecycle.memory import PodMemory
from nodeagent.lifecycle.observation import Observation
from nodeagent.lifecycle.resizing import resize
from nodeagent.lifecycle.results import absorb
from nodeagent.lifecycle.starts import advance
from nodeagent.lifecycle.status import pod_status, rejected_status, shows
from nodeagent.lifecycle.stops import remove_old, stop_unwanted
from nodeagent.lifecycle.turn import Turn


def step(spec: core.Pod, seen: Observation, memory: PodMemory, now: Instant) -> tuple[PodMemory, tuple[Action, ...]]:
    """Decide what happens next to a pod. Raises IllegalTransition, with the pod's recent story, for what cannot be."""
    turn = Turn(spec, seen, memory, now)
    absorb(turn)
    look(turn)
    status: core.PodStatus | None = None
    if is_deleted(turn):
        told = turn.memory.cleaning or phase_before(turn) in TERMINAL
        take_away(turn)
        status = None if told else pod_status(turn, over=turn.memory.cleaning)
    elif not _admitted(turn):
        status = _rejected(turn)
    else:
        past_deadline(turn)
        obey(turn)
        status = _live(turn)
    if status is not None:
        _report(turn, status)
    return turn.finish()


def _live(turn: Turn) -> core.PodStatus | None:
    """The pod is to be here: bring it up, keep it up, or let it rest when it is over."""
    told = phase_before(turn) in TERMINAL
    over = is_over(turn)
    if over:
        wind_down(turn)
    else:
        resize(turn)
        stop_unwanted(turn)
        advance(turn)
        remove_old(turn)
    return None if told else pod_status(turn, over=over and not turn.alive())


def _admitted(turn: Turn) -> bool:
    """Whether the node takes the pod; asked once, and never again once something of it has been made."""
    if turn.memory.admitted:
        return True
    if turn.seen.rejection is None or turn.seen.containers or turn.seen.sandboxes or phase_before(turn) in TERMINAL:
        turn.change(admitted=True)
        return True
    return False


def _rejected(turn: Turn) -> core.PodStatus:
    rejection = turn.seen.rejection
    assert rejection is not None, "only a rejected pod comes here"
    turn.change(admitted=True)
    turn.record("Warning", rejection.reason, rejection.message)
    return rejected_status(turn, rejection.reason, rejection.message)


def _report(turn: Turn, status: core.PodStatus) -> None:
    before = turn.memory.reported or turn.pod.status
    overwritten = _overwritten(turn, status)
    if status == before and not overwritten:
        if turn.memory.reported is None:
            turn.change(reported=before)
        return
    turn.change(reported=status)
    # Before everything else: what follows may take away what the status speaks of.
    turn.actions.insert(0, Report(status))


def _overwritten(turn: Turn, status: core.PodStatus) -> bool:
    """Whether a newer version of the pod does not show what was reported: somebody declared it not ready meanwhile.

    Looked at once a version. A version that is only older than our last report costs one report that changes nothing.
    """
    version = turn.pod.metadata.resource_version
    if turn.memory.reported is None or version == turn.memory.compared:
        return False
    turn.change(compared=version)
    return not shows(turn.pod.status, status)
