"""Which ReplicaSet of a Deployment is which revision, and the annotations that record it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from controlplane.reconcilers import rollout
from mizzen.api import defaults_pod, workloads
from mizzen.api.types import apps_v1, core_v1

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
NOT_COPIED = {REVISION, HISTORY, DESIRED, MAXIMUM, LAST_APPLIED, workloads.PROMOTE, *workloads.REMEMBERED}
HISTORY_MAX_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Sets:
    """A Deployment's ReplicaSets: the one of the present template, and the others, oldest first."""

    new: apps_v1.ReplicaSet | None
    old: tuple[apps_v1.ReplicaSet, ...]

    @property
    def all(self) -> tuple[apps_v1.ReplicaSet, ...]:
        """Every one, the newest last."""
        return self.old if self.new is None else (*self.old, self.new)


def split(owner: apps_v1.Deployment, found: Sequence[apps_v1.ReplicaSet]) -> Sets:
    """Tells the ReplicaSet of the present template from the others; of several the oldest, as Kubernetes does."""
    by_age = sorted(found, key=lambda rs: (rs.metadata.creation_timestamp, rs.metadata.name))
    wanted = owner.spec.template
    new = next((rs for rs in by_age if same_template(rs.spec.template, wanted)), None)
    if new is None:
        # One that was stored when there were fewer defaults is the same, too: an upgrade rolls nothing.
        wanted = defaults_pod.template(wanted)
        new = next((rs for rs in by_age if same_template(defaults_pod.template(rs.spec.template), wanted)), None)
    return Sets(new, tuple(rs for rs in by_age if rs is not new))


def same_template(one: core_v1.PodTemplateSpec, other: core_v1.PodTemplateSpec) -> bool:
    """Equal but for the label that names the hash."""
    return one.spec == other.spec and _bare(one) == _bare(other)


def _bare(template: core_v1.PodTemplateSpec) -> tuple[dict[str, str], dict[str, str]]:
    return rollout.without_hash(template.metadata.labels), dict(template.metadata.annotations)


def revision_of(rs: apps_v1.ReplicaSet) -> int:
    """The revision number; 0 where there is none."""
    text = rs.metadata.annotations.get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def wanted_size(rs: apps_v1.ReplicaSet) -> int | None:
    """The Deployment's desired number when this ReplicaSet was last scaled."""
    text = rs.metadata.annotations.get(DESIRED, "")
    return int(text) if text.isdigit() else None


def noted_maximum(rs: apps_v1.ReplicaSet) -> int:
    """How many pods all ReplicaSets were allowed when this one was last scaled; 0 where that is not noted."""
    text = rs.metadata.annotations.get(MAXIMUM, "")
    return int(text) if text.isdigit() else 0


def size_marks(desired: int, maximum: int) -> dict[str, str]:
    """The annotations that record what a ReplicaSet was scaled for."""
    return {DESIRED: str(desired), MAXIMUM: str(maximum)}


def next_revision(sets: Sets) -> int:
    """One more than the highest old revision."""
    return max((revision_of(rs) for rs in sets.old), default=0) + 1


def _copied(owner: apps_v1.Deployment) -> dict[str, str]:
    return {key: value for key, value in owner.metadata.annotations.items() if key not in NOT_COPIED}


def annotations_for_new(owner: apps_v1.Deployment, sets: Sets, maximum: int) -> dict[str, str]:
    """The annotations of a ReplicaSet that is made now."""
    desired = owner.spec.replicas if owner.spec.replicas is not None else 1
    return {**_copied(owner), REVISION: str(next_revision(sets)), **size_marks(desired, maximum)}


def annotate_new(owner: apps_v1.Deployment, sets: Sets) -> apps_v1.ReplicaSet | None:
    """The newest ReplicaSet with its annotations brought up to date; None when they are.

    A ReplicaSet that becomes the newest again (an undo) gets the next revision; the one it had goes into its history.
    """
    new = sets.new
    if new is None:
        return None
    annotations = {**new.metadata.annotations, **_copied(owner)}
    revision, had = next_revision(sets), revision_of(new)
    if had < revision:
        annotations[REVISION] = str(revision)
        if had:
            history = [part for part in annotations.get(HISTORY, "").split(",") if part] + [str(had)]
            while len(",".join(history)) > HISTORY_MAX_CHARS:
                history.pop(0)
            annotations[HISTORY] = ",".join(history)
    min_ready = owner.spec.min_ready_seconds
    if annotations == dict(new.metadata.annotations) and new.spec.min_ready_seconds == min_ready:
        return None
    return msgspec.structs.replace(
        new,
        metadata=msgspec.structs.replace(new.metadata, annotations=annotations),
        spec=msgspec.structs.replace(new.spec, min_ready_seconds=min_ready),
    )


def annotate_owner(owner: apps_v1.Deployment, sets: Sets) -> apps_v1.Deployment | None:
    """The Deployment with the newest ReplicaSet's revision; None when it carries it."""
    if sets.new is None or owner.metadata.deletion_timestamp is not None:
        return None
    revision = sets.new.metadata.annotations.get(REVISION, "")
    if not revision or owner.metadata.annotations.get(REVISION) == revision:
        return None
    annotations = {**owner.metadata.annotations, REVISION: revision}
    return msgspec.structs.replace(owner, metadata=msgspec.structs.replace(owner.metadata, annotations=annotations))
