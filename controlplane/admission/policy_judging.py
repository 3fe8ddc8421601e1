"""ValidatingAdmissionPolicies: what they say about a request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
_MESSAGE_MAX_BYTES = 5 * 1024
_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}
_INVALID, _INVALID_CODE = "Invalid", 422


@dataclass(frozen=True, slots=True)
class _Failure:
    """One thing that a policy does not allow."""

    message: str
    reason: str = ""


def judge(request: Request, obj: Any, old: Any, view: View) -> tuple[str, ...]:
    """The warnings of the policies that concern a request. Raises ApiError where one denies it."""
    if not view.list(kinds.VALIDATING_POLICY_BINDING):
        return ()
    one = policy_choice.seen(request, obj, old, view)
    warnings: list[str] = []
    denied: ApiError | None = None
    for concern in policy_choice.concerns(one, kinds.VALIDATING_POLICY, kinds.VALIDATING_POLICY_BINDING):
        for failure, actions in _failures(concern, one):
            where = f"ValidatingAdmissionPolicy '{concern.policy.metadata.name}' with binding '{_name(concern)}'"
            if "Warn" in actions:
                warnings.append(f"Validation failed for {where}: {failure.message}")
            if "Deny" in actions and denied is None:
                denied = _denial(one, f"{where} denied request: {failure.message}", failure.reason)
    if denied is not None:
        raise denied
    return tuple(warnings)


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


def _failures(concern: Concern, one: Seen) -> Iterator[tuple[_Failure, tuple[str, ...]]]:
    """What fails, and which actions follow."""
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
            for failure in _judged(concern, programs, one.given(concern.kind, param), must=must):
                yield failure, concern.binding.spec.validation_actions


def _judged(
    concern: Concern, programs: policy_programs.Programs, given: dict[str, Any], *, must: bool
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
    for validation, (program, message) in zip(concern.policy.spec.validations, programs.validations, strict=True):
        try:
            holds = evaluation.value(program)
        except EvaluationFailed as error:
            if must:
                yield _Failure(str(error))
            continue
        if holds is not True:
            yield _Failure(_message(validation, message, evaluation), validation.reason or _INVALID)


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
