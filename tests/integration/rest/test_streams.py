"""Logs, exec, attach and port-forward, up to the port behind which the nodes are."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from controlplane.server.streams import Channel, Piece
from mizzen.api import codec, errors
from tests.fixtures.fake_streams import FakeSession, FakeStreams, exit_code, success
from tests.integration.rest.conftest import Client, Kubectl
from tests.integration.rest.test_http import PODS, pod

WAIT_S = 10.0
RUNNING = {"name": "c", "image": "img:1", "ready": True, "restartCount": 0, "imageID": "", "containerID": "docker://1"}


async def running(client: Client, *containers: str) -> None:
    """A pod `p` that runs on a node."""
    names = containers or ("c",)
    body = pod("p", nodeName="n1")
    body["spec"]["containers"] = [{"name": name, "image": "img:1"} for name in names]
    made = await client.made(PODS, body)
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    statuses = [{**RUNNING, "name": name, "state": state} for name in names]
    made["status"] = {**made["status"], "phase": "Running", "containerStatuses": statuses}
    code, answer = await client.ask("PUT", f"{PODS}/p/status", made)
    assert code == 200, answer


def says(*pieces: Piece) -> Any:
    """A script that says these pieces."""

    def script(session: FakeSession) -> None:
        for piece in pieces:
            session.out.put_nowait(piece)

    return script


def out(data: bytes) -> Piece:
    return Piece(Channel.STDOUT, data)


async def test_a_log(client: Client, streams: FakeStreams) -> None:
    await running(client)
    streams.script = says(out(b"one\n"), out(b"two\n"), success())
    code, text = await client.ask("GET", f"{PODS}/p/log?tailLines=2&timestamps=true&previous=false")
    assert (code, text) == (200, "one\ntwo\n")
    options = streams.sessions[0].options
    assert (options.container, options.tail_lines, options.timestamps, options.follow) == ("c", 2, True, False)
    assert options.stream == "All"
    async with asyncio.timeout(WAIT_S):
        await streams.sessions[0].closed.wait()


async def test_a_log_of_one_stream(client: Client, streams: FakeStreams) -> None:
    await running(client)
    streams.script = says(out(b"one\n"), success())
    for stream in ("Stderr", "Stdout", "All"):
        assert (await client.ask("GET", f"{PODS}/p/log?stream={stream}"))[0] == 200
        assert streams.sessions[-1].options.stream == stream


async def test_a_followed_log_comes_piece_by_piece_and_ends_when_nobody_reads(
    client: Client, streams: FakeStreams
) -> None:
    await running(client)
    streams.script = says(out(b"one\n"))
    async with asyncio.timeout(WAIT_S):
        async with client.session.get(f"{client.server.url}{PODS}/p/log?follow=true") as answer:
            assert await answer.content.readline() == b"one\n"
            streams.sessions[0].out.put_nowait(out(b"two\n"))
            assert await answer.content.readline() == b"two\n"
        await streams.sessions[0].closed.wait()


async def test_what_the_node_refuses_is_the_answer(client: Client, streams: FakeStreams) -> None:
    await running(client)
    refused = errors.BadRequest('container "c" in pod "p" is waiting to start: ContainerCreating').status
    streams.script = says(Piece(Channel.STATUS, codec.encode_json(refused)))
    code, answer = await client.ask("GET", f"{PODS}/p/log")
    assert (code, answer["message"]) == (400, refused.message)


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("container=x", 400, "container x is not valid for pod p"),
        ("", 400, "a container name must be specified for pod p, choose one of: [a b]"),
        ("container=a&previous=true", 400, 'previous terminated container "a" in pod "p" not found'),
        ("container=a&tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("container=a&stream=stdout", 422, 'supported values: "All", "Stderr", "Stdout"'),
        ("container=a&stream=Stderr&tailLines=1", 422, "`tailLines` and specific `stream` are mutually exclusive"),
        ("container=a&sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", 422, "at most one of"),
        ("container=a&sinceTime=yesterday", 400, "sinceTime"),
    ],
)
async def test_wrong_questions_about_logs(client: Client, query: str, code: int, message: str) -> None:
    await running(client, "a", "b")
    got, answer = await client.ask("GET", f"{PODS}/p/log?{query}")
    assert got == code
    assert message in answer["message"]


async def test_a_log_of_what_has_not_begun(client: Client) -> None:
    await client.made(PODS, pod("p"))
    assert await client.ask("GET", f"{PODS}/p/log") == (200, "")
    await client.made(PODS, pod("q", nodeName="n1"))
    code, answer = await client.ask("GET", f"{PODS}/q/log")
    assert (code, answer["message"]) == (400, 'container "c" in pod "q" is not available')


async def _socket(client: Client, path: str, protocol: str = "v5.channel.k8s.io") -> Any:
    return await client.session.ws_connect(client.server.url + path, protocols=[protocol])


async def _messages(socket: Any) -> AsyncIterator[bytes]:
    async with asyncio.timeout(WAIT_S):
        async for message in socket:
            yield message.data


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_a_command_over_websocket(client: Client, streams: FakeStreams, protocol: str) -> None:
    await running(client)
    streams.script = says(out(b"hello"))
    path = f"{PODS}/p/exec?command=cat&command=-n&stdin=true&stdout=true&stderr=true"
    socket = await _socket(client, path, protocol)
    assert socket.protocol == protocol
    await socket.send_bytes(b"\x00input")
    await socket.send_bytes(b'\x04{"Width":80,"Height":24}')
    await socket.send_bytes(b"\xff\x00")
    session = streams.sessions[0]
    async with asyncio.timeout(WAIT_S):
        assert await session.sent.get() == Piece(Channel.STDIN, b"input")
        assert await session.sent.get() == Piece(Channel.RESIZE, b'{"Width":80,"Height":24}')
        assert await session.sent.get() == Piece(Channel.STDIN, b"", end=True)
    session.out.put_nowait(Piece(Channel.STDERR, b"oops"))
    session.out.put_nowait(exit_code(3))
    messages = [data async for data in _messages(socket)]
    assert messages[:2] == [b"\x01hello", b"\x02oops"]
    assert messages[2].startswith(b"\x03{")
    assert b"NonZeroExitCode" in messages[2]
    assert session.options.command == ("cat", "-n")
    assert session.options.container == "c"


@pytest.mark.parametrize("protocol", ["v4.base64.channel.k8s.io", "base64.channel.k8s.io"])
async def test_a_command_in_base64(client: Client, streams: FakeStreams, protocol: str) -> None:
    await running(client)
    streams.script = says(out(b"hello"))
    socket = await _socket(client, f"{PODS}/p/exec?command=cat&stdin=true&stdout=true", protocol)
    assert socket.protocol == protocol
    await socket.send_str("0aW5wdXQ=")
    async with asyncio.timeout(WAIT_S):
        assert await streams.sessions[0].sent.get() == Piece(Channel.STDIN, b"input")
    streams.sessions[0].out.put_nowait(exit_code(3))
    said, end = [data async for data in _messages(socket)]
    assert said == "1aGVsbG8="
    assert end[0] == "3"
    assert base64.b64decode(end[1:]).startswith(b"{" if protocol.startswith("v4") else b"command terminated")


async def test_base64_that_is_none_ends_the_command(client: Client, streams: FakeStreams) -> None:
    await running(client)
    streams.script = says()
    socket = await _socket(client, f"{PODS}/p/exec?command=cat&stdin=true&stdout=true", "v4.base64.channel.k8s.io")
    await socket.send_str("0a")
    assert [data async for data in _messages(socket)] == []
    async with asyncio.timeout(WAIT_S):
        await streams.sessions[0].closed.wait()


@pytest.mark.parametrize("protocols", [(), ("channel.k8s.io",)])
async def test_the_oldest_protocol_ends_in_words(
    client: Client, streams: FakeStreams, protocols: tuple[str, ...]
) -> None:
    await running(client)
    url = f"{client.server.url}{PODS}/p/exec?command=ls&stdout=true"
    for end, told in (
        (success(), []),
        (exit_code(3), [b"\x03command terminated with non-zero exit code: exit status 3"]),
    ):
        streams.script = says(out(b"hello"), end)
        socket = await client.session.ws_connect(url, protocols=protocols)
        assert [data async for data in _messages(socket)] == [b"\x01hello", *told]


async def test_who_leaves_ends_the_command(client: Client, streams: FakeStreams) -> None:
    await running(client)
    streams.script = says(out(b"hello"))
    socket = await _socket(client, f"{PODS}/p/attach?stdout=true")
    await socket.close()
    async with asyncio.timeout(WAIT_S):
        await streams.sessions[0].closed.wait()


async def test_wrong_questions_about_commands(client: Client) -> None:
    await running(client)
    for path, headers, message in (
        (f"{PODS}/p/exec?stdout=true", {}, "at least one command"),
        (f"{PODS}/p/exec?command=ls", {}, "at least 1 of stdin, stdout, stderr"),
        (f"{PODS}/p/exec?command=ls&stdout=true", {}, "Upgrade request required"),
        (
            f"{PODS}/p/exec?command=ls&stdout=true",
            {"Upgrade": "SPDY/3.1", "Connection": "Upgrade"},
            "X-Stream-Protocol",
        ),
    ):
        code, answer = await client.ask("GET", path, headers=headers)
        assert code == 400
        assert message in answer["message"]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await _socket(client, f"{PODS}/p/exec?command=ls&stdout=true", "v9.channel.k8s.io")
    assert refused.value.status == 400


async def test_ports(client: Client, streams: FakeStreams) -> None:
    await running(client)
    streams.script = lambda session: None
    socket = await _socket(client, f"{PODS}/p/portforward?ports=8080", "v4.channel.k8s.io")
    messages = _messages(socket)
    assert await anext(messages) == b"\x00" + struct.pack("<H", 8080)
    assert await anext(messages) == b"\x01" + struct.pack("<H", 8080)
    await socket.send_bytes(b"\x00GET /")
    session = streams.sessions[0]
    async with asyncio.timeout(WAIT_S):
        assert await session.sent.get() == Piece(Channel.STDIN, b"GET /")
    assert session.options.ports == (8080,)
    session.out.put_nowait(out(b"200 OK"))
    assert await anext(messages) == b"\x00200 OK"
    session.out.put_nowait(Piece(Channel.STATUS, codec.encode_json(errors.BadRequest("nobody listens").status)))
    assert await anext(messages) == b"\x01nobody listens"
    await socket.close()


async def test_kubectl_reads_and_enters(client: Client, streams: FakeStreams, kubectl: Kubectl) -> None:
    await running(client)
    streams.script = says(out(b"one\n"), success())
    assert await kubectl("logs", "p") == "one\n"
    assert await kubectl("logs", "-f", "p") == "one\n"
    assert await kubectl("exec", "p", "--", "ls") == "one\n"
    streams.script = says(out(b"x"), exit_code(7))
    code, _ = await kubectl.ends("exec", "p", "--", "false")
    assert code == 7
    assert "command terminated with exit code 7" in kubectl.said

    def echo(session: FakeSession) -> None:
        async def run() -> None:
            while not (piece := await session.sent.get()).end:
                session.out.put_nowait(out(piece.data))
            session.out.put_nowait(success())

        echoes.append(asyncio.create_task(run()))

    echoes: list[asyncio.Task[None]] = []
    streams.script = echo
    assert await kubectl("exec", "-i", "p", "--", "cat", stdin="typed") == "typed"
    await asyncio.gather(*echoes)
