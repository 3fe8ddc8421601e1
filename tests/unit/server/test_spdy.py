"""The server's end of a SPDY connection, without I/O."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.server.spdy import (
    DATA_BYTES,
    STREAMS_MAX,
    WINDOW_BYTES,
    GoneAway,
    Opened,
    Received,
    Reset,
    SpdyConnection,
    Widened,
)
from controlplane.server.spdy_frames import (
    Data,
    Farewell,
    Frame,
    GoAway,
    Headers,
    Ping,
    Reason,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)
from controlplane.server.spdy_headers import SpdyError
from tests.fixtures.spdy_peer import SpdyPeer

FIRST_WINDOW = 7


class Talk:
    """A connection and its client, back to back."""

    def __init__(self) -> None:
        self.server = SpdyConnection()
        self.peer = SpdyPeer()

    def say(self, *frames: Frame) -> list[Any]:
        """What the server makes of frames; its answers reach the client."""
        events = self.server.receive(self.peer.say(*frames))
        self.flush()
        return events

    def open(self, **headers: str) -> int:
        stream_id, data = self.peer.open(**headers)
        assert self.server.receive(data) == [Opened(stream_id, headers)]
        self.flush()
        return stream_id

    def flush(self) -> None:
        self.peer.hear(self.server.take_output())
        assert self.server.output_bytes == 0


def test_a_stream_from_its_beginning_to_its_end() -> None:
    talk = Talk()
    one = talk.open(streamtype="data")
    assert talk.peer.accepted == {one}
    assert talk.say(Data(one, b"in")) == [Received(one, b"in", False)]
    talk.server.send(one, b"out")
    assert talk.say(Data(one, b"!", fin=True)) == [Received(one, b"!", True)]
    assert (talk.server.has(one), talk.server.writable(one)) == (True, True)
    talk.server.send(one, b"put", end=True)
    talk.flush()
    assert talk.peer.data[one] == b"output"
    assert talk.peer.ended == {one}
    assert (talk.server.has(one), talk.server.writable(one), talk.server.streams) == (False, False, 0)


def test_either_half_may_end_first() -> None:
    talk = Talk()
    one = talk.open()
    talk.server.send(one, b"", end=True)
    assert not talk.server.writable(one)
    assert talk.say(Data(one, b"late")) == [Received(one, b"late", False)]
    assert talk.say(Headers(one, {"a": "b"}, fin=True)) == [Received(one, b"", True)]
    assert not talk.server.has(one)


def test_streams_that_end_in_their_first_frame() -> None:
    talk = Talk()
    assert talk.say(SynStream(1, {"a": "b"}, fin=True)) == [Opened(1, {"a": "b"}), Received(1, b"", True)]
    assert talk.say(SynStream(3, {}, unidirectional=True)) == [Opened(3, {})]
    assert (talk.server.writable(1), talk.server.writable(3), talk.peer.accepted) == (True, False, {1})
    assert talk.say(SynStream(5, {}, fin=True, unidirectional=True)) == [Opened(5, {}), Received(5, b"", True)]
    assert talk.server.streams == 2


def test_resets() -> None:
    talk = Talk()
    one, two = talk.open(), talk.open()
    assert talk.say(RstStream(one, Reason.CANCEL)) == [Reset(one)]
    assert talk.say(RstStream(one, Reason.CANCEL), Data(one, b"in flight")) == []
    talk.server.reset(two, Reason.INTERNAL_ERROR)
    talk.server.reset(two, Reason.INTERNAL_ERROR)
    assert talk.say(Data(two, b"in flight", fin=True)) == []
    assert talk.peer.reset == {two: Reason.INTERNAL_ERROR}
    assert not talk.server.has(one)
    assert not talk.server.has(two)


def test_data_where_none_can_be() -> None:
    talk = Talk()
    one = talk.open()
    assert talk.say(Data(99, b"?")) == []
    assert talk.say(Data(one, b"", fin=True), Data(one, b"?")) == [Received(one, b"", True), Reset(one)]
    assert talk.peer.reset == {99: Reason.INVALID_STREAM, one: Reason.STREAM_ALREADY_CLOSED}


def test_too_many_streams_are_refused() -> None:
    talk = Talk()
    for _ in range(STREAMS_MAX):
        talk.open()
    over, data = talk.peer.open()
    assert talk.server.receive(data) == []
    talk.flush()
    assert talk.peer.reset == {over: Reason.REFUSED_STREAM}
    talk.say(RstStream(1, Reason.CANCEL))
    talk.open()
    assert talk.server.streams == STREAMS_MAX


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (SynStream(2, {}), "odd"),
        (SynStream(1, {}), "grow"),
        (SynReply(1, {}), "not opened"),
        (WindowUpdate(0, 0x7FFFFFFF), "window"),
        (Settings(((7, 1 << 31),)), "at first"),
    ],
)
def test_what_ends_the_connection(frame: Frame, message: str) -> None:
    talk = Talk()
    talk.open()
    with pytest.raises(SpdyError, match=message):
        talk.say(frame)
    talk.server.go_away(Farewell.PROTOCOL_ERROR)
    talk.flush()
    assert talk.peer.gone_away == GoAway(1, Farewell.PROTOCOL_ERROR)


def test_pings_are_answered_and_answers_are_not() -> None:
    talk = Talk()
    talk.say(Ping(1), Ping(2), Ping(3))
    talk.server.ping()
    talk.server.ping()
    talk.flush()
    assert talk.peer.heard == [Ping(1), Ping(3), Ping(2), Ping(4)]


def test_the_client_goes_away() -> None:
    assert Talk().say(GoAway(0, 0)) == [GoneAway()]


def test_what_is_read_is_granted_again_in_halves_of_a_window() -> None:
    talk = Talk()
    one = talk.open()
    talk.say(Data(one, bytes(WINDOW_BYTES)))
    talk.server.consumed(one, WINDOW_BYTES // 2 - 1)
    talk.flush()
    assert talk.peer.granted == {}
    talk.server.consumed(one, 1)
    talk.flush()
    assert talk.peer.granted == {one: WINDOW_BYTES // 2, 0: WINDOW_BYTES // 2}
    talk.say(Data(one, b"", fin=True))
    talk.server.consumed(one, WINDOW_BYTES // 2)
    talk.flush()
    assert talk.peer.granted == {one: WINDOW_BYTES // 2, 0: WINDOW_BYTES}


def test_bytes_of_lost_streams_are_granted_to_the_connection() -> None:
    talk = Talk()
    one = talk.open()
    talk.server.reset(one, Reason.CANCEL)
    talk.say(Data(one, bytes(WINDOW_BYTES)))
    assert talk.peer.granted == {0: WINDOW_BYTES}


def test_a_client_without_windows_is_sent_to_without_end() -> None:
    talk = Talk()
    one = talk.open()
    for _ in range(10):
        assert talk.server.room(one) == DATA_BYTES
        talk.server.send(one, bytes(DATA_BYTES))
        talk.flush()


def test_a_client_with_windows_is_not_overrun() -> None:
    talk = Talk()
    assert talk.say(Settings(((4, 10), (FIRST_WINDOW, 1000)))) == [Widened(0)]
    one, two = talk.open(), talk.open()
    assert talk.server.room(one) == 1000
    talk.server.send(one, bytes(1000))
    assert talk.server.room(one) == 0
    assert talk.say(WindowUpdate(one, 500)) == [Widened(one)]
    assert talk.server.room(one) == 500
    assert talk.say(Settings(((FIRST_WINDOW, 100),))) == [Widened(0)]
    assert (talk.server.room(one), talk.server.room(two)) == (0, 100)
    with pytest.raises(AssertionError):
        talk.server.send(two, bytes(101))
    assert talk.say(WindowUpdate(77, 5)) == []
    assert talk.say(WindowUpdate(one, 0x7FFFFFFF)) == [Widened(one)]
    assert talk.say(WindowUpdate(one, 0x7FFFFFFF)) == [Reset(one)]
    assert talk.peer.reset == {one: Reason.FLOW_CONTROL_ERROR}


def test_windows_that_show_late_count_what_was_sent_before() -> None:
    talk = Talk()
    one, two = talk.open(), talk.open()
    talk.server.send(one, bytes(WINDOW_BYTES))
    assert talk.say(WindowUpdate(one, 1000)) == [Widened(one)]
    assert (talk.server.room(one), talk.server.room(two)) == (0, 0)
    assert talk.say(WindowUpdate(0, 600)) == [Widened(0)]
    assert (talk.server.room(one), talk.server.room(two)) == (600, 600)


class Conversation(RuleBasedStateMachine):
    """A client that keeps windows says whatever it likes; both ends agree, and no window is overrun."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk()
        self.talk.say(Settings(((FIRST_WINDOW, 2000),)))
        self.windows: dict[int, int] = {0: WINDOW_BYTES}
        self.sent: dict[int, bytes] = {}

    def pick(self, number: int) -> int | None:
        streams = [stream for stream in self.windows if stream and self.talk.server.has(stream)]
        return streams[number % len(streams)] if streams else None

    @rule()
    def open(self) -> None:
        stream = self.talk.open()
        self.windows[stream], self.sent[stream] = 2000, b""

    @rule(number=st.integers(0, 20), data=st.binary(min_size=1, max_size=1500), end=st.booleans())
    def server_sends(self, number: int, data: bytes, end: bool) -> None:
        stream = self.pick(number)
        if stream is None or not self.talk.server.writable(stream):
            return
        data = data[: self.talk.server.room(stream)]
        self.talk.server.send(stream, data, end=end)
        self.sent[stream] += data
        self.windows[stream] -= len(data)
        self.windows[0] -= len(data)

    @rule(number=st.integers(0, 20), data=st.binary(max_size=100), end=st.booleans())
    def client_sends(self, number: int, data: bytes, end: bool) -> None:
        if stream := self.pick(number):
            for event in self.talk.say(Data(stream, data, end)):
                if isinstance(event, Received):
                    self.talk.server.consumed(stream, len(event.data))

    @rule(number=st.integers(0, 20), delta=st.integers(1, 3000), whole=st.booleans())
    def client_reads(self, number: int, delta: int, whole: bool) -> None:
        stream = 0 if whole else self.pick(number)
        if stream is not None:
            self.windows[stream] += delta
            self.talk.say(WindowUpdate(stream, delta))

    @rule(number=st.integers(0, 20), by_client=st.booleans())
    def reset(self, number: int, by_client: bool) -> None:
        stream = self.pick(number)
        if stream is not None and by_client:
            self.talk.say(RstStream(stream, Reason.CANCEL))
        elif stream is not None:
            self.talk.server.reset(stream, Reason.CANCEL)

    @invariant()
    def agree(self) -> None:
        self.talk.flush()
        assert all(window >= 0 for window in self.windows.values())
        for stream, data in self.sent.items():
            assert self.talk.peer.data[stream] == data
            if self.talk.server.has(stream):
                assert self.talk.server.room(stream) == min(self.windows[stream], self.windows[0], DATA_BYTES)


Conversation.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestConversation = Conversation.TestCase
