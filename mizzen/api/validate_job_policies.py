"""The rules for what a failed pod means for its job, and for jobs that succeed early."""

from __future__ import annotations

from mizzen.api import formats
from mizzen.api.errors import FieldError
from mizzen.api.types import batch_v1 as batch
from mizzen.api.validate_common import Errors, checked, not_negative, one_of

INDEXED = "Indexed"

_RULES_MAX = 20
_CODES_MAX = 255
_INDEXES_MAX_BYTES = 64 * 1024
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_BOTH = "specifying both OnExitCodes and OnPodConditions is not supported"
_NEITHER = "specifying one of OnExitCodes and OnPodConditions is required"
_NO_CRITERION = "at least one of succeededCount or succeededIndexes must be specified"
_NO_RULES = "at least one rules must be specified when the successPolicy is specified"


class IndexesError(ValueError):
    """The text does not list indexes."""


def failure_policy(path: str, policy: batch.PodFailurePolicy, spec: batch.JobSpec) -> Errors:
    """What failures of pods mean."""
    at = f"{path}.rules"
    if len(policy.rules) > _RULES_MAX:
        yield FieldError.too_many(at, len(policy.rules), _RULES_MAX)
    template = spec.template.spec
    names = tuple(container.name for container in (*template.containers, *template.init_containers))
    for i, rule in enumerate(policy.rules):
        yield from _rule(f"{at}[{i}]", rule, spec.backoff_limit_per_index is not None, names)


def _rule(path: str, rule: batch.PodFailurePolicyRule, per_index: bool, names: tuple[str, ...]) -> Errors:
    yield from one_of(f"{path}.action", rule.action, _ACTIONS)
    if rule.action == "FailIndex" and not per_index:
        yield FieldError.invalid(f"{path}.action", rule.action, "requires the backoffLimitPerIndex to be set")
    if rule.on_exit_codes is not None:
        yield from _exit_codes(f"{path}.onExitCodes", rule.on_exit_codes, names)
    at = f"{path}.onPodConditions"
    if len(rule.on_pod_conditions) > _RULES_MAX:
        yield FieldError.too_many(at, len(rule.on_pod_conditions), _RULES_MAX)
    for i, pattern in enumerate(rule.on_pod_conditions):
        yield from checked(f"{at}[{i}].type", pattern.type, formats.qualified_name)
        yield from one_of(f"{at}[{i}].status", pattern.status, _STATUSES)
    if rule.on_exit_codes is not None and rule.on_pod_conditions:
        yield FieldError.invalid(path, "", _BOTH)
    elif rule.on_exit_codes is None and not rule.on_pod_conditions:
        yield FieldError.invalid(path, "", _NEITHER)


def _exit_codes(path: str, wanted: batch.PodFailurePolicyOnExitCodesRequirement, names: tuple[str, ...]) -> Errors:
    yield from one_of(f"{path}.operator", wanted.operator, _OPERATORS)
    if wanted.container_name is not None and wanted.container_name not in names:
        why = "must be one of the container or initContainer names in the pod template"
        yield FieldError.invalid(f"{path}.containerName", wanted.container_name, why)
    at, codes = f"{path}.values", wanted.values
    if not codes:
        yield FieldError.invalid(at, codes, "at least one value is required")
    elif len(codes) > _CODES_MAX:
        yield FieldError.too_many(at, len(codes), _CODES_MAX)
    for i, code in enumerate(codes):
        if wanted.operator == "In" and code == 0:
            yield FieldError.invalid(f"{at}[{i}]", code, "must not be 0 for the In operator")
        if code in codes[:i]:
            yield FieldError.duplicate(f"{at}[{i}]", code)
    if list(codes) != sorted(codes):
        yield FieldError.invalid(at, codes, "must be ordered")


def success_policy(path: str, policy: batch.SuccessPolicy, spec: batch.JobSpec) -> Errors:
    """When a job has succeeded early."""
    if spec.completion_mode != INDEXED:
        yield FieldError.invalid(path, "", "requires indexed completion mode")
        return
    at = f"{path}.rules"
    if not policy.rules:
        yield FieldError.required(at, _NO_RULES)
    if len(policy.rules) > _RULES_MAX:
        yield FieldError.too_many(at, len(policy.rules), _RULES_MAX)
    for i, rule in enumerate(policy.rules):
        yield from _success_rule(f"{at}[{i}]", rule, spec.completions or 0)


def _success_rule(path: str, rule: batch.SuccessPolicyRule, completions: int) -> Errors:
    if rule.succeeded_indexes is None and rule.succeeded_count is None:
        yield FieldError.required(path, _NO_CRITERION)
    listed = 0
    if rule.succeeded_indexes is not None:
        at = f"{path}.succeededIndexes"
        if len(rule.succeeded_indexes) > _INDEXES_MAX_BYTES:
            yield FieldError.too_long(at, _INDEXES_MAX_BYTES)
        try:
            listed = count_indexes(rule.succeeded_indexes, completions)
        except IndexesError as error:
            yield FieldError.invalid(at, rule.succeeded_indexes, f"error parsing succeededIndexes: {error}")
    count = rule.succeeded_count
    if count is None:
        return
    at = f"{path}.succeededCount"
    yield from not_negative(at, count)
    if count > completions:
        why = f"must be less than or equal to {completions} (the number of specified completions)"
        yield FieldError.invalid(at, count, why)
    elif listed and count > listed:
        why = f"must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        yield FieldError.invalid(at, count, why)


def count_indexes(text: str, completions: int) -> int:
    """How many indexes a list such as `1,3-5,7` names. Raises IndexesError for one that is malformed or too high."""
    if not text:
        return 0
    total, last = 0, -1
    for part in text.split(","):
        first_text, hyphen, end_text = part.partition("-")
        first = _index(first_text, completions)
        end = _index(end_text, completions) if hyphen else first
        if hyphen and end <= first:
            raise IndexesError(f"non-increasing order, previous: {first}, current: {end}")
        if first <= last:
            raise IndexesError(f"non-increasing order, previous: {last}, current: {first}")
        total += end - first + 1
        last = end
    return total


def _index(text: str, completions: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise IndexesError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise IndexesError(f'too large index: "{text}"')
    return int(text)
