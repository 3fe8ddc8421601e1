"""The signers of Kubernetes: what may be asked of each, and which requests of nodes are approved without a person.

A request is looked at as Kubernetes' own signers do: by its subject, the names it wants, and what it is to be used for.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from controlplane.access.grants import grants_of, wants
from controlplane.access.values import NODE_PREFIX, NODES, UserInfo
from mizzen.api import kinds
from mizzen.api.types import certificates_v1 as certificates
from mizzen.engine.view import View

CLIENT = "kubernetes.io/kube-apiserver-client"
NODE_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (CLIENT, NODE_CLIENT, NODE_SERVING, LEGACY)
_CLIENT_AUTH, _SERVER_AUTH = "client auth", "server auth"
_KEY_USES = ("digital signature", "key encipherment")
_PERMISSIONS = (
    ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."),
    ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."),
)
"""What one must be allowed to create so that a node's request is approved, and the words of the approval."""

Asked = certificates.CertificateSigningRequest


def problem(request: Asked) -> str:
    """Why the signer that is asked may not sign a request; empty where it may."""
    spec = request.spec
    if spec.signer_name == CLIENT:
        return _wrong_use(spec.usages, _CLIENT_AUTH, exact=False)
    if spec.signer_name not in (NODE_CLIENT, NODE_SERVING):
        return ""
    try:
        asked = x509.load_pem_x509_csr(spec.request)
    except (ValueError, UnsupportedAlgorithm) as error:
        return f"unable to parse csr {request.metadata.name!r}: {error}"
    serving = spec.signer_name == NODE_SERVING
    purpose = _SERVER_AUTH if serving else _CLIENT_AUTH
    return _wrong_subject(asked) or _wrong_names(asked, serving=serving) or _wrong_use(spec.usages, purpose, exact=True)


def approval(request: Asked, view: View) -> str:
    """The words with which a node's request is approved by itself; empty where a person has to look at it."""
    spec = request.spec
    if spec.signer_name != NODE_CLIENT or problem(request):
        return ""
    user = UserInfo(spec.username, tuple(spec.groups), spec.uid, spec.extra)
    given = grants_of(user, "", view)
    own = spec.username == common_name(spec.request)
    kind = kinds.CERTIFICATE_SIGNING_REQUEST
    for below, words in _PERMISSIONS if own else _PERMISSIONS[1:]:
        if given.decide(wants("create", kind.group, f"{kind.plural}/{below}")).allowed:
            return words
    return ""


def common_name(request: bytes) -> str:
    """The common name that a request in PEM asks for; empty without one. Raises ValueError for what is no request."""
    return _name(x509.load_pem_x509_csr(request))


def _name(asked: x509.CertificateSigningRequest) -> str:
    names = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _wrong_subject(asked: x509.CertificateSigningRequest) -> str:
    groups = [str(one.value) for one in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if groups != [NODES]:
        return f"subject organization is not {NODES}"
    return "" if _name(asked).startswith(NODE_PREFIX) else f"subject common name does not begin with {NODE_PREFIX}"


def _wrong_names(asked: x509.CertificateSigningRequest, *, serving: bool) -> str:
    try:
        given = list(asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        given = []
    served = (x509.DNSName, x509.IPAddress)
    if serving and not any(isinstance(name, served) for name in given):
        return "DNS or IP subjectAltName is required"
    kinds_of = (
        (x509.DNSName, "DNS"), (x509.IPAddress, "IP"), (x509.RFC822Name, "Email"),
        (x509.UniformResourceIdentifier, "URI"),
    )  # fmt: skip
    for type_, word in kinds_of:
        if any(isinstance(name, type_) for name in given) and not (serving and type_ in served):
            return f"{word} subjectAltNames are not allowed"
    return ""


def _wrong_use(usages: tuple[str, ...], purpose: str, *, exact: bool) -> str:
    """The purpose must be there, and beside it what keys are used for alone; a node's must sign, too."""
    allowed = (purpose, *_KEY_USES)
    required = (purpose, _KEY_USES[0]) if exact else (purpose,)
    if all(one in usages for one in required) and all(one in allowed for one in usages):
        return ""
    return f"usages did not match [{' '.join(sorted(allowed))}]"
