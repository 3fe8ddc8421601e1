"""The Common Expression Language with its extensions and what Kubernetes adds: all that touches the library.

Loading this takes 20 MB, so `rules` imports it when the first rule is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from mizzen.api import structural


@cache
def environment() -> Any:
    """The language with its extensions and what Kubernetes adds."""
    dyn = cel.Type.DYN
    extensions = [
        ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional(), ext_bindings.ExtBindings(),
        ext_encoders.ExtEncoders(),
    ]  # fmt: skip
    functions = [
        _member("isSorted", cel.Type.BOOL, [cel.Type.LIST], lambda items: _is_sorted(list(items))),
        _member("sum", dyn, [cel.Type.LIST], sum),
        _member("min", dyn, [cel.Type.LIST], min),
        _member("max", dyn, [cel.Type.LIST], max),
        _member("find", cel.Type.STRING, [cel.Type.STRING, cel.Type.STRING], _find),
        _member("findAll", cel.Type.LIST, [cel.Type.STRING, cel.Type.STRING], _find_all),
    ]
    return cel.NewEnv(
        variables={"self": dyn, "oldSelf": dyn, "old": dyn, "has_old": cel.Type.BOOL},
        extensions=extensions,
        functions=functions,
    )


def _member(name: str, gives: Any, takes: list[Any], do: Callable[..., Any]) -> Any:
    overload = cel.Overload(id=f"kubernetes_{name}", return_type=gives, parameters=takes, is_member=True, impl=do)
    return cel.FunctionDecl(name, [overload])


def _is_sorted(items: list[Any]) -> bool:
    return all(left <= right for left, right in pairwise(items))


def _find(text: str, pattern: str) -> str:
    found = structural.expression(pattern).search(text)
    return found.group(0) if found else ""


def _find_all(text: str, pattern: str) -> list[str]:
    return [found.group(0) for found in structural.expression(pattern).finditer(text)]


def is_error(value: Any) -> bool:
    """Whether what an expression gave is no value but what went wrong."""
    return bool(value.type() == cel.Type.ERROR)
