"""Makes and removes mirrors of static pods at the control plane, as everybody makes and removes pods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from nodeagent.drive.credentials import Credentials

if TYPE_CHECKING:
    from mizzen.client import Client


class Mirrors:
    """`static_pods.MirrorKeeper` over the gRPC API, with the node's own certificate."""

    def __init__(self, credentials: Callable[[], Credentials], endpoint: Callable[[], str]) -> None:
        """`credentials` and `endpoint` are asked for every time: both change."""
        self._credentials = credentials
        self._endpoint = endpoint

    async def create(self, mirror: core.Pod) -> None:
        """Make one. Raises ApiError."""
        async with self._client() as client:
            await client.create(mirror)

    async def delete(self, mirror: core.Pod) -> None:
        """Remove one. Raises ApiError."""
        meta = mirror.metadata
        async with self._client() as client:
            await client.delete(kinds.POD, meta.namespace, meta.name, uid=meta.uid, grace_period_s=0)

    def _client(self) -> Client:
        from mizzen.client import Client, ClusterConfig  # only nodes that have static pods pay for this

        known = self._credentials()
        return Client(
            ClusterConfig(
                server=f"https://{known.server}",
                grpc=self._endpoint(),
                ca_pem=known.ca_pem,
                certificate_pem=known.certificate_pem,
                key_pem=known.key_pem,
            )
        )
