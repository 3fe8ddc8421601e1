"""Where things lie in the store: keys of objects, of leaders, and the prefixes that ranges and watches use. Pure.

An object lies at ``/mizzen/registry/<group|core>/<plural>/<namespace>/<name>``; a cluster-scoped one has no namespace
part. The empty API group is written ``core``.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.store.values import ROOT

REGISTRY = ROOT + "registry/"
"""Prefix of every object's key."""

LEADERS = ROOT + "leader/"
"""Prefix of the keys that leaders hold."""

TICK = ROOT + "tick"
"""Written only to make an idle watch advance."""

CORE = "core"
"""How the empty API group is written in a key."""


class ObjectKey(NamedTuple):
    """The parts of an object's key; `group` is empty for core, `namespace` for cluster-scoped kinds."""

    group: str
    plural: str
    namespace: str
    name: str


def object_key(group: str, plural: str, namespace: str, name: str) -> str:
    """Return the key of one object. Raises ValueError for a part that is missing or holds a slash."""
    if not name or "/" in name or "/" in namespace:
        raise ValueError(f"not an object's name: {namespace!r}/{name!r} (must be non-empty and without a slash)")
    return kind_prefix(group, plural, namespace) + name


def kind_prefix(group: str, plural: str, namespace: str = "") -> str:
    """Return the prefix of all objects of a kind, or of those in one namespace. It ends with a slash."""
    if not plural or "/" in plural or "/" in group:
        raise ValueError(f"not a resource: group {group!r}, plural {plural!r}")
    start = f"{REGISTRY}{group or CORE}/{plural}/"
    return f"{start}{namespace}/" if namespace else start


def parse(key: str) -> ObjectKey:
    """Take an object's key apart again. Raises ValueError when it is none."""
    parts = key[len(REGISTRY) :].split("/") if key.startswith(REGISTRY) else []
    if len(parts) not in (3, 4) or not all(parts):
        raise ValueError(f"not an object's key: {key!r}")
    group = "" if parts[0] == CORE else parts[0]
    return ObjectKey(group, parts[1], parts[2] if len(parts) == 4 else "", parts[-1])


def leader_key(name: str) -> str:
    """Return the key that the leader of `name` holds. Raises ValueError for an unusable name."""
    if not name or "/" in name:
        raise ValueError(f"not a name to campaign for: {name!r}")
    return LEADERS + name


def prefix_end(prefix: str) -> bytes:
    """Return the first key, as etcd counts, after all keys that begin with `prefix`."""
    raw = bytearray(prefix.encode())
    while raw:
        if raw[-1] < 0xFF:
            raw[-1] += 1
            return bytes(raw)
        raw.pop()
    return b"\0"  # etcd's word for "to the end of the key space"
