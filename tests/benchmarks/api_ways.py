"""The ways into a server that benchmarks ask, REST and gRPC, each question a method."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Protocol

import aiohttp
import grpc
import msgspec

from mizzen.api import codec, kinds
from mizzen.api.types import core_v1
from mizzen.client import config
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from mizzen.wire.gen.mizzen.v1 import cluster_pb2_grpc
from tests.benchmarks.plain_server import Answer, Recorded, question
from tests.fixtures.cluster_objects import pod

LISTED = 500
APPLIED = 16
"""Pods that are applied to in turns, because those who apply to the same one wait for each other."""
READ_BYTES = 1 << 20
PODS = "/api/v1/namespaces/default/pods"
FIRST = f"{PODS}/p0000000"
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
GZIP = "; compressed"
"""At the end of a form: it may be compressed. What is compressed is not read here."""

_numbers, _applied = count(), count()


class Way(Protocol):
    """A way into a server; every method gives the bytes of the answer."""

    async def create(self) -> bytes:
        """Create one more pod."""

    async def get(self) -> bytes:
        """Get the first pod."""

    async def apply(self) -> bytes:
        """Apply one more annotation to one of the first pods."""

    async def list(self) -> bytes:
        """List so many pods."""


class Rest:
    """Over HTTPS."""

    def __init__(self, session: aiohttp.ClientSession, recorded: Recorded) -> None:
        self._session = session
        self._recorded = recorded

    async def create(self) -> bytes:
        """Create one more pod."""
        return await self.ask("POST", PODS, body=msgspec.json.encode(new_pod()))

    async def get(self) -> bytes:
        """Get the first pod."""
        return await self.ask("GET", FIRST)

    async def apply(self) -> bytes:
        """Apply one more annotation to one of the first pods."""
        wanted = applied()
        path = f"{PODS}/{wanted['metadata']['name']}?fieldManager=bench"
        return await self.ask("PATCH", path, body=msgspec.json.encode(wanted), of=APPLY)

    async def list(self) -> bytes:
        """List so many pods."""
        return await self.ask("GET", f"{PODS}?limit={LISTED}")

    async def ask(self, method: str, path: str, accept: str = JSON, body: bytes | None = None, of: str = JSON) -> bytes:
        """The body of the answer."""
        headers = {"Accept": accept.removesuffix(GZIP), "Content-Type": of, "Accept-Encoding": "identity"}
        if accept.endswith(GZIP):
            headers["Accept-Encoding"] = "gzip"
        async with self._session.request(method, path, data=body, headers=headers) as answer:
            assert answer.ok, await answer.text()
            found = await answer.read()
            encoding = headers["Accept-Encoding"]
            kept = Answer(answer.status, answer.content_type, found)
            self._recorded.rest[question(method, path, headers["Accept"], encoding)] = kept
            return found


class Grpc:
    """Over gRPC, one connection, no client library in between: what is measured is the server."""

    def __init__(self, channel: grpc.aio.Channel, recorded: Recorded) -> None:
        self._recorded = recorded
        self._stub = cluster_pb2_grpc.ClusterStub(channel)  # type: ignore[no-untyped-call]  # generated without types

    async def create(self) -> bytes:
        """Create one more pod."""
        return self._keep("Create", await self._stub.Create(pb.CreateRequest(object=convert.to_any(new_pod()))))

    async def get(self) -> bytes:
        """Get the first pod."""
        ref = pb.ObjectRef(resource="pods", namespace="default", name="p0000000")
        return self._keep("Get", await self._stub.Get(pb.GetRequest(ref=ref)))

    async def apply(self) -> bytes:
        """Apply one more annotation to one of the first pods."""
        one = convert.to_any(codec.from_dict(applied(), core_v1.Pod))
        return self._keep("Apply", await self._stub.Apply(pb.ApplyRequest(object=one, field_manager="bench")))

    async def list(self) -> bytes:
        """List so many pods."""
        request = pb.ListRequest(resource=kinds.POD.resource, namespace="default", limit=LISTED)
        answer = await self._stub.List(request)
        assert len(answer.items) == LISTED
        return self._keep("List", answer)

    def _keep(self, name: str, answer: Any) -> bytes:
        found = self._recorded.grpc[name] = bytes(answer.SerializeToString())
        return found


def new_pod() -> core_v1.Pod:
    """A pod whose name was not used before."""
    return pod(f"p{next(_numbers):07}", uid="", resource_version="", spec={"scheduler_name": "nobody"})


def applied() -> dict[str, Any]:
    """What is applied to one of the first pods: an annotation that it did not have."""
    number = next(_applied)
    name = f"p{number % APPLIED:07}"
    metadata = {"name": name, "namespace": "default", "annotations": {"bench": f"{number:08}"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


@asynccontextmanager
async def over_rest(found: config.ClusterConfig, https: str, recorded: Recorded) -> AsyncIterator[Rest]:
    """The way over HTTPS; every answer is kept in `recorded`."""
    connector = aiohttp.TCPConnector(ssl=tls(found), limit=0)
    async with aiohttp.ClientSession(
        https, connector=connector, read_bufsize=READ_BYTES, auto_decompress=False
    ) as session:
        yield Rest(session, recorded)


@asynccontextmanager
async def ways(
    found: config.ClusterConfig, https: str, grpc_address: str, recorded: Recorded
) -> AsyncIterator[dict[str, Way]]:
    """Both ways into a server; every answer is kept in `recorded`."""
    credentials = grpc.ssl_channel_credentials(found.ca_pem, found.key_pem, found.certificate_pem)
    async with (
        over_rest(found, https, recorded) as rest,
        grpc.aio.secure_channel(grpc_address, credentials) as channel,
    ):
        yield {"REST": rest, "gRPC": Grpc(channel, recorded)}


def tls(found: config.ClusterConfig) -> ssl.SSLContext:
    """TLS with the certificate of a kubeconfig."""
    context = ssl.create_default_context(cadata=found.ca_pem.decode())
    with tempfile.NamedTemporaryFile() as file:  # the library takes no bytes
        file.write(found.certificate_pem + found.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
