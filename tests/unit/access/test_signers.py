"""What may be asked of the signers, and what is approved by itself."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509

from controlplane.access import signers
from mizzen.api.types import certificates_v1 as certificates
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac
from tests.fixtures.admission import Cluster
from tests.fixtures.signing_requests import signing_request

NODE, GROUPS = "system:node:n1", ("system:nodes",)
CLIENT = ("digital signature", "client auth")
SERVER = ("digital signature", "key encipherment", "server auth")
DNS, IP = x509.DNSName("n1"), x509.IPAddress(ipaddress.ip_address("10.0.0.1"))
MAIL, URI = x509.RFC822Name("a@b.c"), x509.UniformResourceIdentifier("spiffe://a")


def asked(signer: str, usages: tuple[str, ...], pem: bytes, user: str = NODE) -> signers.Asked:
    spec = certificates.CertificateSigningRequestSpec(
        signer_name=signer, usages=usages, request=pem, username=user, groups=GROUPS
    )
    return signers.Asked(metadata=meta.ObjectMeta(name="r"), spec=spec)


GOOD = signing_request(NODE, GROUPS)
TABLE = [
    (signers.CLIENT, ("client auth",), b"", ""),
    (signers.CLIENT, CLIENT, b"", ""),
    (signers.CLIENT, SERVER, b"", "usages did not match [client auth digital signature key encipherment]"),
    (signers.CLIENT, ("digital signature",), b"", "usages did not match"),
    (signers.NODE_CLIENT, CLIENT, GOOD, ""),
    (signers.NODE_CLIENT, (*CLIENT, "key encipherment"), GOOD, ""),
    (signers.NODE_CLIENT, ("client auth",), GOOD, "usages did not match"),
    (signers.NODE_CLIENT, SERVER, GOOD, "usages did not match"),
    (signers.NODE_CLIENT, CLIENT, signing_request(NODE), "subject organization is not system:nodes"),
    (signers.NODE_CLIENT, CLIENT, signing_request(NODE, (*GROUPS, "system:masters")), "subject organization is not"),
    (signers.NODE_CLIENT, CLIENT, signing_request("n1", GROUPS), "subject common name does not begin with"),
    (signers.NODE_CLIENT, CLIENT, signing_request(NODE, GROUPS, [DNS]), "DNS subjectAltNames are not allowed"),
    (signers.NODE_CLIENT, CLIENT, signing_request(NODE, GROUPS, [IP]), "IP subjectAltNames are not allowed"),
    (signers.NODE_CLIENT, CLIENT, b"PEM", "unable to parse csr"),
    (signers.NODE_SERVING, SERVER, signing_request(NODE, GROUPS, [DNS, IP]), ""),
    (signers.NODE_SERVING, SERVER, GOOD, "DNS or IP subjectAltName is required"),
    (signers.NODE_SERVING, SERVER, signing_request(NODE, GROUPS, [IP, MAIL]), "Email subjectAltNames are not allowed"),
    (signers.NODE_SERVING, SERVER, signing_request(NODE, GROUPS, [IP, URI]), "URI subjectAltNames are not allowed"),
    (signers.NODE_SERVING, CLIENT, signing_request(NODE, GROUPS, [IP]), "usages did not match"),
    (signers.LEGACY, ("cert sign",), b"", ""),
]


@pytest.mark.parametrize(("signer", "usages", "pem", "why"), TABLE)
def test_what_is_signed(signer: str, usages: tuple[str, ...], pem: bytes, why: str) -> None:
    found = signers.problem(asked(signer, usages, pem))
    assert found.startswith(why)
    assert bool(found) is bool(why)


def allowed(below: str) -> Cluster:
    rule = rbac.PolicyRule(
        verbs=("create",), api_groups=("certificates.k8s.io",), resources=(f"certificatesigningrequests/{below}",)
    )
    role = rbac.ClusterRole(metadata=meta.ObjectMeta(name="r"), rules=(rule,))
    ref = rbac.RoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="r")
    subject = rbac.Subject(kind="Group", name="system:nodes")
    binding = rbac.ClusterRoleBinding(metadata=meta.ObjectMeta(name="r"), role_ref=ref, subjects=(subject,))
    return Cluster((role, binding))


def test_what_is_approved_by_itself() -> None:
    own, others = asked(signers.NODE_CLIENT, CLIENT, GOOD), asked(signers.NODE_CLIENT, CLIENT, GOOD, "system:node:n2")
    itself = "Auto approving self kubelet client certificate after SubjectAccessReview."
    any_node = "Auto approving kubelet client certificate after SubjectAccessReview."
    table = {"selfnodeclient": (itself, ""), "nodeclient": (any_node, any_node), "else": ("", "")}
    for below, words in table.items():
        view = allowed(below).view
        assert (signers.approval(own, view), signers.approval(others, view)) == words
    view = allowed("nodeclient").view
    for other in (
        asked(signers.CLIENT, CLIENT, GOOD),
        asked(signers.NODE_SERVING, SERVER, signing_request(NODE, GROUPS, [IP])),
        asked(signers.NODE_CLIENT, SERVER, GOOD),
    ):
        assert not signers.approval(other, view)
