"""Places the images of an archive on many nodes at once, over the streams that their agents open.

Every piece goes to all nodes before the next is asked for, so the archive is nowhere kept whole, and the slowest node
sets the pace. One that takes nothing for too long is given up; the others go on.

    caller --pieces--> load --pieces--> agent of each node --> its engine
    caller <--how far each node is, and how it ended--
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

import msgspec

from controlplane.server.streams import Channel, Piece, Session
from mizzen.api import errors, kinds
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.view import View
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb

DATA_MAX_BYTES = 1 << 20
PIECE_BYTES = 128 * 1024
"""What waits for a node is a few pieces; see `NodeStreams.open_image_load`."""
STALL_S = 120.0
"""How long a node may take nothing: its engine writes layers to a disk that others use, too."""
ANSWERS_MAX = 256
DRAIN_S = 10.0
"""How long a caller may take to hear that nobody needs the rest."""

Answer = pb.LoadImageResponse


class ImagePlaces(Protocol):
    """Opens the way to a node's engine."""

    async def open_image_load(self, node: str) -> Session:
        """The archive on STDIN; how much was taken on STDOUT, a line each; the images in the message of the STATUS.

        Raises ServiceUnavailable or Timeout when the node does not answer.
        """
        ...


class ImageLoads:
    """Loads images for whoever may."""

    def __init__(self, places: ImagePlaces, view: View, stall_s: float = STALL_S) -> None:
        """To the nodes that `view` has."""
        self._places = places
        self._view = view
        self._stall_s = stall_s

    async def load(
        self, nodes: Sequence[str], incoming: AsyncIterator[pb.LoadImageRequest]
    ) -> AsyncGenerator[Answer, None]:
        """How far each node is until all are done, beginning with which they are.

        Raises NotFound for nodes that are not there, BadRequest.
        """
        answers: asyncio.Queue[Answer | Exception] = asyncio.Queue(ANSWERS_MAX)
        targets = [_Target(name, answers, self._stall_s) for name in self._named(nodes)]
        tasks = [asyncio.create_task(target.run(self._places), name=f"load to {target.name}") for target in targets]
        feeder = asyncio.create_task(_feed(targets, incoming, answers))
        tasks.append(feeder)
        left = len(targets)
        try:
            for target in targets:
                yield Answer(node=target.name, taken_bytes=0)
            while left:
                answer = await answers.get()
                if isinstance(answer, Exception):
                    raise answer
                left -= answer.WhichOneof("body") != "taken_bytes"
                yield answer
            # Where all have failed, the caller is still sending; to end the call under its hands would hide why.
            await asyncio.wait((feeder,), timeout=DRAIN_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _named(self, nodes: Sequence[str]) -> list[str]:
        known = {node.metadata.name for node in self._view.list(kinds.NODE)}
        for name in nodes:
            if name not in known:
                raise errors.NotFound(kinds.NODE, name)
        if not known:
            raise errors.BadRequest("nodes: the cluster has none")
        return sorted(set(nodes) or known)


class _Target:
    """One node that an archive goes to."""

    def __init__(self, name: str, answers: asyncio.Queue[Answer | Exception], stall_s: float) -> None:
        self.name = name
        self._answers = answers
        self._stall_s = stall_s
        self._session: Session | None = None
        self._opened = asyncio.Event()
        self._why = ""
        """Why it was given up."""

    async def run(self, places: ImagePlaces) -> None:
        """Open the way, and tell what comes back of it, ending with how it ended."""
        try:
            self._session = await places.open_image_load(self.name)
        except errors.ApiError as error:
            await self._answers.put(Answer(node=self.name, error=error.message))
            return
        finally:
            self._opened.set()
        try:
            await self._answers.put(await self._follow(self._session))
        finally:
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    async def _follow(self, session: Session) -> Answer:
        async for piece in session.pieces():
            if piece.channel is Channel.STATUS:
                return self._ended(piece.data)
            taken = piece.data.decode(errors="replace").split()
            if taken and taken[-1].isdigit():
                await self._answers.put(Answer(node=self.name, taken_bytes=int(taken[-1])))
        return Answer(node=self.name, error=self._why or "the connection to the node was lost")

    def _ended(self, status_json: bytes) -> Answer:
        try:
            status = msgspec.json.decode(status_json, type=meta.Status)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Answer(node=self.name, error="the node ended the stream with something unknown")
        if status.status != "Success":
            return Answer(node=self.name, error=status.message or "the node gave no reason")
        return Answer(node=self.name, loaded=pb.LoadedImages(names=status.message.split()))

    async def send(self, piece: Piece) -> None:
        """Pass a piece on, unless the node is done already; waits while it is busy with those before."""
        await self._opened.wait()
        session = self._session
        if session is None:
            return
        try:
            async with asyncio.timeout(self._stall_s):
                await session.send(piece)
        except TimeoutError:
            self._why = f"the node took nothing for {self._stall_s:g} s"
            self._session = None
            await session.close()


async def _feed(
    targets: Sequence[_Target],
    incoming: AsyncIterator[pb.LoadImageRequest],
    answers: asyncio.Queue[Answer | Exception],
) -> None:
    """Sends what comes to all nodes, and its end; what is wrong with it ends the whole."""
    try:
        async for message in incoming:
            if message.WhichOneof("body") != "data" or len(message.data) > DATA_MAX_BYTES:
                raise errors.BadRequest(f"after the first message come pieces of at most {DATA_MAX_BYTES} bytes")
            for start in range(0, len(message.data), PIECE_BYTES):
                await _to_all(targets, Piece(Channel.STDIN, message.data[start : start + PIECE_BYTES]))
        await _to_all(targets, Piece(Channel.STDIN, b"", end=True))
    except errors.ApiError as error:
        await answers.put(error)


async def _to_all(targets: Sequence[_Target], piece: Piece) -> None:
    await asyncio.gather(*(target.send(piece) for target in targets))
