"""Requests for certificates: the question stays, the answers get their times."""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.admission.request import Operation, Request
from mizzen.api import times
from mizzen.api.types import certificates_v1 as certificates
from mizzen.engine.values import Instant

Asked = certificates.CertificateSigningRequest


def keep(request: Request, obj: Asked, old: Asked, now: Instant) -> Asked:
    """The changed request with what this operation does not own as it is stored, and with times at its conditions."""
    if request.operation is Operation.UPDATE:
        return replace(obj, spec=old.spec, status=old.status)
    approves = request.operation is Operation.APPROVE
    status = replace(
        obj.status,
        certificate=old.status.certificate if approves else obj.status.certificate,
        conditions=tuple(_timed(condition, old.status.conditions, now) for condition in obj.status.conditions),
    )
    metadata = replace(obj.metadata, owner_references=old.metadata.owner_references)
    return replace(old, metadata=metadata, status=status)


Condition = certificates.CertificateSigningRequestCondition


def _timed(condition: Condition, before: tuple[Condition, ...], now: Instant) -> Condition:
    same = next((one for one in before if one.type == condition.type and one.status == condition.status), None)
    since = condition.last_transition_time or (same.last_transition_time if same is not None else times.render(now))
    return replace(
        condition, last_transition_time=since, last_update_time=condition.last_update_time or times.render(now)
    )
