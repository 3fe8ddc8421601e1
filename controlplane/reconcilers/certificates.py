"""Requests for certificates: what is approved is signed, what has been decided long ago is cleared away.

Kubernetes' own signers are here; other signers are somebody else's, their requests are left alone. Approved is only
what a node that may do so asks for itself.
"""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.access import signers
from mizzen.api import kinds, times
from mizzen.api.types import certificates_v1 as certificates
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete, Effect, Sign, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

LIFE_S = 365 * 24 * 3600
"""How long a certificate is good where the request does not ask for less."""
DECIDED_MS = 3600 * 1000
"""How long a request is kept once it is approved, denied or has failed."""
PENDING_MS = 24 * 3600 * 1000
"""How long a request is kept that nobody decides on."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One request: sign it, or let it go when its time is over."""
    request = view.get(kinds.CERTIFICATE_SIGNING_REQUEST, "", key.name)
    if request is None:
        return Decision()
    left_ms = _until_ms(request) - now
    if left_ms <= 0:
        return Decision((Delete(key, request.metadata.uid, request.metadata.resource_version),))
    return Decision(_approval(request, view) or _signing(request), wake_after_ms=left_ms)


def _approval(request: certificates.CertificateSigningRequest, view: View) -> tuple[Effect, ...]:
    status = request.status
    if status.conditions or status.certificate:
        return ()
    words = signers.approval(request, view)
    return (UpdateStatus(_with(request, "Approved", "AutoApproved", words)),) if words else ()


def _signing(request: certificates.CertificateSigningRequest) -> tuple[Effect, ...]:
    types = [condition.type for condition in request.status.conditions]
    if request.spec.signer_name not in signers.SIGNERS or request.status.certificate or types != ["Approved"]:
        return ()
    why = signers.problem(request)
    if why:
        return (UpdateStatus(failed(request, why)),)
    asked_s = request.spec.expiration_seconds
    return (Sign(request, min(asked_s or LIFE_S, LIFE_S)),)


def failed(request: certificates.CertificateSigningRequest, why: str) -> certificates.CertificateSigningRequest:
    """The request with a word on why it is not signed and never will be."""
    return _with(request, "Failed", "SignerValidationFailure", why)


def _with(
    request: certificates.CertificateSigningRequest, type_: str, reason: str, message: str
) -> certificates.CertificateSigningRequest:
    condition = certificates.CertificateSigningRequestCondition(
        type=type_, status="True", reason=reason, message=message
    )
    return replace(request, status=replace(request.status, conditions=(*request.status.conditions, condition)))


def _until_ms(request: certificates.CertificateSigningRequest) -> Instant:
    decided = [c.last_update_time for c in request.status.conditions if c.type in ("Approved", "Denied", "Failed")]
    stamps = [times.parse(stamp) for stamp in decided if stamp]
    if stamps:
        return max(stamps) + DECIDED_MS
    return times.parse(request.metadata.creation_timestamp or "") + PENDING_MS


CONTROLLER = Controller(name="certificates", kind=kinds.CERTIFICATE_SIGNING_REQUEST, reconcile=reconcile)
