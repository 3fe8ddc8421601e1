"""`mizzen get`: objects as tables, YAML, JSON or names; once, or again whenever they change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mizzen.api.kinds import Kind
from mizzen.cli.common import Kubeconfig, Namespace, configured, of_cluster, others
from mizzen.cli.names import NameProblem, Others, kind_called, targets

OUTPUTS = ("", "wide", "yaml", "json", "name")


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("get")(of_cluster(get))


def get(
    what: Annotated[
        list[str], typer.Argument(metavar="TYPE[/NAME]", help="TYPE, TYPE NAME..., TYPE/NAME..., or types with commas.")
    ],
    namespace: Namespace = "",
    every: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="wide, yaml, json or name.")] = "",
    selector: Annotated[str, typer.Option("--selector", "-l", help="Label selector.")] = "",
    field_selector: Annotated[str, typer.Option(help="Such as status.phase=Running.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with what changes.")] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show objects."""
    if output not in OUTPUTS:
        raise typer.BadParameter("must be wide, yaml, json or name", param_hint="--output")
    named = _named(what, others(kubeconfig))
    if every and any(named.values()):
        raise NameProblem("an object is shown by name in one namespace only: leave --all-namespaces out")
    if (selector or field_selector) and any(named.values()):
        raise NameProblem("name objects or select them, not both")
    if watch and (len(named) > 1 or any(len(names) > 1 for names in named.values())):
        raise NameProblem("only one type, or one object, can be watched at a time")
    from mizzen.cli.show import Wanted, show  # large: see there

    loaded = configured(kubeconfig)
    selection = {"labelSelector": selector, "fieldSelector": field_selector}
    wanted = Wanted(named, "" if every else namespace or loaded.namespace, output, selection)
    asyncio.run(show(loaded, wanted, watch))


def _named(what: Sequence[str], known: Others) -> dict[Kind[Any], tuple[str, ...]]:
    if len(what) == 1 and "/" not in what[0]:
        return {kind_called(word, known): () for word in what[0].split(",")}
    found: dict[Kind[Any], tuple[str, ...]] = {}
    for kind, name in targets(what, known):
        found[kind] = (*found.get(kind, ()), name)
    return found
