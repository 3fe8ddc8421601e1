"""Requests that only the REST API answers: tables, and objects as people read them; once, or as they change."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from mizzen.api import errors
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1
from mizzen.client.config import ClusterConfig, ConfigError
from mizzen.client.credentials import CredentialError

JSON = "application/json"
TABLE = f"{JSON};as=Table;v=v1;g=meta.k8s.io,{JSON}"
DEADLINE_S = 30.0
LINE_MAX_BYTES = 8 << 20
"""One change of one object."""
RESUME_S = 0.5


class RestClient:
    """A connection to the REST API."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> RestClient:
        connector = aiohttp.TCPConnector(ssl=_tls(self._config))
        self._session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, *, accept: str = JSON, **query: str) -> dict[str, Any]:
        """The JSON at a path. Raises the API's errors; ServiceUnavailable or Timeout when nothing answers."""
        with self._failures():
            async with self._asked(path, accept, query) as answer:
                return await _decoded(answer)

    async def watch(
        self, path: str, version: str, *, accept: str = JSON, **query: str
    ) -> AsyncGenerator[dict[str, Any], None]:
        """What has changed at a path after a version, without end: a stream that the server ends is asked for anew.

        Raises as `get`, and Expired when the server does not know any more what came after the version.
        """
        asked = {**query, "watch": "true", "allowWatchBookmarks": "true"}
        while True:
            with self._failures():
                async with self._asked(path, accept, {**asked, "resourceVersion": version}, endless=True) as answer:
                    if answer.status >= 400:
                        await _decoded(answer)
                    async for line in answer.content:
                        event = msgspec.json.decode(line, type=_Event)
                        if event.type == "ERROR":
                            raise errors.ApiError.from_status(msgspec.convert(event.object, meta_v1.Status))
                        version = event.object["metadata"]["resourceVersion"]
                        if event.type != "BOOKMARK":
                            yield event.object
            await asyncio.sleep(RESUME_S)

    @asynccontextmanager
    async def _asked(
        self, path: str, accept: str, query: dict[str, str], *, endless: bool = False
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        assert self._session is not None, "use `async with RestClient(...)`"
        wanted = {key: value for key, value in query.items() if value}
        timeout = aiohttp.ClientTimeout(sock_connect=DEADLINE_S) if endless else aiohttp.ClientTimeout(DEADLINE_S)
        shown = await asyncio.to_thread(self._config.shown)
        headers = [("Accept", accept), *shown.items(), *self._config.acting_as]
        async with self._session.get(
            self._config.server + path, params=wanted, headers=headers, timeout=timeout, read_bufsize=LINE_MAX_BYTES
        ) as answer:
            yield answer

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What can go wrong on the way, as the API's errors."""
        server = self._config.server
        try:
            yield
        except CredentialError as error:
            raise errors.Unauthorized(str(error)) from error
        except TimeoutError as error:
            raise errors.Timeout(f"{server} did not answer within {DEADLINE_S:.0f} s") from error
        except aiohttp.ClientError as error:
            raise errors.ServiceUnavailable(f"can't reach the cluster at {server}: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise errors.InternalError(f"{server} does not answer as a cluster does: {error}") from error


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: dict[str, Any]


async def _decoded(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    body = await answer.read()
    if answer.status >= 400:
        raise errors.ApiError.from_status(msgspec.json.decode(body, type=meta_v1.Status))
    return msgspec.json.decode(body, type=dict[str, Any])


def path_of(kind: Kind[Any], namespace: str = "", name: str = "") -> str:
    """The URL path of a collection or an object."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    middle = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"{root}{middle}/{kind.plural}" + (f"/{name}" if name else "")


def _tls(config: ClusterConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=config.ca_pem.decode() or None)
        if not config.certificate_pem:
            return context
        # The ssl module takes client certificates from files only.
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder) / "client.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(config.certificate_pem + b"\n" + config.key_pem)
            context.load_cert_chain(pair)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the kubeconfig's certificates or key can't be used: {error}") from error
    return context
