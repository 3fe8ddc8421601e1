"""ValidatingAdmissionPolicies: what they say about a request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controlplane.admission import conditions, policy_choice, policy_programs
from controlplane.admission.policy_choice import FAIL, Concern, Misconfigured, Seen
from controlplane.admission.request import Request
from mizzen.api import kinds
from mizzen.api.errors import ApiError, Forbidden
from mizzen.api.kinds import Kind
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.view import View

if TYPE_CHECKING:
    from mizzen.api.cel.policy import Evaluation, Program

COST_MAX = 10_000_000
"""What the expressions of one policy may take for one binding and its parameters, in the units of `cel_cost`."""
_FAILURES = "validation.policy.admission.k8s.io/validation_failure"
"""The annotation that lists what was only to be written down."""
_ANNOTATION_MAX = 10 * 1024
"""Characters of an annotation of the audit log."""
_MESSAGE_MAX_BYTES = 5 * 1024
_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}
_INVALID, _INVALID_CODE = "Invalid", 422


@dataclass(frozen=True, slots=True)
class _Failure:
    """One thing that a policy does not allow."""

    message: str
    reason: str = ""
    place: int = 0
    """Of the expression among the policy's."""


class _NoAnnotation(_Failure):
    """An annotation for the audit log that has no value."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What policies say of a request that they allow."""

    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    """For the audit log."""


NOTHING = Judged()


def judge(request: Request, obj: Any, old: Any, view: View) -> Judged:
    """What the policies say that concern a request. Raises ApiError, with annotations, where one denies it."""
    if not view.list(kinds.VALIDATING_POLICY_BINDING):
        return NOTHING
    one = policy_choice.seen(request, obj, old, view)
    warnings: list[str] = []
    written: list[dict[str, Any]] = []
    notes: dict[str, list[str]] = {}
    denied: ApiError | None = None
    for concern in policy_choice.concerns(one, kinds.VALIDATING_POLICY, kinds.VALIDATING_POLICY_BINDING):
        for failure, actions in _failures(concern, one, notes):
            if "Audit" in actions:
                written.append(_written(concern, failure, actions))
            where = f"ValidatingAdmissionPolicy '{concern.policy.metadata.name}' with binding '{_name(concern)}'"
            if "Warn" in actions:
                warnings.append(f"Validation failed for {where}: {failure.message}")
            if "Deny" in actions and denied is None:
                denied = _denial(one, f"{where} denied request: {failure.message}", failure.reason)
    annotations = {key: ", ".join(dict.fromkeys(values)) for key, values in notes.items()}
    if written:
        annotations[_FAILURES] = json.dumps(written, separators=(",", ":"))
    if denied is not None:
        denied.annotations, denied.warnings = annotations, tuple(warnings)
        raise denied
    return Judged(tuple(warnings), annotations) if warnings or annotations else NOTHING


def _written(concern: Concern, failure: _Failure, actions: tuple[str, ...]) -> dict[str, Any]:
    return {
        "message": failure.message,
        "policy": concern.policy.metadata.name,
        "binding": _name(concern),
        "expressionIndex": failure.place,
        "validationActions": list(actions),
    }


def _name(concern: Concern) -> str:
    return str(concern.binding.metadata.name)


def _denial(one: Seen, message: str, reason: str) -> ApiError:
    error = forbidden(one.about.kind, one.about.name, message)
    error.reason = reason or _INVALID
    error.code = _CODES.get(error.reason, _INVALID_CODE)
    return error


def forbidden(kind: Kind[Any], name: str, message: str) -> Forbidden:
    """The refusal of an object, with the message as its cause."""
    error = Forbidden(kind, name, message)
    causes = (meta.StatusCause(message=message),)
    error.details = meta.StatusDetails(name=name, group=kind.group, kind=kind.plural, causes=causes)
    return error


def _failures(concern: Concern, one: Seen, notes: dict[str, list[str]]) -> Iterator[tuple[_Failure, tuple[str, ...]]]:
    """What fails, and which actions follow. What the audit log is to be told is added to `notes`."""
    from mizzen.api.cel import authorizer
    from mizzen.api.cel.policy import BadExpression

    must = concern.policy.spec.failure_policy in (None, FAIL)
    try:
        programs = policy_programs.of(concern.policy)
        params = policy_choice.parameters(concern, one)
    except BadExpression as error:
        if must:
            yield _Failure(f"failed to configure policy: {error}"), ("Deny",)
        return
    except Misconfigured as error:
        if must:
            yield _Failure(f"failed to configure binding: {error}"), ("Deny",)
        return
    with authorizer.asking(one.ask):
        for param in params:
            given = one.given(concern.kind, param)
            for failure in _judged(concern, programs, given, notes, must=must):
                # An annotation that can't be made denies the request whatever is bound to follow.
                actions = ("Deny",) if isinstance(failure, _NoAnnotation) else concern.binding.spec.validation_actions
                yield failure, actions


def _judged(
    concern: Concern,
    programs: policy_programs.Programs,
    given: dict[str, Any],
    notes: dict[str, list[str]],
    *,
    must: bool,
) -> Iterator[_Failure]:
    from mizzen.api.cel.policy import Evaluation, EvaluationFailed

    try:
        if not conditions.hold(programs.conditions, programs.variables, given):
            return
    except conditions.NoValue as error:
        if must:
            yield _Failure(str(error))
        return
    evaluation = Evaluation(given, programs.variables, COST_MAX)
    validations = zip(concern.policy.spec.validations, programs.validations, strict=True)
    for place, (validation, (program, message)) in enumerate(validations):
        try:
            holds = evaluation.value(program)
        except EvaluationFailed as error:
            if must:
                yield _Failure(str(error), place=place)
            continue
        if holds is not True:
            yield _Failure(_message(validation, message, evaluation), validation.reason or _INVALID, place)
    yield from _annotated(concern, programs, evaluation, notes, must=must)


def _annotated(
    concern: Concern,
    programs: policy_programs.Programs,
    evaluation: Evaluation,
    notes: dict[str, list[str]],
    *,
    must: bool,
) -> Iterator[_Failure]:
    """Add what the audit log is told to `notes`; what can't be made fails."""
    from mizzen.api.cel.policy import EvaluationFailed

    for annotation, program in zip(concern.policy.spec.audit_annotations, programs.annotations, strict=True):
        try:
            value = _annotation(evaluation.value(program), annotation.value_expression)
        except (EvaluationFailed, ValueError) as error:
            if must:
                yield _NoAnnotation(f"valueExpression{str(error).removeprefix('expression')}")
            continue
        if value:
            notes.setdefault(f"{concern.policy.metadata.name}/{annotation.key}", []).append(value)


def _annotation(value: Any, expression: str) -> str:
    """What is written of the value of an annotation. Raises ValueError for one of another type."""
    if value is None:
        return ""
    if not isinstance(value, str):
        what = f"resulted in unsupported return type: {type(value).__name__}"
        raise ValueError(f"expression '{expression}' {what}. Return type must be either string or null.")
    return value.strip()[:_ANNOTATION_MAX]


def _message(validation: admission.Validation, program: Program | None, evaluation: Evaluation) -> str:
    usual = validation.message.strip() or f"failed expression: {validation.expression.strip()}"
    if program is None:
        return usual
    from mizzen.api.cel.policy import EvaluationFailed

    try:
        said = evaluation.value(program)
    except EvaluationFailed:
        # A message that cannot be made must not hide what failed.
        return usual
    text = said.strip() if isinstance(said, str) else ""
    return usual if not text or "\n" in text or len(text.encode()) > _MESSAGE_MAX_BYTES else text
