"""Commands and ports as streams: what goes where, and who ends what. Time is virtual."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from controlplane.server.spdy_frames import Data, GoAway, Reason, RstStream
from controlplane.server.spdy_sessions import CREATE_S, LOST, RESIZE_MAX_BYTES, Command, Forward
from controlplane.server.streams import Channel, Piece, Session
from mizzen.api import codec, errors
from tests.fixtures.fake_streams import FakeSession, exit_code, success
from tests.fixtures.spdy_peer import MemoryWire, served, settled

pytestmark = pytest.mark.looptime
WAIT_S = 5.0
ALL = ("error", "stdin", "stdout", "stderr")


class LostSession(FakeSession):
    """A session whose node goes away: its pieces end without a status."""

    async def pieces(self) -> AsyncIterator[Piece]:
        while (piece := await self.out.get()) != Piece(Channel.STDIN, b""):
            yield piece

    def lose(self) -> None:
        self.out.put_nowait(Piece(Channel.STDIN, b""))


class DeafSession(FakeSession):
    """A session that takes nothing."""

    async def send(self, piece: Piece) -> None:
        await asyncio.Event().wait()


def out(data: bytes, *, end: bool = False) -> Piece:
    return Piece(Channel.STDOUT, data, end)


async def sent(session: FakeSession) -> Piece:
    async with asyncio.timeout(WAIT_S):
        return await session.sent.get()


def opened(wire: MemoryWire, kinds: tuple[str, ...]) -> dict[str, int]:
    streams, data = wire.peer.open_all(kinds)
    wire.incoming.put_nowait(data)
    return streams


async def test_a_command() -> None:
    session = FakeSession(None)
    for piece in (out(b"out"), Piece(Channel.STDERR, b"err"), out(b"put"), exit_code(3)):
        session.out.put_nowait(piece)
    async with served(Command(session, frozenset(ALL[1:])).run) as (wire, _):
        streams = opened(wire, ALL)
        wire.say(Data(streams["stdin"], b"in"), Data(streams["stdin"], b"put", fin=True))
        await wire.until(lambda peer: streams["error"] in peer.ended)
        wire.leave()
    peer = wire.peer
    assert peer.accepted == set(streams.values())
    assert peer.ended == {streams[kind] for kind in ("error", "stdout", "stderr")}
    assert peer.data[streams["stdout"]] == b"output"
    assert peer.data[streams["stderr"]] == b"err"
    status = json.loads(peer.data[streams["error"]])
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_input_and_sizes() -> None:
    session = FakeSession(None)
    async with served(Command(session, frozenset(("stdin", "stdout", "resize"))).run) as (wire, _):
        streams = opened(wire, ("error", "stdin", "stdout", "resize"))
        wire.say(Data(streams["resize"], b'{"Width":80,"Height":24}\n{"Width":81'))
        assert await sent(session) == Piece(Channel.RESIZE, b'{"Width":80,"Height":24}')
        wire.say(Data(streams["resize"], b',"Height":25}\n'))
        assert await sent(session) == Piece(Channel.RESIZE, b'{"Width":81,"Height":25}')
        wire.say(Data(streams["stdin"], b"typed"))
        assert await sent(session) == Piece(Channel.STDIN, b"typed")
        wire.say(Data(streams["stdin"], b"", fin=True))
        assert await sent(session) == Piece(Channel.STDIN, b"", end=True)
        wire.say(Data(streams["resize"], bytes(RESIZE_MAX_BYTES + 1)))
        await wire.until(lambda peer: streams["resize"] in peer.reset)
        session.out.put_nowait(success())
        await wire.until(lambda peer: streams["error"] in peer.ended)
        assert json.loads(wire.peer.data[streams["error"]])["status"] == "Success"
        wire.leave()


async def test_output_waits_for_its_streams_and_others_are_refused() -> None:
    session = FakeSession(None)
    session.out.put_nowait(out(b"early"))
    session.out.put_nowait(success())
    async with served(Command(session, frozenset(("stdout",))).run) as (wire, _):
        stdout, unwanted, twice = (wire.open(streamtype=kind) for kind in ("stdout", "stdin", "stdout"))
        nameless = wire.open()
        await wire.until(lambda peer: len(peer.reset) == 3)
        assert wire.peer.reset == dict.fromkeys((unwanted, twice, nameless), Reason.PROTOCOL_ERROR)
        assert wire.peer.data[stdout] == b""
        error = wire.open(streamtype="error")
        await wire.until(lambda peer: error in peer.ended)
        assert wire.peer.data[stdout] == b"early"
        late = wire.open(streamtype="stdin")
        await wire.until(lambda peer: late in peer.reset)
        wire.leave()


async def test_streams_that_never_come_end_the_command() -> None:
    started = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        async with served(Command(FakeSession(None), frozenset(("stdout",))).run) as (wire, _):
            wire.open(streamtype="stdout")
    assert CREATE_S <= asyncio.get_running_loop().time() - started < CREATE_S + 2


async def test_output_that_the_client_no_longer_wants_is_dropped() -> None:
    session = FakeSession(None)
    async with served(Command(session, frozenset(("stdout",))).run) as (wire, _):
        streams = opened(wire, ("error", "stdout"))
        wire.say(RstStream(streams["stdout"], Reason.CANCEL))
        await settled()
        session.out.put_nowait(out(bytes(100_000)))
        session.out.put_nowait(success())
        await wire.until(lambda peer: streams["error"] in peer.ended)
        assert wire.peer.data[streams["stdout"]] == b""
        wire.leave()


async def test_a_node_that_is_lost_under_a_command() -> None:
    session = LostSession(None)
    async with served(Command(session, frozenset(("stdout",))).run) as (wire, _):
        streams = opened(wire, ("error", "stdout"))
        session.out.put_nowait(out(b"x"))
        session.lose()
        await wire.until(lambda peer: streams["error"] in peer.ended)
        assert json.loads(wire.peer.data[streams["error"]])["message"] == LOST
        wire.leave()


async def test_a_client_that_leaves_while_nobody_takes_its_input() -> None:
    async with served(Command(DeafSession(None), frozenset(("stdin",))).run) as (wire, _):
        streams = opened(wire, ("error", "stdin"))
        wire.say(Data(streams["stdin"], b"x"))
        await settled()
        wire.leave()


class Ports:
    """Opens sessions to ports and keeps them."""

    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.opened = asyncio.Condition()
        self.kind = FakeSession

    async def open(self, port: int) -> Session:
        if port == 99:
            raise errors.ServiceUnavailable("node is not connected")
        if port == 98:
            raise RuntimeError("broken")
        session = self.kind(port)
        self.sessions.append(session)
        async with self.opened:
            self.opened.notify_all()
        return session

    async def session(self, number: int = 0) -> FakeSession:
        async with asyncio.timeout(WAIT_S), self.opened:
            await self.opened.wait_for(lambda: len(self.sessions) > number)
        return self.sessions[number]


def paired(wire: MemoryWire, name: str, port: int | str) -> tuple[int, int]:
    data, error, said = wire.peer.open_pair(name, port)
    wire.incoming.put_nowait(said)
    return data, error


async def test_a_connection_to_a_port_and_its_halves() -> None:
    ports = Ports()
    async with served(Forward(ports.open).run) as (wire, _):
        data, error = paired(wire, "0", 8080)
        session = await ports.session()
        assert session.options == 8080
        wire.say(Data(data, b"question"), Data(data, b"", fin=True))
        assert await sent(session) == Piece(Channel.STDIN, b"question")
        assert await sent(session) == Piece(Channel.STDIN, b"", end=True)
        session.out.put_nowait(out(b"answer"))
        await wire.until(lambda peer: peer.data[data] == b"answer")
        assert not wire.peer.ended
        session.out.put_nowait(out(b"!", end=True))
        await wire.until(lambda peer: data in peer.ended)
        assert not session.closed.is_set()
        session.out.put_nowait(success())
        await wire.until(lambda peer: error in peer.ended)
        assert wire.peer.data[data] == b"answer!"
        assert wire.peer.data[error] == b""
        assert session.closed.is_set()
        wire.say(GoAway(0, 0))


async def test_the_pod_may_end_first() -> None:
    ports = Ports()
    async with served(Forward(ports.open).run) as (wire, _):
        data, error = paired(wire, "0", 80)
        session = await ports.session()
        session.out.put_nowait(success())
        await wire.until(lambda peer: peer.ended == {data, error})
        assert session.closed.is_set()
        wire.say(Data(data, bytes(100)), Data(data, b"", fin=True), GoAway(0, 0))
    assert not wire.peer.reset


@pytest.mark.parametrize(
    ("port", "message"),
    [(99, "node is not connected"), (98, "see the server's log"), ("x", "port"), (0, "port"), (70000, "port")],
)
async def test_connections_that_cannot_be_end_with_a_message_and_alone(port: int | str, message: str) -> None:
    ports = Ports()
    async with served(Forward(ports.open).run) as (wire, _):
        data, error = paired(wire, "0", port)
        await wire.until(lambda peer: {data, error} <= peer.ended)
        assert message.encode() in wire.peer.data[error]
        other, _ = paired(wire, "1", 80)
        session = await ports.session()
        session.out.put_nowait(out(b"fine"))
        await wire.until(lambda peer: peer.data[other] == b"fine")
        wire.leave()
    assert session.closed.is_set()


async def test_what_the_node_refuses_is_said_on_the_error_stream() -> None:
    ports = Ports()
    async with served(Forward(ports.open).run) as (wire, _):
        _, error = paired(wire, "0", 80)
        session = await ports.session()
        refused = errors.InternalError("cannot reach port 80").status
        session.out.put_nowait(Piece(Channel.STATUS, codec.encode_json(refused)))
        await wire.until(lambda peer: error in peer.ended)
        assert b"cannot reach port 80" in wire.peer.data[error]
        wire.leave()


async def test_a_node_that_is_lost_under_a_connection() -> None:
    ports = Ports()
    ports.kind = LostSession
    async with served(Forward(ports.open).run) as (wire, _):
        _, error = paired(wire, "0", 80)
        session = await ports.session()
        assert isinstance(session, LostSession)
        session.lose()
        await wire.until(lambda peer: error in peer.ended)
        assert wire.peer.data[error] == LOST.encode()
        wire.leave()


@pytest.mark.parametrize("ended", [False, True])
async def test_a_reset_connection_is_left_and_others_go_on(ended: bool) -> None:
    ports = Ports()
    async with served(Forward(ports.open).run) as (wire, _):
        first, error = paired(wire, "0", 80)
        second, _ = paired(wire, "1", 80)
        session, other = await ports.session(0), await ports.session(1)
        if ended:
            wire.say(Data(first, b"", fin=True))
            await sent(session)
        wire.say(RstStream(first, Reason.CANCEL))
        await wire.until(lambda peer: error in peer.ended)
        assert session.closed.is_set()
        other.out.put_nowait(out(b"fine"))
        await wire.until(lambda peer: peer.data[second] == b"fine")
        wire.leave()
    assert other.closed.is_set()


async def test_a_connection_that_nobody_reads_does_not_hold_up_another() -> None:
    ports = Ports()
    async with served(Forward(ports.open).run) as (wire, _):
        ports.kind = DeafSession
        stuck, _ = paired(wire, "0", 80)
        deaf = await ports.session(0)
        ports.kind = FakeSession
        data, _ = paired(wire, "1", 80)
        session = await ports.session(1)
        for _ in range(10):
            wire.say(Data(stuck, bytes(64 * 1024)))
        wire.say(Data(data, b"through"))
        assert await sent(session) == Piece(Channel.STDIN, b"through")
        wire.leave()
    assert deaf.closed.is_set()


async def test_half_a_pair_is_dropped_in_the_end_and_nonsense_at_once() -> None:
    ports = Ports()
    async with served(Forward(ports.open).run) as (wire, _):
        started = asyncio.get_running_loop().time()
        nonsense = [
            wire.open(streamtype="data", port="80"),
            wire.open(streamtype="stdin", port="80", requestid="0"),
        ]
        half, twice = (wire.open(streamtype="data", port="80", requestid="0") for _ in range(2))
        await wire.until(lambda peer: {*nonsense, twice} <= peer.reset.keys())
        assert half not in wire.peer.reset
        await wire.until(lambda peer: half in peer.reset)
        assert CREATE_S <= asyncio.get_running_loop().time() - started < CREATE_S + 2
        wire.leave()
    assert not ports.sessions


async def test_many_connections_at_once() -> None:
    ports = Ports()
    count = 100
    async with served(Forward(ports.open).run) as (wire, _):
        pairs = [paired(wire, str(number), 80) for number in range(count)]
        for number, (data, _) in enumerate(pairs):
            wire.say(Data(data, str(number).encode(), fin=True))
        for number in range(count):
            session = await ports.session(number)
            asked = await sent(session)
            session.out.put_nowait(out(asked.data * 1000, end=True))
            session.out.put_nowait(success())
        await wire.until(lambda peer: len(peer.ended) == 2 * count)
        assert all(wire.peer.data[data] == str(n).encode() * 1000 for n, (data, _) in enumerate(pairs))
        wire.say(GoAway(0, 0))
