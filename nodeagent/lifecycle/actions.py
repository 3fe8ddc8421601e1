"""What a step of a pod's life asks its driver to do. Actions are complete: the driver performs and chooses nothing.

Vocabulary
- *operation*: an action that takes time and has an outcome. It carries a number, and the driver answers each with one
  `Result` of that number in a later observation. What is not answered is in flight.
- A *report* goes to the control plane, a *record* becomes an Event object there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from mizzen.api.types import core_v1 as core
from nodeagent.runtime.values import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """The base of everything that is answered with a `Result`."""

    op: int
    """Numbers the operation within its pod, from 1; never used twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupVolumes(Operation):
    """Make the pod's volumes ready, or bring their content up to date; nothing happens to what is right already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeardownVolumes(Operation):
    """Take the pod's volumes away; none there is success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSandbox(Operation):
    """Make the pod's sandbox and attach it to the network; both already done is success. Answered with the address."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveSandbox(Operation):
    """Remove a sandbox."""

    sandbox_id: str
    detach: bool
    """Detach the pod from the network first: the pod has no newer sandbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectImage(Operation):
    """Find out whether an image is on the node. Answered with its id, empty when it is not."""

    container: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullImage(Operation):
    """Fetch an image. Answered with its id."""

    container: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAndStart(Operation):
    """Make a container and start it."""

    container: str
    attempt: int
    sandbox_id: str
    image: str
    """The id of an image that was on the node a moment ago."""
    resources: core.ResourceRequirements
    """What the node has granted the container; its spec may ask for something else by now."""
    target_id: str = ""
    """The container whose processes it sees and is seen by; empty: as the pod says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize(Operation):
    """Change the bounds of a running container."""

    container: str
    container_id: str
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHook(Operation):
    """Run a container's `postStart` or `preStop`; the driver ends it after `timeout_ms`."""

    container: str
    container_id: str
    hook: Literal["postStart", "preStop"]
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Operation):
    """Ask a container to end, and end it by force after the grace. Answered once it was seen ended."""

    container: str
    container_id: str
    grace_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill(Operation):
    """End a container by force now, while a `Stop` with a longer grace is still waiting."""

    container: str
    container_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveContainer(Operation):
    """Remove a container that has ended, with its logs."""

    container: str
    container_id: str


AnyOperation: TypeAlias = (
    SetupVolumes
    | TeardownVolumes
    | CreateSandbox
    | RemoveSandbox
    | InspectImage
    | PullImage
    | CreateAndStart
    | Resize
    | RunHook
    | Stop
    | Kill
    | RemoveContainer
)


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the control plane the pod's status; given only when it has changed."""

    status: core.PodStatus


@dataclass(frozen=True, slots=True)
class Record:
    """Tell people what happened, as an Event about the pod."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    field_path: str = ""
    """`spec.containers{NAME}` when it concerns one container."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The pod has ended and nothing of it is left on the node; the last action of a pod's life."""


Action: TypeAlias = AnyOperation | Report | Record | Gone
