"""Requests that only the REST API answers: tables, and objects in the form that people read."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from mizzen.api import errors
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1
from mizzen.client.config import ClusterConfig, ConfigError

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
DEADLINE_S = 30.0


class RestClient:
    """A connection to the REST API."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> RestClient:
        connector = aiohttp.TCPConnector(ssl=_tls(self._config))
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=DEADLINE_S))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, *, accept: str = "application/json", **query: str) -> dict[str, Any]:
        """The JSON at a path. Raises the API's errors; ServiceUnavailable or Timeout when nothing answers."""
        assert self._session is not None, "use `async with RestClient(...)`"
        wanted = {key: value for key, value in query.items() if value}
        try:
            async with self._session.get(
                self._config.server + path, params=wanted, headers={"Accept": accept}
            ) as answer:
                body = await answer.read()
                if answer.status >= 400:
                    raise errors.ApiError.from_status(msgspec.json.decode(body, type=meta_v1.Status))
                return msgspec.json.decode(body, type=dict[str, Any])
        except TimeoutError as error:
            raise errors.Timeout(f"{self._config.server} did not answer within {DEADLINE_S:.0f} s") from error
        except aiohttp.ClientError as error:
            raise errors.ServiceUnavailable(f"can't reach the cluster at {self._config.server}: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise errors.InternalError(f"{self._config.server} does not answer as a cluster does: {error}") from error


def path_of(kind: Kind[Any], namespace: str = "", name: str = "") -> str:
    """The URL path of a collection or an object."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    middle = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"{root}{middle}/{kind.plural}" + (f"/{name}" if name else "")


def _tls(config: ClusterConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=config.ca_pem.decode())
        # The ssl module takes client certificates from files only.
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder) / "client.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(config.certificate_pem + b"\n" + config.key_pem)
            context.load_cert_chain(pair)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the kubeconfig's certificates or key can't be used: {error}") from error
    return context
