"""The compiled expressions of admission policies, made once for each generation of a policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mizzen.api.types import admissionregistration_v1 as admission

if TYPE_CHECKING:
    from mizzen.api.cel.policy import Compiler, Program

BOOL = ("bool",)
TEXT = ("string",)
TEXT_OR_NULL = ("string", "null_type")
_KEPT = 256
"""Policies whose programs are kept."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What the expressions of a policy were compiled to, in the order in which they stand."""

    conditions: tuple[Program, ...]
    variables: dict[str, Program]
    validations: tuple[tuple[Program, Program | None], ...] = ()
    """Each with the one of its message."""
    annotations: tuple[Program, ...] = ()
    mutations: tuple[Program, ...] = ()


@dataclass(frozen=True, slots=True)
class _Generation:
    """A policy at one of its generations."""

    uid: str
    name: str
    number: int
    policy: Any = field(compare=False)


def of(policy: Any) -> Programs:
    """The programs of a policy. Raises `mizzen.api.cel.policy.BadExpression` where one cannot be compiled."""
    metadata = policy.metadata
    return _compiled(_Generation(metadata.uid, metadata.name, metadata.generation, policy))


@lru_cache(maxsize=_KEPT)
def _compiled(generation: _Generation) -> Programs:
    # Not before there is a policy: the language weighs as much as all of the API's types.
    from mizzen.api.cel.policy import Compiler

    policy = generation.policy
    spec = policy.spec
    mutating = isinstance(policy, admission.MutatingAdmissionPolicy)
    compiler = Compiler(params=spec.param_kind is not None, mutating=mutating)
    variables = {one.name: compiler.variable(one.name, one.expression) for one in spec.variables}
    conditions = tuple(compiler.expression(one.expression, BOOL) for one in spec.match_conditions)
    if mutating:
        return Programs(conditions, variables, mutations=tuple(_mutation(compiler, one) for one in spec.mutations))
    return Programs(
        conditions,
        variables,
        validations=tuple(
            (
                compiler.expression(one.expression, BOOL),
                compiler.expression(one.message_expression, TEXT) if one.message_expression else None,
            )
            for one in spec.validations
        ),
        annotations=tuple(compiler.expression(one.value_expression, TEXT_OR_NULL) for one in spec.audit_annotations),
    )


def _mutation(compiler: Compiler, mutation: admission.Mutation) -> Program:
    if mutation.json_patch is not None:
        return compiler.expression(mutation.json_patch.expression, ("list",))
    assert mutation.apply_configuration is not None
    return compiler.expression(mutation.apply_configuration.expression, ("map",))
