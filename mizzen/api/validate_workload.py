"""The rules for Deployments, ReplicaSets and PodTemplates."""

from __future__ import annotations

from mizzen.api import formats, intstr, selectors, validate_meta, validate_pod
from mizzen.api.errors import FieldError
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.validate_common import Errors, immutable, label_selector, not_negative, one_of

ABOVE = "cannot be greater than status.replicas"
UNSELECTED = "`selector` does not match template `labels`"


def create_deployment(deployment: apps.Deployment) -> Errors:
    """A Deployment that is about to be."""
    yield from validate_meta.create(deployment.metadata, formats.dns_subdomain, namespaced=True)
    yield from _deployment_spec(deployment.spec)


def update_deployment(new: apps.Deployment, old: apps.Deployment) -> Errors:
    """A Deployment that is about to be replaced: its selector stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _deployment_spec(new.spec)
    yield from immutable("spec.selector", new.spec.selector, old.spec.selector)


def _deployment_spec(spec: apps.DeploymentSpec) -> Errors:
    yield from not_negative("spec.replicas", spec.replicas)
    yield from selector_and_template(spec.selector, spec.template)
    yield from _strategy("spec.strategy", spec.strategy)
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    deadline_s = spec.progress_deadline_seconds
    if deadline_s is not None:
        yield from not_negative("spec.progressDeadlineSeconds", deadline_s)
        if deadline_s <= spec.min_ready_seconds:
            why = "must be greater than minReadySeconds"
            yield FieldError.invalid("spec.progressDeadlineSeconds", deadline_s, why)


def create_replica_set(replica_set: apps.ReplicaSet) -> Errors:
    """A ReplicaSet that is about to be."""
    yield from validate_meta.create(replica_set.metadata, formats.dns_subdomain, namespaced=True)
    yield from _replica_set_spec(replica_set.spec)


def update_replica_set(new: apps.ReplicaSet, old: apps.ReplicaSet) -> Errors:
    """A ReplicaSet that is about to be replaced: its selector stays."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _replica_set_spec(new.spec)
    yield from immutable("spec.selector", new.spec.selector, old.spec.selector)


def _replica_set_spec(spec: apps.ReplicaSetSpec) -> Errors:
    yield from not_negative("spec.replicas", spec.replicas)
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from selector_and_template(spec.selector, spec.template)


def update_deployment_status(new: apps.Deployment, old: apps.Deployment) -> Errors:
    """A Deployment's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    status = new.status
    for name, value in (
        ("observedGeneration", status.observed_generation), ("replicas", status.replicas),
        ("updatedReplicas", status.updated_replicas), ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas), ("unavailableReplicas", status.unavailable_replicas),
    ):  # fmt: skip
        yield from not_negative(f"status.{name}", value)
    for name, value in (
        ("updatedReplicas", status.updated_replicas), ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
    ):  # fmt: skip
        if value > status.replicas:
            yield FieldError.invalid(f"status.{name}", value, ABOVE)
    if status.available_replicas > status.ready_replicas:
        why = "cannot be greater than readyReplicas"
        yield FieldError.invalid("status.availableReplicas", status.available_replicas, why)


def update_replica_set_status(new: apps.ReplicaSet, old: apps.ReplicaSet) -> Errors:
    """A ReplicaSet's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    status = new.status
    counts = (
        ("fullyLabeledReplicas", status.fully_labeled_replicas), ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
    )  # fmt: skip
    for name, value in (("replicas", status.replicas), *counts):
        yield from not_negative(f"status.{name}", value)
    for name, value in counts:
        if value > status.replicas:
            yield FieldError.invalid(f"status.{name}", value, ABOVE)


def selector_and_template(
    selector: meta.LabelSelector | None,
    template: core.PodTemplateSpec,
    selecting: str = "deployment",
    running: str = "ReplicaSet",
) -> Errors:
    """The pods of the template must be those that the selector selects, and restart always.

    `selecting` and `running` are what the messages call the workload.
    """
    if selector is None:
        yield FieldError.required("spec.selector")
    else:
        problems = list(label_selector("spec.selector", selector))
        yield from problems
        if not selector.match_labels and not selector.match_expressions:
            yield FieldError.invalid("spec.selector", selector, f"empty selector is invalid for {selecting}")
        elif not problems and not selectors.from_field(selector).matches(template.metadata.labels):
            labels = dict(template.metadata.labels)
            yield FieldError.invalid("spec.template.metadata.labels", labels, UNSELECTED)
    yield from always_running("spec.template", template, running)


def always_running(path: str, template: core.PodTemplateSpec, running: str) -> Errors:
    """A template of pods that restart always and have no deadline."""
    yield from validate_pod.template(path, template)
    if template.spec.restart_policy in ("OnFailure", "Never"):
        yield FieldError.unsupported(f"{path}.spec.restartPolicy", template.spec.restart_policy, ("Always",))
    if template.spec.active_deadline_seconds is not None:
        why = f"activeDeadlineSeconds in {running} is not Supported"
        yield FieldError.forbidden(f"{path}.spec.activeDeadlineSeconds", why)


def _strategy(path: str, strategy: apps.DeploymentStrategy) -> Errors:
    yield from one_of(f"{path}.type", strategy.type, ("Recreate", "RollingUpdate"))
    rolling = strategy.rolling_update
    if strategy.type == "Recreate":
        if rolling is not None:
            why = "may not be specified when strategy `type` is 'Recreate'"
            yield FieldError.forbidden(f"{path}.rollingUpdate", why)
    elif strategy.type == "RollingUpdate":
        if rolling is None:
            yield FieldError.required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")
        else:
            yield from _rolling(f"{path}.rollingUpdate", rolling)


def _rolling(path: str, rolling: apps.RollingUpdateDeployment) -> Errors:
    unavailable, surge = rolling.max_unavailable or 0, rolling.max_surge or 0
    yield from share(f"{path}.maxUnavailable", unavailable)
    yield from share(f"{path}.maxSurge", surge)
    if unavailable in (0, "0%") and surge in (0, "0%"):
        why = "may not be 0 when `maxSurge` is 0"
        yield FieldError.invalid(f"{path}.maxUnavailable", unavailable, why)
    yield from at_most_all(f"{path}.maxUnavailable", unavailable)


def at_most_all(path: str, value: int | str) -> Errors:
    """A percentage must not exceed 100."""
    if intstr.is_percent(value) and intstr.scaled(value, 100, round_up=False) > 100:
        yield FieldError.invalid(path, value, "must not be greater than 100%")


def share(path: str, value: int | str) -> Errors:
    """A number of pods or a percentage of them."""
    if isinstance(value, int):
        yield from not_negative(path, value)
        return
    for problem in formats.percent(value):
        yield FieldError.invalid(path, value, problem)


def create_pod_template(obj: core.PodTemplate) -> Errors:
    """A PodTemplate that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=True)
    yield from validate_pod.template("template", obj.template)


def update_pod_template(new: core.PodTemplate, old: core.PodTemplate) -> Errors:
    """A PodTemplate that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from validate_pod.template("template", new.template)
