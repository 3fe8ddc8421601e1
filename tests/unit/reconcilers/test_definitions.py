"""Definitions of kinds come into service, get out of each other's way, and go with their objects."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.admission.effects import write_of
from controlplane.admission.request import Settings
from controlplane.reconcilers import definitions as reconciler
from mizzen.api import codec, definitions, kinds
from mizzen.api.catalog import BUILT_IN, Definition
from mizzen.api.custom import Custom
from mizzen.base.ids import SeededIds
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.effects import Decision, Delete, Update, UpdateStatus
from mizzen.engine.entry import Entry
from mizzen.engine.values import Key
from tests.fixtures.definitions import definition, established, widget

NOW = 1_000_000
NAME = "widgets.example.com"


def view(*objects: Any) -> Cache:
    """A view with these definitions and objects of theirs."""
    cache = Cache(indexes.ALL)
    for obj in objects:
        kind = kinds.kind_of(obj)
        version = int(obj.metadata.resource_version or 1)
        raw = canonical.stamp(kind, canonical.rest(obj), version)
        cache.put(Entry(kind, obj.metadata.namespace, obj.metadata.name, version, raw))
        if isinstance(obj, Definition):
            cache.catalog = cache.catalog.with_definition(obj)
    return cache


def decide(*objects: Any, name: str = NAME) -> Decision:
    """What is decided about a definition."""
    key = Key(kinds.CUSTOM_RESOURCE_DEFINITION.resource, "", name)
    return reconciler.reconcile(key, view(*objects), NOW, SeededIds(1))


def after(*objects: Any, name: str = NAME) -> Definition:
    """The definition with the status that is decided on."""
    (effect,) = decide(*objects, name=name).effects
    assert isinstance(effect, UpdateStatus)
    assert isinstance(effect.object, Definition)
    return effect.object


def going(one: Definition) -> Definition:
    """The definition while it is being deleted."""
    metadata = replace(
        one.metadata, deletion_timestamp="2026-05-01T12:00:00Z", finalizers=(definitions.CLEANUP, "example.com/mine")
    )
    return replace(one, metadata=metadata)


def test_a_new_definition_gets_its_names_and_is_established() -> None:
    one = after(definition())
    assert one.status.accepted_names == one.spec.names
    assert definitions.holds(one, "NamesAccepted")
    assert definitions.condition(one, "Established") == (
        "Established", "True", "InitialNamesAccepted", "the initial names have been accepted",
    )  # fmt: skip
    assert decide(one).effects == ()


def test_names_of_others_are_refused_and_what_it_had_stays() -> None:
    first = after(definition())
    rival = definition(name="gadgets.example.com", names={"plural": "gadgets", "kind": "Widget", "singular": "widget"})
    second = after(first, rival, name="gadgets.example.com")
    assert definitions.condition(second, "NamesAccepted") == (
        "NamesAccepted", "False", "ListKindConflict",
        '["widget" is already in use, "Widget" is already in use, "WidgetList" is already in use]',
    )  # fmt: skip
    assert not definitions.holds(second, "Established")
    assert second.status.accepted_names.plural == "gadgets"
    assert second.status.accepted_names.kind == ""


def test_an_established_kind_stays_although_it_wants_a_name_of_another() -> None:
    first = after(definition())
    other = after(first, definition(name="gadgets.example.com"), name="gadgets.example.com")
    greedy = replace(other, spec=replace(other.spec, names=replace(other.spec.names, short_names=("widget",))))
    refused = after(first, greedy, name="gadgets.example.com")
    assert not definitions.holds(refused, "NamesAccepted")
    assert definitions.holds(refused, "Established")
    assert refused.status.accepted_names.short_names == ()


def test_another_group_is_another_world() -> None:
    first = after(definition())
    assert definitions.holds(
        after(first, definition(name="widgets.other.com"), name="widgets.other.com"), "Established"
    )


def test_an_approval_is_noted() -> None:
    one = definition(name="widgets.x.k8s.io")
    one = replace(
        one, metadata=replace(one.metadata, annotations={"api-approved.kubernetes.io": "https://example.com/1"})
    )
    found = definitions.condition(after(one, name="widgets.x.k8s.io"), "KubernetesAPIApprovalPolicyConformant")
    assert found is not None
    assert (found.status, found.reason) == ("True", "ApprovedAnnotation")


def test_one_that_goes_takes_its_objects_along_and_waits_for_them() -> None:
    one = going(established(definition()))
    kind = BUILT_IN.with_definition(established(definition())).defined[NAME].versions[0]
    cache = view(one)
    hub = cache.catalog.custom[0]
    obj: Custom = replace(widget(kind), of=hub)
    obj = replace(obj, metadata=replace(obj.metadata, uid="u", resource_version="5"))
    raw = canonical.stamp(hub, canonical.rest(obj), 5)
    cache.put(Entry(hub, "default", "a", 5, raw))
    key = Key(kinds.CUSTOM_RESOURCE_DEFINITION.resource, "", NAME)
    status, deletion = reconciler.reconcile(key, cache, NOW, SeededIds(1)).effects
    assert isinstance(status, UpdateStatus)
    assert deletion == Delete(Key(NAME, "default", "a"), "u")
    write = write_of(deletion, cache, NOW, SeededIds(1), Settings())
    assert write is not None
    assert (write.kind, write.object) == (hub, None)


def test_an_empty_one_says_so_and_lets_go() -> None:
    told = after(going(established(definition())))
    found = definitions.condition(told, "Terminating")
    assert found is not None
    assert (found.status, found.reason) == ("False", "InstanceDeletionCompleted")
    (effect,) = decide(told).effects
    assert isinstance(effect, Update)
    assert effect.object.metadata.finalizers == ("example.com/mine",)


def test_nothing_is_decided_about_what_is_not_there() -> None:
    assert decide() == Decision()


def test_a_definition_is_stored_as_it_was_read() -> None:
    one = definition({"type": "object", "properties": {"a": {"type": "number", "maximum": 10, "default": 3}}})
    kind = kinds.CUSTOM_RESOURCE_DEFINITION
    assert canonical.decode(kind, canonical.rest(one)) == replace(
        one, metadata=replace(one.metadata, resource_version="")
    )
    assert codec.to_dict(one)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"] == {
        "type": "number", "maximum": 10, "default": 3,
    }  # fmt: skip
