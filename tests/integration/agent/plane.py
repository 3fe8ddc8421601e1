"""A control plane in this process, as far as nodes know it: the real gateway and joining, over a store in memory."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import msgspec
from aiohttp import web

from controlplane.server import join, pki
from controlplane.server.grpc_server import OPTIONS
from controlplane.server.join_api import JoinApi
from controlplane.server.node_gateway import ClusterFacts, NodeGateway
from controlplane.server.node_reports import Reports
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.registry import Registry
from mizzen.api import kinds, times
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import RandomIds
from mizzen.wire.gen.mizzen.v1 import node_pb2_grpc

FACTS = ClusterFacts(
    epoch="e1",
    cluster_cidr="10.1.0.0/16",
    service_cidr="10.96.0.0/16",
    cluster_dns="10.96.0.10",
    cluster_domain="cluster.local",
    heartbeat_interval_ms=300,
)


@dataclass
class Plane:
    """The running control plane."""

    folder: Path
    registry: Registry
    authority: pki.Pki
    gateway: NodeGateway
    grpc_port: int
    https_port: int = 0

    @property
    def server(self) -> str:
        """What `--server` is given."""
        return f"127.0.0.1:{self.https_port}"

    async def token(self, *, lives_s: int = 3600) -> str:
        """A join token that expires so many seconds from now."""
        token = join.new_token(self.authority.ca_hash, RandomIds())
        expires = times.render(_now() + lives_s * 1000)
        await self.registry.create(_identified(join.token_secret(token, expires)))
        return str(token)

    async def create(self, value: Any) -> Any:
        """Store an object."""
        return await self.registry.create(_identified(value))

    async def change(self, kind: Any, namespace: str, name: str, change: Callable[[Any], Any]) -> None:
        """Change an object as it is now."""
        for _ in range(20):
            have = self.registry.view.get(kind, namespace, name)
            assert have is not None
            try:
                await self.registry.update(change(have), int(have.metadata.resource_version))
                return
            except Exception:  # a conflict with the node's own reports
                await self.registry.fresh()
        raise AssertionError(f"{name} could not be changed")

    def pod(self, name: str = "web") -> core.Pod | None:
        """A pod as it is stored."""
        return self.registry.view.get(kinds.POD, "default", name)

    def node(self, name: str = "n1") -> core.Node | None:
        """A node as it is stored."""
        return self.registry.view.get(kinds.NODE, "", name)

    async def give_addresses(self, name: str = "n1", cidr: str = "10.1.0.0/24") -> None:
        """Assign the node its share of addresses, as a controller does."""
        await until(lambda: self.node(name) is not None)

        def assigned(node: core.Node) -> core.Node:
            spec = msgspec.structs.replace(node.spec, pod_cidr=cidr, pod_cidrs=(cidr,))
            return msgspec.structs.replace(node, spec=spec)

        await self.change(kinds.NODE, "", name, assigned)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _identified(value: Any) -> Any:
    metadata = value.metadata
    uid = metadata.uid or RandomIds().uid("test")
    stamped = msgspec.structs.replace(metadata, uid=uid, creation_timestamp=times.render(_now()))
    return msgspec.structs.replace(value, metadata=stamped)


@asynccontextmanager
async def stored() -> AsyncIterator[Registry]:
    """A registry that outlives the servers over it."""
    store = MemoryStore(MemoryBackend())
    registry = Registry(store)
    await registry.start()
    try:
        yield registry
    finally:
        await registry.close()
        await store.close()


@asynccontextmanager
async def plane(
    folder: Path, registry: Registry, *, host: str = "127.0.0.1", grpc_port: int = 0, https_port: int = 0
) -> AsyncIterator[Plane]:
    """Serve nodes while the context is open; given ports are taken again after an earlier control plane."""
    clock, ids = SystemClock(), RandomIds()
    authority = pki.Pki.open(folder / "server-pki", clock.now())
    names = pki.Subject("kube-apiserver", (), ("127.0.0.1", "127.0.0.2", "localhost"), server=True)
    pair = authority.pair("server", names, clock.now())
    gateway = NodeGateway(registry, authority, Reports(registry, clock, ids), FACTS, clock, ids)
    server = grpc.aio.server(options=OPTIONS)
    node_pb2_grpc.add_NodeControlServicer_to_server(gateway, server)  # type: ignore[no-untyped-call]
    secure = grpc.ssl_server_credentials(
        [(pair.key_pem, pair.certificate_pem)], root_certificates=authority.ca_pem, require_client_auth=True
    )
    bound = server.add_secure_port(f"{host}:{grpc_port}", secure)
    await server.start()
    made = Plane(folder, registry, authority, gateway, bound)
    app = web.Application()
    for (method, path), page in JoinApi(registry, authority, clock, bound, gateway.connected).routes().items():
        app.router.add_route(method, path, page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    context.load_cert_chain(certificate, key)
    site = web.TCPSite(runner, host, https_port, ssl_context=context, reuse_address=True)
    await site.start()
    made.https_port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()
        await server.stop(0)


async def until(condition: Callable[[], Any], limit_s: float = 20) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.01)


def pod(name: str = "web", *, command: tuple[str, ...] = ("sleep", "100000"), **spec: Any) -> core.Pod:
    """A pod bound to the node."""
    app = core.Container(name="app", image="shop:1", image_pull_policy="IfNotPresent", command=command)
    wanted = {"restart_policy": "Always", "termination_grace_period_seconds": 2, "node_name": "n1", **spec}
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default", generation=1),
        spec=core.PodSpec(containers=(app,), **wanted),
        status=core.PodStatus(phase="Pending", qos_class="BestEffort"),
    )
