"""MutatingAdmissionPolicies: what they make of the object of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from controlplane.admission import conditions, policy_choice, policy_programs
from controlplane.admission.policy_choice import FAIL, Concern, Misconfigured, Seen
from controlplane.admission.policy_judging import COST_MAX, forbidden
from controlplane.admission.request import Request
from mizzen.api import codec, custom, kinds, patch
from mizzen.api.custom import CustomKind
from mizzen.api.errors import ApiError
from mizzen.api.managed import objects, values
from mizzen.api.managed.shapes import Shape
from mizzen.engine.view import View

if TYPE_CHECKING:
    from mizzen.api.cel.policy import Evaluation, Program

Redo = Callable[[Any, Any], Any]
"""From what a policy made, and what there was before, to an object with its defaults."""
_IF_NEEDED = "IfNeeded"
_NOT_APPLIED = ("metadata",)


class _Failed(Exception):
    """A mutation cannot be made."""


def change(request: Request, obj: Any, old: Any, view: View, redo: Redo) -> Any:
    """The object after all policies that concern the request, in the order of their names and their bindings'.

    Those that ask for it are asked again where another one has changed the object since. Raises ApiError where a
    policy fails.
    """
    if not view.list(kinds.MUTATING_POLICY_BINDING):
        return obj
    last: list[tuple[Concern, Any]] = []
    for concern in _concerns(request, obj, old, view):
        obj = _changed(concern, request, obj, old, view, redo)
        last.append((concern, obj))
    for concern, then in last:
        if concern.policy.spec.reinvocation_policy == _IF_NEEDED and then != obj:
            obj = _changed(concern, request, obj, old, view, redo)
    return obj


def _concerns(request: Request, obj: Any, old: Any, view: View) -> Iterator[Concern]:
    one = policy_choice.seen(request, obj, old, view)
    return policy_choice.concerns(one, kinds.MUTATING_POLICY, kinds.MUTATING_POLICY_BINDING)


def _changed(concern: Concern, request: Request, obj: Any, old: Any, view: View, redo: Redo) -> Any:
    from mizzen.api.cel import authorizer
    from mizzen.api.cel.policy import BadExpression, EvaluationFailed

    one = policy_choice.seen(request, obj, old, view)
    try:
        programs = policy_programs.of(concern.policy)
        with authorizer.asking(one.ask):
            for param in policy_choice.parameters(concern, one):
                made = _mutated(concern, programs, replace_object(one, obj), param)
                obj = obj if made is None else redo(made, obj)
    except (BadExpression, Misconfigured, EvaluationFailed, conditions.NoValue, _Failed) as error:
        if concern.policy.spec.failure_policy not in (None, FAIL):
            return obj
        names = f"'{concern.policy.metadata.name}' with binding '{concern.binding.metadata.name}'"
        message = f"policy {names} denied request: {_said(error)}"
        refusal = forbidden(one.about.kind, one.about.name, message)
        refusal.message = message
        raise refusal from error
    return obj


def _said(error: Exception) -> str:
    return f"failed to configure binding: {error}" if isinstance(error, Misconfigured) else str(error)


def replace_object(one: Seen, obj: Any) -> Seen:
    """The request with another object."""
    return replace(one, object=obj) if obj is not one.object else one


def _mutated(concern: Concern, programs: policy_programs.Programs, one: Seen, param: Any) -> Any:
    """The object after the mutations of a policy; None where its conditions do not hold."""
    from mizzen.api.cel.policy import Evaluation

    given = one.given(concern.kind, param)
    if not conditions.hold(programs.conditions, programs.variables, given):
        return None
    budget = COST_MAX
    live = given["object"]
    for program in programs.mutations:
        evaluation = Evaluation({**given, "object": live}, programs.variables, budget)
        live = _applied(program, evaluation, live, concern)
        budget = evaluation.budget
    try:
        made, _ = codec.decode_dict(live, concern.kind)
    except (ApiError, ValueError) as error:
        raise _Failed(f"error applying patch: {error}") from error
    return replace_kind(made, concern.kind)


def replace_kind(made: Any, kind: Any) -> Any:
    """An object as it is stored."""
    return custom.stored(made) if isinstance(kind, CustomKind) else made


def _applied(program: Program, evaluation: Evaluation, live: dict[str, Any], concern: Concern) -> dict[str, Any]:
    found = evaluation.value(program)
    if isinstance(found, list):
        try:
            return patch.apply_json_patch(live, found)
        except ApiError as error:
            raise _Failed(f"error applying JSON Patch: {error.message}") from error
    if not isinstance(found, Mapping):
        raise _Failed(f"unsupported return type from ApplyConfiguration expression: {type(found).__name__}")
    shape = objects.shape_of(concern.kind)
    try:
        config = values.checked(dict(found), shape)
    except values.BadValue as error:
        why = f"error applying patch: failed to convert patch object to typed object: {error}"
        raise _Failed(why) from error
    if atomic := [*_atomic(config, shape, "")]:
        why = f"may not mutate atomic arrays, maps or structs: {', '.join(atomic)}"
        raise _Failed(f"error applying patch: invalid ApplyConfiguration: {why}")
    return values.merge(live, config, shape)


def _atomic(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """Where a configuration would set something as a whole that has parts: what it leaves out would be lost."""
    if not isinstance(value, Mapping | list):
        return
    if shape.atomic and path:
        yield path
        return
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from _atomic(item, shape.item, f"{path}[{i}]")
        return
    for name, inner in value.items():
        below = shape.child(name)
        if below is not None:
            yield from _atomic(inner, below, f"{path}.{name}")
