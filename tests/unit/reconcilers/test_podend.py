"""Ended pods beyond what is kept: the oldest go, evicted ones before others, so many at a time."""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane.reconcilers import podend
from mizzen.api.types import core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Delete
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, pod, view

CLUSTER = Key("namespaces", "", "kube-system")


def ended(name: str, age_s: int, phase: str = "Succeeded", reason: str = "", **metadata: Any) -> core_v1.Pod:
    made = pod(name, node="n1")
    status = core_v1.PodStatus(phase=phase, reason=reason)
    named = meta(name, creation_timestamp=at(-age_s), **metadata)
    return msgspec.structs.replace(made, metadata=named, status=status)


def removed(*objects: Any, kept: int = 2, at_once: int = 10, key: Key = CLUSTER) -> list[str]:
    decision = podend.controller(kept, at_once).reconcile(key, view(*objects), NOW, SeededIds(1))
    assert all(
        isinstance(e, Delete) and e.grace_period_s == 0 and e.uid == f"uid-{e.key.name}" for e in decision.effects
    )
    return [effect.key.name for effect in decision.effects if isinstance(effect, Delete)]


def test_so_many_are_kept() -> None:
    assert removed(ended("a", 1), ended("b", 2), pod("c", node="n1"), pod("d", node="n1")) == []


def test_the_oldest_go() -> None:
    assert removed(ended("a", 1), ended("b", 30, "Failed"), ended("c", 20), ended("d", 10)) == ["b", "c"]


def test_evicted_ones_go_before_older_ones() -> None:
    assert removed(ended("a", 30), ended("b", 5, "Failed", "Evicted"), ended("c", 20)) == ["b"]


def test_what_is_on_its_way_out_is_not_counted_twice() -> None:
    leaving = ended("old", 90, deletion_timestamp=at(), finalizers=("batch.kubernetes.io/job-tracking",))
    assert removed(leaving, ended("a", 1), ended("b", 2)) == []
    assert removed(leaving, ended("a", 1), ended("b", 2), ended("c", 3)) == ["c"]


def test_one_decision_is_bounded() -> None:
    assert removed(*(ended(f"p{n}", n) for n in range(9)), at_once=3) == ["p8", "p7", "p6"]


def test_one_key_stands_for_the_cluster() -> None:
    many = [ended(f"p{n}", n) for n in range(9)]
    assert removed(*many, key=Key("namespaces", "", "default")) == []
    ((_, mapper),) = podend.controller().watches
    assert (list(mapper(many[0], view())), list(mapper(pod("a"), view()))) == ([CLUSTER], [])
