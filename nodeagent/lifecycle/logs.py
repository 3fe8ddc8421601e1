"""Which instance's log is meant by a container's name, and why there is none. Pure; the words are Kubernetes'."""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.containers import everything
from nodeagent.runtime.values import ContainerState, Status

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"

_WAITING = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


class NoLogs(Exception):
    """There is nothing to read, or it is not clear what is meant."""


def chosen_container(pod: core.Pod, name: str) -> str:
    """The container that is meant; without a name the only one, or the one that the pod marks. Raises NoLogs."""
    names = [container.name for container in everything(pod.spec)]
    if name:
        if name not in names:
            raise NoLogs(f"container {name} is not valid for pod {pod.metadata.name}")
        return name
    marked = pod.metadata.annotations.get(DEFAULT_CONTAINER, "")
    if marked in names:
        return marked
    mains = [container.name for container in pod.spec.containers]
    if len(mains) == 1:
        return mains[0]
    inits = [container.name for container in pod.spec.init_containers]
    more = f" or one of the init containers: [{' '.join(inits)}]" if inits else ""
    raise NoLogs(
        f"a container name must be specified for pod {pod.metadata.name}, choose one of: [{' '.join(mains)}]{more}"
    )


def logs_of(
    pod: core.Pod, status: core.PodStatus, containers: Iterable[ContainerState], name: str, *, previous: bool
) -> str:
    """The id of the instance whose log is meant. Raises NoLogs."""
    started = [c for c in containers if c.name == name and c.status in (Status.RUNNING, Status.EXITED)]
    started.sort(key=lambda state: state.attempt)
    if previous:
        ended = [state for state in started[:-1] if state.status is Status.EXITED]
        if started and started[-1].status is Status.EXITED and _is_waiting(status, name):
            # While it waits for its restart, the instance that ended last is the one before.
            ended = started
        if not ended:
            raise NoLogs(f'previous terminated container "{name}" in pod "{pod.metadata.name}" not found')
        return ended[-1].id
    if started:
        return started[-1].id
    waiting = _waiting(status, name)
    reason = waiting.reason if waiting is not None else "ContainerCreating"
    what = _WAITING.get(reason, reason)
    raise NoLogs(f'container "{name}" in pod "{pod.metadata.name}" is waiting to start: {what}')


def _waiting(status: core.PodStatus, name: str) -> core.ContainerStateWaiting | None:
    mains, inits, added = status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses
    for item in (*mains, *inits, *added):
        if item.name == name:
            return item.state.waiting
    return None


def _is_waiting(status: core.PodStatus, name: str) -> bool:
    return _waiting(status, name) is not None
