"""How functions are declared for the evaluator.

It tells overloads apart by the broad kind of their arguments alone, so what several of our types share (`isLessThan` of
quantities and of versions) is one overload that looks at its arguments itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cel_expr_python import cel

TEXT, BOOL, INT, DOUBLE, LIST, DYN = (
    cel.Type.STRING, cel.Type.BOOL, cel.Type.INT, cel.Type.DOUBLE, cel.Type.LIST, cel.Type.DYN
)  # fmt: skip
TEXTS = cel.Type.List(cel.Type.STRING)
ANY = cel.Type("google.protobuf.Any")
"""Takes a value of whatever kind; `DYN` takes none."""

NO_OVERLOAD = "no such overload"


class NoSuchOverload(ValueError):
    """A function got what it cannot take."""

    def __init__(self) -> None:
        super().__init__(NO_OVERLOAD)


def member(name: str, gives: Any, takes: list[Any], do: Callable[..., Any], suffix: str = "") -> Any:
    """An overload of a function that is called on its first argument."""
    return name, _overload(name, gives, takes, do, suffix, is_member=True)


def plain(name: str, gives: Any, takes: list[Any], do: Callable[..., Any], suffix: str = "") -> Any:
    """An overload of a function that is called by its name."""
    return name, _overload(name, gives, takes, do, suffix, is_member=False)


def _overload(name: str, gives: Any, takes: list[Any], do: Callable[..., Any], suffix: str, *, is_member: bool) -> Any:
    identity = f"kubernetes_{name}{'_of' if is_member else ''}{suffix}".replace(".", "_")
    return cel.Overload(id=identity, return_type=gives, parameters=takes, is_member=is_member, impl=do)


def declared(overloads: list[tuple[str, Any]]) -> list[Any]:
    """The functions that these overloads make."""
    by_name: dict[str, list[Any]] = {}
    for name, overload in overloads:
        by_name.setdefault(name, []).append(overload)
    return [cel.FunctionDecl(name, one) for name, one in by_name.items()]
