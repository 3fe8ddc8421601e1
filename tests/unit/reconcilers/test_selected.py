"""What a search by labels finds is what looking at everything finds."""

from __future__ import annotations

import pytest

from controlplane.reconcilers import ownership
from mizzen.api import kinds, selectors
from mizzen.api.types import apps_v1, core_v1, meta_v1, policy_v1
from mizzen.engine import indexes, selected
from mizzen.engine.cache import Cache
from mizzen.engine.overlay import Overlay
from tests.fixtures.cluster_objects import meta, pod, replica_set, view

EXPRESSION = meta_v1.LabelSelectorRequirement
SELECTORS = {
    "pair": meta_v1.LabelSelector(match_labels={"app": "web"}),
    "pairs": meta_v1.LabelSelector(match_labels={"app": "web", "tier": "front"}),
    "one-of-one": meta_v1.LabelSelector(match_expressions=(EXPRESSION(key="tier", operator="In", values=("front",)),)),
    "one-of-two": meta_v1.LabelSelector(
        match_expressions=(EXPRESSION(key="app", operator="In", values=("web", "db")),)
    ),
    "missing": meta_v1.LabelSelector(match_expressions=(EXPRESSION(key="tier", operator="DoesNotExist"),)),
    "everything": meta_v1.LabelSelector(),
    "nothing": None,
}
LABELS: tuple[dict[str, str], ...] = (
    {},
    {"app": "web"},
    {"app": "db", "tier": "front"},
    {"app": "web", "tier": "front"},
)


def budget(name: str, selector: meta_v1.LabelSelector | None) -> policy_v1.PodDisruptionBudget:
    spec = policy_v1.PodDisruptionBudgetSpec(selector=selector)
    return policy_v1.PodDisruptionBudget(metadata=meta(name), spec=spec)


def cluster() -> Overlay:
    pods = [
        core_v1.Pod(metadata=meta(f"p{n}", namespace, labels=labels))
        for namespace in ("default", "other")
        for n, labels in enumerate(LABELS)
    ]
    return view(*pods, *(budget(name, selector) for name, selector in SELECTORS.items()))


@pytest.mark.parametrize("name", SELECTORS)
def test_the_pods_of_a_selector(name: str) -> None:
    selector = selectors.from_field(SELECTORS[name])
    wanted = [f"p{n}" for n, labels in enumerate(LABELS) if selector.matches(labels)]
    assert [one.metadata.name for one in selected.pods(cluster(), "default", selector)] == wanted


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_the_budgets_of_a_pod(labels: dict[str, str]) -> None:
    wanted = {name for name, one in SELECTORS.items() if selectors.from_field(one).matches(labels)}
    found = [
        one.metadata.name for one in selected.candidates(cluster(), indexes.BUDGETS_BY_SELECTED, "default", labels)
    ]
    assert len(found) == len(set(found))
    assert wanted <= set(found)
    assert list(selected.candidates(cluster(), indexes.BUDGETS_BY_SELECTED, "other", labels)) == []


def test_a_service_without_a_selector_selects_nobody() -> None:
    bare = core_v1.Service(metadata=meta("bare"))
    web = core_v1.Service(metadata=meta("web"), spec=core_v1.ServiceSpec(selector={"app": "web"}))
    found = selected.candidates(view(bare, web), indexes.SERVICES_BY_SELECTED, "default", {"app": "web"})
    assert list(found) == [web]


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_who_could_adopt_is_who_selects(labels: dict[str, str]) -> None:
    sets = [
        apps_v1.ReplicaSet(metadata=meta(name), spec=apps_v1.ReplicaSetSpec(selector=selector))
        for name, selector in SELECTORS.items()
    ]
    elsewhere = apps_v1.ReplicaSet(metadata=meta("far", "other"), spec=sets[0].spec)
    orphan = core_v1.Pod(metadata=meta("p", labels=labels))
    found = ownership.keys_of(kinds.REPLICA_SET)(orphan, view(*sets, elsewhere))
    expected = {one.metadata.name for one in sets if selectors.from_field(one.spec.selector).matches(labels)}
    assert {(key.namespace, key.name) for key in found} == {("default", name) for name in expected}


@pytest.mark.parametrize("others", [0, ownership.FEW + 1])
def test_an_owner_finds_its_pods_and_the_free_ones_that_it_asks_for(others: int) -> None:
    owner = replica_set()
    mine = pod("mine", owner)
    free, far = pod("free", labels=mine.metadata.labels), pod("far", labels=mine.metadata.labels, namespace="other")
    crowd = [pod(f"other-{number:02}", labels={"app": "db"}) for number in range(others)]
    found = ownership.pods(view(mine, free, far, *crowd), owner, selectors.from_field(owner.spec.selector))
    assert [one.metadata.name for one in found] == ["mine", "free"]


def test_a_selector_that_nobody_can_read_adopts_nothing() -> None:
    broken = meta_v1.LabelSelector(match_expressions=(EXPRESSION(key="a", operator="Like", values=("b",)),))
    one = apps_v1.ReplicaSet(metadata=meta("r"), spec=apps_v1.ReplicaSetSpec(selector=broken))
    assert list(indexes.adopters(kinds.REPLICA_SET).keys(one)) == []


def test_counting_is_what_selecting_finds() -> None:
    world = cluster()
    value = indexes.labelled("default", "app", "web")
    assert world.count(indexes.PODS_BY_LABEL, value) == len(world.select(indexes.PODS_BY_LABEL, value)) == 2
    world.remove(kinds.POD, "default", "p1")
    assert world.count(indexes.PODS_BY_LABEL, value) == 1
    assert (
        Cache(indexes.ALL).count(indexes.PODS_BY_LABEL, value),
        Overlay(Cache(indexes.ALL)).count(indexes.PODS_BY_LABEL, value),
    ) == (0, 0)
