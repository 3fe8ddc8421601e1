"""The rules for what decides where pods run: affinity, tolerations and taints, spreading."""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import formats
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.validate_common import (
    NOT_POSITIVE,
    Errors,
    checked,
    label_key,
    label_selector,
    maybe_one_of,
    presence_of_values,
)

EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = "must be in the range 1-100"
_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")
_POLICIES = ("Honor", "Ignore")
_IN_BOTH = "exists in both matchLabelKeys and labelSelector"
_WITHOUT_SELECTOR = "must not be specified when labelSelector is not set"


def tolerations(path: str, items: Iterable[core.Toleration]) -> Errors:
    """Tolerations of a pod."""
    for i, toleration in enumerate(items):
        yield from _toleration(f"{path}[{i}]", toleration)


def _toleration(path: str, toleration: core.Toleration) -> Errors:
    if toleration.key:
        yield from label_key(f"{path}.key", toleration.key)
    elif toleration.operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield FieldError.invalid(f"{path}.operator", toleration.operator, why)
    if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
        why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield FieldError.invalid(f"{path}.effect", toleration.effect, why)
    if toleration.operator in ("Equal", ""):
        if problems := formats.label_value(toleration.value):
            yield FieldError.invalid(f"{path}.operator", toleration.value, ";".join(problems))
    elif toleration.operator == "Exists":
        if toleration.value:
            yield FieldError.invalid(f"{path}.operator", toleration, "value must be empty when `operator` is 'Exists'")
    else:
        yield FieldError.unsupported(f"{path}.operator", toleration.operator, ("Equal", "Exists"))
    yield from maybe_one_of(f"{path}.effect", toleration.effect or None, EFFECTS)


def taints(path: str, items: Iterable[core.Taint]) -> Errors:
    """Taints of a node."""
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(items):
        at = f"{path}[{i}]"
        yield from label_key(f"{at}.key", taint.key)
        if problems := formats.label_value(taint.value):
            yield FieldError.invalid(f"{at}.value", taint.value, ";".join(problems))
        if not taint.effect:
            yield FieldError.required(f"{at}.effect")
        else:
            yield from maybe_one_of(f"{at}.effect", taint.effect, EFFECTS)
        if (taint.key, taint.effect) in seen:
            why = "taints must be unique by key and effect pair"
            yield FieldError("FieldValueDuplicate", at, taint, why)
        seen.add((taint.key, taint.effect))


def affinity(path: str, value: core.Affinity | None) -> Errors:
    """What a pod wants and avoids of nodes and other pods."""
    if value is None:
        return
    if value.node_affinity is not None:
        yield from _node_affinity(f"{path}.nodeAffinity", value.node_affinity)
    if value.pod_affinity is not None:
        yield from _pod_affinity(f"{path}.podAffinity", value.pod_affinity)
    if value.pod_anti_affinity is not None:
        yield from _pod_affinity(f"{path}.podAntiAffinity", value.pod_anti_affinity)


def _node_affinity(path: str, value: core.NodeAffinity) -> Errors:
    required = value.required_during_scheduling_ignored_during_execution
    if required is not None:
        yield from node_selector(f"{path}.{_REQUIRED}", required)
    for i, preferred in enumerate(value.preferred_during_scheduling_ignored_during_execution):
        at = f"{path}.{_PREFERRED}[{i}]"
        yield from _weight(at, preferred.weight)
        yield from _node_term(f"{at}.preference", preferred.preference)


def node_selector(path: str, selector: core.NodeSelector) -> Errors:
    """Terms of which a node must fulfil one."""
    at = f"{path}.nodeSelectorTerms"
    if not selector.node_selector_terms:
        yield FieldError.required(at, "must have at least one node selector term")
    for i, term in enumerate(selector.node_selector_terms):
        yield from _node_term(f"{at}[{i}]", term)


def _weight(path: str, weight: int) -> Errors:
    if not 1 <= weight <= 100:
        yield FieldError.invalid(f"{path}.weight", weight, _WEIGHT)


def _node_term(path: str, term: core.NodeSelectorTerm) -> Errors:
    for i, requirement in enumerate(term.match_expressions):
        at = f"{path}.matchExpressions[{i}]"
        if requirement.operator in ("Gt", "Lt"):
            if len(requirement.values) != 1:
                why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                yield FieldError.required(f"{at}.values", why)
        else:
            yield from presence_of_values(at, requirement.operator, requirement.values)
        yield from label_key(f"{at}.key", requirement.key)
    for i, requirement in enumerate(term.match_fields):
        yield from _node_field(f"{path}.matchFields[{i}]", requirement)


def _node_field(path: str, requirement: core.NodeSelectorRequirement) -> Errors:
    if requirement.operator not in ("In", "NotIn"):
        yield FieldError.invalid(f"{path}.operator", requirement.operator, "not a valid selector operator")
    elif len(requirement.values) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield FieldError.required(f"{path}.values", why)
    if requirement.key != "metadata.name":
        yield FieldError.invalid(f"{path}.key", requirement.key, "not a valid field selector key")
        return
    for i, value in enumerate(requirement.values):
        yield from checked(f"{path}.values[{i}]", value, formats.dns_subdomain)


def _pod_affinity(path: str, value: core.PodAffinity | core.PodAntiAffinity) -> Errors:
    for i, term in enumerate(value.required_during_scheduling_ignored_during_execution):
        yield from _pod_term(f"{path}.{_REQUIRED}[{i}]", term)
    for i, weighted in enumerate(value.preferred_during_scheduling_ignored_during_execution):
        at = f"{path}.{_PREFERRED}[{i}]"
        yield from _weight(at, weighted.weight)
        yield from _pod_term(f"{at}.podAffinityTerm", weighted.pod_affinity_term)


def _pod_term(path: str, term: core.PodAffinityTerm) -> Errors:
    yield from label_selector(f"{path}.labelSelector", term.label_selector)
    yield from label_selector(f"{path}.namespaceSelector", term.namespace_selector)
    for name in term.namespaces:
        yield from checked(f"{path}.namespace", name, formats.dns_label)
    yield from _label_keys(f"{path}.matchLabelKeys", term.match_label_keys, term.label_selector)
    yield from _label_keys(f"{path}.mismatchLabelKeys", term.mismatch_label_keys, term.label_selector)
    for i, key in enumerate(term.match_label_keys):
        if key in term.mismatch_label_keys:
            why = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield FieldError.invalid(f"{path}.matchLabelKeys[{i}]", key, why)
    if not term.topology_key:
        yield FieldError.required(f"{path}.topologyKey", "can not be empty")
    yield from label_key(f"{path}.topologyKey", term.topology_key)


def _label_keys(path: str, keys: tuple[str, ...], selector: meta.LabelSelector | None) -> Errors:
    if keys and selector is None:
        yield FieldError.forbidden(path, _WITHOUT_SELECTOR)
        return
    for i, key in enumerate(keys):
        yield from label_key(f"{path}[{i}]", key)


def spreading(path: str, constraints: tuple[core.TopologySpreadConstraint, ...]) -> Errors:
    """How a pod wants to be spread with others over the parts of the cluster."""
    seen: set[tuple[str, str]] = set()
    for i, constraint in enumerate(constraints):
        at = f"{path}[{i}]"
        if constraint.max_skew <= 0:
            yield FieldError.invalid(f"{at}.maxSkew", constraint.max_skew, NOT_POSITIVE)
        if not constraint.topology_key:
            yield FieldError.required(f"{at}.topologyKey", "can not be empty")
        yield from maybe_one_of(f"{at}.whenUnsatisfiable", constraint.when_unsatisfiable, _ACTIONS)
        pair = (constraint.topology_key, constraint.when_unsatisfiable)
        if pair in seen:
            yield FieldError.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        seen.add(pair)
        yield from _min_domains(at, constraint)
        yield from maybe_one_of(f"{at}.nodeAffinityPolicy", constraint.node_affinity_policy, _POLICIES)
        yield from maybe_one_of(f"{at}.nodeTaintsPolicy", constraint.node_taints_policy, _POLICIES)
        yield from _label_keys(f"{at}.matchLabelKeys", constraint.match_label_keys, constraint.label_selector)
        yield from _apart(f"{at}.matchLabelKeys", constraint.match_label_keys, constraint.label_selector)
        yield from label_selector(f"{at}.labelSelector", constraint.label_selector)


def _min_domains(path: str, constraint: core.TopologySpreadConstraint) -> Errors:
    domains = constraint.min_domains
    if domains is None:
        return
    if domains <= 0:
        yield FieldError.invalid(f"{path}.minDomains", domains, NOT_POSITIVE)
    if constraint.when_unsatisfiable != "DoNotSchedule":
        action = constraint.when_unsatisfiable
        why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        yield FieldError.invalid(f"{path}.minDomains", domains, why)


def _apart(path: str, keys: tuple[str, ...], selector: meta.LabelSelector | None) -> Errors:
    """A key must not be both in the selector and among the keys whose values are taken from the pod."""
    if selector is None:
        return
    selected = {*selector.match_labels, *(expression.key for expression in selector.match_expressions)}
    for i, key in enumerate(keys):
        if key in selected:
            yield FieldError.invalid(f"{path}[{i}]", key, _IN_BOTH)
