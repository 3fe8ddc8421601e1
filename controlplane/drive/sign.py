"""Signs what a decision wants signed: the effects that need a key."""

from __future__ import annotations

import structlog
from msgspec.structs import replace

from controlplane.reconcilers.certificates import failed
from controlplane.reconcilers.tokensecrets import NAME, UID
from controlplane.server.pki import BadRequest, Pki
from controlplane.server.tokens import Tokens
from mizzen.engine.effects import Issue, Sign, Update, UpdateStatus
from mizzen.engine.values import Instant

_LOG = structlog.get_logger(__name__)


def signed(authority: Pki, effect: Sign, now: Instant) -> UpdateStatus:
    """What is to be written: the request with its certificate, or with why it can't have one."""
    request = effect.object
    try:
        certificate = authority.sign_request(request.spec.request, request.spec.usages, effect.seconds, now)
    except BadRequest as error:
        return UpdateStatus(failed(request, str(error)))
    _LOG.info("certificate_signed", request=request.metadata.name, requestor=request.spec.username)
    return UpdateStatus(replace(request, status=replace(request.status, certificate=certificate)))


def issued(tokens: Tokens, effect: Issue, ca_pem: bytes) -> Update:
    """What is to be written: the secret with a token of its account. Raises NotFound without the account."""
    secret = effect.object
    token, account_uid = tokens.for_secret(secret, secret.metadata.annotations.get(NAME, ""))
    data = {"ca.crt": ca_pem, "namespace": secret.metadata.namespace.encode(), "token": token.encode()}
    annotations = {**secret.metadata.annotations, UID: account_uid}
    _LOG.info("token_issued", secret=f"{secret.metadata.namespace}/{secret.metadata.name}")
    metadata = replace(secret.metadata, annotations=annotations)
    return Update(replace(secret, metadata=metadata, data={**secret.data, **data}))
