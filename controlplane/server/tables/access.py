"""The tables of roles, bindings and requests for certificates."""

from __future__ import annotations

from controlplane.server.tables.model import AGE, NAME, NONE, Row, TableOf, age, column, duration
from mizzen.api.types import certificates_v1 as certificates
from mizzen.api.types import rbac_v1 as rbac
from mizzen.engine.values import Instant

_CREATED_AT = column("Created At", "When the object was created.")


def role_row(obj: rbac.Role | rbac.ClusterRole, now: Instant) -> Row:
    """The cells of one role; `now` is not needed, as roles are shown with their date."""
    del now
    return Row((obj.metadata.name, obj.metadata.creation_timestamp or ""))


def binding_row(obj: rbac.RoleBinding | rbac.ClusterRoleBinding, now: Instant) -> Row:
    """The cells of one binding."""
    role = f"{obj.role_ref.kind}/{obj.role_ref.name}"
    users, groups, accounts = (_named(obj.subjects, kind) for kind in ("User", "Group", "ServiceAccount"))
    return Row((obj.metadata.name, role, age(obj.metadata, now), users, groups, accounts))


def _named(subjects: tuple[rbac.Subject, ...], kind: str) -> str:
    return ", ".join(
        f"{subject.namespace}/{subject.name}" if kind == "ServiceAccount" else subject.name
        for subject in subjects
        if subject.kind == kind
    )


def request_row(obj: certificates.CertificateSigningRequest, now: Instant) -> Row:
    """The cells of one request for a certificate."""
    seconds = obj.spec.expiration_seconds
    return Row(
        (
            obj.metadata.name,
            age(obj.metadata, now),
            obj.spec.signer_name or NONE,
            obj.spec.username,
            NONE if seconds is None else duration(seconds * 1000),
            _condition(obj.status),
        )
    )


def _condition(status: certificates.CertificateSigningRequestStatus) -> str:
    types = [condition.type for condition in status.conditions]
    words: list[str] = [type_ for type_ in ("Approved", "Denied", "Failed") if type_ in types] or ["Pending"]
    return ",".join([*words, "Issued"] if status.certificate else words)


ROLE_TABLE = TableOf((NAME, _CREATED_AT), role_row)
BINDING_TABLE = TableOf(
    (
        NAME,
        column("Role", "The role that is given."),
        AGE,
        column("Users", "The users that get it.", wide=True),
        column("Groups", "The groups that get it.", wide=True),
        column("ServiceAccounts", "The service accounts that get it.", wide=True),
    ),
    binding_row,
)
REQUEST_TABLE = TableOf(
    (
        NAME,
        AGE,
        column("SignerName", "Who shall sign."),
        column("Requestor", "Who asked."),
        column("RequestedDuration", "How long the certificate shall be good for."),
        column("Condition", "What became of it."),
    ),
    request_row,
)
