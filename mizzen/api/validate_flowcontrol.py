"""The rules for FlowSchemas and PriorityLevelConfigurations."""

from __future__ import annotations

from mizzen.api import formats, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import flowcontrol_v1 as flowcontrol
from mizzen.api.validate_common import Errors, maybe_one_of, one_of, required, required_and, within

EXEMPT = "exempt"
"""The name of the one schema and the one level whose requests are never held up."""
PRECEDENCE_MAX = 10_000

_QUEUES_MAX = 10_000_000
_METHODS = ("ByNamespace", "ByUser")
_RESPONSES = ("Queue", "Reject")
_TYPES = ("Exempt", "Limited")
_SUBJECTS = {
    "User": ("user", "user"),
    "Group": ("group", "group"),
    "ServiceAccount": ("serviceAccount", "service_account"),
}
_SHARES = "must be a non-negative integer"
_POSITIVE = "must be positive"


def create_schema(obj: flowcontrol.FlowSchema) -> Errors:
    """A FlowSchema that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _schema(obj)


def update_schema(new: flowcontrol.FlowSchema, old: flowcontrol.FlowSchema) -> Errors:
    """A FlowSchema that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _schema(new)


def _schema(obj: flowcontrol.FlowSchema) -> Errors:
    spec, path = obj.spec, "spec.matchingPrecedence"
    if spec.matching_precedence <= 0:
        yield FieldError.invalid(path, spec.matching_precedence, "must be a positive value")
    elif spec.matching_precedence > PRECEDENCE_MAX:
        yield FieldError.invalid(path, spec.matching_precedence, f"must not be greater than {PRECEDENCE_MAX}")
    elif spec.matching_precedence == 1 and obj.metadata.name != EXEMPT:
        why = "only the schema named 'exempt' may have matchingPrecedence 1"
        yield FieldError.invalid(path, spec.matching_precedence, why)
    if spec.distinguisher_method is not None:
        yield from one_of("spec.distinguisherMethod.type", spec.distinguisher_method.type, _METHODS)
    name = spec.priority_level_configuration.name
    yield from required_and("spec.priorityLevelConfiguration.name", name, formats.dns_subdomain)
    for i, rule in enumerate(spec.rules):
        yield from _rule(f"spec.rules[{i}]", rule)


def _rule(path: str, rule: flowcontrol.PolicyRulesWithSubjects) -> Errors:
    yield from required(f"{path}.subjects", rule.subjects, "subjects must contain at least one value")
    for i, subject in enumerate(rule.subjects):
        yield from _subject(f"{path}.subjects[{i}]", subject)
    if not rule.resource_rules and not rule.non_resource_rules:
        yield FieldError.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for i, wanted in enumerate(rule.resource_rules):
        at = f"{path}.resourceRules[{i}]"
        yield from _listed(f"{at}.verbs", wanted.verbs)
        yield from _listed(f"{at}.apiGroups", wanted.api_groups)
        yield from _listed(f"{at}.resources", wanted.resources)
        if not wanted.namespaces and not wanted.cluster_scope:
            why = "resource rules that are not cluster scoped must supply at least one namespace"
            yield FieldError.required(f"{at}.namespaces", why)
    for i, other in enumerate(rule.non_resource_rules):
        at = f"{path}.nonResourceRules[{i}]"
        yield from _listed(f"{at}.verbs", other.verbs)
        yield from _listed(f"{at}.nonResourceURLs", other.non_resource_urls)


def _listed(path: str, values: tuple[str, ...]) -> Errors:
    """Something must be listed, and `*` must stand alone."""
    yield from required(path, values)
    if "*" in values and len(values) > 1:
        yield FieldError.invalid(path, values, "if '*' is present, must not specify other values")


def _subject(path: str, subject: flowcontrol.Subject) -> Errors:
    yield from one_of(f"{path}.kind", subject.kind, _SUBJECTS)
    for kind, (name, attr) in _SUBJECTS.items():
        given = getattr(subject, attr)
        if kind == subject.kind and given is None:
            yield FieldError.required(f"{path}.{name}", f"{name} is required when subject kind is '{kind}'")
        elif kind != subject.kind and given is not None:
            yield FieldError.forbidden(f"{path}.{name}", f"{name} is forbidden when subject kind is not '{kind}'")
        elif given is not None:
            yield from required(f"{path}.{name}.name", given.name)


def create_level(obj: flowcontrol.PriorityLevelConfiguration) -> Errors:
    """A PriorityLevelConfiguration that is about to be."""
    yield from validate_meta.create(obj.metadata, formats.dns_subdomain, namespaced=False)
    yield from _level(obj)


def update_level(new: flowcontrol.PriorityLevelConfiguration, old: flowcontrol.PriorityLevelConfiguration) -> Errors:
    """A PriorityLevelConfiguration that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _level(new)


def _level(obj: flowcontrol.PriorityLevelConfiguration) -> Errors:
    spec = obj.spec
    if (obj.metadata.name == EXEMPT) != (spec.type == "Exempt"):
        why = "type must be 'Exempt' if and only if name is 'exempt'"
        yield FieldError.invalid("spec.type", spec.type, why)
    yield from one_of("spec.type", spec.type, _TYPES)
    if spec.type == "Exempt" and spec.limited is not None:
        yield FieldError.forbidden("spec.limited", "must be nil if the type is not Limited")
    if spec.type == "Limited":
        if spec.exempt is not None:
            yield FieldError.forbidden("spec.exempt", "must be nil if the type is Limited")
        if spec.limited is None:
            yield FieldError.required("spec.limited", "must not be empty when type is Limited")
        else:
            yield from _limited("spec.limited", spec.limited)
    elif spec.exempt is not None:
        yield from _shares("spec.exempt", spec.exempt.nominal_concurrency_shares, spec.exempt.lendable_percent)


def _shares(path: str, shares: int | None, lendable: int | None) -> Errors:
    if shares is not None and shares < 0:
        yield FieldError.invalid(f"{path}.nominalConcurrencyShares", shares, _SHARES)
    if lendable is not None:
        yield from within(f"{path}.lendablePercent", lendable, 0, 100)


def _limited(path: str, limited: flowcontrol.LimitedPriorityLevelConfiguration) -> Errors:
    yield from _shares(path, limited.nominal_concurrency_shares, limited.lendable_percent)
    borrowing = limited.borrowing_limit_percent
    if borrowing is not None and borrowing < 0:
        yield FieldError.invalid(f"{path}.borrowingLimitPercent", borrowing, f"if specified, {_SHARES}")
    response, at = limited.limit_response, f"{path}.limitResponse"
    yield from maybe_one_of(f"{at}.type", response.type, _RESPONSES)
    if response.type == "Queue" and response.queuing is None:
        yield FieldError.required(f"{at}.queuing", "must not be empty if limited.limitResponse.type is Queue")
    elif response.queuing is not None and response.type != "Queue":
        yield FieldError.forbidden(f"{at}.queuing", "must be nil if limited.limitResponse.type is not Queue")
    elif response.queuing is not None:
        yield from _queuing(f"{at}.queuing", response.queuing)


def _queuing(path: str, queuing: flowcontrol.QueuingConfiguration) -> Errors:
    for name, value in (
        ("queueLengthLimit", queuing.queue_length_limit), ("queues", queuing.queues), ("handSize", queuing.hand_size),
    ):  # fmt: skip
        if value <= 0:
            yield FieldError.invalid(f"{path}.{name}", value, _POSITIVE)
    if queuing.queues > _QUEUES_MAX:
        yield FieldError.invalid(f"{path}.queues", queuing.queues, f"must not be greater than {_QUEUES_MAX}")
    if queuing.hand_size > queuing.queues:
        why = f"should not be greater than queues ({queuing.queues})"
        yield FieldError.invalid(f"{path}.handSize", queuing.hand_size, why)
