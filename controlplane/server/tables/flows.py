"""The tables of flow schemas and priority levels."""

from __future__ import annotations

from controlplane.server.tables.model import AGE, NAME, NONE, Row, TableOf, age, column
from mizzen.api.types import flowcontrol_v1 as flowcontrol
from mizzen.engine.values import Instant


def schema_row(obj: flowcontrol.FlowSchema, now: Instant) -> Row:
    """The cells of one flow schema."""
    spec = obj.spec
    method = NONE if spec.distinguisher_method is None else spec.distinguisher_method.type
    missing = next((c.status for c in obj.status.conditions if c.type == "Dangling"), "?")
    level = spec.priority_level_configuration.name
    return Row((obj.metadata.name, level, spec.matching_precedence, method, age(obj.metadata, now), missing))


def level_row(obj: flowcontrol.PriorityLevelConfiguration, now: Instant) -> Row:
    """The cells of one priority level."""
    limited = obj.spec.limited
    shares = NONE if limited is None else str(limited.nominal_concurrency_shares)
    queuing = None if limited is None else limited.limit_response.queuing
    sizes: tuple[str, ...] = (NONE, NONE, NONE)
    if queuing is not None:
        sizes = (str(queuing.queues), str(queuing.hand_size), str(queuing.queue_length_limit))
    return Row((obj.metadata.name, obj.spec.type, shares, *sizes, age(obj.metadata, now)))


SCHEMA_TABLE = TableOf(
    (
        NAME,
        column("PriorityLevel", "The level of its requests."),
        column("MatchingPrecedence", "The lowest of those that fit counts."),
        column("DistinguisherMethod", "How requests are divided into flows."),
        AGE,
        column("MissingPL", "Whether its level does not exist."),
    ),
    schema_row,
)
LEVEL_TABLE = TableOf(
    (
        NAME,
        column("Type", "Whether its requests are bounded."),
        column("NominalConcurrencyShares", "Its share of the server."),
        column("Queues", "Queues in which requests wait."),
        column("HandSize", "Queues that one flow is spread over."),
        column("QueueLengthLimit", "Requests that may wait in one queue."),
        AGE,
    ),
    level_row,
)
