"""Says in a validating policy's status what its expressions get wrong about the kinds that it is for.

A warning, no refusal: a policy may be for kinds of different shapes. Only rules that name their group, version and
resource are looked at, and of those the first few.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from mizzen.api import kinds
from mizzen.api.kinds import Kind
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

if TYPE_CHECKING:
    from mizzen.api.cel.policy import Compiler

Policy = admission.ValidatingAdmissionPolicy
KINDS_MAX = 10
"""Kinds that a policy's expressions are checked against."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One policy: its status for its generation."""
    policy = view.get(kinds.VALIDATING_POLICY, "", key.name)
    if policy is None or policy.status.observed_generation == policy.metadata.generation:
        return Decision()
    checking = admission.TypeChecking(expression_warnings=tuple(_warnings(policy, view)))
    status = replace(policy.status, observed_generation=policy.metadata.generation, type_checking=checking)
    return Decision((UpdateStatus(replace(policy, status=status)),))


def _warnings(policy: Policy, view: View) -> Iterator[admission.ExpressionWarning]:
    found: dict[str, list[str]] = {}
    param = policy.spec.param_kind
    param_kind = view.catalog.by_type.get((param.api_version, param.kind)) if param is not None else None
    for kind in islice(_kinds(policy, view), KINDS_MAX):
        for path, problem in _problems(policy, kind, param_kind):
            group = kind.api_version if "/" in kind.api_version else f"/{kind.api_version}"
            found.setdefault(path, []).append(f"{group}, Kind={kind.kind}: {problem}")
    for path, problems in found.items():
        yield admission.ExpressionWarning(field_ref=path, warning="\n".join(problems))


def _kinds(policy: Policy, view: View) -> Iterator[Kind[Any]]:
    constraints = policy.spec.match_constraints
    wanted = {
        (group, version, resource)
        for rule in (constraints.resource_rules if constraints is not None else ())
        for group in rule.api_groups
        for version in rule.api_versions
        for resource in rule.resources
        if "*" not in (group, version) and "*" not in resource and "/" not in resource
    }
    for place in sorted(wanted):
        kind = view.catalog.by_path.get(place)
        if kind is not None:
            yield kind


def _problems(policy: Policy, kind: Kind[Any], param_kind: Kind[Any] | None) -> Iterator[tuple[str, str]]:
    # Not before there is a policy: the language weighs as much as all of the API's types.
    from mizzen.api.cel.policy import Compiler, known_types

    of = {"object": kind, "oldObject": kind}
    if param_kind is not None:
        of["params"] = param_kind
    compiler = Compiler(params=policy.spec.param_kind is not None, known=known_types(of))
    for i, variable in enumerate(policy.spec.variables):
        yield from _problem(compiler, f"spec.variables[{i}].expression", variable.expression, variable.name)
    for i, condition in enumerate(policy.spec.match_conditions):
        yield from _problem(compiler, f"spec.matchConditions[{i}].expression", condition.expression)
    for i, validation in enumerate(policy.spec.validations):
        yield from _problem(compiler, f"spec.validations[{i}].expression", validation.expression)
        yield from _problem(compiler, f"spec.validations[{i}].messageExpression", validation.message_expression)
    for i, annotation in enumerate(policy.spec.audit_annotations):
        yield from _problem(compiler, f"spec.auditAnnotations[{i}].valueExpression", annotation.value_expression)


def _problem(compiler: Compiler, path: str, text: str, variable: str = "") -> Iterator[tuple[str, str]]:
    from mizzen.api.cel.policy import BadExpression

    if not text:
        return
    try:
        if variable:
            compiler.variable(variable, text)
        else:
            compiler.expression(text)
    except BadExpression as error:
        yield path, str(error).removeprefix("compilation failed: ")


CONTROLLER = Controller(name="validatingadmissionpolicy-status", kind=kinds.VALIDATING_POLICY, reconcile=reconcile)
