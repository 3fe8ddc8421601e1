"""`mizzen scale`: sets a number of replicas."""

from __future__ import annotations

from typing import Annotated

import typer

from mizzen.cli.common import Kubeconfig, Namespace, namespace_of, of_cluster, others, with_client
from mizzen.cli.names import label, target


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("scale")(of_cluster(scale))


def scale(
    what: Annotated[list[str], typer.Argument(metavar="TYPE/NAME", help="TYPE NAME or TYPE/NAME.")],
    replicas: Annotated[int, typer.Option(min=0, help="How many.")],
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Set a number of replicas."""
    kind, name = target(what, others(kubeconfig))
    where = namespace_of(kubeconfig, namespace)
    with_client(kubeconfig, lambda client: client.scale(kind, where, name, replicas))
    typer.echo(f"{label(kind, name)} scaled")
