"""What a workload may ask for beyond Kubernetes, by annotations under `mizzen.dev/`; docs/workloads.md tells users.

Everything here is off until an annotation asks for it. Settings are what users write; the other names are what the
control plane remembers by.
"""

from __future__ import annotations

from mizzen.api.types import core_v1, meta_v1

PREFIX = "mizzen.dev/"
AUTO_ROLLBACK = f"{PREFIX}auto-rollback"
"""`true` on a Deployment: a revision that fails is taken back."""
CANARY = f"{PREFIX}canary"
"""Steps on a Deployment, see `canary_steps`: how a new revision takes over."""
PROMOTE = f"{PREFIX}promote"
"""On a Deployment: ends a canary's pause, or with `full` the canary; the control plane takes it away."""
PROMOTE_FULL = "full"
DEPENDS_ON = f"{PREFIX}depends-on"
"""On a pod template: what its pods wait for, see `dependencies`; also the name of the gate that holds them."""

FAILED_REVISION = f"{PREFIX}failed-revision"
"""On a Deployment: the revision that was taken back last, until its user tries another."""
WAS_AVAILABLE = f"{PREFIX}was-available"
"""On a ReplicaSet: it was fully available once, so it is one to go back to and never one to take back."""
CANARY_STEP = f"{PREFIX}canary-step"
"""On a ReplicaSet: its revision and the step of its canary, counted from 0."""
CANARY_SINCE = f"{PREFIX}canary-since"
"""On a ReplicaSet: when that step began."""
DEPENDENCIES_MET = f"{PREFIX}DependenciesMet"
"""The condition of a pod that waits for others, or waited."""
REMEMBERED = (FAILED_REVISION, WAS_AVAILABLE, CANARY_STEP, CANARY_SINCE)
"""What the control plane writes itself, and never copies from one object to another."""


def is_on(metadata: meta_v1.ObjectMeta, name: str) -> bool:
    """Whether a setting that is `true` or `false` is on."""
    return metadata.annotations.get(name) == "true"


def is_gated(pod: core_v1.Pod) -> bool:
    """Whether a pod waits for what it depends on."""
    return any(gate.name == DEPENDS_ON for gate in pod.spec.scheduling_gates)
