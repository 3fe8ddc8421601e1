"""Claims and volumes that are protected, claims that grow, nodes that have to be seen ready, and where pods are."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Settings
from controlplane.admission.effects import write_of
from mizzen.api import kinds
from mizzen.api.errors import Forbidden
from mizzen.api.types import core_v1 as core
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Bind
from tests.fixtures.admission import NOW_MS, Cluster
from tests.unit.admission.test_classes import made

EMPTY = Cluster.with_namespaces("default")
CLAIM = kinds.PERSISTENT_VOLUME_CLAIM


def test_what_may_be_in_use_is_protected() -> None:
    claim = EMPTY.create(made(CLAIM, metadata={"finalizers": ["example.com/f"]}), "default").object
    assert claim.metadata.finalizers == ("example.com/f", "kubernetes.io/pvc-protection")
    volume = EMPTY.create(made(kinds.PERSISTENT_VOLUME), "").object
    assert volume.metadata.finalizers == ("kubernetes.io/pv-protection",)
    let_go = replace(claim, metadata=replace(claim.metadata, finalizers=()))
    assert EMPTY.update(let_go, claim).object.metadata.finalizers == (), "only new ones are"


def test_a_new_node_is_not_ready() -> None:
    taint = core.Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")
    node = EMPTY.create(made(kinds.NODE), "").object
    assert taint in node.spec.taints
    assert EMPTY.create(node.__class__(metadata=made(kinds.NODE).metadata, spec=node.spec), "").object.spec == node.spec


def test_pods_are_told_where_their_node_is() -> None:
    here = {"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r", "rack": "7"}
    node = made(kinds.NODE, "n1", {"labels": here})
    cluster = EMPTY.having(node)
    labels = {"app": "web", "topology.kubernetes.io/zone": "elsewhere"}
    told = {"app": "web", "topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r"}
    assert (
        cluster.create(
            made(kinds.POD, "p", {"labels": labels}, spec={"nodeName": "n1"}), "default"
        ).object.metadata.labels
        == told
    )
    waiting = cluster.create(made(kinds.POD, "p", {"labels": labels}), "default").object
    assert waiting.metadata.labels == labels
    write = write_of(
        Bind("default", "p", waiting.metadata.uid, "n1"), cluster.having(waiting).view, NOW_MS, SeededIds(1), Settings()
    )
    assert write is not None
    assert write.object.metadata.labels == told


def grown(phase: str, **spec: Any) -> tuple[Any, Any]:
    """A claim as it is, and with more storage."""
    old = EMPTY.create(made(CLAIM, spec={"resources": {"requests": {"storage": "1Gi"}}, **spec}), "default").object
    old = replace(old, status=core.PersistentVolumeClaimStatus(phase=phase, capacity={"storage": "1Gi"}))
    wanted = replace(old.spec.resources, requests={"storage": "2Gi"})
    return replace(old, spec=replace(old.spec, resources=wanted)), old


@pytest.mark.parametrize("allows", [True, False, None])
def test_a_claim_grows_where_its_class_allows_it(allows: bool | None) -> None:
    storage_class = made(kinds.STORAGE_CLASS, "gold")
    cluster = EMPTY.having(replace(storage_class, allow_volume_expansion=allows))
    new, old = grown("Bound", storageClassName="gold")
    if allows:
        assert cluster.update(new, old).object.spec.resources.requests == {"storage": "2Gi"}
        return
    with pytest.raises(Forbidden, match="only dynamically provisioned pvc can be resized and the storageclass"):
        cluster.update(new, old)


def test_a_claim_without_a_class_does_not_grow() -> None:
    new, old = grown("Bound", storageClassName="")
    with pytest.raises(Forbidden, match="only dynamically provisioned pvc can be resized"):
        EMPTY.update(new, old)
