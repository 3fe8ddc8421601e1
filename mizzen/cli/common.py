"""What the verbs share: which cluster and who one is, the options that say so, and how a coroutine is run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from mizzen.api.kinds import Kind
from mizzen.cli.names import Others
from mizzen.client import Client, config
from mizzen.client.config import ClusterConfig
from mizzen.client.credentials import Written

T = TypeVar("T")
Verb = TypeVar("Verb", bound=Callable[..., Any])
Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="The cluster and who you are.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The namespace.")]
_Context = Annotated[str, typer.Option("--context", help="Which of the kubeconfig's contexts.")]
_Token = Annotated[str, typer.Option("--token", help="A bearer token to show instead of what the kubeconfig says.")]
_As = Annotated[str, typer.Option("--as", help="Whom to act as.")]
_AsGroup = Annotated[list[str] | None, typer.Option("--as-group", help="A group to act as a member of.")]


class CommandError(Exception):
    """What was asked for did not come about, and no server said so; one line."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What was said beside the kubeconfig."""

    context: str = ""
    token: str = ""
    as_: str = ""
    as_group: tuple[str, ...] = ()


_CHOSEN: ContextVar[_Chosen | None] = ContextVar("chosen", default=None)
_OPTIONS: tuple[tuple[str, Any, Any], ...] = (
    ("context", _Context, ""), ("token", _Token, ""), ("as_", _As, ""), ("as_group", _AsGroup, None),
)  # fmt: skip


def of_cluster(verb: Verb) -> Verb:
    """A verb with the options that every verb has which asks a cluster; `configured` knows what they said."""
    own = inspect.signature(verb, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, kind, default in _OPTIONS
    ]

    @wraps(verb)
    def wrapped(**given: Any) -> Any:
        said = {name: given.pop(name) for name, _, _ in _OPTIONS}
        _CHOSEN.set(_Chosen(said["context"], said["token"], said["as_"], tuple(said["as_group"] or ())))
        return verb(**given)

    parameters = [*own.parameters.values(), *added]
    described: Any = wrapped
    described.__signature__ = own.replace(parameters=parameters)
    described.__annotations__ = {one.name: one.annotation for one in parameters}
    del described.__wrapped__
    found: Verb = described
    return found


def configured(kubeconfig: Path | None) -> ClusterConfig:
    """The cluster, and who one is there. Raises ConfigError."""
    chosen = _CHOSEN.get() or _Chosen()
    loaded = config.load(kubeconfig, chosen.context)
    if chosen.token:
        loaded = replace(loaded, certificate_pem=b"", key_pem=b"", bearer=Written(chosen.token))
    if chosen.as_group and not chosen.as_:
        raise typer.BadParameter("say whom to act as, too", param_hint="--as")
    if chosen.as_:
        groups = tuple([("impersonate-group", group) for group in chosen.as_group])
        loaded = replace(loaded, acting_as=(("impersonate-user", chosen.as_), *groups))
    return loaded


def others(kubeconfig: Path | None) -> Others:
    """Who finds the kinds that the cluster serves beside those of the table; asks it at most once."""
    found: list[Sequence[Kind[Any]]] = []

    def find() -> Sequence[Kind[Any]]:
        if not found:
            from mizzen.client.discovery import discover  # the library for HTTP is large

            found.append(asyncio.run(discover(configured(kubeconfig))))
        return found[0]

    return find


def with_client(kubeconfig: Path | None, use: Callable[[Client], Awaitable[T]]) -> T:
    """Connects, runs `use`, and disconnects."""

    async def run(loaded: ClusterConfig) -> T:
        async with Client(loaded) as client:
            return await use(client)

    return asyncio.run(run(configured(kubeconfig)))


def namespace_of(kubeconfig: Path | None, given: str) -> str:
    """The namespace that was given, else the kubeconfig's."""
    return given or configured(kubeconfig).namespace
