"""Folders of NFS shares: what is made for a claim, and who takes it away."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.reconcilers.persistentvolume import NO_CLIENT
from mizzen.api import nfsvolumes, volumes
from mizzen.api.edit import edited
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine.effects import Create, Update
from tests.unit.reconcilers.test_persistentvolumes import BOUND, claim, of_claim, of_volume, ref, told, volume, written
from tests.unit.reconcilers.test_persistentvolumes import storage_class as any_class

PARAMETERS = {"server": "nas", "share": "/export"}
MARKED = {"storage_class_name": "fast", "annotations": {
    volumes.STORAGE_PROVISIONER: volumes.NFS, volumes.OLD_STORAGE_PROVISIONER: volumes.NFS,
}}  # fmt: skip


def asked(**parameters: str) -> Any:
    """A class of folders of a share."""
    return any_class(provisioner=volumes.NFS, parameters={**PARAMETERS, **parameters}, mount_options=("nfsvers=4.1",))


def node(name: str, *, client: str = "true", ready: str = "True") -> core_v1.Node:
    metadata = meta_v1.ObjectMeta(name=name, uid=name, resource_version="1", annotations={nfsvolumes.CLIENT: client})
    status = core_v1.NodeStatus(conditions=(core_v1.NodeCondition(type="Ready", status=ready),))
    return core_v1.Node(metadata=metadata, status=status)


def ending(path: str = "/export/a", on_delete: str = "delete", policy: str = "Delete", home: str = "") -> Any:
    """A volume that nobody uses and that is being deleted."""
    marks = {nfsvolumes.SHARE: "/export", nfsvolumes.ON_DELETE: on_delete, **({volumes.HOME: home} if home else {})}
    return volume(
        annotations=marks, finalizers=(volumes.NFS,), deletion_timestamp="2026-01-01T00:00:00Z",
        nfs=core_v1.NFSVolumeSource(server="nas", path=path), persistent_volume_reclaim_policy=policy,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("", "/export/pvc-uid-data"),
        ("${pvc.metadata.namespace}/${pvc.metadata.name}", "/export/default/data"),
        ("/all/${pv.metadata.name}/", "/export/all/pvc-uid-data"),
    ],
)
def test_a_volume_is_made(pattern: str, path: str) -> None:
    wanted = claim(access_modes=("ReadWriteMany",), **MARKED)
    wanted = edited(wanted, metadata=edited(wanted.metadata, uid="uid-data"))
    made = of_claim(wanted, asked(subDir=pattern) if pattern else asked()).effects[0]
    assert isinstance(made, Create)
    found = made.object
    assert (found.spec.nfs.server, found.spec.nfs.path) == ("nas", path)
    assert found.spec.mount_options == ("nfsvers=4.1",)
    assert found.spec.access_modes == ("ReadWriteMany",)
    assert found.spec.node_affinity is None
    assert nfsvolumes.place_of(found) == ("/export", path.removeprefix("/export/"))


@pytest.mark.parametrize(
    ("parameters", "more", "why"),
    [
        ({"server": ""}, {}, 'storage class "fast" must have the parameter server'),
        ({"share": ""}, {}, 'storage class "fast" must have the parameter share'),
        ({"onDelete": "burn"}, {}, "must be one of delete, retain, archive"),
        ({"subdir": "${pvc.metadata.uid}"}, {}, "has ${pvc.metadata.uid}; there are pv.metadata.name, pvc."),
        ({"subDir": "../${pvc.metadata.name}"}, {}, "must be a path below the share"),
        ({"quota": "1Gi"}, {}, 'parameter "quota" of storage class "fast" is not known'),
        ({}, {"volume_mode": "Block"}, "volumeMode Block is not supported"),
    ],
)  # fmt: skip
def test_why_none_can_be_made(parameters: dict[str, str], more: dict[str, Any], why: str) -> None:
    ((reason, message),) = told(of_claim(claim(**MARKED, **more), asked(**parameters)))
    assert reason == "ProvisioningFailed"
    assert why in message


def test_it_grows_by_saying_so() -> None:
    wanted = claim(size="2Gi", annotations=BOUND, volume_name="pv")
    mine = volume(annotations={volumes.PROVISIONED_BY: volumes.NFS}, claim_ref=ref(wanted))
    assert written(of_claim(wanted, mine)).spec.capacity == {"storage": "2Gi"}


def test_a_node_that_can_mount_takes_the_folder_away() -> None:
    nodes = [node("n1", ready="False"), node("n2", client="false"), node("n3"), node("n4")]
    assert written(of_volume(ending(), *nodes)).metadata.annotations[volumes.HOME] == "n3"
    assert of_volume(ending(home="n3"), *nodes).effects == ()
    assert written(of_volume(ending(home="n1"), *nodes)).metadata.annotations[volumes.HOME] == "n3"
    assert told(of_volume(ending(), *nodes[:2])) == [("VolumeFailedDelete", NO_CLIENT)]


@pytest.mark.parametrize(
    ("gone", "others"),
    [
        (ending(on_delete="retain"), ()),
        (ending(policy="Retain"), ()),
        (ending(path="/elsewhere"), ()),
        (ending(), (volume("b", nfs=core_v1.NFSVolumeSource(server="nas", path="/export/a")),)),
        (ending(), (volume("b", nfs=core_v1.NFSVolumeSource(server="nas", path="/export/a/b")),)),
    ],
    ids=["kept by class", "kept by policy", "not its own", "shown by another", "part of it shown by another"],
)
def test_data_that_is_to_stay_stays(gone: Any, others: tuple[Any, ...]) -> None:
    (effect,) = of_volume(gone, *others, node("n3")).effects
    assert isinstance(effect, Update)
    assert effect.object.metadata.finalizers == ()


def test_what_lies_beside_is_no_reason() -> None:
    beside = volume("b", nfs=core_v1.NFSVolumeSource(server="nas", path="/export/ab"))
    assert written(of_volume(ending(), beside, node("n3"))).metadata.annotations[volumes.HOME] == "n3"
