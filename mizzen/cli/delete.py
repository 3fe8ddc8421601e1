"""`mizzen delete`: by name or by manifest; waits until what was deleted is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from mizzen.api import errors, kinds
from mizzen.api.kinds import Kind
from mizzen.cli import manifests
from mizzen.cli.common import CommandError, Kubeconfig, Namespace, namespace_of, of_cluster, others, with_client
from mizzen.cli.names import NameProblem, targets
from mizzen.client import Client, wait_for

WAIT_S = 120
CASCADES = ("background", "foreground", "orphan")


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("delete")(of_cluster(delete))


def delete(
    what: Annotated[list[str] | None, typer.Argument(help="TYPE NAME... or TYPE/NAME...")] = None,
    filename: Annotated[list[Path] | None, typer.Option("--filename", "-f", help="Delete what the files name.")] = None,
    namespace: Namespace = "",
    wait: Annotated[bool, typer.Option(help="Wait until the objects are gone.")] = True,
    grace_period: Annotated[int, typer.Option(help="Seconds a pod may take to stop; -1: its own.")] = -1,
    cascade: Annotated[str, typer.Option(help="background, foreground or orphan.")] = "background",
    ignore_not_found: Annotated[bool, typer.Option(help="What is not there is deleted already.")] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Delete objects."""
    if cascade not in CASCADES:
        raise typer.BadParameter(f"must be one of: {', '.join(CASCADES)}", param_hint="--cascade")
    if filename and what:
        raise NameProblem("name objects or files, not both")
    where, known = namespace_of(kubeconfig, namespace), others(kubeconfig)
    wanted: list[tuple[Kind[Any], str, str]]
    if filename:
        objects = manifests.load(filename, where, known)
        wanted = [(kinds.kind_of(obj), obj.metadata.namespace, obj.metadata.name) for obj in objects]
    else:
        wanted = [(kind, where if kind.namespaced else "", name) for kind, name in targets(what or [], known)]

    async def use(client: Client) -> None:
        grace = None if grace_period < 0 else grace_period
        for kind, place, name in wanted:
            await _delete(client, (kind, place, name), grace, cascade.capitalize(), wait, ignore_not_found)

    with_client(kubeconfig, use)


async def _delete(
    client: Client, what: tuple[Kind[Any], str, str], grace: int | None, cascade: str, wait: bool, ignore: bool
) -> None:
    kind, namespace, name = what
    try:
        deleted = await client.delete(kind, namespace, name, grace_period_s=grace, propagation=cascade)
    except errors.NotFound:
        if ignore:
            return
        raise
    uid = deleted.metadata.uid
    if wait:
        try:
            async with asyncio.timeout(WAIT_S):
                await wait_for(client, kind, namespace, name, lambda obj: obj is None or obj.metadata.uid != uid)
        except TimeoutError as error:
            raise CommandError(
                f"{kind.singular} {name!r} is still there after {WAIT_S} s; see its finalizers"
            ) from error
    typer.echo(f'{kind.singular}{"." + kind.group if kind.group else ""} "{name}" deleted')
