"""Images on their way to many nodes: the slowest sets the pace, and what becomes of one is no matter of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import msgspec
import pytest

from controlplane.server.image_loads import DATA_MAX_BYTES, PIECE_BYTES, ImageLoads
from controlplane.server.streams import Channel, Piece
from mizzen.api import errors, kinds
from mizzen.api.types import meta_v1 as meta
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from tests.fixtures import cluster_objects

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


class Node:
    """A node's end: takes all, says how much, and ends as it is told to."""

    def __init__(self, *, stuck_after: int = 1 << 40, fails_after: int = 1 << 40, lost: bool = False) -> None:
        self.taken = b""
        self.stuck_after, self.fails_after, self.lost = stuck_after, fails_after, lost
        self.out: asyncio.Queue[Piece | None] = asyncio.Queue()
        self.closed = False

    async def pieces(self) -> AsyncIterator[Piece]:
        """What the node says."""
        while (piece := await self.out.get()) is not None:
            yield piece

    async def send(self, piece: Piece) -> None:
        """What it is given."""
        if len(self.taken) >= self.stuck_after:
            await asyncio.Event().wait()
        self.taken += piece.data
        if len(self.taken) >= self.fails_after:
            self.say(meta.Status(status="Failure", message="no space left on device"))
        if piece.end:
            self.out.put_nowait(Piece(Channel.STDOUT, b"%d\n" % len(self.taken)))
            if self.lost:
                self.out.put_nowait(None)
            self.say(meta.Status(status="Success", message="shop:1\nshop:2"))

    def say(self, status: meta.Status) -> None:
        """End."""
        self.out.put_nowait(Piece(Channel.STATUS, msgspec.json.encode(status), end=True))

    async def close(self) -> None:
        """The other side has left."""
        self.closed = True
        self.out.put_nowait(None)


class Known:
    """A view of the nodes that there are."""

    def __init__(self, names: Iterable[str]) -> None:
        self._nodes = [cluster_objects.node(name) for name in names]

    def list(self, kind: object) -> list[Any]:
        """See `View`."""
        assert kind is kinds.NODE
        return self._nodes


class Nodes:
    """The ways to some nodes; to one that is not connected there is none."""

    def __init__(self, **nodes: Node | None) -> None:
        self.nodes = nodes

    async def open_image_load(self, node: str) -> Any:
        """See `ImagePlaces`."""
        found = self.nodes[node]
        if found is None:
            raise errors.ServiceUnavailable(f"node {node!r} is not connected")
        return found

    async def load(self, pieces: Sequence[bytes], *names: str) -> dict[str, object]:
        """How each node ended."""
        view: Any = Known(self.nodes)

        async def incoming() -> AsyncIterator[pb.LoadImageRequest]:
            for piece in pieces:
                yield pb.LoadImageRequest(data=piece)

        found: dict[str, object] = {}
        async for answer in ImageLoads(self, view).load(names, incoming()):
            match answer.WhichOneof("body"):
                case "loaded":
                    found[answer.node] = list(answer.loaded.names)
                case "error":
                    found[answer.node] = answer.error
        return found


LOADED = ["shop:1", "shop:2"]
BYTES = bytes(PIECE_BYTES + 5)


async def test_all_nodes_get_all() -> None:
    nodes = Nodes(n1=Node(), n2=Node())
    assert await nodes.load([BYTES, b"rest"]) == {"n1": LOADED, "n2": LOADED}
    for node in nodes.nodes.values():
        assert node is not None
        assert (node.taken, node.closed) == (BYTES + b"rest", True)


async def test_only_those_that_were_named() -> None:
    nodes = Nodes(n1=Node(), n2=Node())
    assert await nodes.load([BYTES], "n2") == {"n2": LOADED}


async def test_one_that_fails_holds_up_nobody() -> None:
    nodes = Nodes(away=None, full=Node(fails_after=1), stuck=Node(stuck_after=1), lost=Node(lost=True), good=Node())
    assert await nodes.load([BYTES] * 3) == {
        "away": "node 'away' is not connected",
        "full": "no space left on device",
        "stuck": "the node took nothing for 120 s",
        "lost": "the connection to the node was lost",
        "good": LOADED,
    }


async def test_what_can_not_be_is_refused() -> None:
    with pytest.raises(errors.NotFound, match="n9"):
        await Nodes(n1=Node()).load([], "n9")
    with pytest.raises(errors.BadRequest, match="the cluster has none"):
        await Nodes().load([])
    node = Node()
    with pytest.raises(errors.BadRequest, match="at most"):
        await Nodes(n1=node).load([bytes(DATA_MAX_BYTES + 1)])
    assert node.closed
