"""Requests for certificates: what is approved is signed, what has been decided long ago is cleared away.

Only `kubernetes.io/kube-apiserver-client` is signed here; other signers are somebody else's, their requests are left
alone. Nothing is approved here.
"""

from __future__ import annotations

from msgspec.structs import replace

from mizzen.api import kinds, times
from mizzen.api.types import certificates_v1 as certificates
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete, Effect, Sign, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

SIGNER = "kubernetes.io/kube-apiserver-client"
LIFE_S = 365 * 24 * 3600
"""How long a certificate is good where the request does not ask for less."""
DECIDED_MS = 3600 * 1000
"""How long a request is kept once it is approved, denied or has failed."""
PENDING_MS = 24 * 3600 * 1000
"""How long a request is kept that nobody decides on."""
_PURPOSE = "client auth"
_USAGES = (_PURPOSE, "digital signature", "key encipherment")


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One request: sign it, or let it go when its time is over."""
    request = view.get(kinds.CERTIFICATE_SIGNING_REQUEST, "", key.name)
    if request is None:
        return Decision()
    left_ms = _until_ms(request) - now
    if left_ms <= 0:
        return Decision((Delete(key, request.metadata.uid, request.metadata.resource_version),))
    return Decision(_signing(request), wake_after_ms=left_ms)


def _signing(request: certificates.CertificateSigningRequest) -> tuple[Effect, ...]:
    types = [condition.type for condition in request.status.conditions]
    if request.spec.signer_name != SIGNER or request.status.certificate or types != ["Approved"]:
        return ()
    usages = request.spec.usages
    if _PURPOSE not in usages or any(usage not in _USAGES for usage in usages):
        return (UpdateStatus(failed(request, f"usages must contain {_PURPOSE!r}, and none but {', '.join(_USAGES)}")),)
    asked_s = request.spec.expiration_seconds
    return (Sign(request, min(asked_s or LIFE_S, LIFE_S)),)


def failed(request: certificates.CertificateSigningRequest, why: str) -> certificates.CertificateSigningRequest:
    """The request with a word on why it is not signed and never will be."""
    condition = certificates.CertificateSigningRequestCondition(
        type="Failed", status="True", reason="SignerValidationFailure", message=why
    )
    return replace(request, status=replace(request.status, conditions=(*request.status.conditions, condition)))


def _until_ms(request: certificates.CertificateSigningRequest) -> Instant:
    decided = [c.last_update_time for c in request.status.conditions if c.type in ("Approved", "Denied", "Failed")]
    stamps = [times.parse(stamp) for stamp in decided if stamp]
    if stamps:
        return max(stamps) + DECIDED_MS
    return times.parse(request.metadata.creation_timestamp or "") + PENDING_MS


CONTROLLER = Controller(name="certificates", kind=kinds.CERTIFICATE_SIGNING_REQUEST, reconcile=reconcile)
