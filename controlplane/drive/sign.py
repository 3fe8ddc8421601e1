"""Signs what a decision wants signed: the one effect that needs a key."""

from __future__ import annotations

import structlog
from msgspec.structs import replace

from controlplane.reconcilers.certificates import failed
from controlplane.server.pki import BadRequest, Pki
from mizzen.engine.effects import Sign, UpdateStatus
from mizzen.engine.values import Instant

_LOG = structlog.get_logger(__name__)


def signed(authority: Pki, effect: Sign, now: Instant) -> UpdateStatus:
    """What is to be written: the request with its certificate, or with why it can't have one."""
    request = effect.object
    try:
        certificate = authority.sign_client(request.spec.request, effect.seconds, now)
    except BadRequest as error:
        return UpdateStatus(failed(request, str(error)))
    _LOG.info("certificate_signed", request=request.metadata.name, requestor=request.spec.username)
    return UpdateStatus(replace(request, status=replace(request.status, certificate=certificate)))
