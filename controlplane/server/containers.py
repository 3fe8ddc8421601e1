"""Which container of a pod a client means, and whether it can be read from or entered.

The messages are those of Kubernetes; `kubectl` users search for them.
"""

from __future__ import annotations

from collections.abc import Iterator

from mizzen.api.errors import BadRequest
from mizzen.api.types import core_v1 as core

_PULL = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def container_for_log(pod: core.Pod, name: str, *, previous: bool) -> str:
    """The name of the container to read. Raises BadRequest where there is nothing to read, saying why."""
    name = _chosen(pod, name)
    if pod.spec.node_name:
        _check_output(pod, name, previous=previous)
    return name


def container_to_enter(pod: core.Pod, name: str) -> str:
    """The name of the container to run in. Raises BadRequest where there is nothing to enter, saying why."""
    if pod.status.phase in ("Succeeded", "Failed"):
        raise BadRequest(f"cannot exec into a container in a completed pod; current phase is {pod.status.phase}")
    name = _chosen(pod, name)
    if not pod.spec.node_name:
        raise BadRequest(f"pod {pod.metadata.name} does not have a host assigned")
    return name


def _chosen(pod: core.Pod, name: str) -> str:
    spec = pod.spec
    if name:
        if name not in _names(spec):
            raise BadRequest(f"container {name} is not valid for pod {pod.metadata.name}")
        return name
    if len(spec.containers) == 1:
        return spec.containers[0].name
    message = f"a container name must be specified for pod {pod.metadata.name}"
    if spec.containers:
        message += f", choose one of: [{' '.join(c.name for c in spec.containers)}]"
    if spec.init_containers:
        message += f" or one of the init containers: [{' '.join(c.name for c in spec.init_containers)}]"
    if spec.ephemeral_containers:
        message += f" or one of the ephemeral containers: [{' '.join(c.name for c in spec.ephemeral_containers)}]"
    raise BadRequest(message)


def _names(spec: core.PodSpec) -> list[str]:
    names = [container.name for container in (*spec.containers, *spec.init_containers)]
    return [*names, *(container.name for container in spec.ephemeral_containers)]


def _statuses(status: core.PodStatus) -> Iterator[core.ContainerStatus]:
    yield from status.container_statuses
    yield from status.init_container_statuses
    yield from status.ephemeral_container_statuses


def _check_output(pod: core.Pod, name: str, *, previous: bool) -> None:
    """Raise BadRequest for a container that has written nothing yet."""
    what = f'container "{name}" in pod "{pod.metadata.name}"'
    status = next((status for status in _statuses(pod.status) if status.name == name), None)
    if status is None:
        raise BadRequest(f"{what} is not available")
    ended_before = status.last_state.terminated
    if previous:
        if ended_before is None or not ended_before.container_id:
            raise BadRequest(f"previous terminated {what} not found")
        return
    state = status.state
    if state.running or (ended_before and ended_before.container_id):
        return
    if state.terminated:
        if not state.terminated.container_id:
            raise BadRequest(f"{what} is terminated")
        return
    if state.waiting is None:
        raise BadRequest(f"{what} is waiting to start - no logs yet")
    reason = state.waiting.reason
    raise BadRequest(f"{what} is waiting to start: {_PULL.get(reason, reason)}")
