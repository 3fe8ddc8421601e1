"""What the steps of one pod remember: small frozen values, kept by the driver between steps.

Almost everything about a pod is read from the machine again and again. Here is only what the machine does not tell:
how long to wait before trying again, what was said last, which operations are in flight. `durable` picks the part
that should outlive the agent; without it the pod goes on all the same, with fresh back-offs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from mizzen.api.types import core_v1 as core

STORY_MAX = 24
"""How many lines of a pod's recent story are kept."""


class Backoff(msgspec.Struct, frozen=True, gc=False):
    """A delay that doubles with every use."""

    delay_ms: int = 0
    """0: not used yet."""
    at_ms: int = 0
    """When it was used last."""


class Pending(msgspec.Struct, frozen=True, gc=False):
    """An operation in flight."""

    op: int
    work: str
    """The name of the action."""
    lane: str
    """The operations of one lane run one after another: the pod's own lane is empty, others are containers' names."""
    container: str = ""
    container_id: str = ""
    image: str = ""
    since_ms: int = 0
    until_ms: int = 0
    """When it ends by itself at the latest, where that was planned; 0: not known."""


class ContainerMemory(msgspec.Struct, frozen=True):
    """One container of the pod, over all its instances."""

    attempt: int = -1
    """The highest attempt that was ever started; -1: none."""
    crash: Backoff = Backoff()
    pull: Backoff = Backoff()
    pull_for: str = ""
    """The image as the spec names it, for which `pull` holds."""
    image: str = ""
    """The image id to start the next attempt from; empty until it was found or fetched."""
    image_for: int = -1
    """The attempt that `image` is meant for."""
    waiting: str = ""
    """Why the container is not running, as a Kubernetes reason; empty when nothing special holds it up."""
    message: str = ""
    retry_at_ms: int = 0
    """Not to be tried again before."""
    objects: int = 0
    """The version of the referenced objects at the last failure; a newer one makes a retry worth it at once."""
    instance: str = ""
    """The running container's id, for which the next fields hold."""
    started: bool = False
    """Past its startup probe and `postStart`."""
    ready: bool = False
    hook: Literal["", "due", "running"] = ""
    """Where `postStart` is."""
    end_by_ms: int = 0
    """The instance is being stopped and must be gone by then; 0: it is not."""
    pre_stop: Literal["", "running", "done"] = ""
    killed: bool = False
    noted: Mapping[str, int] = {}
    """Failed probe runs that were told, by probe kind."""
    ended: core.ContainerStateTerminated | None = None
    """How the newest instance ended, once it has."""
    last: core.ContainerStateTerminated | None = None
    """How the instance before the newest one ended."""
    allocated: core.ResourceRequirements | None = None
    """What the node has granted it."""
    actual: core.ResourceRequirements | None = None
    """What its running instance has been given."""
    applying: core.ResourceRequirements | None = None
    """What the running instance is being given."""
    renew: bool = False
    """It is to be started anew, whatever its restart policy says: its new resources need that."""
    lost_at_ms: int = 0
    """When the newest instance was found to have vanished without a trace."""


class Ending(msgspec.Struct, frozen=True, gc=False):
    """The pod is being ended for good."""

    since_ms: int
    by_ms: int
    """When every container must have ended."""


class PodFailure(msgspec.Struct, frozen=True, gc=False):
    """The pod as a whole has failed, whatever its containers did."""

    reason: str
    message: str
    grace_s: int | None = None
    """How long its containers may take to end; None: as long as they ask for."""
    disrupted: bool = False
    """It was ended for the node's sake, and is to be said so to whoever counts its failures."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """Resources that are wanted and not granted."""

    reason: str
    """`Deferred`: not now; `Infeasible`: never on this node."""
    message: str
    generation: int


class Resizing(msgspec.Struct, frozen=True, gc=False):
    """Resources that are granted and not yet given to all containers."""

    generation: int
    """Of the pod whose resources were granted."""
    error: str = ""
    retry_at_ms: int = 0


class PodMemory(msgspec.Struct, frozen=True):
    """One pod. A new pod starts with `PodMemory()`."""

    containers: Mapping[str, ContainerMemory] = {}
    """By name; of init containers, too."""
    pending: tuple[Pending, ...] = ()
    next_op: int = 1
    volumes: Literal["", "ready", "stale", "down"] = ""
    """`stale`: they were ready and could not be brought up to date."""
    volumes_objects: int = 0
    """The version of the referenced objects that the volumes show."""
    volumes_retry: Backoff = Backoff()
    sandbox_retry: Backoff = Backoff()
    sandbox_lost: str = ""
    """The id of the dead sandbox that was told about."""
    ip: str = ""
    admitted: bool = False
    start_ms: int = 0
    """When the node first saw the pod."""
    failure: PodFailure | None = None
    held: Held | None = None
    resizing: Resizing | None = None
    ending: Ending | None = None
    cleaning: bool = False
    """All has ended and the last status was told; what remains is to take things away."""
    gone: bool = False
    reported: core.PodStatus | None = None
    compared: str = ""
    """The pod's version whose status was last compared with what was reported."""
    wake_at_ms: int | None = None
    """When the next step is due even if nothing happens."""
    story: tuple[str, ...] = ()
    """What was decided lately, oldest first, for error messages."""


def durable(memory: PodMemory) -> PodMemory:
    """The part worth keeping when the agent ends: without operations in flight and without what is told again."""
    containers = {
        name: msgspec.structs.replace(
            kept,
            image="",
            image_for=-1,
            hook="",
            pre_stop="done" if kept.pre_stop == "done" else "",
            killed=False,
            noted={},
            applying=None,
        )
        for name, kept in memory.containers.items()
    }
    return msgspec.structs.replace(
        memory, containers=containers, pending=(), volumes="", reported=None, wake_at_ms=None, story=()
    )
