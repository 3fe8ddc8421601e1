"""The rules for ResourceQuotas and LimitRanges."""

from __future__ import annotations

from collections.abc import Mapping

from mizzen.api import formats, quantity, resources, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import COUNTED, IMMUTABLE, Errors, amount, checked, presence_of_values, required
from mizzen.api.validate_container import can_overcommit, resource_name

COMPUTE = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
STORAGE = (
    "requests.storage", "ephemeral-storage", "requests.ephemeral-storage", "limits.ephemeral-storage", "storage",
)  # fmt: skip
TERMINATING, NOT_TERMINATING = "Terminating", "NotTerminating"
BEST_EFFORT, NOT_BEST_EFFORT = "BestEffort", "NotBestEffort"
PRIORITY_CLASS, CROSS_NAMESPACE = "PriorityClass", "CrossNamespacePodAffinity"
VOLUME_CLASS = "VolumeAttributesClass"
SCOPES = (
    TERMINATING, NOT_TERMINATING, BEST_EFFORT, NOT_BEST_EFFORT, PRIORITY_CLASS, CROSS_NAMESPACE, VOLUME_CLASS,
)  # fmt: skip

_ONLY_EXISTS = (TERMINATING, NOT_TERMINATING, BEST_EFFORT, NOT_BEST_EFFORT, CROSS_NAMESPACE)
_CONFLICTS = ({BEST_EFFORT, NOT_BEST_EFFORT}, {TERMINATING, NOT_TERMINATING})
_HUGE_PAGES = (resources.HUGE_PAGES_PREFIX, f"requests.{resources.HUGE_PAGES_PREFIX}")
_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_NOT_FOR_PODS = "may not be specified when `type` is 'Pod'"
_NO_STORAGE = "either minimum or maximum storage value is required, but neither was provided"
_NOT_STANDARD = "must be a standard resource type or fully qualified"


def create_quota(quota: core.ResourceQuota) -> Errors:
    """A ResourceQuota that is about to be."""
    yield from validate_meta.create(quota.metadata, formats.dns_subdomain, namespaced=True)
    yield from _quota(quota.spec)


def update_quota(new: core.ResourceQuota, old: core.ResourceQuota) -> Errors:
    """A ResourceQuota that is about to be replaced: its scopes stay."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _quota(new.spec)
    if set(new.spec.scopes) != set(old.spec.scopes):
        yield FieldError.invalid("spec.scopes", new.spec.scopes, IMMUTABLE)


def update_quota_status(new: core.ResourceQuota, old: core.ResourceQuota) -> Errors:
    """A ResourceQuota's status that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _amounts("status.hard", new.status.hard)
    yield from _amounts("status.used", new.status.used)


def _quota(spec: core.ResourceQuotaSpec) -> Errors:
    yield from _amounts("spec.hard", spec.hard)
    yield from _scopes("spec.scopes", spec.scopes, spec)
    if spec.scope_selector is None:
        return
    path = "spec.scopeSelector"
    terms = spec.scope_selector.match_expressions
    for i, term in enumerate(terms):
        at = f"{path}.matchExpressions[{i}]"
        if term.scope_name in _ONLY_EXISTS and term.operator != "Exists":
            why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
            why += "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort "
            why += "or ResourceQuotaScopeCrossNamespacePodAffinity"
            yield FieldError.invalid(f"{at}.operator", term.operator, why)
        yield from presence_of_values(at, term.operator, term.values)
    yield from _scopes(path, tuple(term.scope_name for term in terms), spec)


def _scopes(path: str, scopes: tuple[str, ...], spec: core.ResourceQuotaSpec) -> Errors:
    for scope in scopes:
        if scope not in SCOPES:
            yield FieldError.invalid(path, scopes, "unsupported scope")
        for name in sorted(spec.hard):
            if is_quota_resource(name) and not in_scope(scope, name):
                yield FieldError.invalid(path, scopes, "unsupported scope applied to resource")
    for pair in _CONFLICTS:
        if pair <= set(scopes):
            yield FieldError.invalid(path, scopes, "conflicting scopes")


def is_quota_resource(name: str) -> bool:
    """Whether a quota can bound a resource of this name; names with a slash stand for devices and counts."""
    return name in (*COMPUTE, *COUNTED, *STORAGE) or name.startswith(_HUGE_PAGES)


def in_scope(scope: str, name: str) -> bool:
    """Whether objects in a scope can use up a resource."""
    if scope == BEST_EFFORT:
        return name == "pods"
    if scope == VOLUME_CLASS:
        return name in ("persistentvolumeclaims", "requests.storage")
    if scope in SCOPES:
        return name == "pods" or name in COMPUTE
    return True


def _amounts(path: str, listed: Mapping[str, str]) -> Errors:
    for name, text in listed.items():
        at = f"{path}[{name}]"
        problems = formats.qualified_name(name)
        for problem in problems:
            yield FieldError.invalid(at, name, problem)
        if "/" not in name and not is_quota_resource(name):
            if not problems:
                yield FieldError.invalid(at, name, _NOT_STANDARD)
            yield FieldError.invalid(at, name, "must be a standard resource for quota")
        yield from amount(at, name, text)


def create_limits(limits: core.LimitRange) -> Errors:
    """A LimitRange that is about to be."""
    yield from validate_meta.create(limits.metadata, formats.dns_subdomain, namespaced=True)
    yield from _limits(limits)


def update_limits(new: core.LimitRange, old: core.LimitRange) -> Errors:
    """A LimitRange that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _limits(new)


def _limits(limits: core.LimitRange) -> Errors:
    seen: set[str] = set()
    for i, item in enumerate(limits.spec.limits):
        at = f"spec.limits[{i}]"
        yield from _limit_type(f"{at}.type", item.type)
        if item.type in seen:
            yield FieldError.duplicate(f"{at}.type", item.type)
        seen.add(item.type)
        yield from _item(at, item)


def _limit_type(path: str, type_: str) -> Errors:
    problems = formats.qualified_name(type_)
    for problem in problems:
        yield FieldError.invalid(path, type_, problem)
    if not problems and "/" not in type_ and type_ not in _LIMIT_TYPES:
        yield FieldError.invalid(path, type_, "must be a standard limit type or fully qualified")


def _item(path: str, item: core.LimitRangeItem) -> Errors:
    if item.type == "Pod":
        for field, listed in (("default", item.default), ("defaultRequest", item.default_request)):
            if listed:
                yield FieldError.forbidden(f"{path}.{field}", _NOT_FOR_PODS)
    if item.type == "PersistentVolumeClaim" and "storage" not in {*item.min, *item.max}:
        yield from required(f"{path}.limits", "", _NO_STORAGE)
    fields = (
        ("max", item.max), ("min", item.min), ("default", item.default), ("defaultRequest", item.default_request),
        ("maxLimitRequestRatio", item.max_limit_request_ratio),
    )  # fmt: skip
    for field, listed in fields:
        for name in listed:
            yield from _limit_name(f"{path}.{field}[{name}]", item.type, name)
    for name in sorted({name for _, listed in fields for name in listed}):
        yield from _order(path, item, name)
        yield from _ratio(f"{path}.maxLimitRequestRatio[{name}]", item, name)


def _limit_name(path: str, type_: str, name: str) -> Errors:
    if type_ in ("Pod", "Container"):
        yield from resource_name(path, name)
        return
    yield from checked(path, name, formats.qualified_name)
    if not formats.qualified_name(name) and "/" not in name and not is_quota_resource(name):
        yield FieldError.invalid(path, name, _NOT_STANDARD)


def _order(path: str, item: core.LimitRangeItem, name: str) -> Errors:
    """Minimum, default request, default and maximum must not cross."""
    low, high = item.min.get(name), item.max.get(name)
    limit, request = item.default.get(name), item.default_request.get(name)
    if item.type == "Pod":
        limit = request = None
    for field, (small, small_word), (large, large_word) in (
        ("min", (low, "min value"), (high, "max value")),
        ("defaultRequest", (low, "min value"), (request, "default request value")),
        ("defaultRequest", (request, "default request value"), (high, "max value")),
        ("defaultRequest", (request, "default request value"), (limit, "default limit value")),
        ("default", (low, "min value"), (limit, "default value")),
        ("default", (limit, "default value"), (high, "max value")),
    ):
        if small is not None and large is not None and quantity.compare(small, large) > 0:
            why = f"{small_word} {small} is greater than {large_word} {large}"
            wrong = {"min": low, "defaultRequest": request, "default": low if large is limit else high}[field]
            yield FieldError.invalid(f"{path}.{field}[{name}]", wrong, why)
    if limit is not None and request is not None and not can_overcommit(name) and quantity.compare(limit, request):
        why = f"default value {limit} must equal to defaultRequest value {request} in {name}"
        yield FieldError.invalid(f"{path}.defaultRequest[{name}]", request, why)


def _ratio(path: str, item: core.LimitRangeItem, name: str) -> Errors:
    ratio = item.max_limit_request_ratio.get(name)
    if ratio is None:
        return
    if quantity.compare(ratio, "1") < 0:
        yield FieldError.invalid(path, ratio, f"ratio {ratio} is less than 1")
    low, high = item.min.get(name), item.max.get(name)
    if low is None or high is None or not quantity.parse(low).nano:
        return
    most = quantity.parse(high).nano / quantity.parse(low).nano
    if quantity.parse(ratio).nano / quantity.NANO > most:
        yield FieldError.invalid(path, ratio, f"ratio {ratio} is greater than max/min = {most:f}")
