"""Getting a container's image before its start: when to look, when to fetch, and how long to wait after a failure.

`ready` is asked before every start and returns the image to start from once it is there; until then it has begun the
operation that is needed or said why the container waits. Failures are told with Kubernetes' reasons and words.
"""

from __future__ import annotations

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.actions import InspectImage, PullImage
from nodeagent.lifecycle.containers import doubled, duration, remaining_ms
from nodeagent.lifecycle.memory import Backoff, ContainerMemory, Pending
from nodeagent.lifecycle.observation import Failure, Result
from nodeagent.lifecycle.turn import Turn

PULL_FIRST_MS = 10_000
PULL_MAX_MS = 300_000
SHOWN_MS = 5_000
"""How long a failed fetch is shown as such before its container is shown as waiting for the next try."""
INVALID_RETRY_MS = 60_000
BACK_OFF = "ImagePullBackOff"
NEVER = "ErrImageNeverPull"
WAITING = (BACK_OFF, NEVER, "ErrImagePull", "RegistryUnavailable")
"""Why a container may wait that can start once its image is there."""


def ready(turn: Turn, container: core.Container, attempt: int) -> str:
    """The id of the image to start this attempt from, or empty: then the start has to wait."""
    memory = turn.of(container.name)
    if memory.pull_for != container.image:
        memory = turn.note(container.name, pull=Backoff(), pull_for=container.image, image="", image_for=-1)
    if memory.image_for == attempt and memory.image:
        return memory.image
    if _held_back(turn, container, memory):
        return ""
    if container.image_pull_policy == "Always":
        _pull(turn, container)
    else:
        turn.begin(InspectImage(op=turn.next_op, container=container.name, image=container.image))
    return ""


def _held_back(turn: Turn, container: core.Container, memory: ContainerMemory) -> bool:
    wait = remaining_ms(memory.pull, turn.now)
    if not memory.pull.delay_ms or not wait or memory.objects != turn.seen.objects:
        return False
    shown_until = memory.pull.at_ms + SHOWN_MS
    if memory.waiting == "InvalidImageName":
        turn.wake(turn.now + wait)
    elif memory.waiting != BACK_OFF and turn.now < shown_until:
        turn.wake(shown_until)
    else:
        if memory.waiting != BACK_OFF:
            _begin_backoff(turn, container, memory)
        turn.wake(turn.now + wait)
    return True


def _begin_backoff(turn: Turn, container: core.Container, memory: ContainerMemory) -> None:
    text = f'Back-off pulling image "{container.image}"'
    cause = f": {memory.waiting}: {memory.message}" if memory.waiting and memory.message else ""
    turn.note(container.name, waiting=BACK_OFF, message=text + cause)
    turn.record("Normal", "BackOff", text, container.name)
    turn.record("Warning", "Failed", f"Error: {BACK_OFF}", container.name)


def _pull(turn: Turn, container: core.Container) -> None:
    turn.record("Normal", "Pulling", f'Pulling image "{container.image}"', container.name)
    turn.begin(PullImage(op=turn.next_op, container=container.name, image=container.image))


def inspected(turn: Turn, pending: Pending, result: Result, container: core.Container) -> None:
    """Take in whether the image is on the node, and fetch it when it is not and may be fetched."""
    if pending.image != container.image:
        return
    if result.failure is not None:
        _failed(turn, container, result.failure)
    elif result.image_id:
        text = f'Container image "{container.image}" already present on machine and can be accessed by the pod'
        turn.record("Normal", "Pulled", text, container.name)
        _have(turn, container, result.image_id)
    elif container.image_pull_policy == "Never":
        message = f'Container image "{container.image}" is not present with pull policy of Never'
        turn.record("Warning", NEVER, message, container.name)
        turn.record("Warning", "Failed", f"Error: {NEVER}", container.name)
        turn.note(
            container.name,
            waiting=NEVER,
            message=message,
            retry_at_ms=turn.now + PULL_FIRST_MS,
            objects=turn.seen.objects,
        )
    else:
        _pull(turn, container)


def pulled(turn: Turn, pending: Pending, result: Result, container: core.Container) -> None:
    """Take in how fetching an image ended."""
    if pending.image != container.image:
        return
    if result.failure is not None:
        prefix = f'Failed to pull image "{container.image}": '
        cause = result.failure.message.removeprefix(prefix)
        turn.record("Warning", "Failed", prefix + cause, container.name)
        _failed(turn, container, Failure(result.failure.reason, cause))
        return
    took, waited = duration(result.took_ms), duration(result.waited_ms or result.took_ms)
    size = f" Image size: {result.image_bytes} bytes." if result.image_bytes else ""
    text = f'Successfully pulled image "{container.image}" in {took} ({waited} including waiting).{size}'
    turn.record("Normal", "Pulled", text, container.name)
    _have(turn, container, result.image_id)


def _have(turn: Turn, container: core.Container, image_id: str) -> None:
    memory = turn.of(container.name)
    current = turn.current.get(container.name)
    # The next attempt is the one after the newest instance; an instance that never ran keeps its number.
    attempt = next_attempt(memory, current.attempt if current is not None else -1)
    # Why the container waits is shown until it runs: a try that fails again is no news.
    turn.note(container.name, image=image_id, image_for=attempt, pull=Backoff())


def next_attempt(memory: ContainerMemory, seen_attempt: int) -> int:
    """The number of the next attempt to start; one that was made but not started keeps its own."""
    return max(memory.attempt + 1, seen_attempt)


def _failed(turn: Turn, container: core.Container, failure: Failure) -> None:
    memory = turn.of(container.name)
    if failure.reason == "InvalidImageName":
        cause = f'couldn\'t parse image name "{container.image}": invalid reference format'
        message = f'Failed to apply default image tag "{container.image}": {cause}'
        turn.record("Warning", "InspectFailed", message, container.name)
        pull = Backoff(INVALID_RETRY_MS, turn.now)
    else:
        message = failure.message
        if failure.reason == "RegistryUnavailable":
            message = f"image pull failed for {container.image} because the registry is unavailable: {message}"
        pull = doubled(memory.pull, turn.now, PULL_FIRST_MS, PULL_MAX_MS)
    turn.record("Warning", "Failed", f"Error: {failure.reason}", container.name)
    turn.note(container.name, waiting=failure.reason, message=message, pull=pull, objects=turn.seen.objects)
    turn.wake(turn.now + min(SHOWN_MS, pull.delay_ms))
