"""What the control plane's own parts write is known to be theirs; what nobody keeps account of stays out of it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.admission import Settings
from controlplane.admission.effects import Effectual, write_of
from mizzen.api.managed import entries, sets
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.base.ids import SeededIds
from mizzen.engine import canonical
from mizzen.engine.effects import Bind, Create, Update, UpdateStatus
from tests.fixtures import cluster_objects
from tests.fixtures.cluster_objects import NOW

CONTROLLERS = "kube-controller-manager"
NEW = canonical.at_version(cluster_objects.replica_set("web", 2), 0)
NAMESPACE = core.Namespace(metadata=meta.ObjectMeta(name="default", uid="u"))


def written(effect: Effectual, *there: Any, manager: str = CONTROLLERS) -> Any:
    """The object that an effect stores, at a version."""
    write = write_of(effect, cluster_objects.view(NAMESPACE, *there), NOW, SeededIds(1), Settings(), manager)
    assert write is not None
    return canonical.at_version(write.object, 7)


def who(obj: Any) -> dict[tuple[str, str], list[str]]:
    return {
        (one.manager, one.subresource): list(sets.paths(entries.fields_in(one))) for one in obj.metadata.managed_fields
    }


def test_controllers_are_known_by_the_name_of_their_program() -> None:
    made = written(Create(NEW))
    assert list(who(made)) == [(CONTROLLERS, "")]
    assert ".spec.replicas" in who(made)[CONTROLLERS, ""]
    assert not [path for path in who(made)[CONTROLLERS, ""] if path.startswith(".status")]
    scaled = written(Update(replace(made, spec=replace(made.spec, replicas=5))), made)
    assert who(scaled) == who(made)
    status = apps.ReplicaSetStatus(replicas=5, observed_generation=2)
    reported = written(UpdateStatus(replace(scaled, status=status)), scaled)
    assert who(reported)[CONTROLLERS, "status"] == [".status.observedGeneration", ".status.replicas"]


def test_without_a_name_nobody_keeps_account() -> None:
    made = written(Create(NEW), manager="")
    assert made.metadata.managed_fields == ()
    tracked = written(Create(NEW))
    changed = written(Update(replace(tracked, spec=replace(tracked.spec, replicas=5))), tracked, manager="")
    assert changed.metadata.managed_fields == tracked.metadata.managed_fields


def test_a_binding_is_nobodys() -> None:
    pod = core.Pod(
        metadata=meta.ObjectMeta(name="p", namespace="default"),
        spec=core.PodSpec(containers=(core.Container(name="c", image="i"),)),
    )
    made = written(Create(pod))
    node = cluster_objects.node("n1")
    bound = written(Bind("default", "p", made.metadata.uid, "n1"), made, node, manager="kube-scheduler")
    assert bound.spec.node_name == "n1"
    assert who(bound) == who(made)
