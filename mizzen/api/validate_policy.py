"""The rules for PodDisruptionBudgets."""

from __future__ import annotations

from mizzen.api import formats, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import policy_v1 as policy
from mizzen.api.validate_common import Errors, label_selector, maybe_one_of, not_negative
from mizzen.api.validate_workload import at_most_all, share

_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def create_budget(budget: policy.PodDisruptionBudget) -> Errors:
    """A PodDisruptionBudget that is about to be."""
    yield from validate_meta.create(budget.metadata, formats.dns_subdomain, namespaced=True)
    yield from _budget(budget.spec)


def update_budget(new: policy.PodDisruptionBudget, old: policy.PodDisruptionBudget) -> Errors:
    """A PodDisruptionBudget that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _budget(new.spec)


def update_budget_status(new: policy.PodDisruptionBudget, old: policy.PodDisruptionBudget) -> Errors:
    """A PodDisruptionBudget's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    status = new.status
    for name, value in (
        ("disruptionsAllowed", status.disruptions_allowed), ("currentHealthy", status.current_healthy),
        ("desiredHealthy", status.desired_healthy), ("expectedPods", status.expected_pods),
    ):  # fmt: skip
        yield from not_negative(f"status.{name}", value)


def _budget(spec: policy.PodDisruptionBudgetSpec) -> Errors:
    if spec.min_available is not None and spec.max_unavailable is not None:
        yield FieldError.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for name, value in (("minAvailable", spec.min_available), ("maxUnavailable", spec.max_unavailable)):
        if value is not None:
            yield from share(f"spec.{name}", value)
            yield from at_most_all(f"spec.{name}", value)
    yield from maybe_one_of("spec.unhealthyPodEvictionPolicy", spec.unhealthy_pod_eviction_policy, _EVICTION_POLICIES)
    yield from label_selector("spec.selector", spec.selector)
