"""`mizzen exec`: runs a command in a container, on a terminal where one is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty as terminal
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import typer

from mizzen.cli.common import Kubeconfig, Namespace, namespace_of, of_cluster, with_client
from mizzen.cli.names import pod_called
from mizzen.client import Client
from mizzen.client.values import Command, EndOfInput, Exit, Input, Resize, Stderr, Stdin, Stdout

INPUT_MAX = 64 * 1024


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("exec", context_settings={"ignore_unknown_options": True})(of_cluster(exec_))


def exec_(
    pod: Annotated[str, typer.Argument(metavar="POD", help="NAME or pod/NAME.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The program and its arguments, after --.")],
    container: Annotated[str, typer.Option("--container", "-c", help="The container.")] = "",
    namespace: Namespace = "",
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass input on.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="On a terminal.")] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run a command in a container."""
    start = Command(
        namespace=namespace_of(kubeconfig, namespace),
        pod=pod_called(pod),
        container=container,
        command=tuple(command),
        stdin=stdin,
        tty=tty and sys.stdin.isatty(),
    )

    async def use(client: Client) -> int:
        with _raw_terminal(start.tty):
            incoming = _input(start.tty) if stdin else None
            async for answer in client.exec(start, incoming):
                match answer:
                    case Stdout():
                        _write(sys.stdout.fileno(), answer.data)
                    case Stderr():
                        _write(sys.stderr.fileno(), answer.data)
                    case Exit():
                        return answer.code
        return 255

    raise typer.Exit(with_client(kubeconfig, use))


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


@contextlib.contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    """Keys go through as they are pressed; the terminal is what it was afterwards."""
    if not wanted:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        terminal.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


async def _input(tty: bool) -> AsyncIterator[Input]:
    """Input bytes and changes of the terminal's size, as they come; no faster than they are sent on."""
    loop, fd = asyncio.get_running_loop(), sys.stdin.fileno()
    queue: asyncio.Queue[Input] = asyncio.Queue()

    def read() -> None:
        loop.remove_reader(fd)
        data = os.read(fd, INPUT_MAX)
        queue.put_nowait(Stdin(data) if data else EndOfInput())

    def resized() -> None:
        size = os.get_terminal_size(fd)  # and not what $COLUMNS and $LINES may still say
        queue.put_nowait(Resize(size.columns, size.lines))

    if tty:
        resized()
        loop.add_signal_handler(signal.SIGWINCH, resized)
    try:
        loop.add_reader(fd, read)
    except PermissionError:
        # Files can't be waited for; they can be read at once.
        while data := os.read(fd, INPUT_MAX):
            yield Stdin(data)
        yield EndOfInput()
        return
    while True:
        value = await queue.get()
        yield value
        if isinstance(value, EndOfInput):
            return
        if isinstance(value, Stdin):
            loop.add_reader(fd, read)
