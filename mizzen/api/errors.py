"""What the API refuses and how it says so.

`ApiError` and its subclasses are what the layers above raise; each knows the `Status` object that goes to the client,
with Kubernetes' code, reason, message and details. `FieldError` is one wrong field; `Invalid` carries many.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol

import msgspec

from mizzen.api.types import meta_v1 as meta

OPTIMISTIC_LOCK = "the object has been modified; please apply your changes to the latest version and try again"

FieldErrorType = Literal[
    "FieldValueNotFound",
    "FieldValueRequired",
    "FieldValueDuplicate",
    "FieldValueInvalid",
    "FieldValueNotSupported",
    "FieldValueForbidden",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
    "InternalError",
]

_WORDS: dict[FieldErrorType, str] = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}
_WITHOUT_VALUE: tuple[FieldErrorType, ...] = (
    "FieldValueRequired",
    "FieldValueForbidden",
    "FieldValueTooLong",
    "InternalError",
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field. `str()` gives the line that people see."""

    type: FieldErrorType
    field: str
    """The path of the field in JSON, such as `spec.containers[0].image`."""
    value: Any = ""
    detail: str = ""

    @classmethod
    def required(cls, field: str, detail: str = "") -> FieldError:
        """A value is missing."""
        return cls("FieldValueRequired", field, "", detail)

    @classmethod
    def invalid(cls, field: str, value: Any, detail: str) -> FieldError:
        """A value does not have its form or range."""
        return cls("FieldValueInvalid", field, value, detail)

    @classmethod
    def unsupported(cls, field: str, value: str, supported: Iterable[str]) -> FieldError:
        """A value is none of the fixed ones, which are named in order."""
        names = ", ".join(quoted(name) for name in sorted(supported))
        return cls("FieldValueNotSupported", field, value, f"supported values: {names}" if names else "")

    @classmethod
    def duplicate(cls, field: str, value: Any) -> FieldError:
        """A value that must be unique is not."""
        return cls("FieldValueDuplicate", field, value)

    @classmethod
    def forbidden(cls, field: str, detail: str) -> FieldError:
        """A value is well-formed but not allowed here."""
        return cls("FieldValueForbidden", field, "", detail)

    @classmethod
    def not_found(cls, field: str, value: Any) -> FieldError:
        """A value refers to what does not exist."""
        return cls("FieldValueNotFound", field, value)

    @classmethod
    def too_long(cls, field: str, max_bytes: int) -> FieldError:
        """A text has too many bytes."""
        return cls("FieldValueTooLong", field, "", f"may not be more than {max_bytes} byte{_s(max_bytes)}")

    @classmethod
    def too_many(cls, field: str, count: int, max_items: int) -> FieldError:
        """A list has too many items."""
        return cls("FieldValueTooMany", field, count, f"must have at most {max_items} item{_s(max_items)}")

    @property
    def body(self) -> str:
        """The message without the field."""
        text = _WORDS[self.type]
        if self.type not in _WITHOUT_VALUE:
            text += f": {_shown(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


def quoted(text: str) -> str:
    """The text in double quotes, with escapes where it needs them."""
    return json.dumps(text, ensure_ascii=False)


class Resource(Protocol):
    """What names a kind in messages; `kinds.Kind` is one."""

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        ...

    @property
    def plural(self) -> str:
        """The resource's name in paths."""
        ...

    @property
    def kind(self) -> str:
        """The kind in CamelCase."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """A resource that is not in the table of kinds."""

    group: str
    plural: str
    kind: str = ""


class ApiError(Exception):
    """A request failed; `status` is what the client gets."""

    code = 500
    reason = "InternalError"
    annotations: Mapping[str, str] = MappingProxyType({})
    """What the audit log is told of the request."""
    warnings: tuple[str, ...] = ()
    """What the client is told beside, of what it sent."""

    def __init__(
        self, message: str, details: meta.StatusDetails | None = None, *, code: int = 0, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if code:
            self.code = code
        if reason is not None:
            self.reason = reason

    @property
    def status(self) -> meta.Status:
        """The `Status` object."""
        return meta.Status(
            status="Failure", message=self.message, reason=self.reason, details=self.details, code=self.code
        )

    @classmethod
    def from_status(cls, status: meta.Status) -> ApiError:
        """The error that a server's `Status` tells of, as the subclass for its reason."""
        kind = _BY_REASON.get(status.reason, ApiError)
        error = kind.__new__(kind)
        ApiError.__init__(error, status.message, status.details, code=status.code, reason=status.reason)
        if isinstance(error, Expired):
            error.continue_ = status.metadata.continue_
        return error


class NotFound(ApiError):
    """There is no such object."""

    code = 404
    reason = "NotFound"

    def __init__(self, resource: Resource, name: str) -> None:
        super().__init__(f"{_resource(resource)} {quoted(name)} not found", _details(resource, name))


class PathNotFound(ApiError):
    """There is no such path on the server."""

    code = 404
    reason = "NotFound"

    def __init__(self) -> None:
        super().__init__("the server could not find the requested resource", meta.StatusDetails())


class AlreadyExists(ApiError):
    """An object of this name is there already."""

    code = 409
    reason = "AlreadyExists"

    def __init__(self, resource: Resource, name: str, why: str = "") -> None:
        tail = f", {why}" if why else ""
        super().__init__(f"{_resource(resource)} {quoted(name)} already exists{tail}", _details(resource, name))


class NameNotGenerated(AlreadyExists):
    """Every name that the server made up was taken; the next ones may be free."""

    def __init__(self, resource: Resource, name: str) -> None:
        super().__init__(resource, name, "the server was not able to generate a unique name for the object")
        self.details = msgspec.structs.replace(_details(resource, name), retry_after_seconds=1)


class Conflict(ApiError):
    """The object is not (any longer) what the request assumes."""

    code = 409
    reason = "Conflict"

    def __init__(self, resource: Resource, name: str, why: str = OPTIMISTIC_LOCK) -> None:
        message = f"Operation cannot be fulfilled on {_resource(resource)} {quoted(name)}: {why}"
        super().__init__(message, _details(resource, name))


class Invalid(ApiError):
    """The object breaks the rules of its kind."""

    code = 422
    reason = "Invalid"
    errors: tuple[FieldError, ...] = ()
    """The wrong fields; known only where the error was made, a client has `details.causes`."""

    def __init__(self, resource: Resource, name: str, errors: Sequence[FieldError]) -> None:
        kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
        lines = list(dict.fromkeys(str(error) for error in errors))
        what = "" if not lines else f": {lines[0]}" if len(lines) == 1 else f": [{', '.join(lines)}]"
        causes = tuple(meta.StatusCause(reason=e.type, message=e.body, field=e.field) for e in errors)
        details = meta.StatusDetails(name=name, group=resource.group, kind=resource.kind, causes=causes)
        super().__init__(f"{kind} {quoted(name)} is invalid{what}", details)
        self.errors = tuple(errors)


class BadRequest(ApiError):
    """The request cannot be understood."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """Nobody vouches for the caller."""

    code = 401
    reason = "Unauthorized"

    def __init__(self, message: str = "Unauthorized") -> None:
        super().__init__(message)


class Forbidden(ApiError):
    """The caller, or anybody, may not do this."""

    code = 403
    reason = "Forbidden"

    def __init__(self, resource: Resource | None, name: str, why: str) -> None:
        if resource is None:
            super().__init__(f"forbidden: {why}", meta.StatusDetails())
            return
        what = f"{_resource(resource)} {quoted(name)}" if name else _resource(resource)
        super().__init__(f"{what} is forbidden: {why}", _details(resource, name))


class MethodNotSupported(ApiError):
    """The kind does not have this verb."""

    code = 405
    reason = "MethodNotAllowed"

    def __init__(self, resource: Resource, action: str) -> None:
        message = f"{action} is not supported on resources of kind {quoted(_resource(resource))}"
        super().__init__(message, _details(resource, ""))


class MethodNotAllowed(ApiError):
    """The path does not have this method."""

    code = 405
    reason = "MethodNotAllowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__("the server does not allow this method on the requested resource", meta.StatusDetails())
        self.allowed = tuple(allowed)
        """The HTTP methods that it has."""


class NotAcceptable(ApiError):
    """None of the media types that the client accepts is one of ours."""

    code = 406
    reason = "NotAcceptable"

    def __init__(self, supported: Sequence[str]) -> None:
        super().__init__(f"only the following media types are accepted: {', '.join(supported)}")


class UnsupportedMediaType(ApiError):
    """The body's media type is none of ours."""

    code = 415
    reason = "UnsupportedMediaType"

    def __init__(self, supported: Sequence[str]) -> None:
        super().__init__(
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(supported)}"
        )


class RequestEntityTooLarge(ApiError):
    """The body or the object is too big."""

    code = 413
    reason = "RequestEntityTooLarge"

    def __init__(self, why: str) -> None:
        super().__init__(f"Request entity too large: {why}")


class Expired(ApiError):
    """The requested version or continue token is too old: list again."""

    code = 410
    reason = "Expired"
    continue_ = ""
    """A token for the rest of the list as it is now, where that is better than nothing."""

    @property
    def status(self) -> meta.Status:
        """The `Status` object."""
        return msgspec.structs.replace(super().status, metadata=meta.ListMeta(continue_=self.continue_))


class Gone(ApiError):
    """What was asked for is no longer kept."""

    code = 410
    reason = "Gone"


class TooManyRequests(ApiError):
    """Try again later; for an eviction: it would take too many pods away."""

    code = 429
    reason = "TooManyRequests"

    def __init__(self, message: str, retry_after_s: int = 1, causes: tuple[meta.StatusCause, ...] = ()) -> None:
        super().__init__(message, meta.StatusDetails(retry_after_seconds=retry_after_s, causes=causes))


class InternalError(ApiError):
    """The fault is ours."""

    code = 500
    reason = "InternalError"

    def __init__(self, why: str) -> None:
        causes = (meta.StatusCause(message=why),)
        super().__init__(f"Internal error occurred: {why}", meta.StatusDetails(causes=causes))


class ServerTimeout(ApiError):
    """The operation did not come to an end for now and can be tried again."""

    code = 500
    reason = "ServerTimeout"

    def __init__(self, resource: Resource, operation: str, retry_after_s: int = 1) -> None:
        details = msgspec.structs.replace(_details(resource, operation), retry_after_seconds=retry_after_s)
        super().__init__(
            f"The {operation} operation against {_resource(resource)} could not be completed at this time, "
            "please try again.",
            details,
        )


class Timeout(ApiError):
    """The request took too long; it may still come to its end."""

    code = 504
    reason = "Timeout"

    def __init__(self, why: str, retry_after_s: int = 0, causes: tuple[meta.StatusCause, ...] = ()) -> None:
        super().__init__(f"Timeout: {why}", meta.StatusDetails(retry_after_seconds=retry_after_s, causes=causes))


class ServiceUnavailable(ApiError):
    """The server, or what it needs, is not there at the moment."""

    code = 503
    reason = "ServiceUnavailable"


def _resource(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _details(resource: Resource, name: str) -> meta.StatusDetails:
    return meta.StatusDetails(name=name, group=resource.group, kind=resource.plural)


def _shown(value: Any) -> str:
    """A bad value as messages show it: texts in quotes, the rest as JSON."""
    return quoted(value) if isinstance(value, str) else msgspec.json.encode(value).decode()


def _s(count: int) -> str:
    return "" if count == 1 else "s"


_BY_REASON: dict[str, type[ApiError]] = {
    cls.reason: cls
    for cls in (
        NotFound, AlreadyExists, Conflict, Invalid, BadRequest, Unauthorized, Forbidden, MethodNotSupported,
        NotAcceptable, UnsupportedMediaType, RequestEntityTooLarge, Expired, Gone, TooManyRequests, InternalError,
        ServerTimeout, Timeout, ServiceUnavailable,
    )
}  # fmt: skip
