"""Gets the node a new certificate before the old one runs out, over the connection that the old one opens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

import grpc
import structlog

from mizzen.api import times
from mizzen.engine.values import Clock
from mizzen.wire.gen.mizzen.v1 import node_pb2, node_pb2_grpc
from nodeagent.drive.certificates import signing_request, validity
from nodeagent.drive.credentials import Credentials, CredentialsStore
from nodeagent.drive.metrics import Metrics
from nodeagent.drive.session import OPTIONS, Stub

CHECK_EVERY_S = 3600.0
RETRY_S = 300.0
CALL_DEADLINE_S = 20.0

_LOG = structlog.get_logger(__name__)


class Renewer:
    """Holds the credentials in use."""

    def __init__(
        self,
        credentials: Credentials,
        store: CredentialsStore,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        endpoint: Callable[[], str],
        renewed: Callable[[], None],
    ) -> None:
        """`endpoint` is asked for a control plane that answers; `renewed` is called after every change."""
        self.credentials = credentials
        self._store = store
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._endpoint = endpoint
        self._renewed = renewed

    async def run(self) -> None:
        """Renew in time, until cancelled."""
        while True:
            self._metrics.certificate_ttl_s.set((self.credentials.valid_until_ms - self._clock.now()) / 1000)
            wait_s = (self.credentials.renew_at_ms() - self._clock.now()) / 1000
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, CHECK_EVERY_S))
                continue
            try:
                await self._renew()
            except (grpc.aio.AioRpcError, OSError, ValueError) as error:
                self._metrics.renew_errors.inc()
                _LOG.warning("certificate_not_renewed", error=str(error), retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S * (0.5 + self._rng.random()))

    async def _renew(self) -> None:
        old = self.credentials
        fresh = await signing_request(old.node)
        secure = grpc.ssl_channel_credentials(
            root_certificates=old.ca_pem, private_key=old.key_pem, certificate_chain=old.certificate_pem
        )
        async with grpc.aio.secure_channel(self._endpoint(), secure, options=OPTIONS) as channel:
            stub: Stub = node_pb2_grpc.NodeControlStub(channel)  # type: ignore[no-untyped-call]  # generated
            request = node_pb2.RenewRequest(csr_pem=fresh.request_pem)
            answer = await stub.Renew(request, timeout=CALL_DEADLINE_S)
        valid_from_ms, valid_until_ms = await validity(answer.certificate_pem)
        self.credentials = replace(
            old,
            key_pem=fresh.key_pem,
            certificate_pem=answer.certificate_pem,
            ca_pem=answer.ca_pem or old.ca_pem,
            valid_from_ms=valid_from_ms,
            valid_until_ms=valid_until_ms,
        )
        await asyncio.to_thread(self._store.save, self.credentials)
        _LOG.info("certificate_renewed", until=times.render(valid_until_ms))
        self._renewed()
