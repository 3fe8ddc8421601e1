"""Streams between a user and an agent: bounded both ways, ended by either, and never without their last word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from controlplane.server.node_streams import DRAIN_S, FRAMES_MAX, OPEN_DEADLINE_S, NodeStream, NodeStreams
from controlplane.server.streams import Channel, Piece
from mizzen.api import errors
from mizzen.api.types import core_v1 as core
from mizzen.base.ids import SeededIds
from mizzen.wire.gen.mizzen.v1 import node_pb2
from tests.fixtures.cluster_objects import pod

pytestmark = pytest.mark.looptime
Frame = node_pb2.StreamFrame
POD = pod("web", node="n1")
STATUS = Frame(channel=Frame.STATUS, data=b"{}", end=True)


class Agent:
    """The agent's end of one stream: what it sends, and what it has read."""

    def __init__(self) -> None:
        self.sending: asyncio.Queue[Frame | Exception | None] = asyncio.Queue()
        self.taken = 0
        """Frames that the control plane has taken."""
        self.read: list[Frame] = []
        self.reads = asyncio.Event()
        """Whether it reads."""
        self.reads.set()
        self.broken: Exception | None = None

    async def frames(self) -> AsyncIterator[Frame]:
        """What it sends."""
        while (frame := await self.sending.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            self.taken += 1
            yield frame

    async def write(self, frame: Frame) -> None:
        """What it is sent."""
        await self.reads.wait()
        if self.broken is not None:
            raise self.broken
        self.read.append(frame)

    def send(self, *frames: Frame | Exception | None) -> None:
        """Send frames; None is the end of the call from its side."""
        for frame in frames:
            self.sending.put_nowait(frame)


class Rig:
    """Streams of a control plane to which node n1 is connected."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[node_pb2.OpenStream] = asyncio.Queue()
        self.connected = True
        self.streams = NodeStreams(self._ask, SeededIds(1))

    def _ask(self, node: str, request: node_pb2.OpenStream) -> bool:
        if self.connected:
            self.asked.put_nowait(request)
        return self.connected

    async def opened(self, agent: Agent) -> tuple[NodeStream, asyncio.Task[None]]:
        """A stream that the agent has opened, and the serving of its call."""
        opening = asyncio.create_task(self.streams.open_exec(POD, core.PodExecOptions(command=("x",))))
        request = await self.asked.get()
        agent.send(Frame(id=request.id))
        serving = asyncio.create_task(self.streams.serve("n1", agent.frames(), agent.write))
        return await opening, serving


def out(text: bytes) -> Frame:
    """Output."""
    return Frame(channel=Frame.STDOUT, data=text)


async def everything(stream: NodeStream) -> list[Piece]:
    """All that comes."""
    async with asyncio.timeout(DRAIN_S):
        return [piece async for piece in stream.pieces()]


async def ended(serving: asyncio.Task[None]) -> None:
    """The call has ended, without having to be told twice."""
    async with asyncio.timeout(DRAIN_S + 1):
        await serving


async def settle() -> None:
    """Let everybody do what can be done without time passing."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_both_directions() -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    await stream.send(Piece(Channel.STDIN, b"in"))
    await stream.send(Piece(Channel.RESIZE, b"{}"))
    await stream.send(Piece(Channel.STDIN, b"", end=True))
    agent.send(out(b"1"), Frame(channel=Frame.STDERR, data=b"2"), STATUS, None)
    assert await everything(stream) == [
        Piece(Channel.STDOUT, b"1"),
        Piece(Channel.STDERR, b"2"),
        Piece(Channel.STATUS, b"{}", end=True),
    ]
    await ended(serving)
    assert [(f.channel, f.data, f.end) for f in agent.read] == [
        (Frame.STDIN, b"in", False),
        (Frame.RESIZE, b"{}", False),
        (Frame.STDIN, b"", True),
    ]
    await stream.send(Piece(Channel.STDIN, b"too late"))
    await stream.close()


async def test_what_the_agent_is_asked() -> None:
    rig = Rig()
    for opening, kind, field in (
        (rig.streams.open_log, node_pb2.OpenStream.LOG, core.PodLogOptions(follow=True)),
        (rig.streams.open_attach, node_pb2.OpenStream.ATTACH, core.PodAttachOptions(tty=True)),
        (rig.streams.open_port, node_pb2.OpenStream.PORT_FORWARD, core.PodPortForwardOptions(ports=(80,))),
    ):
        task: asyncio.Task[Any] = asyncio.create_task(opening(POD, field))  # type: ignore[operator]
        request = await rig.asked.get()
        assert (request.kind, request.namespace, request.name, request.uid) == (kind, "default", "web", "uid-web")
        assert msgspec.json.decode(request.options_json, type=type(field)) == field
        task.cancel()
        await asyncio.wait((task,))


async def test_the_first_frame_may_say_something() -> None:
    rig, agent = Rig(), Agent()
    opening = asyncio.create_task(rig.streams.open_log(POD, core.PodLogOptions()))
    request = await rig.asked.get()
    agent.send(Frame(id=request.id, channel=Frame.STATUS, data=b"{}", end=True), None)
    serving = asyncio.create_task(rig.streams.serve("n1", agent.frames(), agent.write))
    assert [piece.channel for piece in await everything(await opening)] == [Channel.STATUS]
    await ended(serving)


# ------------------------------------------------------------------------------------------------------ slow readers


async def test_a_user_that_does_not_read_stops_the_agent() -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    agent.send(*(out(b"%d" % n) for n in range(200)), STATUS, None)
    await settle()
    assert agent.taken <= FRAMES_MAX + 2
    pieces = await everything(stream)
    assert [piece.data for piece in pieces[:-1]] == [b"%d" % n for n in range(200)]
    assert pieces[-1].channel is Channel.STATUS
    await ended(serving)


async def test_an_agent_that_does_not_read_stops_the_user() -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    agent.reads.clear()
    sent = 0

    async def send() -> None:
        nonlocal sent
        for n in range(200):
            await stream.send(Piece(Channel.STDIN, b"%d" % n))
            sent += 1

    sending = asyncio.create_task(send())
    await settle()
    assert sent <= FRAMES_MAX + 1
    agent.reads.set()
    await sending
    agent.send(STATUS, None)
    await everything(stream)
    await ended(serving)
    assert [frame.data for frame in agent.read] == [b"%d" % n for n in range(200)]


# ---------------------------------------------------------------------------------------------------- either leaves


async def test_what_a_user_sent_before_leaving_arrives() -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    agent.reads.clear()
    for n in range(FRAMES_MAX):
        await stream.send(Piece(Channel.STDIN, b"%d" % n))
    agent.send(*(out(b"x") for _ in range(100)))  # which nobody reads any more
    await stream.close()
    agent.reads.set()
    await ended(serving)
    assert [frame.data for frame in agent.read] == [b"%d" % n for n in range(FRAMES_MAX)]


async def test_an_agent_that_reads_nothing_does_not_hold_a_call_for_ever() -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    agent.reads.clear()
    for n in range(FRAMES_MAX):
        await stream.send(Piece(Channel.STDIN, b"%d" % n))
    began = asyncio.get_running_loop().time()
    await stream.close()
    await ended(serving)
    assert asyncio.get_running_loop().time() - began == pytest.approx(DRAIN_S)


async def test_a_user_that_leaves_ends_a_quiet_stream_at_once() -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    began = asyncio.get_running_loop().time()
    await stream.close()
    await ended(serving)
    assert asyncio.get_running_loop().time() == began


@pytest.mark.parametrize("last", [None, ConnectionError("the machine is off")])
async def test_an_agent_that_dies_ends_the_stream_without_a_status(last: Exception | None) -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    agent.send(out(b"half"), last)
    assert [piece.data for piece in await everything(stream)] == [b"half"]
    await ended(serving)
    await stream.send(Piece(Channel.STDIN, b"nobody reads this"))


async def test_users_that_wait_for_room_are_let_go_when_the_agent_dies() -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    agent.reads.clear()
    sends = [asyncio.create_task(stream.send(Piece(Channel.STDIN, b"x"))) for _ in range(FRAMES_MAX + 5)]
    await settle()
    agent.send(None)
    await ended(serving)
    await asyncio.gather(*sends)


async def test_the_last_word_is_heard_although_nothing_can_be_written_any_more() -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    agent.broken = ConnectionError("the call is over")
    await stream.send(Piece(Channel.STDIN, b"x"))
    await settle()
    assert not serving.done()
    agent.send(*(out(b"%d" % n) for n in range(100)), STATUS, None)
    pieces = await everything(stream)
    assert (len(pieces), pieces[-1].channel) == (101, Channel.STATUS)
    await ended(serving)


# ----------------------------------------------------------------------------------------------------------- opening


async def test_a_node_that_is_not_there_or_does_not_answer() -> None:
    rig = Rig()
    rig.connected = False
    with pytest.raises(errors.ServiceUnavailable, match="'n1' is not connected"):
        await rig.streams.open_log(POD, core.PodLogOptions())
    with pytest.raises(errors.ServiceUnavailable, match="node '' is not connected"):
        await rig.streams.open_log(pod("web"), core.PodLogOptions())
    rig.connected = True
    began = asyncio.get_running_loop().time()
    with pytest.raises(errors.Timeout, match="did not open the stream within 10 s"):
        await rig.streams.open_log(POD, core.PodLogOptions())
    assert asyncio.get_running_loop().time() - began == pytest.approx(OPEN_DEADLINE_S)
    late = Agent()
    late.send(Frame(id=(await rig.asked.get()).id))
    with pytest.raises(LookupError):
        await rig.streams.serve("n1", late.frames(), late.write)


async def test_a_stream_is_opened_by_its_own_node_and_once() -> None:
    rig, agent, other = Rig(), Agent(), Agent()
    opening = asyncio.create_task(rig.streams.open_log(POD, core.PodLogOptions()))
    request = await rig.asked.get()
    for node, name in (("n2", request.id), ("n1", "guessed"), ("n1", "")):
        other.send(Frame(id=name))
        with pytest.raises(LookupError):
            await rig.streams.serve(node, other.frames(), other.write)
    other.send(None)
    with pytest.raises(LookupError):
        await rig.streams.serve("n1", other.frames(), other.write)
    agent.send(Frame(id=request.id))
    serving = asyncio.create_task(rig.streams.serve("n1", agent.frames(), agent.write))
    await asyncio.sleep(0)
    other.send(Frame(id=request.id))
    with pytest.raises(LookupError):
        await rig.streams.serve("n1", other.frames(), other.write)
    stream = await opening
    await stream.close()
    await ended(serving)


async def test_a_user_that_leaves_while_the_stream_is_opened() -> None:
    rig, agent = Rig(), Agent()
    opening = asyncio.create_task(rig.streams.open_log(POD, core.PodLogOptions(follow=True)))
    agent.send(Frame(id=(await rig.asked.get()).id), *(out(b"x") for _ in range(200)))
    serving = asyncio.create_task(rig.streams.serve("n1", agent.frames(), agent.write))
    await asyncio.sleep(0)  # the agent has come, the user has not heard of it yet
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await ended(serving)


async def test_a_server_that_stops_lets_everybody_go() -> None:
    rig, agent = Rig(), Agent()
    stream, serving = await rig.opened(agent)
    agent.send(out(b"1"))
    await settle()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended(serving)
    assert [piece.data for piece in await everything(stream)] == [b"1"]
