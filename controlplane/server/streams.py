"""What the REST server asks of the pods' nodes: output, commands, ports. The port; the node gateway implements it.

Why: an open log or terminal is bytes in both directions for as long as somebody is there. Who carries them, and over
what, is no concern of HTTP.

Vocabulary: a *session* is one open stream; a *piece* is bytes on one of its channels. The piece on `STATUS` is the last
one: a `meta/v1` Status in JSON that says how it ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import IntEnum
from typing import NamedTuple, Protocol

from mizzen.api.types import core_v1 as core

ALL = "All"
STREAMS = (ALL, "Stderr", "Stdout")
"""Which output of a container a log may be limited to."""


class Channel(IntEnum):
    """What bytes are; the numbers are those of Kubernetes' WebSocket protocols."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    STATUS = 3
    RESIZE = 4


class Piece(NamedTuple):
    """Bytes on a channel; with `end` there are no more on it."""

    channel: Channel
    data: bytes
    end: bool = False


class Session(Protocol):
    """An open stream to a container or port."""

    def pieces(self) -> AsyncIterator[Piece]:
        """What comes from the node, in order. Ends after the piece on STATUS, or without one if the node was lost."""
        ...

    async def send(self, piece: Piece) -> None:
        """Send to the node; waits while too much is on the way. After the end of the session nothing happens."""
        ...

    async def close(self) -> None:
        """Leave; the node stops what belongs to the session."""
        ...


class Streams(Protocol):
    """Opens sessions; every method raises ServiceUnavailable or Timeout when the pod's node does not answer."""

    async def open_log(self, pod: core.Pod, options: core.PodLogOptions) -> Session:
        """A container's output on STDOUT."""
        ...

    async def open_exec(self, pod: core.Pod, options: core.PodExecOptions) -> Session:
        """A new command in a container."""
        ...

    async def open_attach(self, pod: core.Pod, options: core.PodAttachOptions) -> Session:
        """The input and output of a running container."""
        ...

    async def open_port(self, pod: core.Pod, options: core.PodPortForwardOptions) -> Session:
        """A connection to the one port in the options: STDIN towards it, STDOUT from it."""
        ...

    async def open_connection(self, node: str, host: str, port: int) -> Session:
        """A connection that a node makes to an address, or without a host to its agent's own page.

        STDIN towards it, STDOUT from it. The first piece is empty output when it is made, else a STATUS.
        """
        ...
