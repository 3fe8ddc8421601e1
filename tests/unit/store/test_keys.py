"""Keys: built and taken apart, and prefixes that hold exactly what they should."""

from __future__ import annotations

import pytest

from controlplane.store.keys import ObjectKey, kind_prefix, leader_key, object_key, parse, prefix_end


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (ObjectKey("", "pods", "default", "a"), "/mizzen/registry/core/pods/default/a"),
        (ObjectKey("", "nodes", "", "n1"), "/mizzen/registry/core/nodes/n1"),
        (ObjectKey("apps", "deployments", "ns", "web"), "/mizzen/registry/apps/deployments/ns/web"),
        (ObjectKey("rbac.x", "clusterroles", "", "system:a:b"), "/mizzen/registry/rbac.x/clusterroles/system:a:b"),
    ],
)
def test_a_key_is_built_and_taken_apart(parts: ObjectKey, key: str) -> None:
    assert object_key(*parts) == key
    assert parse(key) == parts
    assert key.startswith(kind_prefix(parts.group, parts.plural, parts.namespace))


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_name_that_would_leave_its_place_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an object's name"):
        object_key("", "pods", "default", name)
    with pytest.raises(ValueError, match="campaign"):
        leader_key(name)


def test_a_namespace_or_resource_that_would_leave_its_place_is_refused() -> None:
    with pytest.raises(ValueError, match="not an object's name"):
        object_key("", "pods", "a/b", "c")
    with pytest.raises(ValueError, match="not a resource"):
        kind_prefix("", "pods/status")


@pytest.mark.parametrize(
    "key", ["", "/mizzen/tick", "/mizzen/registry/core/pods", "/mizzen/registry/core//a", "/mizzen/registry/a/b/c/d/e"]
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not an object's key"):
        parse(key)


def test_the_end_of_a_prefix() -> None:
    assert prefix_end("/mizzen/") == b"/mizzen0"
    assert prefix_end("") == b"\0"
