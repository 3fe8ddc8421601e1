"""Header blocks of SPDY/3.1: names and values, compressed by zlib with a dictionary that both sides know.

Why a module of its own: the compression has a memory. All blocks of one direction of one connection are one zlib
stream, so every block must be read, in order, even that of a stream nobody wants.

What it is not: frames (`spdy_frames`), or what headers mean.

The dictionary is part of the protocol (draft-mbelshe-httpbis-spdy-00, section 2.6.10.1): words, each after its length
in four bytes, and a text of frequent fragments.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

HEADERS_MAX_BYTES = 16 * 1024
"""How long one block may be when it is unpacked."""

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status|200 OK|version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_FRAGMENTS = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
_LENGTH = struct.Struct(">I")
_WINDOW_BITS = 11
"""2 KiB of memory for the packer: enough for the dictionary, and what we say is short."""


def _dictionary() -> bytes:
    """The words, which are apart by spaces except for the one that holds a space, and the fragments."""
    before, phrase, after = _WORDS.split("|")
    words = [*before.split(), phrase, *after.split()]
    return b"".join(_LENGTH.pack(len(word)) + word.encode() for word in words) + _FRAGMENTS.encode()


DICTIONARY = _dictionary()


class SpdyError(Exception):
    """The peer has broken the protocol; the connection cannot go on."""


class HeaderError(SpdyError):
    """A header block that cannot be read."""


class HeaderPacker:
    """Packs the blocks of one direction of one connection."""

    def __init__(self) -> None:
        """Begin with the dictionary alone."""
        self._zlib = zlib.compressobj(wbits=_WINDOW_BITS, memLevel=1, zdict=DICTIONARY)

    def pack(self, headers: Mapping[str, str]) -> bytes:
        """One block. Names are sent in lower case, as the protocol wants them."""
        parts = [_LENGTH.pack(len(headers))]
        for name, value in headers.items():
            for text in (name.lower(), value):
                data = text.encode("latin-1")
                parts += (_LENGTH.pack(len(data)), data)
        return self._zlib.compress(b"".join(parts)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderUnpacker:
    """Unpacks the blocks of one direction of one connection, in the order in which they come."""

    def __init__(self) -> None:
        """Begin with the dictionary alone."""
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def unpack(self, block: bytes) -> dict[str, str]:
        """Names, in lower case, and values. Raises HeaderError."""
        try:
            data = self._zlib.decompress(block, HEADERS_MAX_BYTES + 1)
        except zlib.error as error:
            raise HeaderError(f"header block is not zlib with the dictionary of SPDY/3: {error}") from error
        if len(data) > HEADERS_MAX_BYTES:
            raise HeaderError(f"header block is longer than {HEADERS_MAX_BYTES} bytes")
        return _parsed(data)


def _parsed(data: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    count, at = _number(data, 0)
    for _ in range(count):
        name, at = _text(data, at)
        value, at = _text(data, at)
        name = name.lower()
        if not name or name in headers:
            raise HeaderError(f"header block has an empty or repeated name: {name!r}")
        headers[name] = value
    if at != len(data):
        raise HeaderError(f"header block has {len(data) - at} bytes too many")
    return headers


def _number(data: bytes, at: int) -> tuple[int, int]:
    if len(data) < at + 4:
        raise HeaderError("header block ends too early")
    return _LENGTH.unpack_from(data, at)[0], at + 4


def _text(data: bytes, at: int) -> tuple[str, int]:
    length, at = _number(data, at)
    if len(data) < at + length:
        raise HeaderError("header block ends too early")
    return data[at : at + length].decode("latin-1"), at + length
