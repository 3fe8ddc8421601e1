"""Cache and overlay: whatever is put in, every list and every index says what a scan of all objects would say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.engine import indexes
from mizzen.engine.cache import Cache
from mizzen.engine.overlay import Overlay
from mizzen.engine.view import Index, View
from tests.unit.engine.objects import entry, pod

NAMES = st.sampled_from("abcd")
NAMESPACES = st.sampled_from(("n", "n-x", "o"))
PODS: st.SearchStrategy[core.Pod] = st.builds(
    pod,
    name=NAMES,
    namespace=NAMESPACES,
    node=st.sampled_from(("", "x", "y")),
    owners=st.lists(st.sampled_from("pqr"), max_size=3),
)
STEPS = st.lists(st.one_of(PODS, st.tuples(NAMESPACES, NAMES)), max_size=30)
Step = core.Pod | tuple[str, str]
POD_INDEXES: tuple[tuple[Index[Any], tuple[str, ...]], ...] = (
    (indexes.PODS_BY_NODE, ("", "x", "y", "z")),
    (indexes.PODS_BY_CONTROLLER, ("n/", "n-x/", "p", "q", "r")),
    (indexes.by_owner(kinds.POD), ("p", "q", "r", "s")),
)


def apply(cache: Cache, steps: Sequence[Step], model: dict[tuple[str, str], core.Pod]) -> None:
    for step in steps:
        if isinstance(step, tuple):
            cache.remove(kinds.POD, *step)
            model.pop(step, None)
        else:
            cache.put(entry(step))
            model[(step.metadata.namespace, step.metadata.name)] = step


def names(pods: Sequence[core.Pod]) -> list[tuple[str, str]]:
    return [(one.metadata.namespace, one.metadata.name) for one in pods]


def assert_same(view: View, model: dict[tuple[str, str], core.Pod]) -> None:
    assert names(view.list(kinds.POD)) == sorted(model)
    for namespace in ("n", "n-x", "o", "none"):
        assert names(view.list(kinds.POD, namespace)) == [place for place in sorted(model) if place[0] == namespace]
    for place in (("n", "a"), ("o", "d")):
        found = view.get(kinds.POD, *place)
        assert (found is None) == (place not in model)
        assert found is None or found.spec == model[place].spec
    for index, values in POD_INDEXES:
        for value in values:
            expected = [place for place in sorted(model) if value in index.keys(model[place])]
            assert names(view.select(index, value)) == expected, (index.name, value)


@settings(max_examples=80, deadline=None)
@given(STEPS, STEPS)
def test_indexes_say_what_a_scan_says(first: list[Step], second: list[Step]) -> None:
    cache, model = Cache(indexes.ALL, hot_max=2), {}
    for steps in (first, second):
        apply(cache, steps, model)
        assert_same(cache, model)


@settings(max_examples=80, deadline=None)
@given(STEPS, STEPS, STEPS)
def test_an_overlay_is_the_base_with_changes(base: list[Step], lower: list[Step], upper: list[Step]) -> None:
    cache, model = Cache(indexes.ALL, hot_max=2), {}
    apply(cache, base, model)
    below = dict(model)
    view: View = cache
    for steps in (lower, upper):
        view = overlay = Overlay(view)
        assert_same(overlay, model)
        for step in steps:
            if isinstance(step, tuple):
                overlay.remove(kinds.POD, *step)
                model.pop(step, None)
            else:
                overlay.put(step)
                model[(step.metadata.namespace, step.metadata.name)] = step
        assert_same(overlay, model)
    assert_same(cache, below)


def test_what_is_removed_leaves_nothing_behind() -> None:
    cache = Cache(indexes.ALL)
    cache.put(entry(pod("a", node="x")))
    cache.remove(kinds.POD, "default", "a")
    assert cache.select(indexes.PODS_BY_NODE, "x") == []
    assert cache.list(kinds.POD, "default") == []
    assert cache.remove(kinds.POD, "default", "a") is None


def test_only_so_many_objects_stay_decoded() -> None:
    cache = Cache(indexes.ALL, hot_max=3)
    entries = [entry(pod(name)) for name in "abcdef"]
    for one in entries:
        cache.put(one)
    assert sum(one.decoded is not None for one in entries) == 3


def test_what_is_read_stays_decoded() -> None:
    cache = Cache(indexes.ALL, hot_max=3)
    for name in "abc":
        cache.put(entry(pod(name)))
    wanted = cache.get(kinds.POD, "default", "a")
    cache.put(entry(pod("d")))
    assert cache.get(kinds.POD, "default", "a") is wanted


def test_bytes_that_are_no_object_change_nothing() -> None:
    cache = Cache(indexes.ALL)
    before = entry(pod("a", node="x"))
    cache.put(before)
    broken = entry(pod("a", node="y"))
    broken.raw = b"{"
    with pytest.raises(ValueError, match="truncated"):
        cache.put(broken)
    assert cache.entry(kinds.POD, "default", "a") is before
    assert len(cache.select(indexes.PODS_BY_NODE, "x")) == 1
