"""Bodies that are sent in pieces: whole and in order, and not for ever."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiohttp.abc import AbstractStreamWriter

from controlplane.server import rest_pieces
from controlplane.server.rest_pieces import Pieces


class Reader:
    """A client, seen from the connection to it."""

    def __init__(self, *, reads: bool = True) -> None:
        self.reads = reads
        self.got: list[bytes] = []

    async def write(self, piece: memoryview) -> None:
        if not self.reads:
            await asyncio.Event().wait()
        self.got.append(bytes(piece))


async def sent(body: Pieces, reader: Any) -> None:
    await body.write(cast(AbstractStreamWriter, reader))


async def test_pieces_are_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_pieces, "PIECE_BYTES", 4)
    body, reader = Pieces(b"0123456789"), Reader()
    assert body.size == 10
    await sent(body, reader)
    assert reader.got == [b"0123", b"4567", b"89"]


async def test_a_client_that_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_pieces, "PIECE_S", 0.01)
    with pytest.raises(ConnectionError, match="the client does not read"):
        await sent(Pieces(b"0123"), Reader(reads=False))


async def test_a_body_is_forgotten_when_it_is_sent() -> None:
    body = Pieces(b"0123")
    assert body.decode() == "0123"
    await body.close()
    assert body.decode() == ""
