"""Defaults of flow schemas and priority levels."""

from __future__ import annotations

from mizzen.api.edit import edited, filled, maybe
from mizzen.api.types import flowcontrol_v1 as flowcontrol

PRECEDENCE = 1000
SHARES = 30
QUEUES, HAND, QUEUE_LENGTH = 64, 8, 50


def schema(obj: flowcontrol.FlowSchema) -> flowcontrol.FlowSchema:
    """A precedence in the middle."""
    return edited(obj, spec=edited(obj.spec, matching_precedence=obj.spec.matching_precedence or PRECEDENCE))


def level(obj: flowcontrol.PriorityLevelConfiguration) -> flowcontrol.PriorityLevelConfiguration:
    """Thirty shares, of which nothing is lent; 64 queues of 50 requests."""
    spec = obj.spec
    exempt = spec.exempt
    if spec.type == "Exempt":
        exempt = exempt or flowcontrol.ExemptPriorityLevelConfiguration()
        exempt = filled(exempt, nominal_concurrency_shares=0, lendable_percent=0)
    return edited(obj, spec=edited(spec, limited=maybe(spec.limited, _limited), exempt=exempt))


def _limited(
    limited: flowcontrol.LimitedPriorityLevelConfiguration,
) -> flowcontrol.LimitedPriorityLevelConfiguration:
    response = edited(limited.limit_response, queuing=maybe(limited.limit_response.queuing, _queuing))
    return filled(edited(limited, limit_response=response), nominal_concurrency_shares=SHARES, lendable_percent=0)


def _queuing(queuing: flowcontrol.QueuingConfiguration) -> flowcontrol.QueuingConfiguration:
    return edited(
        queuing,
        queues=queuing.queues or QUEUES,
        hand_size=queuing.hand_size or HAND,
        queue_length_limit=queuing.queue_length_limit or QUEUE_LENGTH,
    )
