"""Kubernetes' `authorizer` in expressions: what somebody may do, asked step by step.

Whom the questions go to is known only while an expression runs (`asking`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mizzen.api.cel import values
from mizzen.api.cel.functions import ANY, BOOL, TEXT, NoSuchOverload, member

_PACKAGE = "kubernetes.authorization."
_AUTHORIZER, _PATH, _GROUP = f"{_PACKAGE}Authorizer", f"{_PACKAGE}PathCheck", f"{_PACKAGE}GroupCheck"
_RESOURCE, _DECISION = f"{_PACKAGE}ResourceCheck", f"{_PACKAGE}Decision"
_YES = "true"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: an action on a path, or on a resource."""

    verb: str
    account: str = ""
    """Namespace and name of the service account that is asked about, with a slash between; empty for who asks."""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


Answer = tuple[bool, str]
"""Whether it is allowed, and why."""
Ask = Callable[[Question], Answer]

_asked: ContextVar[Ask] = ContextVar("asked")


@contextmanager
def asking(ask: Ask) -> Iterator[None]:
    """Questions of expressions that run meanwhile go to `ask`."""
    token = _asked.set(ask)
    try:
        yield
    finally:
        _asked.reset(token)


def of_sender() -> Any:
    """The value of the variable `authorizer`."""
    return values.made(_AUTHORIZER, user="")


def overloads() -> list[tuple[str, Any]]:
    """The functions, from `authorizer` to its answers."""
    start, path, group = map(values.type_of, (_AUTHORIZER, _PATH, _GROUP))
    resource, decision = values.type_of(_RESOURCE), values.type_of(_DECISION)
    return [
        member("serviceAccount", start, [start, TEXT, TEXT], _account),
        member("path", path, [start, TEXT], _path),
        member("group", group, [start, TEXT], lambda one, name: values.made(_GROUP, user=one.user, group=name)),
        member("resource", resource, [group, TEXT], _resource),
        member("subresource", resource, [resource, TEXT], lambda one, name: _with(one, subresource=name)),
        member("namespace", resource, [resource, TEXT], lambda one, name: _with(one, namespace=name)),
        member("name", resource, [resource, TEXT], lambda one, name: _with(one, name=name)),
        member("check", decision, [ANY, TEXT], _check),
        member("allowed", BOOL, [decision], lambda one: one.allowed == _YES),
        member("reason", TEXT, [decision], lambda one: one.reason),
        member("errored", BOOL, [decision], lambda one: bool(one.error)),
        member("error", TEXT, [decision], lambda one: one.error),
    ]


def _account(_: Any, namespace: str, name: str) -> Any:
    if not namespace or not name or "/" in namespace + name:
        raise ValueError("invalid service account name")
    return values.made(_AUTHORIZER, user=f"{namespace}/{name}")


def _path(one: Any, path: str) -> Any:
    if not path:
        raise ValueError("path must not be empty")
    return values.made(_PATH, user=one.user, path=path)


def _resource(one: Any, name: str) -> Any:
    return values.made(_RESOURCE, user=one.user, group=one.group, resource=name)


def _with(one: Any, **texts: str) -> Any:
    other = type(one)()
    other.CopyFrom(one)
    for name, text in texts.items():
        setattr(other, name, text)
    return other


def _check(one: Any, verb: str) -> Any:
    match values.name_of(one):
        case "kubernetes.authorization.PathCheck":
            question = Question(verb, one.user, path=one.path)
        case "kubernetes.authorization.ResourceCheck":
            where = {name: getattr(one, name) for name in ("group", "resource", "subresource", "namespace", "name")}
            question = Question(verb, one.user, **where)
        case _:
            raise NoSuchOverload
    allowed, reason = _asked.get()(question)
    return values.made(_DECISION, allowed=_YES if allowed else "", reason=reason)
