"""Commands and ports over SPDY: stock kubectl that knows nothing else, and a client that can do worse."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from controlplane.server.spdy_frames import Data, Frame, GoAway, Ping
from controlplane.server.spdy_link import RECEIVED_MAX_BYTES
from controlplane.server.streams import Channel, Piece
from mizzen.api import codec, errors
from tests.fixtures.api_server import ApiServer, api_server
from tests.fixtures.fake_streams import FakeSession, FakeStreams, exit_code, success
from tests.fixtures.spdy_peer import SpdyPeer
from tests.integration.rest.conftest import Client, Kubectl, kubectls, tls_of
from tests.integration.rest.test_http import PODS
from tests.integration.rest.test_streams import WAIT_S, out, running, says

MEGABYTES = 3
SOCKETS_BYTES = 16 << 20
"""More than all buffers between two programs on one machine hold."""
EXEC = f"{PODS}/p/exec?command=cat&stdin=true&stdout=true"
FORWARD = f"{PODS}/p/portforward"


KUBECTLS: list[Path | None] = [*kubectls()[:1], *kubectls()[-1:]] or [None]


@pytest.fixture(params=KUBECTLS, ids=lambda path: path.name if path else "none")
def kubectl(request: pytest.FixtureRequest, server: ApiServer, tmp_path: Any, monkeypatch: Any) -> Kubectl:
    """The oldest and the newest kubectl; the newest is told not to use WebSocket for commands."""
    if request.param is None:
        pytest.skip("no kubectl on this machine")
    monkeypatch.setenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")
    return Kubectl(request.param, server, tmp_path)


class Actors:
    """What containers do, in tasks that end with the test."""

    def __init__(self, streams: FakeStreams, group: asyncio.TaskGroup) -> None:
        self._streams = streams
        self._group = group

    def play(self, part: Callable[[FakeSession], Coroutine[Any, Any, None]]) -> None:
        """Every new session behaves like this."""

        def script(session: FakeSession) -> None:
            self._group.create_task(part(session))

        self._streams.script = script


@pytest.fixture
async def actors(streams: FakeStreams) -> AsyncIterator[Actors]:
    """Containers that do something."""
    async with asyncio.timeout(10 * WAIT_S), asyncio.TaskGroup() as group:
        yield Actors(streams, group)


async def echo(session: FakeSession) -> None:
    """A container that repeats what it hears."""
    while not (piece := await session.sent.get()).end:
        if piece.channel is Channel.STDIN:
            session.out.put_nowait(out(piece.data))
    session.out.put_nowait(success())


async def web(session: FakeSession) -> None:
    """A port behind which a web server answers with the path that it was asked for, and closes."""
    asked = b""
    while b"\r\n\r\n" not in asked:
        asked += (await session.sent.get()).data
    body = asked.split()[1] * 10_000
    session.out.put_nowait(out(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
    session.out.put_nowait(Piece(Channel.STDOUT, b"", end=True))
    session.out.put_nowait(success())


async def test_kubectl_runs_commands(client: Client, streams: FakeStreams, kubectl: Kubectl, actors: Actors) -> None:
    await running(client)
    streams.script = says(out(b"one\n"), Piece(Channel.STDERR, b"two\n"), exit_code(7))
    assert await kubectl.ends("exec", "p", "--", "ls", "-l") == (7, "one\n")
    assert "two\n" in kubectl.said
    assert "command terminated with exit code 7" in kubectl.said
    assert streams.sessions[-1].options.command == ("ls", "-l")
    async with asyncio.timeout(WAIT_S):
        await streams.sessions[-1].closed.wait()
    refused = errors.BadRequest("container c is not running").status
    streams.script = says(Piece(Channel.STATUS, codec.encode_json(refused)))
    assert "container c is not running" in await kubectl.fails("exec", "p", "--", "ls")
    assert "container x is not valid for pod p" in await kubectl.fails("exec", "p", "-c", "x", "--", "ls")
    actors.play(echo)
    text = "0123456789abcde\n" * (MEGABYTES << 16)
    assert await kubectl("exec", "-i", "p", "--", "cat", stdin=text) == text
    assert await kubectl("attach", "-i", "p", stdin="typed") == "typed"


async def test_kubectl_on_a_terminal(client: Client, streams: FakeStreams, kubectl: Kubectl, actors: Actors) -> None:
    await running(client)
    actors.play(echo)
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "KUBECONFIG": str(kubectl.server.kubeconfig), "HOME": str(kubectl.home)}
    process = await asyncio.create_subprocess_exec(
        str(kubectl.binary), "exec", "-it", "p", "--", "sh",
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    sizes: list[bytes] = []

    async def shell(session: FakeSession) -> None:
        while (piece := await session.sent.get()).channel is Channel.RESIZE or piece.data != b"exit\r":
            if piece.channel is Channel.RESIZE:
                sizes.append(piece.data)
            session.out.put_nowait(out(b"<" + piece.data + b">"))
        session.out.put_nowait(exit_code(5))

    actors.play(shell)
    try:
        async with asyncio.timeout(WAIT_S):
            said = b""
            while b"Height" not in said:
                said += await asyncio.to_thread(os.read, ours, 1000)
            os.write(ours, b"ls\r")
            while b"<ls\r>" not in said:
                said += await asyncio.to_thread(os.read, ours, 1000)
            os.write(ours, b"exit\r")
            assert await process.wait() == 5
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
    assert json.loads(sizes[0]) == {"Width": 80, "Height": 24}
    assert streams.sessions[-1].options.tty


@asynccontextmanager
async def forwarding(kubectl: Kubectl) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A running port-forward and its local port."""
    process = await kubectl.start("port-forward", "p", ":80")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            line = (await process.stdout.readline()).decode()
        yield process, int(line.split()[2].rpartition(":")[2])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def fetched(port: int, path: str) -> bytes:
    """What comes back on a connection to a local port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n\r\n")[2]


async def test_kubectl_forwards_ports(client: Client, streams: FakeStreams, kubectl: Kubectl, actors: Actors) -> None:
    await running(client)
    actors.play(web)
    async with forwarding(kubectl) as (_, port):
        async with asyncio.timeout(WAIT_S):
            pages = await asyncio.gather(*(fetched(port, f"/{number}") for number in range(20)))
        assert pages == [f"/{number}".encode() * 10_000 for number in range(20)]
        assert {session.options.ports for session in streams.sessions} == {(80,)}
        streams.script = lambda session: None
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"question")
            session = await until_opened(streams, 21)
            assert (await session.sent.get()).data == b"question"
            writer.write_eof()
            assert (await session.sent.get()).end
            session.out.put_nowait(out(b"answer"))
            assert await reader.readexactly(6) == b"answer"
    async with asyncio.timeout(WAIT_S):
        await session.closed.wait()
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert all(session.closed.is_set() for session in streams.sessions)


async def test_kubectl_says_why_a_port_cannot_be_reached(
    client: Client, streams: FakeStreams, kubectl: Kubectl
) -> None:
    await running(client)
    refused = errors.InternalError("cannot reach port 80 of pod p: connection refused").status
    streams.script = says(Piece(Channel.STATUS, codec.encode_json(refused)))
    async with forwarding(kubectl) as (process, port):
        assert process.stderr is not None
        assert await fetched(port, "/") == b""
        async with asyncio.timeout(WAIT_S):
            said = (await process.stderr.readline()).decode()
    assert "an error occurred forwarding" in said
    assert "cannot reach port 80 of pod p: connection refused" in said


async def until_opened(streams: FakeStreams, count: int) -> FakeSession:
    """The last of so many sessions."""
    await until(lambda: len(streams.sessions) >= count)
    return streams.sessions[count - 1]


async def until(wanted: Callable[[], object]) -> None:
    """Wait for what nobody tells of."""
    async with asyncio.timeout(WAIT_S):
        while not wanted():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Raw:
    """A client on a TLS connection that has switched to SPDY."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.peer = SpdyPeer()
        self.head = b""

    def say(self, *frames: Frame) -> None:
        self.writer.write(self.peer.say(*frames))

    async def until(self, wanted: Callable[[SpdyPeer], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not wanted(self.peer):
                data = await self.reader.read(1 << 16)
                assert data, "the server has left"
                self.peer.hear(data)

    async def until_left(self) -> None:
        async with asyncio.timeout(WAIT_S):
            while data := await self.reader.read(1 << 16):
                self.peer.hear(data)


@asynccontextmanager
async def connected(server: ApiServer, path: str, protocol: str) -> AsyncIterator[Raw]:
    """A connection that has asked for SPDY, and been answered."""
    tls = tls_of(server, server.client_certificate, server.client_key)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]), ssl=tls)
    raw = Raw(reader, writer)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n"
    writer.write(f"{head}X-Stream-Protocol-Version: v5.x, {protocol}\r\n\r\n".encode())
    try:
        async with asyncio.timeout(WAIT_S):
            raw.head = await reader.readuntil(b"\r\n\r\n")
        yield raw
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def command(server: ApiServer) -> Any:
    return connected(server, EXEC, "v4.channel.k8s.io")


async def opened(raw: Raw, *kinds: str) -> dict[str, int]:
    streams, data = raw.peer.open_all(kinds)
    raw.writer.write(data)
    await raw.until(lambda peer: peer.accepted >= set(streams.values()))
    return streams


async def test_the_upgrade(client: Client) -> None:
    await running(client)
    async with command(client.server) as raw:
        lines = raw.head.decode().lower().split("\r\n")
    assert lines[0].startswith("http/1.1 101 ")
    assert {"connection: upgrade", "upgrade: spdy/3.1", "x-stream-protocol-version: v4.channel.k8s.io"} <= set(lines)
    for path, protocol, code in (
        (EXEC, "v9.channel.k8s.io", 400),
        (FORWARD, "v4.channel.k8s.io", 400),
        (EXEC.replace("/p/", "/q/"), "v4.channel.k8s.io", 404),
        (EXEC.replace("command=cat&", ""), "v4.channel.k8s.io", 400),
    ):
        async with connected(client.server, path, protocol) as raw:
            assert raw.head.startswith(f"HTTP/1.1 {code} ".encode())


async def test_a_client_that_tears_the_connection_leaves_nothing(client: Client, streams: FakeStreams) -> None:
    await running(client)
    streams.script = lambda session: None
    await client.ask("GET", PODS)
    before = asyncio.all_tasks()
    for path, protocol in ((EXEC, "v4.channel.k8s.io"), (FORWARD, "portforward.k8s.io")):
        async with connected(client.server, path, protocol) as raw:
            if path == EXEC:
                await opened(raw, "error", "stdin", "stdout")
            else:
                for number in range(5):
                    raw.writer.write(raw.peer.open_pair(str(number), 80)[2])
                await raw.until(lambda peer: len(peer.accepted) == 10)
                await until_opened(streams, 6)
            raw.writer.transport.abort()
    async with asyncio.timeout(WAIT_S):
        await asyncio.gather(*(session.closed.wait() for session in streams.sessions))
    await until(lambda: not asyncio.all_tasks() - before)
    assert len(streams.sessions) == 6


async def test_a_container_that_takes_nothing_holds_the_client_up(client: Client, streams: FakeStreams) -> None:
    await running(client)
    gate = asyncio.Event()
    taken = 0

    class Slow(FakeSession):
        async def send(self, piece: Piece) -> None:
            nonlocal taken
            await gate.wait()
            taken += len(piece.data)

    async def open_exec(pod: Any, options: Any) -> FakeSession:
        streams.sessions.append(Slow(options))
        return streams.sessions[-1]

    streams.open_exec = open_exec  # type: ignore[method-assign]
    async with command(client.server) as raw:
        ids = await opened(raw, "error", "stdin", "stdout")
        raw.writer.transport.set_write_buffer_limits(0)

        poured = 0

        async def pour() -> None:
            nonlocal poured
            for _ in range(SOCKETS_BYTES >> 16):
                raw.say(Data(ids["stdin"], bytes(1 << 16)))
                await raw.writer.drain()
                poured += 1 << 16

        pouring = asyncio.create_task(pour())
        await stuck(lambda: poured)
        assert 0 < poured < SOCKETS_BYTES, "nobody holds the client up"
        gate.set()
        async with asyncio.timeout(WAIT_S):
            await pouring
            raw.say(Data(ids["stdin"], b"", fin=True), Ping(1))
            await raw.until(lambda peer: Ping(1) in peer.heard)
    assert SOCKETS_BYTES - RECEIVED_MAX_BYTES <= taken <= SOCKETS_BYTES


async def test_a_client_that_takes_nothing_holds_the_container_up(client: Client, streams: FakeStreams) -> None:
    await running(client)
    streams.script = lambda session: None
    async with command(client.server) as raw:
        ids = await opened(raw, "error", "stdin", "stdout")
        session = streams.sessions[-1]
        for _ in range(SOCKETS_BYTES >> 16):
            session.out.put_nowait(out(bytes(1 << 16)))
        session.out.put_nowait(success())
        await stuck(session.out.qsize)
        assert session.out.qsize() > 0, "nobody holds the container up"
        await raw.until(lambda peer: ids["error"] in peer.ended)
        assert len(raw.peer.data[ids["stdout"]]) == SOCKETS_BYTES


async def stuck(count: Callable[[], int]) -> None:
    """Wait until a number does not change any more."""
    async with asyncio.timeout(WAIT_S):
        before = -1
        while before != count():
            before = count()
            await asyncio.sleep(0.3)


async def test_who_breaks_the_protocol_is_sent_away(client: Client, streams: FakeStreams) -> None:
    await running(client)
    streams.script = lambda session: None
    async with command(client.server) as raw:
        raw.writer.write(bytes.fromhex("80020006 00000004 00000001"))
        await raw.until_left()
    assert raw.peer.gone_away == GoAway(0, 1)
    async with asyncio.timeout(WAIT_S):
        await streams.sessions[-1].closed.wait()


@asynccontextmanager
async def a_client(folder: Path, streams: FakeStreams) -> AsyncIterator[Client]:
    async with api_server(folder, streams=streams) as server:
        tls = tls_of(server, server.client_certificate, server.client_key)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
            yield Client(server, session)


@pytest.mark.parametrize(
    "scenario",
    [
        test_a_client_that_tears_the_connection_leaves_nothing,
        test_a_container_that_takes_nothing_holds_the_client_up,
        test_a_client_that_takes_nothing_holds_the_container_up,
        test_who_breaks_the_protocol_is_sent_away,
    ],
)
def test_the_same_on_the_event_loop_of_production(tmp_path: Path, scenario: Any) -> None:
    async def run() -> None:
        streams = FakeStreams()
        async with a_client(tmp_path, streams) as client:
            await scenario(client, streams)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
