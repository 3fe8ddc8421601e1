"""Objects of users' kinds are admitted: who owns which part, and what counts as a change."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Operation
from mizzen.api import errors
from mizzen.api.custom import Custom, CustomKind
from tests.fixtures.admission import Cluster
from tests.fixtures.definitions import kind_of, widget

CLUSTER = Cluster.with_namespaces("default")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
WITH_STATUS = kind_of(SCHEMA, subresources={"status": {}})
WITHOUT = kind_of(SCHEMA)


def stored(kind: CustomKind, **content: Any) -> Custom:
    """An object as requests bring it: of the hub."""
    return replace(widget(kind, **content), of=kind.storage)


def created(kind: CustomKind, **content: Any) -> Custom:
    """An object that has been created."""
    made: Custom = CLUSTER.create(stored(kind, **content), "default", served=kind).object
    return made


def updated(old: Custom, kind: CustomKind | None, operation: Operation = Operation.UPDATE, **content: Any) -> Custom:
    """An object after an update of its content."""
    changed: Custom = CLUSTER.update(replace(old, content=content), old, operation, served=kind).object
    return changed


def test_a_new_object_has_no_status_where_that_is_written_apart() -> None:
    made = created(WITH_STATUS, spec={"a": 1}, status={"b": 2})
    assert (made.content, made.metadata.generation) == ({"spec": {"a": 1}}, 1)
    assert created(WITHOUT, status={"b": 2}).content == {"status": {"b": 2}}


def test_an_update_leaves_the_status_and_counts_the_rest() -> None:
    old = replace(created(WITH_STATUS, spec={"a": 1}), content={"spec": {"a": 1}, "status": {"b": 2}})
    new = updated(old, WITH_STATUS, spec={"a": 2}, status={"b": 3})
    assert (new.content, new.metadata.generation) == ({"spec": {"a": 2}, "status": {"b": 2}}, 2)
    assert updated(old, WITH_STATUS, spec={"a": 1}) == old


def test_a_status_update_changes_nothing_else() -> None:
    old = created(WITH_STATUS, spec={"a": 1})
    wanted = replace(
        old, content={"spec": {"a": 9}, "status": {"b": 3}}, metadata=replace(old.metadata, labels={"x": "y"})
    )
    new = CLUSTER.update(wanted, old, Operation.UPDATE_STATUS, served=WITH_STATUS).object
    assert (new.content, new.metadata) == ({"spec": {"a": 1}, "status": {"b": 3}}, old.metadata)


def test_without_a_status_apart_every_change_counts() -> None:
    assert updated(created(WITHOUT, spec={"a": 1}), WITHOUT, spec={"a": 1}, status={"b": 1}).metadata.generation == 2


def test_an_update_says_what_it_has_seen() -> None:
    old = created(WITHOUT, spec={"a": 1})
    blind = replace(old, metadata=replace(old.metadata, resource_version=""))
    with pytest.raises(errors.Invalid) as refused:
        CLUSTER.update(blind, old, served=WITHOUT)
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in refused.value.message


def test_controllers_change_metadata_whatever_the_schema_says() -> None:
    old = replace(created(WITHOUT), content={"spec": {"a": "wrong by now"}})
    freed = replace(old, metadata=replace(old.metadata, labels={"x": "y"}))
    assert CLUSTER.update(freed, old, internal=True).object.metadata.labels == {"x": "y"}


@pytest.mark.parametrize(
    ("content", "error", "why"),
    [({"spec": {"a": "x"}}, errors.Invalid, 'spec.a in body must be of type integer: "string"')],
)
def test_what_the_schema_refuses(content: dict[str, Any], error: type[errors.ApiError], why: str) -> None:
    with pytest.raises(error) as refused:
        created(WITHOUT, **content)
    assert why in refused.value.message


def test_nothing_new_comes_while_the_definition_goes() -> None:
    with pytest.raises(errors.MethodNotSupported):
        CLUSTER.create(stored(WITHOUT), "default", served=_terminating(WITHOUT))


def _terminating(kind: CustomKind) -> CustomKind:
    values = {name: getattr(kind, name) for name in ("group", "version", "kind", "plural", "namespaced", "hub")}
    return CustomKind(Custom, **values, stored=False, terminating=True)
