"""What makes an Ingress one of ours, and a node one that serves them: words that both sides share. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mizzen.api.types import core_v1 as core
from mizzen.api.types import networking_v1 as networking

CONTROLLER = "mizzen.dev/ingress"
"""Stands in an IngressClass as who brings its Ingresses to life."""
CLASS = "mizzen"
"""The class that a cluster gets with its first node for Ingresses."""
ROLE = "mizzen.dev/ingress"
"""The label of nodes that serve Ingresses; whatever its value, but `false`."""
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
"""How Ingresses named their class before they had a field for it."""


def serves(node: core.Node) -> bool:
    """Whether a node is to serve Ingresses."""
    return node.metadata.labels.get(ROLE, "false") != "false"


def class_of(item: networking.Ingress) -> str:
    """The name of an Ingress's class; empty where it has none."""
    return item.spec.ingress_class_name or item.metadata.annotations.get(CLASS_ANNOTATION, "")


def is_ours(item: networking.Ingress, classes: Mapping[str, networking.IngressClass]) -> bool:
    """Whether an Ingress is of a class that Mizzen serves."""
    found = classes.get(class_of(item))
    return found is not None and found.spec.controller == CONTROLLER


def certificates_of(item: networking.Ingress) -> list[tuple[str, str]]:
    """Namespace and name of the Secrets that an Ingress shows certificates of."""
    return [(item.metadata.namespace, tls.secret_name) for tls in item.spec.tls if tls.secret_name]
