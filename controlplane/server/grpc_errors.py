"""API errors as gRPC statuses, with the whole `Status` in the details."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

import grpc
import structlog

from controlplane.server.verbs import api_error
from controlplane.store.values import StoreError
from mizzen.api import errors
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2

DETAILS = "grpc-status-details-bin"
_LOG = structlog.get_logger(__name__)
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    409: grpc.StatusCode.ABORTED,
    410: grpc.StatusCode.OUT_OF_RANGE,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
Answer = TypeVar("Answer")


def code_of(error: errors.ApiError) -> grpc.StatusCode:
    """The gRPC code for an API error."""
    if isinstance(error, errors.AlreadyExists):
        return grpc.StatusCode.ALREADY_EXISTS
    return _CODES.get(error.code, grpc.StatusCode.INTERNAL)


async def refuse(context: Any, error: Exception) -> None:
    """Ends the call with an error. Errors that are not the caller's are logged and told without their inside."""
    match error:
        case errors.ApiError():
            found = error
        case StoreError():
            found = api_error(error)
        case convert.BadMessage():
            found = errors.BadRequest(str(error))
        case _:
            _LOG.error("call failed", exc_info=error)
            found = errors.InternalError("the server failed on this call; its log says why")
    code = code_of(found)
    details = cluster_pb2.ErrorDetails(
        code=code.value[0], message=found.message, details=[convert.to_any(found.status)]
    )
    await context.abort(code, found.message, ((DETAILS, details.SerializeToString()),))


def unary(call: Callable[[Any, Any, Any], Awaitable[Answer]]) -> Callable[[Any, Any, Any], Awaitable[Answer]]:
    """A method whose API errors become gRPC statuses."""

    @wraps(call)
    async def guarded(self: Any, request: Any, context: Any) -> Answer:
        try:
            return await call(self, request, context)
        except Exception as error:
            await refuse(context, error)
            raise

    return guarded


def streaming(
    call: Callable[[Any, Any, Any], AsyncIterator[Answer]],
) -> Callable[[Any, Any, Any], AsyncIterator[Answer]]:
    """The same for a method that answers with a stream."""

    @wraps(call)
    async def guarded(self: Any, request: Any, context: Any) -> AsyncIterator[Answer]:
        try:
            async for answer in call(self, request, context):
                yield answer
        except Exception as error:
            await refuse(context, error)
            raise

    return guarded
