"""`mizzen apply`: makes the cluster what the manifests say."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from mizzen.api import errors, kinds
from mizzen.api.managed.entries import COMMAND_LINE
from mizzen.cli import manifests
from mizzen.cli.common import Kubeconfig, Namespace, namespace_of, of_cluster, others, with_client
from mizzen.cli.names import label
from mizzen.client import Client


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("apply")(of_cluster(apply))


def apply(
    filename: Annotated[list[Path], typer.Option("--filename", "-f", help="File, folder, or - for standard input.")],
    namespace: Namespace = "",
    server_side: Annotated[
        bool, typer.Option("--server-side", help="Change nothing that others manage, and say what that is.")
    ] = False,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="With --server-side: take fields over from others.")
    ] = False,
    field_manager: Annotated[
        str, typer.Option("--field-manager", help="Who is known as the manager of what is applied.")
    ] = COMMAND_LINE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Let the server decide, but store nothing.")] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Create or change objects. What was applied before and is in no manifest any more goes."""
    if force_conflicts and not server_side:
        raise typer.BadParameter("--force-conflicts only works with --server-side")
    objects = manifests.load(filename, namespace_of(kubeconfig, namespace), others(kubeconfig))
    how = _How(server_side, force_conflicts or not server_side, field_manager, dry_run)

    async def use(client: Client) -> None:
        for obj in objects:
            typer.echo(await _apply(client, obj, how))

    with_client(kubeconfig, use)


@dataclass(frozen=True, slots=True)
class _How:
    server_side: bool
    force: bool
    manager: str
    dry_run: bool


async def _apply(client: Client, obj: Any, how: _How) -> str:
    kind = kinds.kind_of(obj)
    done = "serverside-applied"
    before = None
    if not how.server_side:
        with suppress(errors.NotFound):
            before = await client.get(kind, obj.metadata.namespace, obj.metadata.name)
        done = "created"
    after = await client.apply(obj, dry_run=how.dry_run, field_manager=how.manager, force=how.force)
    if before is not None:
        done = "unchanged" if before == after else "configured"
    return f"{label(kind, obj.metadata.name)} {done}{' (server dry run)' if how.dry_run else ''}"
