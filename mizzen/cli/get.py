"""`mizzen get`: objects as tables, YAML, JSON or names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import yaml

from mizzen.api.kinds import Kind
from mizzen.cli.common import Kubeconfig, Namespace
from mizzen.cli.names import NameProblem, kind_called, label, targets
from mizzen.client import config
from mizzen.client.rest import TABLE, RestClient, path_of


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("get")(get)


def get(
    what: Annotated[list[str], typer.Argument(help="TYPE, TYPE NAME..., TYPE/NAME..., or types with commas.")],
    namespace: Namespace = "",
    every: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="wide, yaml, json or name.")] = "",
    selector: Annotated[str, typer.Option("--selector", "-l", help="Label selector.")] = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show objects."""
    if output not in ("", "wide", "yaml", "json", "name"):
        raise typer.BadParameter("must be wide, yaml, json or name", param_hint="--output")
    wanted = _wanted(what)
    if every and any(name for _, name in wanted):
        raise NameProblem("an object is shown by name in one namespace only: leave --all-namespaces out")
    loaded = config.load(kubeconfig)
    where = "" if every else namespace or loaded.namespace
    asyncio.run(_get(loaded, wanted, where, output, selector))


def _wanted(what: Sequence[str]) -> list[tuple[Kind[Any], str]]:
    if len(what) == 1 and "/" not in what[0]:
        return [(kind_called(word), "") for word in what[0].split(",")]
    return targets(what)


async def _get(
    loaded: config.ClusterConfig, wanted: list[tuple[Kind[Any], str]], namespace: str, output: str, selector: str
) -> None:
    async with RestClient(loaded) as client:
        found = []
        for kind, name in wanted:
            path = path_of(kind, namespace, name)
            if output in ("", "wide"):
                table = await client.get(path, accept=TABLE, labelSelector=selector)
                show_namespace = kind.namespaced and not namespace
                typer.echo(rendered(table, wide=output == "wide", show_namespace=show_namespace))
            else:
                found.append((kind, await client.get(path, labelSelector=selector)))
    if found:
        typer.echo(_printed(found, output), nl=False)


def _printed(found: list[tuple[Kind[Any], dict[str, Any]]], output: str) -> str:
    if output == "name":
        return "".join(
            f"{label(kind, item['metadata']['name'])}\n"
            for kind, answer in found
            for item in answer.get("items", [answer])
        )
    documents = [answer for _, answer in found]
    if len(documents) > 1:
        items = [item for document in documents for item in document.get("items", [document])]
        documents = [{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}]
    if output == "json":
        return json.dumps(documents[0], indent=4) + "\n"
    return str(yaml.safe_dump(documents[0], sort_keys=False))


def rendered(table: dict[str, Any], *, wide: bool, show_namespace: bool) -> str:
    """A `Table` of the API as aligned columns."""
    columns = [(i, c["name"]) for i, c in enumerate(table["columnDefinitions"]) if wide or not c.get("priority")]
    rows = [[name.upper() for _, name in columns]]
    if show_namespace:
        rows[0].insert(0, "NAMESPACE")
    for row in table.get("rows") or []:
        cells = [_cell(row["cells"][i]) for i, _ in columns]
        rows.append([row["object"]["metadata"].get("namespace", ""), *cells] if show_namespace else cells)
    if len(rows) == 1:
        return "No resources found"
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(value: Any) -> str:
    return "<none>" if value is None or value == "" else str(value)
