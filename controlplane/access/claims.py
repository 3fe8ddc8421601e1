"""Expressions over the claims of a token, and over the user that they make."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controlplane.access.oidc import Expression

if TYPE_CHECKING:
    from mizzen.api.cel.policy import Program


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression, or why it is none; without either, none was given."""

    text: str = ""
    run: Expression | None = None
    error: str = ""

    def reads(self, claim: str) -> bool:
        """Whether it looks at a claim."""
        return re.search(rf"\bclaims\s*\.\s*\??\s*{claim}\b", self.text) is not None


@dataclass(frozen=True, slots=True)
class _Run:
    program: Program
    variable: str

    def __call__(self, given: Mapping[str, Any]) -> Any:
        """What the program gives. Raises ValueError with a text for people."""
        from mizzen.api.cel.logins import value
        from mizzen.api.cel.policy import EvaluationFailed

        try:
            return value(self.program, {self.variable: dict(given)})
        except EvaluationFailed as error:
            raise ValueError(str(error)) from error


def compiled(text: str, wanted: tuple[str, ...], *, of_user: bool = False) -> Compiled:
    """An expression over `claims`, or over `user`, that gives one of the types, or why it does not."""
    # Not before there is an expression: the language weighs as much as all of the API's types.
    from mizzen.api.cel import logins
    from mizzen.api.cel.policy import BadExpression

    try:
        program = (logins.of_user if of_user else logins.of_claims)(text, wanted)
    except BadExpression as error:
        return Compiled(text, error=str(error))
    return Compiled(text, _Run(program, "user" if of_user else "claims"))
