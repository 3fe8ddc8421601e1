"""`mizzen describe`: an object with its reasons and events."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
import typer
import yaml

from mizzen.api import codec, kinds, times
from mizzen.api.types import core_v1
from mizzen.cli.common import Kubeconfig, Namespace, namespace_of, of_cluster, others, with_client
from mizzen.cli.names import target
from mizzen.client import Client


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("describe")(of_cluster(describe))


def describe(
    what: Annotated[list[str], typer.Argument(metavar="TYPE/NAME", help="TYPE NAME or TYPE/NAME.")],
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show an object, why it is as it is, and its events."""
    kind, name = target(what, others(kubeconfig))
    where = namespace_of(kubeconfig, namespace) if kind.namespaced else ""

    async def use(client: Client) -> None:
        obj = await client.get(kind, where, name)
        typer.echo(yaml.safe_dump(_readable(obj), sort_keys=False), nl=False)
        for reason in await client.why(kind, where, name):
            typer.echo(f"Why: {reason.reason}: {reason.message}")
        selector = f"involvedObject.uid={obj.metadata.uid}"
        events = await client.list(kinds.EVENT, where or "default", field_selector=selector)
        typer.echo("Events:" if events.items else "Events: <none>")
        for event in sorted(events.items, key=lambda e: e.last_timestamp):
            typer.echo(_line(event))

    with_client(kubeconfig, use)


def _readable(obj: Any) -> Any:
    plain = msgspec.json.decode(codec.encode_json(obj))
    plain["metadata"].pop("managedFields", None)
    if isinstance(obj, core_v1.Secret):
        plain["data"] = {key: f"<{len(value)} bytes>" for key, value in obj.data.items()}
    return plain


def _line(event: core_v1.Event) -> str:
    ago_s = int(time.time() - times.parse(event.last_timestamp) / 1000) if event.last_timestamp else 0
    often = f" (x{event.count})" if event.count > 1 else ""
    return f"  {event.type:<8} {event.reason:<18} {ago_s} s ago{often}  {event.message}"
