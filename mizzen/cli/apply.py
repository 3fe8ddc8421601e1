"""`mizzen apply`: makes the cluster what the manifests say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mizzen.api import errors, kinds
from mizzen.cli import manifests
from mizzen.cli.common import Kubeconfig, Namespace, namespace_of, with_client
from mizzen.cli.names import label
from mizzen.client import Client


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("apply")(apply)


def apply(
    filename: Annotated[list[Path], typer.Option("--filename", "-f", help="File, folder, or - for standard input.")],
    namespace: Namespace = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Let the server decide, but store nothing.")] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Create or change objects."""
    objects = manifests.load(filename, namespace_of(kubeconfig, namespace))

    async def use(client: Client) -> None:
        for obj in objects:
            typer.echo(await _apply(client, obj, dry_run))

    with_client(kubeconfig, use)


async def _apply(client: Client, obj: Any, dry_run: bool) -> str:
    kind = kinds.kind_of(obj)
    called = label(kind, obj.metadata.name)
    suffix = " (server dry run)" if dry_run else ""
    try:
        before = await client.get(kind, obj.metadata.namespace, obj.metadata.name)
    except errors.NotFound:
        await client.apply(obj, dry_run=dry_run)
        return f"{called} created{suffix}"
    after = await client.apply(obj, dry_run=dry_run)
    return f"{called} {'unchanged' if before == after else 'configured'}{suffix}"
