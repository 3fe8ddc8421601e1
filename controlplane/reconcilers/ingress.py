"""Tells where Ingresses are served: at the addresses of the ready nodes that are to serve them.

The nodes' agents do the serving. With the first such node the cluster gets the class that names them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from mizzen.api import kinds
from mizzen.api.ingress import CLASS, CONTROLLER, is_ours, serves
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1, meta_v1, networking_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_CLASS_KEY = Key(kinds.INGRESS_CLASS.resource, "", CLASS)


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Ingress: its status says where it is served."""
    item = view.get(kinds.INGRESS, key.namespace, key.name)
    if item is None or item.metadata.deletion_timestamp is not None:
        return Decision()
    if not is_ours(item, {one.metadata.name: one for one in view.list(kinds.INGRESS_CLASS)}):
        return Decision()
    addresses = sorted(address for node in view.list(kinds.NODE) for address in _addresses(node))
    told = networking_v1.IngressLoadBalancerStatus(
        ingress=tuple(networking_v1.IngressLoadBalancerIngress(ip=address) for address in addresses)
    )
    if told == item.status.load_balancer:
        return Decision()
    return Decision((UpdateStatus(replace(item, status=replace(item.status, load_balancer=told))),))


def reconcile_class(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """The class of the Ingresses that nodes serve, and the default where there is no other."""
    present = view.list(kinds.INGRESS_CLASS)
    if key != _CLASS_KEY or any(one.metadata.name == CLASS for one in present):
        return Decision()
    if not any(serves(node) for node in view.list(kinds.NODE)):
        return Decision()
    has_default = any(one.metadata.annotations.get(IS_DEFAULT) == "true" for one in present)
    metadata = meta_v1.ObjectMeta(name=CLASS, annotations={} if has_default else {IS_DEFAULT: "true"})
    return Decision(
        (
            Create(
                networking_v1.IngressClass(
                    metadata=metadata, spec=networking_v1.IngressClassSpec(controller=CONTROLLER)
                )
            ),
        )
    )


def _addresses(node: core_v1.Node) -> Iterable[str]:
    ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
    if ready and serves(node):
        yield from (one.address for one in node.status.addresses if one.type == "InternalIP")


def _all(obj: Object, view: View) -> Iterable[Key]:
    return [Key(kinds.INGRESS.resource, one.metadata.namespace, one.metadata.name) for one in view.list(kinds.INGRESS)]


def _the_class(obj: Object, view: View) -> Iterable[Key]:
    return [_CLASS_KEY]


def _serving(node: core_v1.Node) -> Any:
    """What of a node is looked at here; nothing of one that serves no Ingresses."""
    return (serves(node), *_addresses(node)) if serves(node) else None


CONTROLLER_OF_INGRESSES = Controller(
    name="ingress-status",
    kind=kinds.INGRESS,
    reconcile=reconcile,
    watches=((kinds.NODE, _all), (kinds.INGRESS_CLASS, _all)),
    sees={kinds.NODE: _serving},
)
CONTROLLER_OF_THE_CLASS = Controller(
    name="ingress-class",
    kind=kinds.INGRESS_CLASS,
    reconcile=reconcile_class,
    watches=((kinds.NODE, _the_class),),
    sees={kinds.NODE: _serving},
)
