"""The tables of ingresses and their classes, network policies, addresses and ranges."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.server.tables.model import AGE, NAME, NONE, Row, TableOf, age, column, joined, selector_text
from mizzen.api.types import networking_v1 as networking
from mizzen.engine.values import Instant

_SHOWN = 3


def ingress_row(obj: networking.Ingress, now: Instant) -> Row:
    """The cells of one ingress."""
    found = [entry.ip or entry.hostname for entry in obj.status.load_balancer.ingress]
    return Row(
        (
            obj.metadata.name,
            obj.spec.ingress_class_name or NONE,
            _hosts([rule.host for rule in obj.spec.rules if rule.host]),
            ",".join(sorted(set(found))),
            "80, 443" if obj.spec.tls else "80",
            age(obj.metadata, now),
        )
    )


def _hosts(hosts: Sequence[str]) -> str:
    text = ",".join(hosts[:_SHOWN]) or "*"
    return f"{text} + {len(hosts) - _SHOWN} more..." if len(hosts) > _SHOWN else text


def ingress_class_row(obj: networking.IngressClass, now: Instant) -> Row:
    """The cells of one ingress class."""
    given = obj.spec.parameters
    kind = "" if given is None else f"{given.kind}.{given.api_group}" if given.api_group else given.kind
    parameters = NONE if given is None else f"{kind}/{given.name}"
    return Row((obj.metadata.name, obj.spec.controller, parameters, age(obj.metadata, now)))


def policy_row(obj: networking.NetworkPolicy, now: Instant) -> Row:
    """The cells of one network policy."""
    return Row((obj.metadata.name, selector_text(obj.spec.pod_selector), age(obj.metadata, now)))


def address_row(obj: networking.IPAddress, now: Instant) -> Row:
    """The cells of one address; it has no column for its age."""
    del now
    return Row((obj.metadata.name, NONE if obj.spec.parent_ref is None else _parent(obj.spec.parent_ref)))


def _parent(ref: networking.ParentReference) -> str:
    resource = f"{ref.resource}.{ref.group}" if ref.group else ref.resource
    return "/".join(part for part in (resource.lower(), ref.namespace, ref.name) if part)


def range_row(obj: networking.ServiceCIDR, now: Instant) -> Row:
    """The cells of one service range."""
    return Row((obj.metadata.name, joined(obj.spec.cidrs, empty=""), age(obj.metadata, now)))


INGRESS_TABLE = TableOf(
    (
        NAME,
        column("Class", "The class of the ingress."),
        column("Hosts", "Hosts that it has rules for."),
        column("Address", "Where it is reached from outside."),
        column("Ports", "Ports on which it serves."),
        AGE,
    ),
    ingress_row,
)
INGRESS_CLASS_TABLE = TableOf(
    (
        NAME,
        column("Controller", "The controller that serves it."),
        column("Parameters", "Where the controller finds its settings."),
        AGE,
    ),
    ingress_class_row,
)
POLICY_TABLE = TableOf((NAME, column("Pod-Selector", "The pods that it selects."), AGE), policy_row)
ADDRESS_TABLE = TableOf((NAME, column("ParentRef", "The object that the address belongs to.")), address_row)
RANGE_TABLE = TableOf((NAME, column("CIDRs", "The ranges."), AGE), range_row)
