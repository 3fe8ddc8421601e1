"""Failures and their Status."""

from __future__ import annotations

import pytest

from mizzen.api import errors, kinds
from mizzen.api.errors import FieldError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FieldError.required("spec.containers[0].image"), "spec.containers[0].image: Required value"),
        (FieldError.required("a", "why"), "a: Required value: why"),
        (FieldError.invalid("a", "x", "bad"), 'a: Invalid value: "x": bad'),
        (FieldError.invalid("a", -1, "bad"), "a: Invalid value: -1: bad"),
        (FieldError.invalid("a", {"k": "v"}, "bad"), 'a: Invalid value: {"k":"v"}: bad'),
        (
            FieldError.unsupported("spec.restartPolicy", "X", ("Never", "Always")),
            'spec.restartPolicy: Unsupported value: "X": supported values: "Always", "Never"',
        ),
        (FieldError.duplicate("a", "x"), 'a: Duplicate value: "x"'),
        (FieldError.forbidden("a", "no"), "a: Forbidden: no"),
        (FieldError.not_found("a", "x"), 'a: Not found: "x"'),
        (FieldError.too_long("a", 10), "a: Too long: may not be more than 10 bytes"),
        (FieldError.too_many("a", 3, 1), "a: Too many: 3: must have at most 1 item"),
    ],
)
def test_field_error(error: FieldError, line: str) -> None:
    assert str(error) == line


CASES = [
    (errors.NotFound(kinds.POD, "x"), 404, "NotFound", 'pods "x" not found'),
    (errors.NotFound(kinds.DEPLOYMENT, "x"), 404, "NotFound", 'deployments.apps "x" not found'),
    (errors.AlreadyExists(kinds.POD, "x"), 409, "AlreadyExists", 'pods "x" already exists'),
    (
        errors.Conflict(kinds.DEPLOYMENT, "x"),
        409,
        "Conflict",
        f'Operation cannot be fulfilled on deployments.apps "x": {errors.OPTIMISTIC_LOCK}',
    ),
    (
        errors.Invalid(kinds.DEPLOYMENT, "x", [FieldError.required("a")]),
        422,
        "Invalid",
        'Deployment.apps "x" is invalid: a: Required value',
    ),
    (
        errors.Invalid(kinds.POD, "x", [FieldError.required("a"), FieldError.required("b")]),
        422,
        "Invalid",
        'Pod "x" is invalid: [a: Required value, b: Required value]',
    ),
    (errors.BadRequest("no"), 400, "BadRequest", "no"),
    (errors.Unauthorized(), 401, "Unauthorized", "Unauthorized"),
    (errors.Forbidden(kinds.POD, "x", "no"), 403, "Forbidden", 'pods "x" is forbidden: no'),
    (errors.Forbidden(kinds.POD, "", "no"), 403, "Forbidden", "pods is forbidden: no"),
    (errors.Forbidden(None, "", "no"), 403, "Forbidden", "forbidden: no"),
    (
        errors.MethodNotSupported(kinds.POD, "apply"),
        405,
        "MethodNotAllowed",
        'apply is not supported on resources of kind "pods"',
    ),
    (errors.Expired("too old resource version: 1 (2)"), 410, "Expired", "too old resource version: 1 (2)"),
    (errors.TooManyRequests("later"), 429, "TooManyRequests", "later"),
    (errors.InternalError("oh"), 500, "InternalError", "Internal error occurred: oh"),
    (errors.Timeout("slow"), 504, "Timeout", "Timeout: slow"),
    (errors.RequestEntityTooLarge("limit is 3"), 413, "RequestEntityTooLarge", "Request entity too large: limit is 3"),
    (errors.PathNotFound(), 404, "NotFound", "the server could not find the requested resource"),
    (
        errors.ServerTimeout(kinds.POD, "create"),
        500,
        "ServerTimeout",
        "The create operation against pods could not be completed at this time, please try again.",
    ),
]


@pytest.mark.parametrize(("error", "code", "reason", "message"), CASES, ids=lambda case: type(case).__name__)
def test_status(error: errors.ApiError, code: int, reason: str, message: str) -> None:
    status = error.status
    assert (status.status, status.code, status.reason, status.message) == ("Failure", code, reason, message)


def test_a_list_that_expired_can_be_gone_on_with() -> None:
    error = errors.Expired("too old")
    error.continue_ = "token"
    assert error.status.metadata.continue_ == "token"
    back = errors.ApiError.from_status(error.status)
    assert isinstance(back, errors.Expired)
    assert back.continue_ == "token"


def test_a_name_that_could_not_be_made_up() -> None:
    error = errors.NameNotGenerated(kinds.POD, "web-x")
    assert (error.code, error.reason) == (409, "AlreadyExists")
    assert error.details is not None
    assert (error.details.name, error.details.retry_after_seconds) == ("web-x", 1)


def test_details() -> None:
    details = errors.Invalid(kinds.DEPLOYMENT, "x", [FieldError.required("a", "why")]).details
    assert details is not None
    assert (details.name, details.group, details.kind) == ("x", "apps", "Deployment")
    assert [(c.reason, c.message, c.field) for c in details.causes] == [
        ("FieldValueRequired", "Required value: why", "a")
    ]
    details = errors.NotFound(kinds.DEPLOYMENT, "x").details
    assert details is not None
    assert (details.name, details.group, details.kind) == ("x", "apps", "deployments")


@pytest.mark.parametrize("error", [case[0] for case in CASES], ids=lambda error: type(error).__name__)
def test_status_and_back(error: errors.ApiError) -> None:
    back = errors.ApiError.from_status(error.status)
    assert back.status == error.status
    if not isinstance(error, errors.PathNotFound):
        assert type(back) is type(error)
