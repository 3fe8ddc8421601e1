"""What a step is told: the pod's part of the machine as it was seen just now, and how operations ended.

Contract of the driver: an observation is never older than the results it carries or carried before. Whoever delivers
`Result` for a start shows the started container, and after a stop or removal looks again before saying so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from nodeagent.lifecycle.memory import PodFailure
from nodeagent.runtime.values import ContainerState, SandboxState

ProbeKind = Literal["startup", "liveness", "readiness"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation did not succeed."""

    reason: str
    """A Kubernetes reason such as `ErrImagePull`, or the runtime's own."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one operation ended. The fields after `failure` are set by the operations that say so."""

    op: int
    failure: Failure | None = None
    container_id: str = ""
    """The container that was started."""
    ip: str = ""
    """The pod's address; empty on the host's network."""
    image_id: str = ""
    """The image that is on the node."""
    image_bytes: int = 0
    took_ms: int = 0
    """How long the fetching of an image took."""
    waited_ms: int = 0
    """The same with the time that it waited for its turn."""


class Verdict(NamedTuple):
    """What the probes of one kind have found so far about one running container."""

    ok: bool | None
    """After the thresholds; None while there have been too few results."""
    failures: int = 0
    """Failed runs since the container started."""
    message: str = ""
    """Of the last failed run, in Kubernetes' words after `Liveness probe `."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the node does not take a pod that was assigned to it."""

    reason: str
    message: str


def _none() -> Mapping[tuple[str, ProbeKind], Verdict]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One pod as it is on this machine now."""

    sandboxes: tuple[SandboxState, ...] = ()
    containers: tuple[ContainerState, ...] = ()
    results: tuple[Result, ...] = ()
    """Of operations that ended since the last step."""
    probes: Mapping[tuple[str, ProbeKind], Verdict] = field(default_factory=_none)
    """By container id."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """What ended containers left as their termination message, by container id."""
    ip: str = ""
    """The address that the pod's network namespace has now; empty when it has none or uses the host's."""
    host_ip: str = ""
    objects: int = 0
    """The version of everything that the pod refers to (config maps, secrets); any change makes it larger."""
    rejection: Rejection | None = None
    """The node's answer to a pod of which nothing runs yet."""
    ordered: PodFailure | None = None
    """The node wants the pod to end: it lacks something, or is shutting down."""
    resize: Rejection | None = None
    """Why the node does not grant the resources that the pod wants by now: `Deferred` or `Infeasible`."""
    deep_read_only: bool = True
    """The kernel can make a mount read-only with all that is mounted below it."""
    served: bool = False
    """Some node may still lead new connections to the pod; only told of one that is to end."""
    wanted: bool = True
    """False once the control plane no longer has the pod: what is left of it must end at once."""
