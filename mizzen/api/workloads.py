"""What a workload may ask for beyond Kubernetes, by annotations under `mizzen.dev/`; docs/workloads.md tells users.

Everything here is off until an annotation asks for it. Settings are what users write; the other names are what the
control plane remembers by.
"""

from __future__ import annotations

from mizzen.api import times
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
CONFIG_ROLLOUT = f"{PREFIX}config-rollout"
"""`true` on a workload: what its pods read from ConfigMaps and Secrets is part of its revisions."""
SURGE_BEFORE_EVICT = f"{PREFIX}surge-before-evict"
"""`true` on a Deployment: a pod is evicted when its replacement is ready."""
REBALANCE = f"{PREFIX}rebalance"
"""`true` on a Deployment: its pods move to better nodes, such as one that returned; see `REBALANCE_SCRATCH`."""
REBALANCE_SCRATCH = "with-empty-dirs"
"""The same, and pods with emptyDirs move, too: what is in them is lost."""

CONFIG_SEEN = f"{PREFIX}config-seen"
"""On such a workload: the content that was there when it was looked at last."""
CONFIG_VERSIONS = f"{PREFIX}config-versions"
"""On its pod template: the copies that its pods use, see `config_versions`."""
COPY_OF = f"{PREFIX}copy-for"
"""The label of such a copy: the uid of the workload that it is for."""
EVICTION_WANTED = f"{PREFIX}eviction-wanted"
"""On a pod: when an eviction last asked for it and had to wait for its replacement."""
MOVING = f"{PREFIX}rebalancing"
"""On a Deployment: the pod that is on its way to a better node."""
REBALANCE_AFTER = f"{PREFIX}rebalance-after"
"""On a Deployment: when the next of its pods may move."""
LEAVING_MS = 600_000
"""How long such a pod is not counted; then nobody seems to want it away any more."""
FAILED_REVISION = f"{PREFIX}failed-revision"
"""On a Deployment: the revision that was taken back last, until its user tries another."""
WAS_AVAILABLE = f"{PREFIX}was-available"
"""On a ReplicaSet: it was fully available once, so it is one to go back to and never one to take back."""
CANARY_STEP = f"{PREFIX}canary-step"
"""On a ReplicaSet: its revision and the step of its canary, counted from 0."""
CANARY_SINCE = f"{PREFIX}canary-since"
"""On a ReplicaSet: when that step began."""
FAILED_BEFORE = f"{PREFIX}failed-before"
"""On a pod of a DaemonSet: how many in a row had failed on its node before it."""
DEPENDENCIES_MET = f"{PREFIX}DependenciesMet"
"""The condition of a pod that waits for others, or waited."""
NO_DEADLINE_S = 2_147_483_647
"""The `progressDeadlineSeconds` of a Deployment that mean none."""
REMEMBERED = (CONFIG_SEEN, FAILED_REVISION, WAS_AVAILABLE, CANARY_STEP, CANARY_SINCE, MOVING, REBALANCE_AFTER)
"""What the control plane writes itself, and never copies from one object to another."""


def is_on(metadata: meta_v1.ObjectMeta, name: str) -> bool:
    """Whether a setting that is `true` or `false` is on."""
    return metadata.annotations.get(name) == "true"


def moves(metadata: meta_v1.ObjectMeta) -> bool:
    """Whether pods of a Deployment move to better nodes."""
    return metadata.annotations.get(REBALANCE) in ("true", REBALANCE_SCRATCH)


def is_gated(pod: core_v1.Pod) -> bool:
    """Whether a pod waits for what it depends on."""
    return any(gate.name == DEPENDS_ON for gate in pod.spec.scheduling_gates)


def leaves_for_ms(pod: core_v1.Pod, now: int) -> int | None:
    """How many milliseconds a pod still counts as one that is to be replaced; None where it does not."""
    since = pod.metadata.annotations.get(EVICTION_WANTED)
    if since is None:
        return None
    try:
        left_ms = times.parse(since) + LEAVING_MS - now
    except times.TimeError:
        return None
    return left_ms if left_ms > 0 else None
