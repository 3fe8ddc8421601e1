"""`mizzen image`: places images on nodes, without a registry."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from mizzen.api import kinds
from mizzen.cli.common import CommandError, Kubeconfig, of_cluster, with_client
from mizzen.client import Client
from mizzen.client.archives import Archive, ArchiveError, kept, of_engine
from mizzen.client.images import Loaded, NotLoaded, Taken

app = typer.Typer(help="Images on nodes.", no_args_is_help=True)
MIB = 1 << 20
SHOWN_S = 0.2
"""How often the line with the progress is written anew."""


@app.callback()
def _group() -> None:
    """Images on nodes."""


@app.command()
@of_cluster
def load(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|IMAGE|-",
            help="An archive as `docker save` or the OCI has it, an image of this machine's engine, or - for input.",
        ),
    ],
    node: Annotated[list[str] | None, typer.Option("--node", help="A node; without, all of them.")] = None,
    name: Annotated[str, typer.Option("--name", help="What the image of an OCI archive is called.")] = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Place an image on nodes, without a registry."""

    is_file = source != "-" and Path(source).is_file()

    async def use(client: Client) -> list[str]:
        try:
            with tempfile.NamedTemporaryFile(prefix="mizzen-image-") as file:
                if not is_file:
                    await kept(_input() if source == "-" else of_engine(source), file)
                path = Path(source if is_file else file.name)
                return await _load(client, node or [], Archive(path, name, await _architectures(client, node or [])))
        except ArchiveError as error:
            raise CommandError(str(error)) from error

    failed = with_client(kubeconfig, use)
    if failed:
        raise CommandError(f"not loaded on {', '.join(failed)}")


async def _architectures(client: Client, names: list[str]) -> list[str]:
    nodes = (await client.list(kinds.NODE)).items
    return [one.status.node_info.architecture for one in nodes if not names or one.metadata.name in names]


async def _input() -> AsyncIterator[bytes]:
    while data := sys.stdin.buffer.read(MIB):
        yield data


async def _load(client: Client, nodes: list[str], archive: Archive) -> list[str]:
    """Loads, shows how far it is, and returns the nodes that do not have the image then."""
    screen, failed, began = _Screen(archive.size_bytes), [], time.monotonic()
    async for told in client.load_image(nodes, archive.pieces()):
        match told:
            case Taken():
                screen.taken(told.node, told.taken_bytes)
            case Loaded():
                screen.say(f"{told.node}: {', '.join(told.names)} loaded in {time.monotonic() - began:.1f} s")
            case NotLoaded():
                failed.append(told.node)
                screen.say(f"{told.node}: {told.why}")
    return failed


class _Screen:
    """A line of progress at a terminal, and lines that stay."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._taken: dict[str, int] = {}
        self._shown_at = 0.0
        self._live = sys.stderr.isatty()

    def taken(self, node: str, taken_bytes: int) -> None:
        """A node has taken so much."""
        self._taken[node] = taken_bytes
        if not self._live or time.monotonic() - self._shown_at < SHOWN_S:
            return
        self._shown_at = time.monotonic()
        slowest = min(self._taken.values()) / MIB
        whole = f" of {self._size_bytes / MIB:.0f}" if self._size_bytes else ""
        sys.stderr.write(f"\r\x1b[K{slowest:.0f}{whole} MiB on {len(self._taken)} nodes")
        sys.stderr.flush()

    def say(self, line: str) -> None:
        """Something that stays."""
        if self._live and self._shown_at:
            sys.stderr.write("\r\x1b[K")
        typer.echo(line)
