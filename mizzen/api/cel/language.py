"""The language itself: its extensions, what Kubernetes adds, and how results and errors are read.

Loading this takes 20 MB, so whoever needs it imports it when there is the first expression.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from mizzen.api.cel import addresses, authorizer, libraries, macros, named_formats, replacements, values
from mizzen.api.cel.functions import declared

_NO_KEY = re.compile(r'Key not found in map : "?([^"]*)"?')
_CODE = re.compile(r"^[A-Z_]+: ")
_TRAILING_CODE = re.compile(r" \[[A-Z_]+\]$")
_STRUCT = re.compile(r"(undefined field '[^']*') not found in struct '[^']*'")
_VARIABLE = re.compile(r"undeclared reference to 'variables\.([^']*)' \(in container ''\)")


def environment(variables: Mapping[str, Any], pool: Any = None) -> Any:
    """The language with these variables, by name and type, and with the message types of a pool."""
    return cel.NewEnv(
        config=_config(),
        descriptor_pool=pool or values.POOL,
        variables=dict(variables),
        extensions=[
            ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional(), ext_bindings.ExtBindings(),
            ext_encoders.ExtEncoders(),
        ],
        functions=_functions(),
    )  # fmt: skip


def compiled(environment: Any, text: str) -> Any:
    """An expression, also one with macros and functions that the evaluator lacks. Raises RuntimeError."""
    return environment.compile(macros.expanded(text))


@cache
def _config() -> Any:
    """Extensions that have no object of their own."""
    return cel.NewEnvConfigFromYaml(
        "name: kubernetes\nextensions:\n  - name: two-var-comprehensions\n  - name: lists\n"
    )


@cache
def _functions() -> list[Any]:
    libraries_ = (libraries, addresses, authorizer, named_formats, replacements)
    return declared([overload for library in libraries_ for overload in library.overloads()])


@cache
def of_rules() -> Any:
    """The language of the rules of custom resources."""
    dyn = cel.Type.DYN
    return environment({"self": dyn, "oldSelf": dyn, "old": dyn, "has_old": cel.Type.BOOL})


def is_error(value: Any) -> bool:
    """Whether what an expression gave is no value but what went wrong."""
    return value.type() in (cel.Type.ERROR, cel.Type.UNKNOWN)


def in_kubernetes_words(error: str) -> str:
    """What went wrong in an evaluation, as people find it in documents."""
    if found := _NO_KEY.search(error):
        return f"no such key: {found[1]}"
    if "No matching overloads" in error or "Applying SELECT to non-message type" in error:
        return "no such overload"
    return _CODE.sub("", error)


def compile_error(error: Exception) -> str:
    """What is wrong with an expression, as Kubernetes' compiler says it."""
    text = _TRAILING_CODE.sub("", _CODE.sub("", str(error)))
    for name, renamed in macros.RENAMED.items():
        text = text.replace(f"'{renamed}'", f"'{name}'")
    return _VARIABLE.sub(r"undefined field '\1'", _STRUCT.sub(r"\1", text))
