"""Match conditions of webhooks: expressions that say whether a request concerns one of those whose rules it fits.

The variables are `object`, `oldObject` (null where there is none) and `request`. An expression is compiled once; what
it may take is bounded by `cel_cost`. Missing is `authorizer`: a condition with it has no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from mizzen.api import cel_cost
from mizzen.api.types import admissionregistration_v1 as registration

COST_MAX = 2_500_000
"""What the conditions of one webhook may take for one request, in the units of `cel_cost`."""
_KEPT = 2048


class NoValue(ValueError):
    """A condition has no value, so that nobody knows whether the webhook is concerned."""


def hold(conditions: Sequence[registration.MatchCondition], values: Mapping[str, Any]) -> bool:
    """Whether all hold. One that does not hold decides, whatever becomes of others; otherwise raises NoValue."""
    failures: list[str] = []
    budget = cel_cost.Budget(COST_MAX)
    for condition in conditions:
        try:
            if not _value(condition.expression, values, budget):
                return False
        except Exception as error:
            # The evaluator raises what it likes.
            failures.append(f"expression '{condition.expression}' resulted in error: {error}")
    if failures:
        raise NoValue("; ".join(failures))
    return True


def _value(expression: str, values: Mapping[str, Any], budget: cel_cost.Budget) -> bool:
    program, expr = _compiled(expression)
    budget.spend(expr, values)
    found = program.eval(data=dict(values))
    value = found.plain_value()
    if not isinstance(value, bool):
        raise NoValue(str(value))
    return value


@lru_cache(maxsize=_KEPT)
def _compiled(expression: str) -> tuple[Any, cel_cost.Expr]:
    made = _environment().compile(expression)
    return made, cel_cost.parsed(made.serialize())


@cache
def _environment() -> Any:
    # Not before somebody has conditions: it weighs as much as all of the API's types.
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_bindings, ext_math, ext_optional, ext_strings

    dyn = cel.Type.DYN
    return cel.NewEnv(
        variables={"object": dyn, "oldObject": dyn, "request": dyn},
        extensions=[
            ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional(), ext_bindings.ExtBindings(),
        ],
    )  # fmt: skip
