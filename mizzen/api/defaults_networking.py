"""Defaults of network policies and ingress classes."""

from __future__ import annotations

from mizzen.api.edit import each, edited, filled, maybe
from mizzen.api.types import networking_v1 as networking


def policy(obj: networking.NetworkPolicy) -> networking.NetworkPolicy:
    """Ports are TCP; a policy is about what comes in, and about what leaves if it says anything of that."""
    spec = obj.spec
    spec = edited(
        spec,
        ingress=each(spec.ingress, lambda rule: edited(rule, ports=each(rule.ports, _port))),
        egress=each(spec.egress, lambda rule: edited(rule, ports=each(rule.ports, _port))),
        policy_types=spec.policy_types or (("Ingress", "Egress") if spec.egress else ("Ingress",)),
    )
    return edited(obj, spec=spec)


def _port(port: networking.NetworkPolicyPort) -> networking.NetworkPolicyPort:
    return filled(port, protocol="TCP")


def ingress_class(obj: networking.IngressClass) -> networking.IngressClass:
    """Parameters belong to the cluster."""
    parameters = maybe(obj.spec.parameters, lambda given: filled(given, scope="Cluster"))
    return edited(obj, spec=edited(obj.spec, parameters=parameters))
