"""Counting what the objects of a namespace use up of its quotas."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers.resourcequota import CONTROLLER, reconcile
from mizzen.api import kinds
from mizzen.api.types import core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Decision, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, pod, replica_set, view

KEY = Key("resourcequotas", "default", "q")


def quota(hard: dict[str, str], status: dict[str, Any] | None = None, **spec: Any) -> core_v1.ResourceQuota:
    return core_v1.ResourceQuota(
        metadata=meta("q"),
        spec=core_v1.ResourceQuotaSpec(hard=hard, **spec),
        status=core_v1.ResourceQuotaStatus(**(status or {})),
    )


def decide(*objects: Any) -> Decision:
    return reconcile(KEY, view(*objects), NOW, SeededIds(1))


def counted(*objects: Any) -> dict[str, str]:
    (effect,) = decide(*objects).effects
    found = changed(effect)
    assert found.status.hard == found.spec.hard
    return dict(found.status.used)


def changed(effect: Any) -> core_v1.ResourceQuota:
    assert isinstance(effect, UpdateStatus)
    assert isinstance(effect.object, core_v1.ResourceQuota)
    return effect.object


def ended(name: str) -> core_v1.Pod:
    one = pod(name)
    return msgspec.structs.replace(one, status=msgspec.structs.replace(one.status, phase="Succeeded"))


def test_a_new_quota_is_counted() -> None:
    hard = {"pods": "5", "count/pods": "9", "count/replicasets.apps": "1", "secrets": "3", "requests.cpu": "1"}
    elsewhere = msgspec.structs.replace(pod("x"), metadata=meta("x", "other"))
    found = counted(quota(hard), pod("a"), pod("b"), ended("c"), elsewhere, replica_set())
    assert found == {"pods": "2", "count/pods": "3", "count/replicasets.apps": "1", "secrets": "0", "requests.cpu": "0"}


def asking(name: str, cpu: str) -> core_v1.Pod:
    one = pod(name)
    resources = core_v1.ResourceRequirements(requests={"cpu": cpu}, limits={"cpu": "1"})
    container = msgspec.structs.replace(one.spec.containers[0], resources=resources)
    return msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, containers=(container,)))


def test_pods_that_ask_for_the_same_count_each() -> None:
    pods = [asking(f"a{n}", "100m") for n in range(7)] + [asking(f"b{n}", "1") for n in range(3)]
    found = counted(quota({"pods": "50", "requests.cpu": "50", "limits.cpu": "50"}), *pods)
    assert found == {"pods": "10", "requests.cpu": "3700m", "limits.cpu": "10"}


def test_what_is_right_is_not_written_again() -> None:
    status = {"hard": {"pods": "1000m"}, "used": {"pods": "1"}}
    assert decide(quota({"pods": "1"}, status), pod("a")).effects == ()


def test_changed_limits_are_taken_over_and_what_is_bounded_no_longer_is_forgotten() -> None:
    status = {"hard": {"pods": "1", "secrets": "1"}, "used": {"pods": "1", "secrets": "0"}}
    assert counted(quota({"pods": "7"}, status), pod("a")) == {"pods": "1"}


def test_only_what_is_in_scope_counts() -> None:
    assert counted(quota({"pods": "7"}, scopes=("Terminating",)), pod("a")) == {"pods": "0"}


def test_a_pod_that_is_stuck_counts_until_it_should_have_ended() -> None:
    going = msgspec.structs.replace(
        pod("a"), metadata=meta("a", deletion_timestamp=at(-20), deletion_grace_period_seconds=30)
    )
    decision = decide(quota({"pods": "7"}), going)
    (effect,) = decision.effects
    assert changed(effect).status.used == {"pods": "1"}
    assert decision.wake_after_ms == 10_001
    late = reconcile(KEY, view(quota({"pods": "7"}), going), NOW + 10_001, SeededIds(1)).effects[0]
    assert changed(late).status.used == {"pods": "0"}


@pytest.mark.parametrize(("kind", "concerned"), [(kinds.POD, True), (kinds.SECRET, False)])
def test_a_change_concerns_the_quotas_that_count_it(kind: kinds.Kind[Any], concerned: bool) -> None:
    mapper = dict(CONTROLLER.watches)[kind]
    obj = pod("a") if kind is kinds.POD else core_v1.Secret(metadata=meta("s"))
    assert list(mapper(obj, view(quota({"pods": "1"})))) == ([KEY] if concerned else [])
    assert not list(mapper(obj, view()))
