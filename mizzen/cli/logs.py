"""`mizzen logs`: what a container wrote."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mizzen.cli.common import Kubeconfig, Namespace, namespace_of, of_cluster, with_client
from mizzen.cli.names import pod_called
from mizzen.client import Client


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("logs")(of_cluster(logs))


def logs(
    pod: Annotated[str, typer.Argument(metavar="POD", help="NAME or pod/NAME.")],
    container: Annotated[str, typer.Option("--container", "-c", help="The container.")] = "",
    namespace: Namespace = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new output.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Before the last restart.")] = False,
    tail: Annotated[int, typer.Option(help="So many lines from the end; -1: all.")] = -1,
    timestamps: Annotated[bool, typer.Option(help="Begin each line with its time.")] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show a container's output."""
    where = namespace_of(kubeconfig, namespace)

    async def use(client: Client) -> None:
        async for piece in client.logs(
            where,
            pod_called(pod),
            container,
            follow=follow,
            previous=previous,
            tail_lines=None if tail < 0 else tail,
            timestamps=timestamps,
        ):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

    with_client(kubeconfig, use)
