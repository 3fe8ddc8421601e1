"""`mizzen plan` and `mizzen why`: what would happen, and why things are as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mizzen.cli import manifests
from mizzen.cli.common import Kubeconfig, Namespace, namespace_of, of_cluster, others, with_client
from mizzen.cli.names import NameProblem, target


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command("plan")(of_cluster(plan))
    app.command("why")(of_cluster(why))


def plan(
    filename: Annotated[list[Path] | None, typer.Option("--filename", "-f", help="Manifests to apply.")] = None,
    lose_node: Annotated[list[str] | None, typer.Option(help="A node to lose.")] = None,
    return_node: Annotated[list[str] | None, typer.Option(help="A lost node that comes back.")] = None,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what a change, or the loss or return of a node, would do, without doing it."""
    if not filename and not lose_node and not return_node:
        raise NameProblem("say what to plan: manifests with -f, a node to lose with --lose-node, or --return-node")
    objects = manifests.load(filename or [], namespace_of(kubeconfig, namespace), others(kubeconfig))
    lost, returned = lose_node or (), return_node or ()
    answer = with_client(kubeconfig, lambda client: client.plan(objects, lose_nodes=lost, return_nodes=returned))
    for step in answer.steps:
        typer.echo(f"{step.at_ms / 1000:8.1f} s  {step.action:<10} {step.object}  {step.message}")
    for problem in answer.problems:
        typer.echo(f"problem: {problem}")
    raise typer.Exit(1 if answer.problems else 0)


def why(
    what: Annotated[list[str], typer.Argument(metavar="TYPE/NAME", help="TYPE NAME or TYPE/NAME.")],
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show why an object is in the state that it is in."""
    kind, name = target(what, others(kubeconfig))
    where = namespace_of(kubeconfig, namespace)
    reasons = with_client(kubeconfig, lambda client: client.why(kind, where, name))
    for reason in reasons:
        since = f" (since {reason.since})" if reason.since else ""
        typer.echo(f"{reason.reason}: {reason.message}{since}")
    if not reasons:
        typer.echo("nothing is wrong, and nothing is waited for")
