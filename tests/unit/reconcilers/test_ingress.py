"""Where Ingresses are served, and the class that comes with the first node for them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.reconcilers import ingress as reconciler
from mizzen.api import kinds
from mizzen.api.ingress import CLASS, CONTROLLER, ROLE
from mizzen.api.types import core_v1, networking_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Effect, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, meta, node, view

OURS = networking_v1.IngressClass(metadata=meta(CLASS, ""), spec=networking_v1.IngressClassSpec(controller=CONTROLLER))
OTHER = networking_v1.IngressClass(
    metadata=meta("other", "", annotations={reconciler.IS_DEFAULT: "true"}),
    spec=networking_v1.IngressClassSpec(controller="example.org/other"),
)


def edge(name: str, ip: str, ready: str = "True", role: str = "true") -> core_v1.Node:
    """A node that serves Ingresses."""
    made = node(name, ready=ready, labels={ROLE: role})
    addresses = (core_v1.NodeAddress(type="InternalIP", address=ip), core_v1.NodeAddress(type="Hostname", address=name))
    return replace(made, status=replace(made.status, addresses=addresses))


def item(*ips: str, name: str = CLASS) -> networking_v1.Ingress:
    """An Ingress that says to be served at these."""
    told = tuple(networking_v1.IngressLoadBalancerIngress(ip=ip) for ip in ips)
    status = networking_v1.IngressStatus(load_balancer=networking_v1.IngressLoadBalancerStatus(ingress=told))
    spec = networking_v1.IngressSpec(ingress_class_name=name)
    return networking_v1.Ingress(metadata=meta("web"), spec=spec, status=status)


def told(one: networking_v1.Ingress, *others: Any) -> list[str] | None:
    """Where the Ingress is said to be served; None where nothing is written."""
    key = Key(kinds.INGRESS.resource, "default", "web")
    effects = reconciler.reconcile(key, view(one, *others), NOW, SeededIds(1)).effects
    if not effects:
        return None
    (effect,) = effects
    assert isinstance(effect, UpdateStatus)
    return [entry.ip for entry in effect.object.status.load_balancer.ingress]


def test_an_ingress_is_served_at_the_ready_nodes_of_the_role() -> None:
    nodes = (edge("a", "10.0.0.2"), edge("b", "10.0.0.1"), edge("c", "10.0.0.3", ready="Unknown"))
    others = (edge("d", "10.0.0.4", role="false"), node("e"))
    assert told(item(), OURS, *nodes, *others) == ["10.0.0.1", "10.0.0.2"]
    assert told(item("10.0.0.1", "10.0.0.2"), OURS, *nodes) is None
    assert told(item("10.0.0.1"), OURS) == [], "the last node has gone"


def test_what_others_serve_is_theirs() -> None:
    assert told(item(name="other"), OURS, OTHER, edge("a", "10.0.0.2")) is None
    assert told(item(name="gone"), OURS, edge("a", "10.0.0.2")) is None


def made(*objects: Any) -> tuple[Effect, ...]:
    """What is done about the class."""
    key = Key(kinds.INGRESS_CLASS.resource, "", CLASS)
    return reconciler.reconcile_class(key, view(*objects), NOW, SeededIds(1)).effects


def test_the_class_comes_with_the_first_node_and_is_the_default_unless_there_is_one() -> None:
    assert made(node("a")) == ()
    (effect,) = made(edge("a", "10.0.0.2"))
    assert isinstance(effect, Create)
    assert effect.object.metadata.annotations == {reconciler.IS_DEFAULT: "true"}
    (effect,) = made(edge("a", "10.0.0.2"), OTHER)
    assert isinstance(effect, Create)
    assert effect.object.metadata.annotations == {}
    assert made(edge("a", "10.0.0.2"), OURS) == ()
