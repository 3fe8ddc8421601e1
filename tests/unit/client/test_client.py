"""The client library as such: it stands alone, and says what a failed call means."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from controlplane.server.grpc_errors import code_of, details_of
from mizzen.api import errors, kinds
from mizzen.client.connection import DETAILS, api_error


def failed(code: grpc.StatusCode, text: str = "?", details: bytes | None = None) -> AioRpcError:
    """A failed call."""
    trailing = Metadata(("x", "y"), (DETAILS, details)) if details is not None else Metadata()
    return AioRpcError(code, Metadata(), trailing, text, None)


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFound(kinds.DEPLOYMENT, "web"),
        errors.Invalid(kinds.POD, "web", [errors.FieldError.required("spec.containers")]),
        errors.Expired("too old"),
        errors.TooManyRequests("later", 7),
    ],
)
def test_what_the_server_says_is_raised_as_it_was(error: errors.ApiError) -> None:
    code = code_of(error)
    found = api_error(failed(code, error.message, details_of(error, code).SerializeToString()), "c:1")
    assert type(found) is type(error)
    assert found.status == error.status


@pytest.mark.parametrize(
    ("code", "type_", "words"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.ServiceUnavailable, "can't reach the cluster at c:1: gone"),
        (grpc.StatusCode.INTERNAL, errors.ServiceUnavailable, "can't reach the cluster"),
        (grpc.StatusCode.CANCELLED, errors.ServiceUnavailable, "can't reach the cluster"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.Timeout, "c:1 did not answer in time"),
        (grpc.StatusCode.UNIMPLEMENTED, errors.InternalError, "c:1 answered UNIMPLEMENTED: gone"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.InternalError, "c:1 answered RESOURCE_EXHAUSTED"),
    ],
)
def test_what_grpc_itself_says(code: grpc.StatusCode, type_: type[Any], words: str) -> None:
    found = api_error(failed(code, "gone"), "c:1")
    assert type(found) is type_
    assert words in found.message


@pytest.mark.parametrize("details", [b"", b"\xff\xff", b"\x08\x05"])
def test_details_that_nobody_understands(details: bytes) -> None:
    assert isinstance(api_error(failed(grpc.StatusCode.UNAVAILABLE, "x", details), "c:1"), errors.ServiceUnavailable)


def test_a_program_needs_the_public_package_only() -> None:
    program = (
        "import sys, mizzen.client, mizzen.client.rest, mizzen.cli.main\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('controlplane', 'nodeagent', 'deploy')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
