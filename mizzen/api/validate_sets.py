"""The rules for StatefulSets, DaemonSets, ControllerRevisions and ReplicationControllers."""

from __future__ import annotations

from msgspec.structs import replace

from mizzen.api import formats, selectors, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import Errors, checked, immutable, not_negative, one_of, required
from mizzen.api.validate_storage import claim_spec
from mizzen.api.validate_workload import ABOVE, UNSELECTED, always_running, at_most_all, selector_and_template, share

_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_RETENTIONS = ("Delete", "Retain")


def create_stateful_set(obj: apps.StatefulSet) -> Errors:
    """A StatefulSet that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    if obj.spec.service_name:
        yield from checked("spec.serviceName", obj.spec.service_name, formats.dns_label)
    for i, claim in enumerate(obj.spec.volume_claim_templates):
        yield from claim_spec(f"spec.volumeClaimTemplates[{i}].spec", claim.spec)
    yield from _stateful_spec(obj.spec)


def update_stateful_set(new: apps.StatefulSet, old: apps.StatefulSet) -> Errors:
    """A StatefulSet that is about to be replaced: what its pods are named, find and keep stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _stateful_spec(new.spec)
    spec = new.spec
    changed = replace(
        old.spec,
        replicas=spec.replicas,
        ordinals=spec.ordinals,
        template=spec.template,
        update_strategy=spec.update_strategy,
        revision_history_limit=spec.revision_history_limit,
        persistent_volume_claim_retention_policy=spec.persistent_volume_claim_retention_policy,
        min_ready_seconds=spec.min_ready_seconds,
    )
    if changed != spec:
        yield FieldError.forbidden("spec", _FIXED)


def _stateful_spec(spec: apps.StatefulSetSpec) -> Errors:
    policies = ("OrderedReady", "Parallel")
    if not spec.pod_management_policy:
        yield FieldError.required("spec.podManagementPolicy")
    elif spec.pod_management_policy not in policies:
        why = "must be 'OrderedReady' or 'Parallel'"
        yield FieldError.invalid("spec.podManagementPolicy", spec.pod_management_policy, why)
    yield from _stateful_strategy("spec.updateStrategy", spec.update_strategy)
    retention = spec.persistent_volume_claim_retention_policy
    if retention is not None:
        at = "spec.persistentVolumeClaimRetentionPolicy"
        yield from one_of(f"{at}.whenDeleted", retention.when_deleted, _RETENTIONS)
        yield from one_of(f"{at}.whenScaled", retention.when_scaled, _RETENTIONS)
    yield from not_negative("spec.replicas", spec.replicas)
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    if spec.ordinals is not None:
        yield from not_negative("spec.ordinals.start", spec.ordinals.start)
    template = _with_claims(spec.template, spec.volume_claim_templates)
    yield from selector_and_template(spec.selector, template, "statefulset", "StatefulSet")


def _with_claims(
    template: core.PodTemplateSpec, claims: tuple[core.PersistentVolumeClaim, ...]
) -> core.PodTemplateSpec:
    """The template with the volumes that its pods will have: claims take the place of volumes of the same name."""
    made = {
        claim.metadata.name: core.Volume(
            name=claim.metadata.name,
            persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name=claim.metadata.name),
        )
        for claim in claims
    }
    if not made:
        return template
    volumes = [made.pop(volume.name, volume) for volume in template.spec.volumes]
    return replace(template, spec=replace(template.spec, volumes=(*volumes, *made.values())))


def _stateful_strategy(path: str, strategy: apps.StatefulSetUpdateStrategy) -> Errors:
    rolling = strategy.rolling_update
    if not strategy.type:
        yield FieldError.required(path)
    elif strategy.type == "OnDelete":
        if rolling is not None:
            why = "only allowed for updateStrategy 'RollingUpdate'"
            yield FieldError.invalid(f"{path}.rollingUpdate", rolling, why)
    elif strategy.type != "RollingUpdate":
        yield FieldError.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")
    elif rolling is not None:
        yield from not_negative(f"{path}.rollingUpdate.partition", rolling.partition)
        if rolling.max_unavailable is not None:
            at = f"{path}.rollingUpdate.maxUnavailable"
            yield from share(at, rolling.max_unavailable)
            if rolling.max_unavailable in (0, "0%"):
                yield FieldError.invalid(at, rolling.max_unavailable, "cannot be 0")
            yield from at_most_all(at, rolling.max_unavailable)


def update_stateful_set_status(new: apps.StatefulSet, old: apps.StatefulSet) -> Errors:
    """A StatefulSet's status that is about to be replaced."""
    status = new.status
    counts = (
        ("readyReplicas", status.ready_replicas), ("currentReplicas", status.current_replicas),
        ("updatedReplicas", status.updated_replicas), ("availableReplicas", status.available_replicas),
    )  # fmt: skip
    for name, value in (("replicas", status.replicas), *counts, ("observedGeneration", status.observed_generation)):
        yield from not_negative(f"status.{name}", value)
    yield from _collisions(status.collision_count, old.status.collision_count)
    for name, value in counts:
        if value > status.replicas:
            yield FieldError.invalid(f"status.{name}", value, ABOVE)
    if status.available_replicas > status.ready_replicas:
        why = "cannot be greater than status.readyReplicas"
        yield FieldError.invalid("status.availableReplicas", status.available_replicas, why)
    yield from validate_meta.update(new.metadata, old.metadata)


def _collisions(new: int | None, old: int | None) -> Errors:
    yield from not_negative("status.collisionCount", new)
    if old is not None and (new or 0) < old:
        yield FieldError.invalid("status.collisionCount", new or 0, "cannot be decremented")


def create_daemon_set(obj: apps.DaemonSet) -> Errors:
    """A DaemonSet that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    yield from _daemon_spec(obj.spec)


def update_daemon_set(new: apps.DaemonSet, old: apps.DaemonSet) -> Errors:
    """A DaemonSet that is about to be replaced: its selector stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _daemon_spec(new.spec)
    yield from immutable("spec.selector", new.spec.selector, old.spec.selector)


def _daemon_spec(spec: apps.DaemonSetSpec) -> Errors:
    yield from selector_and_template(spec.selector, spec.template, "daemonset", "DaemonSet")
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from _daemon_strategy("spec.updateStrategy", spec.update_strategy)
    yield from not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)


def _daemon_strategy(path: str, strategy: apps.DaemonSetUpdateStrategy) -> Errors:
    if strategy.type == "OnDelete":
        return
    if strategy.type != "RollingUpdate":
        yield FieldError.unsupported(f"{path}.type", strategy.type, ("OnDelete", "RollingUpdate"))
        return
    rolling, at = strategy.rolling_update, f"{path}.rollingUpdate"
    if rolling is None:
        yield FieldError.required(at)
        return
    unavailable, surge = rolling.max_unavailable or 0, rolling.max_surge or 0
    for name, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        yield from share(f"{at}.{name}", value)
        yield from at_most_all(f"{at}.{name}", value)
    if unavailable in (0, "0%") and surge in (0, "0%"):
        yield FieldError.required(f"{at}.maxUnavailable", "cannot be 0 when maxSurge is 0")
    elif unavailable not in (0, "0%") and surge not in (0, "0%"):
        yield FieldError.invalid(f"{at}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")


def update_daemon_set_status(new: apps.DaemonSet, old: apps.DaemonSet) -> Errors:
    """A DaemonSet's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    status = new.status
    for name, value in (
        ("currentNumberScheduled", status.current_number_scheduled),
        ("numberMisscheduled", status.number_misscheduled),
        ("desiredNumberScheduled", status.desired_number_scheduled),
        ("numberReady", status.number_ready),
        ("observedGeneration", status.observed_generation),
        ("updatedNumberScheduled", status.updated_number_scheduled),
        ("numberAvailable", status.number_available),
        ("numberUnavailable", status.number_unavailable),
    ):
        yield from not_negative(f"status.{name}", value)
    yield from _collisions(status.collision_count, old.status.collision_count)


def create_revision(obj: apps.ControllerRevision) -> Errors:
    """A ControllerRevision that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    yield from _revision(obj)


def update_revision(new: apps.ControllerRevision, old: apps.ControllerRevision) -> Errors:
    """A ControllerRevision that is about to be replaced: what it holds stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _revision(new)
    yield from immutable("data", new.data, old.data)


def _revision(obj: apps.ControllerRevision) -> Errors:
    if obj.data is None:
        yield FieldError.required("data", "data is mandatory")
    yield from not_negative("revision", obj.revision)


def create_replication_controller(obj: core.ReplicationController) -> Errors:
    """A ReplicationController that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    yield from _replication_spec(obj.spec)


def update_replication_controller(new: core.ReplicationController, old: core.ReplicationController) -> Errors:
    """A ReplicationController that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _replication_spec(new.spec)


def _replication_spec(spec: core.ReplicationControllerSpec) -> Errors:
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from required("spec.selector", spec.selector)
    yield from not_negative("spec.replicas", spec.replicas)
    if spec.template is None:
        yield FieldError.required("spec.template")
        return
    labels = spec.template.metadata.labels
    if spec.selector and not selectors.from_labels(spec.selector).matches(labels):
        yield FieldError.invalid("spec.template.metadata.labels", dict(labels), UNSELECTED)
    yield from always_running("spec.template", spec.template, "ReplicationController")


def update_replication_controller_status(new: core.ReplicationController, old: core.ReplicationController) -> Errors:
    """A ReplicationController's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    status = new.status
    counts = (
        ("fullyLabeledReplicas", status.fully_labeled_replicas), ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
    )  # fmt: skip
    for name, value in (("replicas", status.replicas), *counts, ("observedGeneration", status.observed_generation)):
        yield from not_negative(f"status.{name}", value)
    for name, value in counts:
        if value > status.replicas:
            yield FieldError.invalid(f"status.{name}", value, ABOVE)
    if status.available_replicas > status.ready_replicas:
        why = "cannot be greater than readyReplicas"
        yield FieldError.invalid("status.availableReplicas", status.available_replicas, why)
