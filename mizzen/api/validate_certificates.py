"""The rules for requests for certificates: what is asked for never changes, and a decision is never taken back."""

from __future__ import annotations

from mizzen.api import formats, validate_meta
from mizzen.api.errors import FieldError
from mizzen.api.types import certificates_v1 as certificates
from mizzen.api.validate_common import Errors, immutable, required

EXPIRATION_MIN_S = 600
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
_FINAL = (APPROVED, DENIED, FAILED)
_LEGACY = "kubernetes.io/legacy-unknown"
USAGES = (
    "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment",
    "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing",
    "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
)  # fmt: skip
_SIGNER_FORM = "must be a fully qualified domain and path of the form 'example.com/signer-name'"


def create(request: certificates.CertificateSigningRequest) -> Errors:
    """A request that is about to be."""
    yield from validate_meta.create(request.metadata, formats.path_segment, namespaced=False)
    spec = request.spec
    if not _looks_right(spec.request):
        yield FieldError.invalid("spec.request", spec.request, "PEM block type must be CERTIFICATE REQUEST")
    yield from required("spec.usages", spec.usages)
    for i, usage in enumerate(spec.usages):
        if usage not in USAGES:
            yield FieldError.unsupported(f"spec.usages[{i}]", usage, USAGES)
        if usage in spec.usages[:i]:
            yield FieldError.duplicate(f"spec.usages[{i}]", usage)
    yield from _signer(spec.signer_name)
    if spec.expiration_seconds is not None and spec.expiration_seconds < EXPIRATION_MIN_S:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        yield FieldError.invalid("spec.expirationSeconds", spec.expiration_seconds, why)


def _looks_right(request: bytes) -> bool:
    """Whether it is one PEM block of the right type; what is in it is looked at by who can read X.509."""
    text = request.strip()
    return text.startswith(b"-----BEGIN CERTIFICATE REQUEST-----") and text.endswith(
        b"-----END CERTIFICATE REQUEST-----"
    )


def _signer(name: str) -> Errors:
    if not name:
        yield FieldError.required("spec.signerName")
        return
    if name == _LEGACY:
        why = "the legacy signerName is not allowed via this API version"
        yield FieldError.invalid("spec.signerName", name, why)
    domain, slash, path = name.partition("/")
    if not slash or "." not in domain or formats.dns_subdomain(domain) or not path or len(name) > 571:
        yield FieldError.invalid("spec.signerName", name, _SIGNER_FORM)
        return
    for part in path.split("."):
        for problem in formats.dns_label(part):
            yield FieldError.invalid("spec.signerName", name, f"validating label {part!r}: {problem}")


def update(new: certificates.CertificateSigningRequest, old: certificates.CertificateSigningRequest) -> Errors:
    """A request that is about to be replaced, as a whole, in its status or by an approval."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from immutable("spec", new.spec, old.spec)
    yield from _conditions(new.status.conditions, old.status.conditions)
    if old.status.certificate and new.status.certificate != old.status.certificate:
        yield FieldError.forbidden("status.certificate", "updates may not change certificate content")


Conditions = tuple[certificates.CertificateSigningRequestCondition, ...]


def _conditions(new: Conditions, old: Conditions) -> Errors:
    path = "status.conditions"
    types = [condition.type for condition in new]
    for i, condition in enumerate(new):
        yield from required(f"{path}[{i}].type", condition.type)
        yield from required(f"{path}[{i}].status", condition.status)
        if condition.type in _FINAL and condition.status not in ("", "True"):
            yield FieldError.unsupported(f"{path}[{i}].status", condition.status, ["True"])
        if condition.type in types[:i]:
            yield FieldError.duplicate(f"{path}[{i}].type", condition.type)
    if APPROVED in types and DENIED in types:
        i = max(types.index(APPROVED), types.index(DENIED))
        yield FieldError.invalid(
            f"{path}[{i}].type", types[i], f"{APPROVED} and {DENIED} conditions are mutually exclusive"
        )
    for condition in old:
        if condition.type in _FINAL and condition.type not in types:
            why = f'updates may not remove a condition of type "{condition.type}"'
            yield FieldError.forbidden(path, why)
