"""The connection to Docker Engine: one asyncio HTTP client over its socket, with deadlines and typed failures.

Why not Docker's own library for these calls: it costs 1.1 ms of CPU a call and a thread that cannot be cancelled,
this 0.2 ms; a pod takes seven calls. Nothing here knows pods or containers.

Vocabulary: a *call* is one request and its whole answer; a *stream* is an answer read as it comes; a *hijack* turns
the connection into a plain two-way pipe (exec, attach).
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from nodeagent.runtime.errors import Deadline, RuntimeFailure, RuntimeUnavailable

_NEWEST_API = (1, 47)  # what this code was written against; an engine that has moved on still speaks it
_HEAD_MAX = 64 * 1024
_STREAMS_MAX = 2048
_CALLS_MAX = 32

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """How the engine is reached and how long it may take."""

    socket: str = "/var/run/docker.sock"
    call_deadline_s: float = 30.0
    """Of an ordinary call; the engine answers most in milliseconds, so more means it hangs."""
    start_deadline_s: float = 120.0
    """Of making, starting and removing a container, which waits for the disk."""
    starts_at_once: int = 4
    """More do not make the machine start containers faster, they only make each slower."""
    idle_deadline_s: float = 120.0
    """How long a pull or a log that is not followed may stand still."""
    reconnect_ms: tuple[int, int] = (100, 5_000)
    """First and longest pause between attempts to follow the engine's events."""


class EngineError(RuntimeFailure):
    """The engine answered with an error that means nothing more special to the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """A client of one engine. Make it anywhere, use it in one event loop, `close` it there."""

    def __init__(self, settings: DockerSettings) -> None:
        self.settings = settings
        self._api: tuple[int, int] | None = None
        self._negotiating = asyncio.Lock()
        self._calls: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        sessions, self._calls, self._streams = (self._calls, self._streams), None, None
        for session in sessions:
            if session is not None:
                await session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        deadline_s: float | None = None,
    ) -> bytes:
        """One request and its whole answer. Raises EngineError, RuntimeUnavailable, Deadline."""
        limit_s = self.settings.call_deadline_s if deadline_s is None else deadline_s
        async with _failures(f"{method} {path}", limit_s), asyncio.timeout(limit_s):
            url = await self._url(path)
            self._calls = self._calls or self._session(_CALLS_MAX)
            async with self._calls.request(method, url, params=query, json=body) as response:
                answer = await response.read()
                if response.status >= 400:
                    raise EngineError(response.status, _message(answer))
                return answer

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        data: io.BytesIO | AsyncIterable[bytes] | None = None,
        idle_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer to be read as it comes; `idle_s` bounds every single wait for more of it (None: no bound).

        Failures while it is read are typed as those of `call`.
        """
        limit_s = self.settings.call_deadline_s if idle_s is None else idle_s
        async with _failures(f"{method} {path}", limit_s):
            async with asyncio.timeout(self.settings.call_deadline_s):
                url = await self._url(path)
            self._streams = self._streams or self._session(_STREAMS_MAX)
            timeout = aiohttp.ClientTimeout(sock_connect=self.settings.call_deadline_s, sock_read=idle_s)
            async with self._streams.request(
                method, url, params=query, headers=headers, data=data, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise EngineError(response.status, _message(await response.read()))
                yield response

    async def hijack(self, path: str, body: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Turn a POST into a two-way pipe. The caller closes the writer."""
        limit_s = self.settings.call_deadline_s
        async with _failures(f"POST {path}", limit_s), asyncio.timeout(limit_s):
            url = await self._url(path)
            reader, writer = await asyncio.open_unix_connection(self.settings.socket, limit=_HEAD_MAX)
            try:
                await _upgrade(reader, writer, url.removeprefix("http://docker"), json.dumps(body).encode())
            except BaseException:
                writer.close()
                raise
            return reader, writer

    def _session(self, connections: int) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(self.settings.socket, limit=connections, keepalive_timeout=60)
        return aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=_HEAD_MAX
        )

    async def api(self) -> tuple[int, int]:
        """The API version spoken with this engine: the newest that both sides know."""
        async with self._negotiating:
            if self._api is None:
                self._api = await self._negotiate()
            return self._api

    async def _url(self, path: str) -> str:
        major, minor = await self.api()
        return f"http://docker/v{major}.{minor}{path}"

    async def _negotiate(self) -> tuple[int, int]:
        self._calls = self._calls or self._session(_CALLS_MAX)
        async with self._calls.get("http://docker/version") as response:
            answer: dict[str, Any] = json.loads(await response.read())
        newest, oldest = _version(answer["ApiVersion"]), _version(answer.get("MinAPIVersion", "1.24"))
        return max(min(newest, _NEWEST_API), oldest)


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or "0")


def _message(answer: bytes) -> str:
    """The text of the engine's error answer."""
    try:
        text = json.loads(answer)["message"]
    except (ValueError, KeyError, TypeError):
        text = answer.decode(errors="replace")
    return str(text).strip() or "no reason given"


@asynccontextmanager
async def _failures(what: str, limit_s: float) -> AsyncIterator[None]:
    """Turn what the network layer raises into the port's family."""
    try:
        yield
    except TimeoutError as error:
        raise Deadline(f"Docker did not finish {what} within {limit_s:g} s") from error
    except (aiohttp.ClientError, OSError, EOFError) as error:
        raise RuntimeUnavailable(f"Docker cannot be reached ({what}): {str(error) or type(error).__name__}") from error


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status = int(answer.split(" ", 2)[1])
    if status >= 400:
        length = next(
            (int(line.split(":")[1]) for line in answer.splitlines() if line.lower().startswith("content-length:")), 0
        )
        raise EngineError(status, _message(await reader.readexactly(min(length, _HEAD_MAX))))
