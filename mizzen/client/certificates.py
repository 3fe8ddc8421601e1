"""Whether the client's own certificate is in its time: asked when a connection fails, because TLS does not say."""

from __future__ import annotations

from datetime import UTC, datetime


def untimely(pem: bytes) -> str:
    """Why a certificate can't be used now, and what to do; empty when it can."""
    from cryptography import x509  # large, and only needed when something is wrong

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        return f"the client certificate can't be read: {error}"
    now, until = datetime.now(UTC), certificate.not_valid_after_utc
    if now > until:
        return f"the client certificate expired at {until:%Y-%m-%dT%H:%M:%SZ}; get a new kubeconfig"
    if now < certificate.not_valid_before_utc:
        return f"the client certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    return ""
