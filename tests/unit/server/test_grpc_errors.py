"""API errors as gRPC statuses: the right code, the whole Status, and never more than fits into trailing metadata."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.server.grpc_errors import DETAILS_MAX_BYTES, api_error_of, code_of, details_of, shortened
from controlplane.store.values import Unavailable, UnknownOutcome
from mizzen.api import errors, kinds
from mizzen.wire import convert

FIELD = errors.FieldError.required("spec.x")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound(kinds.POD, "a"), grpc.StatusCode.NOT_FOUND),
        (errors.AlreadyExists(kinds.POD, "a"), grpc.StatusCode.ALREADY_EXISTS),
        (errors.Conflict(kinds.POD, "a"), grpc.StatusCode.ABORTED),
        (errors.Invalid(kinds.POD, "a", [FIELD]), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.BadRequest("?"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.UnsupportedMediaType(["a"]), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.RequestEntityTooLarge("?"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.Unauthorized(), grpc.StatusCode.UNAUTHENTICATED),
        (errors.Forbidden(kinds.POD, "a", "?"), grpc.StatusCode.PERMISSION_DENIED),
        (errors.MethodNotSupported(kinds.POD, "x"), grpc.StatusCode.UNIMPLEMENTED),
        (errors.Expired("old"), grpc.StatusCode.OUT_OF_RANGE),
        (errors.TooManyRequests("later"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.ServiceUnavailable("away"), grpc.StatusCode.UNAVAILABLE),
        (errors.Timeout("late"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (errors.InternalError("?"), grpc.StatusCode.INTERNAL),
        (errors.ServerTimeout(kinds.POD, "x"), grpc.StatusCode.INTERNAL),
    ],
)
def test_codes(error: errors.ApiError, code: grpc.StatusCode) -> None:
    assert code_of(error) is code
    details = details_of(error, code)
    assert details.code == code.value[0]
    (packed,) = details.details
    assert errors.ApiError.from_status(convert.from_any(packed)).status == error.status


def test_other_errors() -> None:
    for mistake in (convert.BadMessage("x"), RecursionError("deep")):
        assert isinstance(api_error_of(mistake), errors.BadRequest)
    assert api_error_of(Unavailable("etcd")).code == 503
    assert api_error_of(UnknownOutcome("etcd")).code == 504
    inside = api_error_of(KeyError("a secret detail"))
    assert (inside.code, "secret" in inside.message) == (500, False)


def packed(error: errors.ApiError) -> tuple[Any, int]:
    """The Status as it travels, and its size."""
    details = details_of(error, code_of(error))
    return convert.from_any(AnyMessage.FromString(details.details[0].SerializeToString())), details.ByteSize()


def test_what_is_too_much_is_cut() -> None:
    many = errors.Invalid(
        kinds.POD, "a", [errors.FieldError.invalid(f"spec.f{n}", "x" * 50, "is wrong") for n in range(500)]
    )
    status, size = packed(many)
    assert size <= DETAILS_MAX_BYTES
    assert status.details.causes[0].field == "spec.f0"
    assert (status.reason, status.code) == ("Invalid", 422)
    for error in (
        errors.BadRequest("ü" * 100_000),
        errors.NotFound(kinds.POD, "n" * 100_000),
        errors.Invalid(kinds.POD, "a", [errors.FieldError.invalid("spec.x", "v" * 100_000, "is wrong")]),
    ):
        status, size = packed(error)
        assert size <= DETAILS_MAX_BYTES
        assert status.code == error.code
        assert status.message.endswith("...")


def test_a_text_is_cut_between_characters() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcdef", 5) == "ab..."
    assert shortened("aüü", 4) == "a..."
