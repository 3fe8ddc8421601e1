"""Streams carried over a wire: order, back-pressure both ways, ends, and no task left behind. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from controlplane.server.spdy_frames import (
    Data,
    Farewell,
    GoAway,
    Ping,
    Reason,
    RstStream,
    Settings,
    SynStream,
    WindowUpdate,
)
from controlplane.server.spdy_link import (
    LINGER_S,
    OUTPUT_MAX_BYTES,
    PING_S,
    RECEIVED_MAX_BYTES,
    SEND_MAX_BYTES,
    Link,
    Stream,
    StreamReset,
    serve,
)
from tests.fixtures.spdy_peer import MemoryWire, served, settled

pytestmark = pytest.mark.looptime
CHUNK = 64 * 1024


async def accepted(link: Link) -> Stream:
    stream = await link.accept()
    assert stream is not None
    return stream


async def forever(_: Link) -> None:
    await asyncio.Event().wait()


async def test_bytes_go_both_ways() -> None:
    async def echo(link: Link) -> None:
        stream = await accepted(link)
        assert stream.headers == {"name": "one"}
        while data := await stream.read():
            await stream.write(data.upper())
        stream.finish()

    async with served(echo) as (wire, _):
        one = wire.open(name="one")
        wire.say(Data(one, b"hello "), Data(one, b"there", fin=True))
        await wire.until(lambda peer: one in peer.ended)
        assert wire.peer.data[one] == b"HELLO THERE"
        wire.leave()
    assert wire.peer.gone_away == GoAway(one, Farewell.OK)


async def test_what_nobody_reads_stops_the_reading() -> None:
    go = asyncio.Event()
    got = 0

    async def read_late(link: Link) -> None:
        nonlocal got
        stream = await accepted(link)
        await go.wait()
        while data := await stream.read():
            got += len(data)

    async with served(read_late) as (wire, _):
        one = wire.open()
        for _ in range(100):
            wire.say(Data(one, bytes(CHUNK)))
        wire.say(Data(one, b"", fin=True))
        await settled()
        assert RECEIVED_MAX_BYTES < wire.read_bytes <= RECEIVED_MAX_BYTES + 2 * CHUNK
        assert wire.peer.granted == {}
        go.set()
        await wire.until(lambda peer: peer.granted[0] >= 100 * CHUNK)
        wire.leave()
    assert got == 100 * CHUNK


async def test_many_small_pieces_weigh_what_their_bytes_weigh() -> None:
    pieces: list[int] = []

    async def read_late(link: Link) -> None:
        stream = await accepted(link)
        await settled()
        while data := await stream.read():
            pieces.append(len(data))

    async with served(read_late) as (wire, _):
        one = wire.open()
        for _ in range(10):
            wire.say(*[Data(one, b"x")] * 1000)
        wire.say(Data(one, b"", fin=True))
        await settled()
        wire.leave()
    assert sum(pieces) == 10_000
    assert len(pieces) < 10


async def test_a_wire_that_takes_nothing_stops_the_senders_in_turn() -> None:
    sent = [0, 0]

    async def send(link: Link) -> None:
        async def pour(number: int) -> None:
            stream = await accepted(link)
            for _ in range(40):
                await stream.write(bytes(CHUNK))
                sent[number] += CHUNK
            stream.finish()

        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(pour(number))

    async with served(send) as (wire, _):
        wire.takes.clear()
        streams = [wire.open(), wire.open()]
        await settled()
        assert sum(sent) <= 2 * SEND_MAX_BYTES + 2 * CHUNK
        wire.takes.set()
        await wire.until(lambda peer: peer.ended == set(streams))
        assert [len(wire.peer.data[stream]) for stream in streams] == [40 * CHUNK] * 2
        turns = [frame.stream_id for frame in wire.peer.heard if isinstance(frame, Data) and frame.data]
        alike = [first == second for first, second in pairwise(turns)]
        assert sum(alike) < 10
        wire.leave()


async def test_reading_goes_on_while_writing_is_held_up() -> None:
    got = bytearray()

    async def both(link: Link) -> None:
        stream = await accepted(link)

        async def pour() -> None:
            await stream.write(bytes(100 * CHUNK))

        async with asyncio.TaskGroup() as group:
            pouring = group.create_task(pour())
            while data := await stream.read():
                got.extend(data)
            pouring.cancel()

    async with served(both) as (wire, task):
        wire.takes.clear()
        one = wire.open()
        for _ in range(50):
            wire.say(Data(one, bytes(CHUNK)))
        wire.say(Data(one, b"", fin=True))
        await settled()
        assert len(got) == 50 * CHUNK
        wire.takes.set()
        wire.leave()
        await task


async def test_questions_without_end_are_not_read_while_nobody_takes_the_answers() -> None:
    async with served(forever) as (wire, _):
        wire.takes.clear()
        questions = wire.peer.say(*[Ping(1)] * 1000)
        for _ in range(200):
            wire.incoming.put_nowait(questions)
        await settled()
        assert wire.read_bytes <= 2 * OUTPUT_MAX_BYTES
        wire.takes.set()
        wire.leave()


async def test_a_client_with_windows_gets_no_more_than_they_allow() -> None:
    async def pour(link: Link) -> None:
        stream = await accepted(link)
        await stream.write(bytes(3000))
        stream.finish()

    async with served(pour) as (wire, _):
        wire.say(Settings(((7, 1000),)))
        one = wire.open()
        await wire.until(lambda peer: len(peer.data[one]) == 1000)
        await settled()
        assert len(wire.peer.data[one]) == 1000
        wire.say(WindowUpdate(one, 500))
        await wire.until(lambda peer: len(peer.data[one]) == 1500)
        wire.say(WindowUpdate(one, 5000))
        await wire.until(lambda peer: one in peer.ended)
        wire.leave()


@pytest.mark.parametrize("by_client", [True, False])
async def test_a_reset_wakes_who_reads_and_who_writes(by_client: bool) -> None:
    ended: list[str] = []

    async def use(link: Link) -> None:
        stream = await accepted(link)

        async def expect(name: str, wait: Callable[[], Awaitable[object]]) -> None:
            try:
                await wait()
            except StreamReset:
                ended.append(name)

        async def pour() -> None:
            while True:
                await stream.write(bytes(CHUNK))

        async with asyncio.TaskGroup() as group:
            group.create_task(expect("read", stream.read))
            group.create_task(expect("write", pour))
            group.create_task(stream.until_reset())
            await settled()
            if not by_client:
                stream.reset(Reason.CANCEL)
        with pytest.raises(StreamReset):
            await stream.write(b"x")
        stream.finish()

    async with served(use) as (wire, task):
        one = wire.open()
        await settled()
        if by_client:
            wire.say(Data(one, b"", fin=False), RstStream(one, Reason.CANCEL))
        await settled()
        wire.leave()
        await task
    assert sorted(ended) == ["read", "write"]


async def test_an_end_and_a_reset_in_one_message_wake_a_writer_without_a_window() -> None:
    woken = asyncio.Event()

    async def pour(link: Link) -> None:
        stream = await accepted(link)
        try:
            await stream.write(bytes(3000))
        except StreamReset:
            woken.set()

    async with served(pour) as (wire, _):
        wire.say(Settings(((7, 1000),)))
        one = wire.open()
        await wire.until(lambda peer: len(peer.data[one]) == 1000)
        wire.say(Data(one, b"", fin=True), RstStream(one, Reason.CANCEL))
        async with asyncio.timeout(1):
            await woken.wait()
        wire.leave()


async def test_a_client_that_leaves_ends_the_use() -> None:
    cleaned = asyncio.Event()

    async def use(link: Link) -> None:
        try:
            await forever(link)
        finally:
            cleaned.set()

    async with served(use) as (wire, _):
        wire.open()
        wire.leave()
    assert cleaned.is_set()


async def test_a_client_that_goes_away_with_its_streams_has_left() -> None:
    async with served(forever) as (wire, _):
        one = wire.open()
        wire.say(RstStream(one, Reason.CANCEL), GoAway(0, 0))


async def test_a_client_that_goes_away_gets_the_rest_of_its_streams() -> None:
    async def use(link: Link) -> None:
        stream = await accepted(link)
        assert await link.accept() is None
        await stream.write(b"rest")
        stream.finish()

    async with served(use) as (wire, _):
        one = wire.open()
        wire.say(GoAway(0, 0))
        await wire.until(lambda peer: one in peer.ended)
        wire.say(Data(one, b"", fin=True))
    assert wire.peer.data[one] == b"rest"


async def test_a_broken_wire_ends_everything() -> None:
    async def pour(link: Link) -> None:
        stream = await accepted(link)
        while True:
            await stream.write(bytes(CHUNK))

    async with served(pour) as (wire, _):
        wire.broken = True
        wire.open()


@pytest.mark.parametrize("told", [True, False])
async def test_a_client_that_is_gone_while_nothing_is_read_is_found_out(told: bool) -> None:
    async def deaf(link: Link) -> None:
        await accepted(link)
        await forever(link)

    started = asyncio.get_running_loop().time()
    async with served(deaf) as (wire, _):
        one = wire.open()
        for _ in range(100):
            wire.say(Data(one, bytes(CHUNK)))
        await settled()
        wire.broken = not told
        if told:
            wire.torn.set()
    assert asyncio.get_running_loop().time() - started <= PING_S + 1


async def test_who_breaks_the_protocol_is_told_and_left() -> None:
    async with served(forever) as (wire, _):
        wire.say(SynStream(2, {}))
    assert wire.peer.gone_away == GoAway(0, Farewell.PROTOCOL_ERROR)


async def test_what_fails_is_raised_after_the_farewell() -> None:
    async def fail(_: Link) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        async with served(fail) as (wire, _):
            pass
    assert wire.peer.gone_away == GoAway(0, Farewell.INTERNAL_ERROR)


async def test_a_client_that_stays_is_left_in_the_end() -> None:
    async def done(link: Link) -> None:
        stream = await accepted(link)
        stream.finish()

    started = asyncio.get_running_loop().time()
    async with served(done) as (wire, _):
        one = wire.open()
        await wire.until(lambda peer: one in peer.ended)
        # What comes now is read and dropped, so that the client is not held up on its way out.
        for _ in range(100):
            wire.say(Data(one, bytes(CHUNK)))
        late = wire.open()
        await wire.until(lambda peer: late in peer.reset)
        assert wire.peer.reset == {late: Reason.REFUSED_STREAM}
        assert wire.incoming.empty()
    assert LINGER_S <= asyncio.get_running_loop().time() - started < LINGER_S + 2


async def test_cancelling_cleans_up() -> None:
    before = asyncio.all_tasks()
    wire = MemoryWire()
    task = asyncio.create_task(serve(wire, forever))
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.closed
    assert asyncio.all_tasks() == before


async def test_streams_of_the_past_are_forgotten() -> None:
    links: list[Link] = []

    async def use(link: Link) -> None:
        links.append(link)
        while (stream := await link.accept()) is not None:
            assert await stream.read() == b"x"
            stream.finish()

    async with served(use) as (wire, _):
        for _ in range(50):
            one = wire.open()
            wire.say(Data(one, b"x", fin=True))
        await wire.until(lambda peer: len(peer.ended) == 50)
        assert not links[0]._streams
        wire.leave()
