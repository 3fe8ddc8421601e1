"""Shows objects as the REST API answers: as tables, YAML, JSON or names; once, or again whenever they change.

Apart from the verb, because the library for HTTP takes as long to load as all the rest of the command line.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import typer
import yaml

from mizzen.api.kinds import Kind
from mizzen.cli.names import label
from mizzen.cli.tables import Layout, TableText
from mizzen.client import ClusterConfig
from mizzen.client.rest import JSON, TABLE, RestClient, path_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show, and how."""

    kinds: dict[Kind[Any], tuple[str, ...]]
    """The names that are wanted; none: all of the kind."""
    namespace: str
    """Empty: all."""
    output: str
    selection: dict[str, str]

    @property
    def as_table(self) -> bool:
        """Whether the server is to make a table of it."""
        return self.output in ("", "wide")

    @property
    def accept(self) -> str:
        """What to ask the server for."""
        return TABLE if self.as_table else JSON

    def table(self, kind: Kind[Any]) -> TableText:
        """How the kind's tables look."""
        prefix = label(kind, "") if len(self.kinds) > 1 else ""
        return TableText(Layout(self.output == "wide", kind.namespaced and not self.namespace, prefix))


async def show(loaded: ClusterConfig, wanted: Wanted, watch: bool) -> None:
    """Prints what is wanted; with `watch`, goes on with what changes, without end. Raises the API's errors."""
    async with RestClient(loaded) as client:
        if watch:
            ((kind, names),) = wanted.kinds.items()
            await _watch(client, wanted, kind, "".join(names))
            return
        answers = {
            kind: [
                await client.get(path_of(kind, wanted.namespace, name), accept=wanted.accept, **wanted.selection)
                for name in names or ("",)
            ]
            for kind, names in wanted.kinds.items()
        }
    if wanted.as_table:
        tables = [wanted.table(kind).add(found) for kind, found in answers.items()]
        typer.echo("\n".join(filter(None, tables)) or _nothing(wanted), nl=False, err=not any(tables))
    elif wanted.output == "name":
        typer.echo(
            "".join(_named_item(kind, item) for kind, found in answers.items() for item in _items(found)), nl=False
        )
    else:
        documents = [answer for found in answers.values() for answer in found]
        listed = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": _items(documents)}
        typer.echo(_document(documents[0] if len(documents) == 1 else listed, wanted.output), nl=False)


async def _watch(client: RestClient, wanted: Wanted, kind: Kind[Any], name: str) -> None:
    """Shows what is there, then what changes, without end."""
    table = wanted.table(kind)

    def show_one(answer: dict[str, Any]) -> None:
        if wanted.as_table:
            text = table.add([answer])
        elif wanted.output == "name":
            text = "".join(_named_item(kind, item) for item in _items([answer]))
        else:
            text = "".join(_document(item, wanted.output, several=True) for item in _items([answer]))
        typer.echo(text, nl=False)

    first = await client.get(path_of(kind, wanted.namespace, name), accept=wanted.accept, **wanted.selection)
    show_one(first)
    selection = {"fieldSelector": f"metadata.name={name}"} if name else wanted.selection
    path, version = path_of(kind, wanted.namespace), first["metadata"]["resourceVersion"]
    async with aclosing(client.watch(path, version, accept=wanted.accept, **selection)) as changes:
        async for change in changes:
            show_one(change)


def _nothing(wanted: Wanted) -> str:
    return f"No resources found{f' in {wanted.namespace} namespace.' if wanted.namespace else ''}\n"


def _items(answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for answer in answers for item in answer.get("items", [answer])]


def _named_item(kind: Kind[Any], item: dict[str, Any]) -> str:
    return f"{label(kind, item['metadata']['name'])}\n"


def _document(document: dict[str, Any], output: str, *, several: bool = False) -> str:
    if output == "json":
        return json.dumps(document, indent=4) + "\n"
    return ("---\n" if several else "") + str(yaml.safe_dump(document, sort_keys=False))
