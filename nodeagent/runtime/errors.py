"""What can go wrong behind the runtime port.

One family, so that a driver needs one `except`. Each type says by itself whether trying again can help (`retryable`)
and which of Kubernetes' reasons people are to see (`reason`); the text names the container or image and what to do.
Programmer errors are not here: they are assertions.
"""

from __future__ import annotations

from typing import ClassVar

from nodeagent.runtime.values import Limits


class RuntimeFailure(Exception):
    """Any failed call of the runtime. `str(error)` is fit for a pod's status; the cause is chained."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without anything being changed by its caller."""
    reason: str = "RuntimeError"
    """A Kubernetes reason, as it stands in `status.containerStatuses[].state.waiting.reason` or in an event."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RuntimeUnavailable(RuntimeFailure):
    """The engine does not answer: not running, restarting, or its socket is gone. Nothing was decided; try again."""

    retryable = True
    reason = "RuntimeUnavailable"


class Deadline(RuntimeFailure):
    """The engine took longer than the call may take. The outcome is unknown: look with `list` before repeating."""

    retryable = True
    reason = "DeadlineExceeded"


class ContainerNotFound(RuntimeFailure):
    """No container or sandbox has this id (any more). Removing one that is gone is a success and never raises this."""

    reason = "ContainerNotFound"


class ContainerNotRunning(RuntimeFailure):
    """The call needs a running container (exec, attach, resize) and this one is not."""

    reason = "ContainerNotRunning"


class StartFailed(RuntimeFailure):
    """A sandbox or container could not be created or started; trying again later may help, after a back-off.

    `reason` is one of `CreatePodSandboxError`, `CreateContainerError` (the engine refused the container),
    `ContainerCannotRun` (its command cannot be executed: not found, not executable) and `RunContainerError` (any
    other failure to start).
    """

    retryable = True

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LimitRefused(RuntimeFailure):
    """A bound can't be set on a running container; less use of memory may help."""

    retryable = True
    reason = "ResizeError"


class ImageFailure(RuntimeFailure):
    """Any failed call about images."""

    reason = "ErrImagePull"


class InvalidImageName(ImageFailure):
    """The reference cannot be parsed; it must be changed in the pod."""

    reason = "InvalidImageName"


class ImageNotFound(ImageFailure):
    """The registry (or the local store, for local calls) has no such image, or hides it from these credentials."""

    retryable = True


class RegistryUnavailable(ImageFailure):
    """The registry cannot be reached or is failing."""

    retryable = True
    reason = "RegistryUnavailable"


class ImageInUse(ImageFailure):
    """A container still needs the image, so it was not removed."""

    retryable = True
    reason = "ImageInUse"


def refuse_below_use(name: str, limits: Limits, used_bytes: int) -> None:
    """Raise LimitRefused where a container already uses more memory than it is to have."""
    if 0 < limits.memory_bytes < used_bytes:
        raise LimitRefused(
            f'cannot decrease memory limits: attempting to set container "{name}" memory limit '
            f"({limits.memory_bytes}) below current usage ({used_bytes})"
        )
