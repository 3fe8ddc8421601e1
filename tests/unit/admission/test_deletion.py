"""What a deletion leaves of an object."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission.deletion import Deletion, delete, is_done
from mizzen.api import times
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.admission import NOW, NOW_MS


def _pod(node: str = "n1", phase: str = "Running", grace_s: int | None = 30, **metadata: Any) -> core.Pod:
    return core.Pod(
        metadata=meta.ObjectMeta(name="p", generation=1, **metadata),
        spec=core.PodSpec(node_name=node, termination_grace_period_seconds=grace_s),
        status=core.PodStatus(phase=phase),
    )


def _marks(obj: Any) -> tuple[str, int | None]:
    return obj.metadata.deletion_timestamp, obj.metadata.deletion_grace_period_seconds


def test_a_running_pod_gets_its_time_to_stop() -> None:
    left = delete(_pod(), Deletion(), NOW_MS)
    assert _marks(left) == (times.render(NOW_MS + 30_000), 30)
    assert left.metadata.generation == 2
    assert not is_done(left)


@pytest.mark.parametrize(
    "pod", [_pod(node=""), _pod(phase="Succeeded"), _pod(phase="Failed"), _pod(grace_s=0), _pod(grace_s=None)]
)
def test_a_pod_that_does_not_run_goes_at_once(pod: core.Pod) -> None:
    assert delete(pod, Deletion(), NOW_MS) is None


def test_the_time_can_be_chosen_and_shortened_but_not_extended() -> None:
    left = delete(_pod(), Deletion(grace_s=10), NOW_MS)
    assert _marks(left)[1] == 10
    assert delete(left, Deletion(grace_s=60), NOW_MS + 1000) == left
    assert delete(left, Deletion(), NOW_MS + 1000) == left
    shorter = delete(left, Deletion(grace_s=4), NOW_MS + 1000)
    assert _marks(shorter) == (times.render(NOW_MS + 4_000), 4)
    assert delete(left, Deletion(grace_s=0), NOW_MS) is None
    assert _marks(delete(_pod(), Deletion(grace_s=-5), NOW_MS))[1] == 1


def test_finalizers_hold_an_object() -> None:
    config = core.ConfigMap(metadata=meta.ObjectMeta(name="c", finalizers=("a.b/c",)))
    left = delete(config, Deletion(), NOW_MS)
    assert _marks(left) == (NOW, 0)
    assert delete(left, Deletion(), NOW_MS + 5000) == left
    free = replace(left, metadata=replace(left.metadata, finalizers=()))
    assert is_done(free)
    assert delete(core.ConfigMap(), Deletion(), NOW_MS) is None


@pytest.mark.parametrize(
    ("propagation", "finalizers"),
    [("Background", ("a.b/c",)), ("Foreground", ("a.b/c", "foregroundDeletion")), ("Orphan", ("a.b/c", "orphan"))],
)
def test_propagation_is_a_finalizer(propagation: str, finalizers: tuple[str, ...]) -> None:
    deployment = apps.Deployment(metadata=meta.ObjectMeta(name="d", generation=4, finalizers=("orphan", "a.b/c")))
    left = delete(deployment, Deletion(propagation=propagation), NOW_MS)
    assert left is not None
    assert left.metadata.finalizers == finalizers
    assert left.metadata.generation == 5


def test_without_a_word_the_object_decides() -> None:
    deployment = apps.Deployment(metadata=meta.ObjectMeta(name="d", finalizers=("orphan",)))
    left = delete(deployment, Deletion(), NOW_MS)
    assert left is not None
    assert left.metadata.finalizers == ("orphan",)
    assert delete(deployment, Deletion(propagation="Background"), NOW_MS) is None


def test_a_namespace_waits_until_it_is_empty() -> None:
    namespace = core.Namespace(
        metadata=meta.ObjectMeta(name="n"), spec=core.NamespaceSpec(finalizers=("kubernetes",)),
        status=core.NamespaceStatus(phase="Active"),
    )  # fmt: skip
    left = delete(namespace, Deletion(), NOW_MS)
    assert left is not None
    assert left.status.phase == "Terminating"
    assert left.metadata.deletion_timestamp == NOW
    assert delete(left, Deletion(), NOW_MS + 9000) == left
    assert not is_done(left)
    assert is_done(replace(left, spec=core.NamespaceSpec()))
