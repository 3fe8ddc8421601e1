"""A connection to the gRPC API: who one is, one call, one stream, and what their failures mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError

from mizzen.api import errors
from mizzen.client.certificates import untimely
from mizzen.client.config import ClusterConfig
from mizzen.client.credentials import CredentialError
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from mizzen.wire.gen.mizzen.v1 import cluster_pb2_grpc

DEADLINE_S = 30.0
DETAILS = "grpc-status-details-bin"
_FINAL = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
"""What gRPC itself says when another try would end in the same way."""
OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 64 << 20),
)
Self = TypeVar("Self", bound="Connection")


class Connection:
    """A connection to a cluster."""

    def __init__(self, config: ClusterConfig, *, deadline_s: float = DEADLINE_S) -> None:
        """Connect when first something is asked; every call with one answer has `deadline_s` seconds."""
        self.config = config
        self._deadline_s = deadline_s
        credentials = grpc.ssl_channel_credentials(
            config.ca_pem or None, config.key_pem or None, config.certificate_pem or None
        )
        self._channel = grpc.aio.secure_channel(config.grpc_address, credentials, options=OPTIONS)
        make_stub: Any = cluster_pb2_grpc.ClusterStub  # generated without types
        self._stub = make_stub(self._channel)

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close(None)

    async def _call(self, method: str, request: Any) -> Any:
        shown = await self._shown()
        try:
            return await getattr(self._stub, method)(request, timeout=self._deadline_s, metadata=shown)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error

    async def _stream(self, method: str, request: Any) -> AsyncGenerator[Any, None]:
        call = getattr(self._stub, method)(request, metadata=await self._shown())
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()

    async def _shown(self) -> tuple[tuple[str, str], ...]:
        """What a call says about who makes it. Raises Unauthorized where there is no token to be had."""
        if self.config.bearer is None:
            return self.config.acting_as
        try:
            shown = await asyncio.to_thread(self.config.shown)
        except CredentialError as error:
            raise errors.Unauthorized(str(error)) from error
        return (*shown.items(), *self.config.acting_as)

    def _failure(self, error: grpc.aio.AioRpcError) -> errors.ApiError:
        """What a failed call tells; an untimely certificate ends the connection before anybody can say why."""
        failure = api_error(error, self.config.grpc_address)
        if (
            isinstance(failure, errors.ServiceUnavailable)
            and self.config.certificate_pem
            and (reason := untimely(self.config.certificate_pem))
        ):
            return errors.Unauthorized(reason)
        return failure


def api_error(error: grpc.aio.AioRpcError, target: str) -> errors.ApiError:
    """The API's error that a failed call tells of; without one, the server was not reached or is none of ours."""
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == DETAILS:
            try:
                details = pb.ErrorDetails.FromString(value if isinstance(value, bytes) else value.encode())
                return errors.ApiError.from_status(convert.from_any(details.details[0]))
            except (DecodeError, IndexError, convert.BadMessage):
                break
    code, said = error.code(), error.details()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.Timeout(f"{target} did not answer in time")
    if code in _FINAL:
        return errors.InternalError(f"{target} answered {code.name}: {said}")
    return errors.ServiceUnavailable(f"can't reach the cluster at {target}: {said}")
