"""API errors as gRPC statuses, with the whole `Status` in the details."""

from __future__ import annotations

from typing import Any

import grpc
import msgspec
import structlog

from controlplane.server.verbs import api_error
from controlplane.store.values import StoreError
from mizzen.api import errors
from mizzen.api.types import meta_v1
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
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
DETAILS_MAX_BYTES = 3072
MESSAGE_MAX = 1024
"""Trailing metadata is bounded: by default clients take 8 KiB of it, and the message is in it twice."""


def code_of(error: errors.ApiError) -> grpc.StatusCode:
    """The gRPC code for an API error."""
    if isinstance(error, errors.AlreadyExists):
        return grpc.StatusCode.ALREADY_EXISTS
    return _CODES.get(error.code, grpc.StatusCode.INTERNAL)


def api_error_of(error: Exception) -> errors.ApiError:
    """What the caller is told. Errors that are not the caller's are logged and told without their inside."""
    match error:
        case errors.ApiError():
            return error
        case StoreError():
            return api_error(error)
        case convert.BadMessage():
            return errors.BadRequest(str(error))
        case RecursionError():
            return errors.BadRequest("what was sent is nested too deeply")
    return errors.InternalError("the server failed on this call; its log says why")


async def refuse(context: Any, error: Exception) -> None:
    """Ends the call with an error."""
    found = api_error_of(error)
    if found is not error and isinstance(found, errors.InternalError):
        _LOG.error("call_failed", exc_info=error)
    code = code_of(found)
    message = shortened(found.message, MESSAGE_MAX)
    await context.abort(code, message, ((DETAILS, details_of(found, code).SerializeToString()),))


def details_of(error: errors.ApiError, code: grpc.StatusCode) -> cluster_pb2.ErrorDetails:
    """What goes with the call's status; of very many causes only the first, of a very long message its beginning."""
    status = msgspec.structs.replace(error.status, message=shortened(error.message, MESSAGE_MAX))
    while (made := _details(status, code)).ByteSize() > DETAILS_MAX_BYTES and status.details is not None:
        causes = status.details.causes
        fewer = msgspec.structs.replace(status.details, causes=causes[: len(causes) // 2]) if causes else None
        status = msgspec.structs.replace(status, details=fewer)
    return made


def _details(status: meta_v1.Status, code: grpc.StatusCode) -> cluster_pb2.ErrorDetails:
    return cluster_pb2.ErrorDetails(code=code.value[0], message=status.message, details=[convert.to_any(status)])


def shortened(text: str, most: int) -> str:
    """A text of at most `most` bytes."""
    data = text.encode()
    return text if len(data) <= most else data[: most - 3].decode(errors="ignore") + "..."
