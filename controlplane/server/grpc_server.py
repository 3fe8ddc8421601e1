"""The gRPC server: both services, health and reflection, behind TLS, on two ports.

One port demands a client certificate; nodes are served nowhere else. gRPC for Python can't ask for a certificate
without demanding it, so who comes with a bearer token has a port of its own, where nobody is asked for one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import _async as async_health
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from controlplane.server.grpc_api import ClusterService
from controlplane.server.node_gateway import NodeGateway
from controlplane.server.pki import KeyPair
from controlplane.server.serving import grpc_credentials
from mizzen.base.settings import Address
from mizzen.wire.gen.mizzen.v1 import cluster_pb2, cluster_pb2_grpc, node_pb2, node_pb2_grpc

DRAIN_S = 2.0
"""How long calls under way may go on when the server stops, in seconds."""
OPTIONS = (
    # Otherwise a second server at the same port takes half of the connections away, and nobody is told.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Without this a stopped peer is noticed after a minute instead of seconds.
    ("grpc.http2.ping_timeout_ms", 5_000),
    # Clients and agents ping every few seconds also when nothing is under way; that is no abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 64 << 20),
)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to serve: a host, and a port for each way of proving who one is; 0 takes any port that is free."""

    host: str
    port: int
    """For client certificates, which are demanded."""
    token_port: int
    """For bearer tokens."""


@asynccontextmanager
async def grpc_server(
    where: Listen, shown: Callable[[], KeyPair], ca_pem: bytes, cluster: ClusterService, gateway: NodeGateway
) -> AsyncIterator[Listen]:
    """Serves while the context is open; says at which ports. Raises OSError when one is taken.

    `shown` gives the certificate that a new connection is shown.
    """
    server = grpc.aio.server(options=OPTIONS)
    add: Any = (cluster_pb2_grpc, node_pb2_grpc, health_pb2_grpc)  # generated without types
    add[0].add_ClusterServicer_to_server(cluster, server)
    add[1].add_NodeControlServicer_to_server(gateway, server)
    healthy = async_health.HealthServicer()
    add[2].add_HealthServicer_to_server(healthy, server)
    names = [
        cluster_pb2.DESCRIPTOR.services_by_name["Cluster"].full_name,
        node_pb2.DESCRIPTOR.services_by_name["NodeControl"].full_name,
    ]
    reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = _bound(server, Address(where.host, where.port), grpc_credentials(shown, ca_pem))
    token_port = _bound(server, Address(where.host, where.token_port), grpc_credentials(shown, None))
    await server.start()
    for name in ("", *names):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield Listen(where.host, port, token_port)
    finally:
        await healthy.enter_graceful_shutdown()
        await server.stop(DRAIN_S)


def _bound(server: grpc.aio.Server, address: Address, credentials: grpc.ServerCredentials) -> int:
    try:
        return int(server.add_secure_port(str(address), credentials))
    except RuntimeError as error:
        raise OSError(f"can't listen for gRPC at {address}; is another control plane running?") from error
