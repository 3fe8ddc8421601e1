"""Expressions of logins: over the claims of a token, and over the user that they make."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from cel_expr_python import cel

from mizzen.api.cel import policy, typed, values

COST_MAX = policy.CALL_MAX
"""What one expression may take for one token, in the units of `cel_cost`."""


def of_claims(text: str, wanted: tuple[str, ...]) -> policy.Program:
    """An expression over `claims` that gives one of the types. Raises BadExpression."""
    variables = {"claims": cel.Type.DYN}
    return _checked(policy.program(text, variables, variables, values.POOL)[0], wanted)


def of_user(text: str, wanted: tuple[str, ...]) -> policy.Program:
    """An expression over `user` that gives one of the types. Raises BadExpression."""
    pool, type_ = _user()
    return _checked(policy.program(text, {"user": cel.Type.DYN}, {"user": type_}, pool)[0], wanted)


def value(program: policy.Program, given: Mapping[str, Any]) -> Any:
    """What an expression gives. Raises EvaluationFailed with a text for people."""
    return policy.Evaluation(dict(given), {}, COST_MAX).value(program)


def _checked(program: policy.Program, wanted: tuple[str, ...]) -> policy.Program:
    if program.type not in (*wanted, "dyn"):
        what = wanted[0] if len(wanted) == 1 else f"one of [{' '.join(wanted)}]"
        raise policy.BadExpression(f"must evaluate to {what}")
    return program


@cache
def _user() -> tuple[Any, Any]:
    types = typed.Types()
    name = types.user()
    return types.sealed(), typed.of(name)
