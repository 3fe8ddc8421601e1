"""The server's end of one SPDY/3.1 connection: streams, windows, answers. Bytes in, events out; no I/O, no clock.

What it is not: the loop that carries the bytes (`spdy_link`), or what streams are for (`spdy_sessions`).

Vocabulary: a stream is opened by the client and accepted at once (SYN_REPLY). Each side *ends* its half; a stream that
both have ended, or that one has *reset*, is gone. A *window* is how many bytes the other side still takes.

Windows go both ways, with one leniency each, because kubectl's library keeps none: it sends without looking at ours,
and never says that it has read. So its data is never refused (who reads slowly must stop reading the connection), and
its windows are heeded from the moment on in which it shows that it has any: with a WINDOW_UPDATE or a SETTINGS frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.server.spdy_frames import (
    Data,
    Farewell,
    Frame,
    FrameError,
    FrameReader,
    FrameWriter,
    GoAway,
    Headers,
    Ping,
    Reason,
    RstStream,
    Setting,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)

STREAMS_MAX = 512
"""Streams that one client may have open."""
WINDOW_BYTES = 64 * 1024
"""What either side takes at first, on a stream and on the whole connection."""
DATA_BYTES = 64 * 1024
"""The most that is sent in one frame, so that streams take turns."""
_WINDOW_MAX = (1 << 31) - 1
_PING_MAX = (1 << 31) - 2
_CONNECTION = 0
"""The number under which the window of the whole connection is updated."""


class Opened(NamedTuple):
    """The client has opened a stream."""

    stream_id: int
    headers: Mapping[str, str]


class Received(NamedTuple):
    """Bytes of a stream; with `end` there are no more."""

    stream_id: int
    data: bytes
    end: bool


class Reset(NamedTuple):
    """The client has reset a stream."""

    stream_id: int


class Widened(NamedTuple):
    """More may be sent than before, on one stream or, with 0, on any."""

    stream_id: int


class GoneAway(NamedTuple):
    """The client opens no more streams."""


Event = Opened | Received | Reset | Widened | GoneAway


@dataclass(slots=True)
class _Window:
    """Both directions of flow on a stream or on the connection."""

    send: int
    """How many bytes the client still takes."""
    read: int = 0
    """How many bytes have been read here that the client has not been told of."""


@dataclass(slots=True)
class _Stream:
    """A stream that is not gone."""

    window: _Window
    receiving: bool
    sending: bool


class SpdyConnection:
    """One connection. Whoever calls it sends what `take_output` gives, after every call."""

    def __init__(self) -> None:
        """Begin at the first byte after the upgrade."""
        self._reader = FrameReader()
        self._writer = FrameWriter()
        self._output = bytearray()
        self._streams: dict[int, _Stream] = {}
        self._last_id = 0
        self._last_ping = 0
        self._window = _Window(WINDOW_BYTES)
        self._first_window = WINDOW_BYTES
        self._keeps_windows = False

    # ---------------------------------------------------------------------------------------------------- output

    @property
    def output_bytes(self) -> int:
        """How much waits to be sent."""
        return len(self._output)

    def take_output(self) -> bytes:
        """What is to be sent now; empty when there is nothing."""
        taken = bytes(self._output)
        self._output.clear()
        return taken

    def _say(self, frame: Frame) -> None:
        self._output += self._writer.encode(frame)

    # ----------------------------------------------------------------------------------------------------- input

    @property
    def streams(self) -> int:
        """How many streams are not gone."""
        return len(self._streams)

    def receive(self, data: bytes) -> list[Event]:
        """What the bytes mean. Raises SpdyError; then nothing but a farewell can be sent."""
        return [event for frame in self._reader.feed(data) for event in self._met(frame)]

    def _met(self, frame: Frame) -> list[Event]:
        match frame:
            case Data():
                return self._data(frame)
            case SynStream():
                return self._opened(frame)
            case RstStream():
                return self._was_reset(frame)
            case Headers(stream_id, _, fin):
                return self._data(Data(stream_id, b"", fin))
            case Ping():
                self._pinged(frame)
            case WindowUpdate():
                return self._widened(frame)
            case Settings(values):
                return self._resized(dict(values))
            case GoAway():
                return [GoneAway()]
            case SynReply(stream_id):
                raise FrameError(f"reply on stream {stream_id}, which the server has not opened")
        return []

    def _opened(self, frame: SynStream) -> list[Event]:
        stream_id = frame.stream_id
        if not stream_id % 2 or stream_id <= self._last_id:
            raise FrameError(f"new stream {stream_id} after {self._last_id}: numbers must be odd and grow")
        self._last_id = stream_id
        if len(self._streams) >= STREAMS_MAX:
            self._say(RstStream(stream_id, Reason.REFUSED_STREAM))
            return []
        stream = _Stream(_Window(self._first_window), receiving=True, sending=not frame.unidirectional)
        self._streams[stream_id] = stream
        if stream.sending:
            self._say(SynReply(stream_id, {}))
        events: list[Event] = [Opened(stream_id, frame.headers)]
        if frame.fin:
            events += self._data(Data(stream_id, b"", fin=True))
        return events

    def _pinged(self, frame: Ping) -> None:
        if frame.number % 2:  # Even ones are answers to ours.
            self._say(frame)

    def _was_reset(self, frame: RstStream) -> list[Event]:
        return [Reset(frame.stream_id)] if self._streams.pop(frame.stream_id, None) is not None else []

    def _data(self, frame: Data) -> list[Event]:
        stream_id, data, fin = frame
        stream = self._streams.get(stream_id)
        if stream is None:
            self._credit(self._window, _CONNECTION, len(data))
            if stream_id > self._last_id:
                self._say(RstStream(stream_id, Reason.INVALID_STREAM))
            # A stream that is gone: the client had not heard of it yet.
            return []
        if not stream.receiving:
            self._credit(self._window, _CONNECTION, len(data))
            self.reset(stream_id, Reason.STREAM_ALREADY_CLOSED)
            return [Reset(stream_id)]
        if fin:
            stream.receiving = False
            self._forget_if_over(stream_id, stream)
        return [Received(stream_id, data, fin)] if data or fin else []

    def _forget_if_over(self, stream_id: int, stream: _Stream) -> None:
        if not stream.receiving and not stream.sending:
            del self._streams[stream_id]

    # --------------------------------------------------------------------------------------------------- windows

    def _widened(self, frame: WindowUpdate) -> list[Event]:
        self._keeps_windows = True
        stream = self._streams.get(frame.stream_id)
        if frame.stream_id != _CONNECTION and stream is None:
            return []
        window = stream.window if stream is not None else self._window
        if window.send + frame.delta > _WINDOW_MAX:
            if stream is None:
                raise FrameError(f"the connection's window would be {window.send + frame.delta} bytes")
            self.reset(frame.stream_id, Reason.FLOW_CONTROL_ERROR)
            return [Reset(frame.stream_id)]
        window.send += frame.delta
        return [Widened(frame.stream_id)]

    def _resized(self, values: dict[int, int]) -> list[Event]:
        first = values.get(Setting.INITIAL_WINDOW_SIZE)
        if first is None:
            return []
        if first > _WINDOW_MAX:
            raise FrameError(f"windows of {first} bytes at first")
        self._keeps_windows = True
        for stream in self._streams.values():
            stream.window.send += first - self._first_window
        self._first_window = first
        return [Widened(_CONNECTION)]

    def consumed(self, stream_id: int, count: int) -> None:
        """So many of the received bytes have been read; the client may send as many more."""
        self._credit(self._window, _CONNECTION, count)
        stream = self._streams.get(stream_id)
        if stream is not None and stream.receiving:
            self._credit(stream.window, stream_id, count)

    def _credit(self, window: _Window, stream_id: int, count: int) -> None:
        window.read += count
        # Not for every few bytes: half a window is early enough.
        if window.read >= WINDOW_BYTES // 2:
            self._say(WindowUpdate(stream_id, window.read))
            window.read = 0

    # --------------------------------------------------------------------------------------------------- sending

    def has(self, stream_id: int) -> bool:
        """Whether the stream is not gone."""
        return stream_id in self._streams

    def writable(self, stream_id: int) -> bool:
        """Whether the stream is there and has not been ended from here."""
        stream = self._streams.get(stream_id)
        return stream is not None and stream.sending

    def room(self, stream_id: int) -> int:
        """How many bytes may be sent on a writable stream now, in one frame."""
        if not self._keeps_windows:
            return DATA_BYTES
        return max(0, min(DATA_BYTES, self._window.send, self._streams[stream_id].window.send))

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send at most `room` bytes on a writable stream; with `end`, the last ones."""
        stream = self._streams[stream_id]
        assert stream.sending and len(data) <= self.room(stream_id), f"stream {stream_id} cannot be written to"
        stream.window.send -= len(data)
        self._window.send -= len(data)
        self._say(Data(stream_id, data, end))
        if end:
            stream.sending = False
            self._forget_if_over(stream_id, stream)

    def reset(self, stream_id: int, reason: Reason) -> None:
        """End both halves of a stream at once; nothing happens if it is gone."""
        if self._streams.pop(stream_id, None) is not None:
            self._say(RstStream(stream_id, reason))

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        self._last_ping = self._last_ping % _PING_MAX + 2
        self._say(Ping(self._last_ping))

    def go_away(self, reason: Farewell) -> None:
        """Say that this is the end."""
        self._say(GoAway(self._last_id, reason))
