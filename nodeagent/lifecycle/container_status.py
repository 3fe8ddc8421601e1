"""How one container is shown in its pod's status, in Kubernetes' words: waiting, running or terminated, and why."""

from __future__ import annotations

from functools import lru_cache

from mizzen.api import times
from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.containers import LOST_EXIT_CODE, Stage, is_sidecar, stage_of
from nodeagent.lifecycle.memory import ContainerMemory
from nodeagent.runtime.values import ContainerState

ID_PREFIX = "docker://"
_NOTHING = core.ContainerState()


def terminated(state: ContainerState, message: str = "") -> core.ContainerStateTerminated:
    """How an instance ended."""
    if state.oom_killed:
        reason = "OOMKilled"
    elif state.exit_code == 0 and not state.error:
        reason = "Completed"
    else:
        reason = "ContainerCannotRun" if state.error else "Error"
    return core.ContainerStateTerminated(
        exit_code=state.exit_code,
        reason=reason,
        message=message or state.error,
        started_at=times.render(state.started_at_ms) if state.started_at_ms else "",
        finished_at=times.render(state.finished_at_ms) if state.finished_at_ms else "",
        container_id=ID_PREFIX + state.id,
    )


def lost() -> core.ContainerStateTerminated:
    """How an instance is said to have ended of which nothing was found."""
    return core.ContainerStateTerminated(
        exit_code=LOST_EXIT_CODE,
        reason="ContainerStatusUnknown",
        message="The container could not be located when the pod was terminated",
    )


@lru_cache(maxsize=1024)
def _running(started_at_ms: int) -> core.ContainerState:
    return core.ContainerState(running=core.ContainerStateRunning(started_at=times.render(started_at_ms)))


@lru_cache(maxsize=256)
def _waiting(reason: str, message: str) -> core.ContainerState:
    return core.ContainerState(waiting=core.ContainerStateWaiting(reason=reason, message=message))


def container_status(
    container: core.Container, memory: ContainerMemory, current: ContainerState | None, *, init: bool, has_init: bool,
    deep: bool = True, added: bool = False,
) -> core.ContainerStatus:  # fmt: skip
    """The status of one container; `added`: it is ephemeral, and nobody waits for it to be ready.

    `deep`: mounts that are to be read-only with all that is mounted below them are so, where that is only wished for.
    """
    stage = stage_of(memory, current)
    state, last = _states(memory, current, stage, has_init=has_init)
    running = stage is Stage.RUNNING
    # An init container is ready when it has done its work, the others while they are at it.
    has_work = init and not is_sidecar(container)
    completed = state.terminated is not None and not state.terminated.exit_code
    allocated = memory.allocated or container.resources
    return core.ContainerStatus(
        name=container.name,
        state=state,
        last_state=last,
        ready=not added and (completed if has_work else running and memory.ready),
        restart_count=max(memory.attempt, 0),
        image=_image(container, memory, current),
        image_id=f"{ID_PREFIX}{current.image_id}" if current is not None and current.image_id else "",
        container_id=_container_id(memory, current, stage),
        started=None if added else running and memory.started and not has_work,
        allocated_resources=allocated.requests,
        resources=(memory.actual if running else None) or allocated,
        volume_mounts=_mounts(container.volume_mounts, deep=deep),
    )


def _states(
    memory: ContainerMemory, current: ContainerState | None, stage: Stage, *, has_init: bool
) -> tuple[core.ContainerState, core.ContainerState]:
    before = core.ContainerState(terminated=memory.last) if memory.last is not None else _NOTHING
    if stage is Stage.RUNNING and current is not None:
        return _running(current.started_at_ms), before
    ended = memory.ended
    if ended is not None and stage in (Stage.EXITED, Stage.LOST):
        if not memory.waiting:
            return core.ContainerState(terminated=ended), before
        before = core.ContainerState(terminated=ended)
    reason = memory.waiting or ("PodInitializing" if has_init else "ContainerCreating")
    return _waiting(reason, memory.message), before


def _image(container: core.Container, memory: ContainerMemory, current: ContainerState | None) -> str:
    """The image that the newest instance was made from; the spec may name another one by now."""
    return (current is not None and memory.pull_for) or container.image


def _container_id(memory: ContainerMemory, current: ContainerState | None, stage: Stage) -> str:
    if stage in (Stage.RUNNING, Stage.EXITED) and current is not None:
        return ID_PREFIX + current.id
    known = memory.ended or memory.last
    return known.container_id if known is not None else ""


@lru_cache(maxsize=1024)
def _mounts(mounts: tuple[core.VolumeMount, ...], *, deep: bool) -> tuple[core.VolumeMountStatus, ...]:
    return tuple(
        core.VolumeMountStatus(
            name=mount.name,
            mount_path=mount.mount_path,
            read_only=mount.read_only,
            recursive_read_only=_depth(mount, deep=deep),
        )
        for mount in mounts
    )


def _depth(mount: core.VolumeMount, *, deep: bool) -> str | None:
    if not mount.read_only:
        return None
    wanted = mount.recursive_read_only
    return "Enabled" if wanted == "Enabled" or (wanted == "IfPossible" and deep) else "Disabled"
