"""SPDY/3.1 frames: bytes to values and back. No I/O, no state but what the format itself has.

What it is not: what frames mean for streams and windows (`spdy`). Header blocks have their own module
(`spdy_headers`).

All numbers are big-endian. A frame begins with eight bytes:

    control  1 | version (15) | type (16)     flags (8) | length (24)     type-specific, `length` bytes
    data     0 | stream (31)                  flags (8) | length (24)     `length` bytes of the stream

A control frame is read when it is there as a whole, so its length is bounded. A data frame may have 16 MiB; it is
passed on as it comes, in several `Data` of which the last carries `fin`. Nothing waits for its end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from controlplane.server.spdy_headers import HeaderPacker, HeaderUnpacker, SpdyError

VERSION = 3
CONTROL_MAX_BYTES = 16 * 1024
"""How long a control frame may be."""
DATA_MAX_BYTES = (1 << 24) - 1
"""How long a data frame can be."""

_CONTROL = 1 << 31
_ID = (1 << 31) - 1
_FIN = 1
_UNIDIRECTIONAL = 2
_HEAD = struct.Struct(">II")
_ONE = struct.Struct(">I")
_SYN_STREAM = struct.Struct(">IIBB")


class FrameError(SpdyError):
    """Bytes that are no frame of this protocol."""


class Reason(IntEnum):
    """Why a stream is reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class Farewell(IntEnum):
    """Why a connection goes away."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class Setting(IntEnum):
    """Settings that somebody here reads."""

    INITIAL_WINDOW_SIZE = 7


class SynStream(NamedTuple):
    """A new stream."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False
    unidirectional: bool = False
    """The peer wants nothing back on it."""


class SynReply(NamedTuple):
    """A stream is accepted."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


class RstStream(NamedTuple):
    """A stream is over, in both directions, at once."""

    stream_id: int
    reason: int


class Settings(NamedTuple):
    """What the peer wants; pairs of a setting's number and its value."""

    values: tuple[tuple[int, int], ...]


class Ping(NamedTuple):
    """To be sent back as it is."""

    number: int


class GoAway(NamedTuple):
    """The peer opens no more streams and takes none after `last_stream_id`."""

    last_stream_id: int
    reason: int


class Headers(NamedTuple):
    """More headers of a stream."""

    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


class WindowUpdate(NamedTuple):
    """So many more bytes may be sent on a stream; on stream 0, on the connection."""

    stream_id: int
    delta: int


class Data(NamedTuple):
    """Bytes of a stream, a whole frame or a part of one."""

    stream_id: int
    data: bytes
    fin: bool = False


Frame = SynStream | SynReply | RstStream | Settings | Ping | GoAway | Headers | WindowUpdate | Data


class FrameReader:
    """Makes frames of bytes, in whatever pieces they come."""

    def __init__(self) -> None:
        """Begin at the beginning of a connection."""
        self._buffer = bytearray()
        self._unpacker = HeaderUnpacker()
        self._data_stream = 0
        self._data_left = 0
        self._data_fin = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are there now; must be read to the end before the next call.

        Raises FrameError or HeaderError; nothing can be read any more then.
        """
        self._buffer += data
        while self._buffer:
            if self._data_left:
                yield self._data_piece()
                continue
            if len(self._buffer) < _HEAD.size:
                return
            word, rest = _HEAD.unpack_from(self._buffer)
            flags, length = rest >> 24, rest & DATA_MAX_BYTES
            if not word & _CONTROL:
                yield from self._begin_data(word, flags, length)
                continue
            if length > CONTROL_MAX_BYTES:
                raise FrameError(f"control frame of {length} bytes; {CONTROL_MAX_BYTES} are allowed")
            if len(self._buffer) < _HEAD.size + length:
                return
            body = self._take(_HEAD.size + length)[_HEAD.size :]
            yield from self._control(word, flags, body)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def _begin_data(self, stream_id: int, flags: int, length: int) -> Iterator[Frame]:
        if not stream_id:
            raise FrameError("data of stream 0, which cannot be")
        self._take(_HEAD.size)
        fin = bool(flags & _FIN)
        self._data_stream, self._data_left, self._data_fin = stream_id, length, fin
        if not length:
            yield Data(stream_id, b"", fin)

    def _data_piece(self) -> Data:
        piece = self._take(self._data_left)
        self._data_left -= len(piece)
        return Data(self._data_stream, piece, self._data_fin and not self._data_left)

    def _control(self, word: int, flags: int, body: bytes) -> Iterator[Frame]:
        version, kind = word >> 16 & 0x7FFF, word & 0xFFFF
        if version != VERSION:
            raise FrameError(f"frame of SPDY version {version}; this is version {VERSION}")
        decode = _DECODERS.get(kind)
        if decode is None:
            return  # To be ignored, says the protocol.
        try:
            yield decode(flags, body, self._unpacker)
        except struct.error as error:
            raise FrameError(f"control frame of type {kind} is too short: {len(body)} bytes") from error


def _number(body: bytes, at: int = 0) -> int:
    value: int = _ONE.unpack_from(body, at)[0]
    return value


def _stream(body: bytes) -> int:
    if not (stream_id := _number(body) & _ID):
        raise FrameError("control frame of stream 0, which cannot be")
    return stream_id


def _syn_stream(flags: int, body: bytes, unpacker: HeaderUnpacker) -> Frame:
    stream_id = _stream(body)
    _SYN_STREAM.unpack_from(body)
    headers = unpacker.unpack(body[_SYN_STREAM.size :])
    return SynStream(stream_id, headers, bool(flags & _FIN), bool(flags & _UNIDIRECTIONAL))


def _syn_reply(flags: int, body: bytes, unpacker: HeaderUnpacker) -> Frame:
    return SynReply(_stream(body), unpacker.unpack(body[4:]), bool(flags & _FIN))


def _headers(flags: int, body: bytes, unpacker: HeaderUnpacker) -> Frame:
    return Headers(_stream(body), unpacker.unpack(body[4:]), bool(flags & _FIN))


def _rst_stream(_: int, body: bytes, __: HeaderUnpacker) -> Frame:
    return RstStream(_stream(body), _number(body, 4))


def _settings(_: int, body: bytes, __: HeaderUnpacker) -> Frame:
    count = _number(body)
    if len(body) != 4 + 8 * count:
        raise FrameError(f"{count} settings in {len(body)} bytes")
    pairs = _HEAD.iter_unpack(body[4:])
    return Settings(tuple((number & 0xFFFFFF, value) for number, value in pairs))


def _ping(_: int, body: bytes, __: HeaderUnpacker) -> Frame:
    return Ping(_number(body))


def _go_away(_: int, body: bytes, __: HeaderUnpacker) -> Frame:
    return GoAway(_number(body) & _ID, _number(body, 4))


def _window_update(_: int, body: bytes, __: HeaderUnpacker) -> Frame:
    return WindowUpdate(_number(body) & _ID, _number(body, 4) & _ID)


_DECODERS: dict[int, Callable[[int, bytes, HeaderUnpacker], Frame]] = {
    1: _syn_stream,
    2: _syn_reply,
    3: _rst_stream,
    4: _settings,
    6: _ping,
    7: _go_away,
    8: _headers,
    9: _window_update,
}


class FrameWriter:
    """Makes bytes of frames; the order of calls is the order on the wire."""

    def __init__(self) -> None:
        """Begin at the beginning of a connection."""
        self._packer = HeaderPacker()

    def encode(self, frame: Frame) -> bytes:
        """The bytes of a frame. A `Data` must fit into one."""
        match frame:
            case Data(stream_id, data, fin):
                return _HEAD.pack(stream_id, fin << 24 | len(data)) + data
            case SynStream(stream_id, headers, fin, unidirectional):
                body = _SYN_STREAM.pack(stream_id, 0, 0, 0) + self._packer.pack(headers)
                return _control(1, body, fin | unidirectional << 1)
            case SynReply(stream_id, headers, fin):
                return _control(2, _ONE.pack(stream_id) + self._packer.pack(headers), fin)
            case Headers(stream_id, headers, fin):
                return _control(8, _ONE.pack(stream_id) + self._packer.pack(headers), fin)
            case Settings(values):
                return _control(4, _ONE.pack(len(values)) + b"".join(_HEAD.pack(*value) for value in values))
            case Ping(number):
                return _control(6, _ONE.pack(number))
            case RstStream(first, second):
                return _control(3, _HEAD.pack(first, second))
            case GoAway(first, second):
                return _control(7, _HEAD.pack(first, second))
            case WindowUpdate(first, second):
                return _control(9, _HEAD.pack(first, second))


def _control(kind: int, body: bytes, flags: int = 0) -> bytes:
    return _HEAD.pack(_CONTROL | VERSION << 16 | kind, flags << 24 | len(body)) + body
