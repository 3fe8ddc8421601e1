"""Images on nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from mizzen.client.connection import Connection
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb


@dataclass(frozen=True, slots=True)
class Taken:
    """How much of an archive a node's engine has taken so far."""

    node: str
    taken_bytes: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A node has the images, by their names; the last that is told of it."""

    node: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """A node does not have the images, and why; the last that is told of it."""

    node: str
    why: str


class Images(Connection):
    """The verb on images."""

    async def load_image(
        self, nodes: Sequence[str], archive: AsyncIterator[bytes]
    ) -> AsyncGenerator[Taken | Loaded | NotLoaded, None]:
        """Place the images of an archive, as `docker save` writes it, on nodes; on all of them where none are named.

        The pieces have at most 1 MiB each; the next is asked for when the nodes have taken those before. What is told
        begins with a `Taken` of nothing for each node.
        """
        begun, going = asyncio.Event(), set[str]()

        async def requests() -> AsyncIterator[pb.LoadImageRequest]:
            yield pb.LoadImageRequest(start=pb.LoadImageStart(nodes=nodes))
            # A call that is refused while something is being sent does not tell why.
            await begun.wait()
            async for data in archive:
                if not going:
                    return
                yield pb.LoadImageRequest(data=data)

        async with aclosing(self._stream("LoadImage", requests())) as answers:
            async for answer in answers:
                match answer.WhichOneof("body"):
                    case "loaded":
                        going.discard(answer.node)
                        yield Loaded(answer.node, tuple(answer.loaded.names))
                    case "error":
                        going.discard(answer.node)
                        yield NotLoaded(answer.node, answer.error)
                    case _:
                        going.add(answer.node)
                        begun.set()
                        yield Taken(answer.node, answer.taken_bytes)
