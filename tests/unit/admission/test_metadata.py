"""Identity: names, uids, namespaces, and what an update can't change."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Operation
from mizzen.api import errors, kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.admission import NOW, Cluster

CLUSTER = Cluster.with_namespaces("shop")


def _config(**metadata: Any) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(**metadata), data={"k": "v"})


def test_the_server_gives_identity() -> None:
    made = CLUSTER.create(_config(name="a", uid="mine", creation_timestamp="2020-01-01T00:00:00Z"), "shop").object
    assert made.metadata.namespace == "shop"
    assert made.metadata.uid not in ("", "mine")
    assert made.metadata.creation_timestamp == NOW
    assert made.metadata.generation == 0


def test_controllers_may_choose_the_uid() -> None:
    made = CLUSTER.create(_config(name="a", uid="mine"), "shop", internal=True).object
    assert made.metadata.uid == "mine"


def test_a_generated_name_has_five_more_letters_and_fits_into_a_label() -> None:
    made = CLUSTER.create(_config(generate_name="a-"), "shop").object
    assert made.metadata.name.startswith("a-")
    assert len(made.metadata.name) == 7
    long = CLUSTER.create(_config(generate_name="b" * 70), "shop").object
    assert len(long.metadata.name) == 63


def test_without_a_name_there_is_no_object() -> None:
    with pytest.raises(errors.Invalid, match="name or generateName is required"):
        CLUSTER.create(_config(), "shop")


def test_the_namespace_is_that_of_the_path() -> None:
    with pytest.raises(errors.BadRequest, match="does not match the namespace"):
        CLUSTER.create(_config(name="a", namespace="other"), "shop")
    node = CLUSTER.create(core.Node(metadata=meta.ObjectMeta(name="n", namespace="shop")), "").object
    assert node.metadata.namespace == ""


def test_a_new_object_has_no_version() -> None:
    with pytest.raises(errors.BadRequest, match="resourceVersion should not be set"):
        CLUSTER.create(_config(name="a", resource_version="5"), "shop")


OLD = replace(
    _config(name="a", namespace="shop", uid="u", creation_timestamp=NOW, resource_version="7"), data={"k": "old"}
)


def test_an_update_keeps_identity() -> None:
    made = CLUSTER.update(_config(name="a", creation_timestamp="2020-01-01T00:00:00Z"), OLD).object
    assert made == replace(OLD, data={"k": "v"})


def test_an_update_of_another_object_is_refused() -> None:
    with pytest.raises(errors.BadRequest, match="does not match the name on the URL"):
        CLUSTER.update(_config(name="b"), OLD)
    with pytest.raises(errors.Conflict, match="UID in precondition: other"):
        CLUSTER.update(_config(name="a", uid="other"), OLD)


def test_nothing_new_holds_back_a_deletion() -> None:
    going = replace(OLD, metadata=replace(OLD.metadata, deletion_timestamp=NOW, finalizers=("a.b/c",)))
    with pytest.raises(errors.Invalid, match="no new finalizers can be added"):
        CLUSTER.update(_config(name="a", finalizers=("a.b/c", "d.e/f")), going)
    made = CLUSTER.update(_config(name="a"), going).object
    assert made.metadata.finalizers == ()
    assert made.metadata.deletion_timestamp == NOW


def test_namespaces_must_exist_and_stay() -> None:
    with pytest.raises(errors.NotFound, match='namespaces "gone" not found'):
        CLUSTER.create(_config(name="a"), "gone")
    leaving = core.Namespace(
        metadata=meta.ObjectMeta(name="left", deletion_timestamp=NOW), status=core.NamespaceStatus(phase="Terminating")
    )
    with pytest.raises(errors.Forbidden, match="because it is being terminated") as refused:
        CLUSTER.having(leaving).create(_config(name="a"), "left")
    assert refused.value.details is not None
    assert refused.value.details.causes[0].reason == "NamespaceTerminating"


def test_the_cluster_cannot_lose_its_own_namespaces() -> None:
    namespace = core.Namespace(metadata=meta.ObjectMeta(name="kube-system"))
    with pytest.raises(errors.Forbidden, match="this namespace may not be deleted"):
        CLUSTER.ask(Operation.DELETE, kinds.NAMESPACE, "", namespace, namespace)
