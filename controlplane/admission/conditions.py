"""Match conditions: expressions that say whether a request concerns a webhook or a policy whose rules it fits.

The variables are those of validating policies: `object`, `oldObject` (null where there is none), `request`,
`authorizer` and `namespaceObject`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from controlplane.admission.policy_choice import Seen
from controlplane.admission.policy_programs import BOOL
from mizzen.api.kinds import Kind
from mizzen.api.types import admissionregistration_v1 as registration

if TYPE_CHECKING:
    from mizzen.api.cel.policy import Program

COST_MAX = 2_500_000
"""What the conditions of one webhook or policy may take for one request, in the units of `cel_cost`."""
_KEPT = 2048


class NoValue(ValueError):
    """A condition has no value and none says no, so that nobody knows whether the webhook or policy is concerned."""

    def __init__(self, failures: Sequence[str]) -> None:
        """Tell of each failure once, several of them in brackets."""
        told = tuple(dict.fromkeys(failures))
        super().__init__(told[0] if len(told) == 1 else f"[{', '.join(told)}]")


def of_webhook(conditions: Sequence[registration.MatchCondition], one: Seen, kind: Kind[Any]) -> bool:
    """Whether the conditions of a webhook that is asked in `kind` hold for a request. Raises NoValue."""
    # Not before somebody has conditions: the language weighs as much as all of the API's types.
    from mizzen.api.cel import authorizer
    from mizzen.api.cel.policy import BadExpression

    try:
        programs = [_compiled(condition.expression) for condition in conditions]
    except BadExpression as error:
        raise NoValue([str(error)]) from error
    with authorizer.asking(one.ask):
        return hold(programs, {}, one.given(kind, None))


def hold(conditions: Sequence[Program], variables: Mapping[str, Program], given: Mapping[str, Any]) -> bool:
    """Whether all hold. One that says no decides, whatever becomes of others; otherwise raises NoValue."""
    from mizzen.api.cel.policy import Evaluation, EvaluationFailed, OutOfBudget

    evaluation = Evaluation(dict(given), variables, COST_MAX)
    failures: list[str] = []
    for condition in conditions:
        try:
            if evaluation.value(condition) is not True:
                return False
        except OutOfBudget as error:
            raise NoValue([str(error)]) from error
        except EvaluationFailed as error:
            failures.append(str(error))
    if failures:
        raise NoValue(failures)
    return True


@lru_cache(maxsize=_KEPT)
def _compiled(expression: str) -> Program:
    from mizzen.api.cel.policy import Compiler

    return Compiler(params=False).expression(expression, BOOL)
