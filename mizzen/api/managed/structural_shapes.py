"""The shapes of users' kinds, from their structural schemas.

What a schema says about merging: `x-kubernetes-list-type` (`atomic` where it says nothing), the keys of a list of type
`map` with their defaults, `x-kubernetes-map-type`. Metadata, also of embedded resources, merges as everywhere.
"""

from __future__ import annotations

from functools import lru_cache

from mizzen.api.custom import CustomKind
from mizzen.api.managed.shapes import ANY, PLAIN, WHOLE, AnyValue, Collection, Form, Keys, Shape, of_message
from mizzen.api.structural import UNSET, Node

_KINDS = 256
"""Schemas whose shapes are remembered; a definition that changes has another schema."""
_METADATA = of_message("meta_v1.ObjectMeta")
_IDENTITY: dict[str, Shape] = {"apiVersion": PLAIN, "kind": PLAIN, "metadata": _METADATA}


class _Object(AnyValue):
    """A value with named fields, and perhaps others. Shapes of fields are made when they are asked for."""

    form: Form = "struct"

    def __init__(self, node: Node, *, whole: bool) -> None:
        self.atomic = _is_atomic_map(node)
        self._node = node
        self._fields = dict(_IDENTITY) if whole else {}

    def child(self, name: str) -> Shape | None:
        known = self._fields.get(name)
        if known is None and name in self._node.properties:
            known = self._fields[name] = of_node(self._node.properties[name])
        return known or (ANY if self._node.preserve else None)

    def named(self, name: str) -> bool:
        return name in self._fields or name in self._node.properties


def of_kind(kind: CustomKind) -> Shape:
    """The shape of the objects of a user's kind in a version. A hub's says nothing but what their metadata is."""
    return _root(kind.schema)


@lru_cache(maxsize=_KINDS)
def _root(node: Node) -> Shape:
    return _Object(node, whole=True)


def of_node(node: Node) -> Shape:
    """The shape of a value inside an object."""
    if node.type == "array":
        return _list(node)
    if node.int_or_string or node.type not in ("object", ""):
        return WHOLE
    if node.properties or node.embedded:
        return _Object(node, whole=node.embedded)
    if node.additional or node.preserve:
        inner = of_node(node.additional) if isinstance(node.additional, Node) else ANY
        atomic = _is_atomic_map(node)
        return Collection("map", inner, atomic=atomic) if node.type else ANY
    return _Object(node, whole=False) if node.type else ANY


def _list(node: Node) -> Shape:
    items = node.items or Node()
    atomic = node.list_type not in ("set", "map")
    keys = _keys(node, items) if node.list_type == "map" else ()
    return Collection("list", of_node(items), atomic=atomic, keys=keys)


def _keys(node: Node, items: Node) -> Keys:
    found = []
    for name in sorted(node.map_keys):
        default = items.properties[name].default if name in items.properties else UNSET
        found.append((name, None if default is UNSET else default))
    return tuple(found)


def _is_atomic_map(node: Node) -> bool:
    return node.source.get("x-kubernetes-map-type") == "atomic"
