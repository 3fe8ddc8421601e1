"""Large bodies, given to their connection piece by piece.

Written at once, a list of 10 MB is encrypted as a whole while everybody else waits, and its copy stays in the memory of
the connection until the client has read it. A piece waits until the one before is on its way.
"""

from __future__ import annotations

import asyncio

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

PIECE_BYTES = 256 * 1024
"""What is given to a connection at once."""
PIECE_S = 60.0
"""How long a client may take for a piece, in seconds."""


class Pieces(Payload):
    """A body of bytes, which is forgotten as soon as it is sent."""

    _autoclose = True

    def __init__(self, body: bytes) -> None:
        """Send `body`."""
        super().__init__(body)
        self._size = len(body)

    @property
    def content(self) -> bytes:
        """The body, as long as it is not sent."""
        return bytes(self._value or b"")

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text."""
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body. Raises ConnectionError when the client has left or does not read."""
        body = memoryview(self._value)
        try:
            for begin in range(0, len(body), PIECE_BYTES):
                async with asyncio.timeout(PIECE_S):
                    await writer.write(body[begin : begin + PIECE_BYTES])
        except TimeoutError as error:
            raise ConnectionResetError("the client does not read") from error

    def _close(self) -> None:
        self._value = b""
