"""What a decision asks for. Effects are complete: a driver performs them and chooses nothing.

Each write carries the version it was decided on; one that is stale bounces and its key is decided again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from mizzen.api.kinds import Object
from mizzen.api.types.certificates_v1 import CertificateSigningRequest
from mizzen.api.types.core_v1 import Secret
from mizzen.engine.values import Key


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object; `metadata.name` and `metadata.uid` may be empty, then the API fills them as for any client."""

    object: Object
    told: Object | None = None
    """Who is told when it may not be made; None: its controller."""


@dataclass(frozen=True, slots=True)
class Update:
    """Replace an object's metadata and spec; its `metadata.resourceVersion` is the precondition."""

    object: Object


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """Replace an object's status; its `metadata.resourceVersion` is the precondition."""

    object: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one object by identity; gone already is success, another uid in its place is too."""

    key: Key
    uid: str
    resource_version: str = ""
    """When set, the object must still be at this version."""
    grace_period_s: int | None = None
    """Seconds a pod may take to stop; None takes the object's own value."""
    propagation: str = "Background"
    """`Background`, `Foreground` or `Orphan`."""


@dataclass(frozen=True, slots=True)
class Bind:
    """Assign a pod to a node, if the pod still is this one and still has none."""

    namespace: str
    name: str
    uid: str
    node: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Have a pod go as the eviction API does, if it still is this one: its disruption budgets may refuse."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an event about an object; repeats within a while are counted, not stored again."""

    regarding: Object
    type: str
    """`Normal` or `Warning`."""
    reason: str
    message: str
    component: str
    """The reporting controller, e.g. `deployment-controller`."""
    field_path: str = ""
    """The part of the object that it is about, such as `spec.containers{web}`."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign a request for a certificate with the cluster's authority and put the certificate into its status.

    Its `metadata.resourceVersion` is the precondition. What can't be signed fails for good, and its status says why.
    """

    object: CertificateSigningRequest
    seconds: int
    """How long the certificate is to be good."""


@dataclass(frozen=True, slots=True)
class Issue:
    """Put a lasting token of the service account that a Secret names into it, with what a client needs beside.

    Its `metadata.resourceVersion` is the precondition.
    """

    object: Secret


Effect: TypeAlias = Create | Update | UpdateStatus | Delete | Evict | Bind | Sign | Issue | Emit


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing (more) happens now: what people are shown in status, `why` and plans."""

    reason: str
    message: str
    object: Key | None = None
    since_ms: int | None = None


class Decision(msgspec.Struct, frozen=True):
    """All that one run of a reconciler wants.

    Effects are performed in order, and the first that bounces ends the run.
    """

    effects: tuple[Effect, ...] = ()
    wake_after_ms: int | None = None
    """Decide again after this time even when nothing changes; None: only on a change."""
    waiting: tuple[Waiting, ...] = ()
