"""What server-side apply promises, whatever is applied by whom in which order."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mizzen.api import codec, kinds
from mizzen.api.errors import ApiError, BadRequest
from mizzen.api.managed import applying, entries, objects, sets, structs, values
from mizzen.api.managed.applying import Configuration
from mizzen.api.managed.entries import Writer
from mizzen.api.types import core_v1 as core
from tests.property.api.test_hostile_objects import messages

MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
POD = objects.shape_of(kinds.POD)
T1, T2 = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"
NAMES = st.sampled_from("abc")
VALUES = st.sampled_from(["x", "y", "z"])


def _items(key: str, more: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    named = st.builds(lambda name, rest: {**rest, key: name}, NAMES, more)
    return st.lists(named, unique_by=lambda item: item[key], max_size=3)


PORTS = st.lists(
    st.builds(lambda port, rest: {"containerPort": port, **rest}, st.sampled_from([80, 443]),
              st.sampled_from([{}, {"protocol": "UDP"}, {"protocol": "UDP", "name": "u"}])),
    unique_by=lambda port: (port["containerPort"], port.get("protocol", "TCP")), max_size=3,
)  # fmt: skip
CONTAINERS = _items(
    "name",
    st.fixed_dictionaries(
        {},
        optional={
            "image": VALUES,
            "args": st.lists(VALUES, min_size=1, max_size=2),
            "ports": PORTS,
            "env": _items("name", st.fixed_dictionaries({}, optional={"value": VALUES})),
            "securityContext": st.fixed_dictionaries(
                {}, optional={"runAsUser": st.just(1), "privileged": st.just(True)}
            ),
        },
    ),
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "hostname": VALUES,
        "nodeSelector": st.dictionaries(NAMES, VALUES, min_size=1, max_size=2),
        "containers": CONTAINERS,
        "tolerations": st.lists(st.fixed_dictionaries({"key": NAMES}), min_size=1, max_size=2),
    },
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(NAMES, VALUES, max_size=3),
        "finalizers": st.lists(st.sampled_from(["x/a", "x/b", "x/c"]), unique=True, max_size=3),
    },
)
CONFIGS = st.builds(lambda metadata, spec: {"metadata": metadata, "spec": spec}, METADATA, SPECS)


def without_empty(value: Any) -> Any:
    """The value without maps and lists that hold nothing: they are leaves beside what others put into them."""
    if isinstance(value, dict):
        inner = {name: without_empty(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item not in ({}, [])}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


MANAGERS = st.sampled_from(["one", "two", "three"])


def apply(old: Any, config: Any, manager: str, *, force: bool = False, time: str = T1) -> Any:
    """The pod after an apply."""
    value = {"apiVersion": "v1", "kind": "Pod", **config}
    return applying.apply(old, kinds.POD, Configuration(value, manager, force), time)


def value_of(obj: Any) -> Any:
    """The pod as JSON, without the account."""
    return codec.to_dict(objects.with_entries(obj, ()))


def owned(obj: Any) -> sets.Node:
    """What somebody owns."""
    result: sets.Node = {}
    for entry in obj.metadata.managed_fields:
        result = sets.union(result, entries.fields_in(entry))
    return result


def after(steps: list[tuple[str, Any]]) -> Any:
    """A pod that managers have applied to by force, one after the other."""
    obj = None
    for manager, config in steps:
        obj = apply(obj, config, manager, force=True)
    return obj


STEPS = st.lists(st.tuples(MANAGERS, CONFIGS), min_size=1, max_size=4)


@MANY
@given(STEPS)
def test_applying_again_changes_nothing(steps: list[tuple[str, Any]]) -> None:
    obj = after(steps)
    manager, config = steps[-1]
    again = apply(obj, config, manager, time=T2)
    assert value_of(again) == value_of(obj)
    assert entries.same_but_for_times(again.metadata.managed_fields, obj.metadata.managed_fields)


@MANY
@given(STEPS)
def test_what_is_applied_is_in_the_object_and_owned(steps: list[tuple[str, Any]]) -> None:
    obj = after(steps)
    manager, config = steps[-1]
    # What is empty has no place in an object that does not print it.
    merged = values.merge(value_of(obj), {"apiVersion": "v1", "kind": "Pod", **without_empty(config)}, POD)
    assert values.compare(value_of(obj), merged, POD) == values.Difference({}, {})
    wanted = entries.without_system(values.fields_of(config, POD))
    own = [entry for entry in obj.metadata.managed_fields if entry.manager == manager]
    assert [entries.fields_in(entry) for entry in own] == ([wanted] if wanted else [])


@MANY
@given(STEPS)
def test_every_field_that_was_applied_and_is_there_has_an_owner(steps: list[tuple[str, Any]]) -> None:
    obj = after(steps)
    live = value_of(obj)
    fields = entries.without_system(values.fields_of({name: live[name] for name in ("metadata", "spec")}, POD))
    always = {"f:spec": {"f:containers": {}}}
    unowned = sets.difference(sets.difference(fields, owned(obj)), always)
    assert [path for path in sets.paths(unowned) if ".resources" not in path] == []


@MANY
@given(CONFIGS, CONFIGS)
def test_managers_of_different_fields_never_conflict(left: Any, right: Any) -> None:
    left, right = without_empty(left), without_empty(right)
    common = sets.intersection(values.fields_of(left, POD), values.fields_of(right, POD))
    try:
        both = apply(apply(None, left, "one"), right, "two")
    except ApiError as error:
        assert error.code == 409
        assert common, error.message
    else:
        # Both orders lead to the same fields with the same values and the same owners.
        other = apply(apply(None, right, "two"), left, "one")
        difference = values.compare(value_of(both), value_of(other), POD)
        assert difference == values.Difference({}, {})
        assert both.metadata.managed_fields == other.metadata.managed_fields


@MANY
@given(CONFIGS, CONFIGS)
def test_who_applies_nothing_any_more_leaves_nothing(mine: Any, others: Any) -> None:
    base = apply(None, others, "others")
    taken = apply(base, mine, "mine", force=True)
    given_up = apply(taken, {}, "mine")
    assert [entry.manager for entry in given_up.metadata.managed_fields if entry.manager == "mine"] == []
    difference = values.compare(value_of(taken), value_of(given_up), POD)
    assert not sets.intersection(difference.removed, owned(given_up))


@MANY
@given(CONFIGS, CONFIGS)
def test_updates_and_applies_keep_one_account(first: Any, second: Any) -> None:
    old = apply(None, first, "applier")
    new = codec.from_dict({"apiVersion": "v1", "kind": "Pod", **second}, core.Pod)
    new = objects.with_entries(new, old.metadata.managed_fields)
    changed = objects.with_entries(new, objects.updated(old, new, Writer("editor", "v1"), T2))
    difference = values.compare(value_of(old), value_of(new), POD)
    account = owned(changed)
    assert not sets.intersection(account, entries.without_system(difference.removed))
    for entry in changed.metadata.managed_fields:
        fields = entries.fields_in(entry)
        if entry.manager == "editor":
            assert fields == entries.without_system(difference.changed)
        else:
            assert not sets.intersection(fields, difference.changed)


@MANY
@given(messages("core_v1.Pod", 0), messages("core_v1.Pod", 0))
def test_structs_differ_as_their_json_does(one: Any, other: Any) -> None:
    try:
        old, new = (codec.from_dict(value, core.Pod) for value in (one, other))
    except BadRequest:
        return
    by_json = values.compare(codec.to_dict(old), codec.to_dict(new), POD)
    by_struct = structs.compare(old, new)
    assert by_struct == by_json
    assert structs.compare(old, old) == values.Difference({}, {})


@MANY
@given(st.lists(CONFIGS, min_size=3, max_size=3))
def test_sets_obey_the_laws_of_sets(configs: list[Any]) -> None:
    a, b, c = (values.fields_of(config, POD) for config in configs)
    assert sets.union(a, b) == sets.union(b, a)
    assert sets.union(sets.union(a, b), c) == sets.union(a, sets.union(b, c))
    assert sets.intersection(a, b) == sets.intersection(b, a)
    assert sets.union(sets.difference(a, b), sets.intersection(a, b)) == a
    assert not sets.intersection(sets.difference(a, b), b)
    assert sets.parse(sets.text(a)) == a
    assert set(sets.paths(sets.union(a, b))) == {*sets.paths(a), *sets.paths(b)}
