"""What the verbs share: the options every one has, and how a coroutine is run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from mizzen.client import Client, config
from mizzen.client.config import ClusterConfig

T = TypeVar("T")
Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="The cluster and who you are.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The namespace.")]


class CommandError(Exception):
    """What was asked for did not come about, and no server said so; one line."""


def with_client(kubeconfig: Path | None, use: Callable[[Client], Awaitable[T]]) -> T:
    """Connects, runs `use`, and disconnects."""

    async def run(loaded: ClusterConfig) -> T:
        async with Client(loaded) as client:
            return await use(client)

    return asyncio.run(run(config.load(kubeconfig)))


def namespace_of(kubeconfig: Path | None, given: str) -> str:
    """The namespace that was given, else the kubeconfig's."""
    return given or config.load(kubeconfig).namespace
