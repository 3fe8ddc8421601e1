"""One gRPC call of a program: who makes it, whether they may, how it is counted, and how its errors are told.

It counts in the same metrics as REST requests, because it does the same.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from functools import wraps
from typing import Any, Protocol, TypeVar

from controlplane.access.grants import wants
from controlplane.admission import Operation, Request
from controlplane.server.audit import Auditor
from controlplane.server.authn import NOBODY, UserInfo, VerifyToken, authenticate, from_certificate
from controlplane.server.authz import Authorizer
from controlplane.server.field_managers import NAME_MAX_BYTES, manager_of
from controlplane.server.grpc_audit import AuditedCall
from controlplane.server.grpc_errors import api_error_of, refuse
from controlplane.server.guards import Guard, guard_of
from controlplane.server.impersonate import acting
from controlplane.server.metrics import CANCELLED, Measured, Metrics, measured
from controlplane.server.paths import Place
from controlplane.server.verbs_read import only_name
from mizzen.api import errors
from mizzen.api.errors import ApiError
from mizzen.api.kinds import Kind

Answer = TypeVar("Answer")
UNARY_S = 60.0
"""How long a call with one answer may take, in seconds, where its caller does not want it sooner."""


class Servicer(Protocol):
    """What the decorators need of the object whose methods they guard."""

    metrics: Metrics
    access: Authorizer
    verify_token: VerifyToken
    hears_nobody: Callable[[str], bool]
    auditor: Auditor | None


def certificate_of(context: Any) -> bytes | None:
    """The peer's verified certificate in DER; None where it showed none."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    return ssl.PEM_cert_to_DER_cert(certificates[0].decode()) if certificates else None


def certified_user(context: Any) -> UserInfo:
    """Who calls, by a certificate and by nothing else. Raises Unauthorized."""
    certificate = certificate_of(context)
    if certificate is None:
        raise errors.Unauthorized("a call needs a client certificate")
    return from_certificate(certificate)


class GrpcCall:
    """A call under way."""

    def __init__(self, context: Any, servicer: Servicer, *, long: bool) -> None:
        self._context = context
        self._metrics = servicer.metrics
        self._access = servicer.access
        self._verify_token = servicer.verify_token
        self._hears_nobody = servicer.hears_nobody
        self._audited = None if servicer.auditor is None else AuditedCall(servicer.auditor, context, self._headers())
        self._long = long
        self._what = Measured("OTHER")
        self._counted = ExitStack()
        self.user: UserInfo = NOBODY
        """Who calls, once the call was allowed."""
        self.guard: Guard | None = None
        """What a write must pass beside, once the call was allowed."""

    def allow(
        self,
        verb: str,
        kind: Kind[Any],
        namespace: str,
        name: str = "",
        sub: str = "",
        *,
        dry_run: bool = False,
        field_selector: str = "",
    ) -> None:
        """Say what the call asks for. Raises Unauthorized or Forbidden unless the caller may."""
        place = Place(kind, namespace, name, sub)
        self._what = measured(verb, place, dry_run)
        if self._long:
            self._counted.enter_context(self._metrics.long_running(self._what))
        else:
            self._metrics.begin(self._what)
            self._counted.callback(self._metrics.end, self._what)
        if self._audited is not None:
            self._audited.about(place, verb)
        self.user = self._authenticated()
        wanted = wants(verb, kind.group, place.resource, namespace, name, field_selector)
        if self._audited is not None:
            self._audited.decided(self._access.decide(self.user, wanted))
        self._access.check(self.user, wanted)
        if not sub and verb not in kind.verbs:
            raise errors.MethodNotSupported(kind, verb)
        self.guard = guard_of(self._access, self.user, place, verb)

    def allow_many(self, verb: str, kind: Kind[Any], namespace: str, field_selector: str) -> None:
        """The same for objects of a kind: who may see one of them may ask for just that one."""
        self.allow(verb, kind, namespace, only_name(field_selector), field_selector=field_selector)

    def _authenticated(self) -> UserInfo:
        """Who calls, or as whom. Raises Unauthorized, or Forbidden for who may not act as somebody else."""
        certificate, now_s, headers = certificate_of(self._context), time.time(), self._headers()
        if certificate:
            self._metrics.certificate_shown(certificate, now_s)
        shown = next((value for name, value in headers if name == "authorization"), "")
        user = authenticate(certificate, shown, self._verify_token, round(now_s * 1000))
        if user is NOBODY and not self._hears_nobody(""):
            raise errors.Unauthorized()
        if self._audited is not None:
            self._audited.known(user)
        masked = acting(user, headers, self._access)
        if self._audited is not None and masked is not user:
            self._audited.masked(masked)
        return masked

    def _headers(self) -> list[tuple[str, str]]:
        given = self._context.invocation_metadata() or ()
        return [(key, value) for key, value in given if isinstance(value, str)]

    def sent(
        self, place: Place, obj: Any, operation: Operation = Operation.CREATE, *, dry_run: bool = False
    ) -> Request:
        """What admission is asked about an object that is sent to a place below another one."""
        return Request(
            operation, place.kind, place.namespace, place.name, obj, subresource=place.subresource, user=self.user,
            dry_run=dry_run,
        )  # fmt: skip

    def manager(self, named: str) -> str:
        """Who manages what is written: whom the caller names, else the program that calls. Raises BadRequest."""
        if not named:
            return manager_of(str(dict(self._context.invocation_metadata() or ()).get("user-agent", "")))
        if len(named.encode()) > NAME_MAX_BYTES or not named.isprintable():
            raise errors.BadRequest(f"field_manager: at most {NAME_MAX_BYTES} bytes that can be printed")
        return named

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the call when it is over."""
        begun, code = time.perf_counter(), 200
        failed: ApiError | None = None
        try:
            with self._counted:
                yield
        except asyncio.CancelledError:
            code = CANCELLED
            raise
        except Exception as error:
            failed = api_error_of(error)
            code = failed.code
            raise
        finally:
            if self._audited is not None:
                self._audited.over(code, failed)
            self._metrics.served(self._what, code, None if self._long else time.perf_counter() - begun)


async def _in_time(answer: Awaitable[Answer]) -> Answer:
    try:
        async with asyncio.timeout(UNARY_S):
            return await answer
    except TimeoutError as error:
        raise errors.Timeout(f"request did not complete within {UNARY_S:.0f} s") from error


def unary(
    method: Callable[[Any, Any, GrpcCall], Awaitable[Answer]],
) -> Callable[[Servicer, Any, Any], Awaitable[Answer]]:
    """A method whose API errors become gRPC statuses."""

    @wraps(method)
    async def guarded(self: Servicer, request: Any, context: Any) -> Answer:
        call = GrpcCall(context, self, long=False)
        try:
            with call.counting():
                return await _in_time(method(self, request, call))
        except Exception as error:
            await refuse(context, error)
            raise

    return guarded


def streaming(
    method: Callable[[Any, Any, GrpcCall], AsyncIterator[Answer]],
) -> Callable[[Servicer, Any, Any], AsyncIterator[Answer]]:
    """The same for a method that answers with a stream."""

    @wraps(method)
    async def guarded(self: Servicer, request: Any, context: Any) -> AsyncIterator[Answer]:
        call = GrpcCall(context, self, long=True)
        try:
            with call.counting():
                answers: Any = method(self, request, call)
                async with aclosing(answers):
                    async for answer in answers:
                        yield answer
        except Exception as error:
            await refuse(context, error)
            raise

    return guarded
