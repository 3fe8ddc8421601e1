"""Claims find their volumes, volumes follow their claims."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers import persistentvolume, persistentvolumeclaim
from mizzen.api import kinds, localvolumes, volumes
from mizzen.api.edit import edited
from mizzen.api.types import core_v1, meta_v1, storage_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Decision, Delete, Emit, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, pod, view

BOUND = {volumes.BIND_COMPLETED: "yes"}
LATER = "WaitForFirstConsumer"


def claim(name: str = "data", size: str = "1Gi", **spec: Any) -> core_v1.PersistentVolumeClaim:
    annotations = spec.pop("annotations", {})
    spec = {"access_modes": ("ReadWriteOnce",), "volume_mode": "Filesystem", **spec}
    resources = core_v1.VolumeResourceRequirements(requests={"storage": size})
    return core_v1.PersistentVolumeClaim(
        metadata=meta(name, annotations=annotations),
        spec=core_v1.PersistentVolumeClaimSpec(resources=resources, **spec),
        status=core_v1.PersistentVolumeClaimStatus(phase="Pending"),
    )


def volume(name: str = "pv", size: str = "1Gi", phase: str = "Available", **spec: Any) -> core_v1.PersistentVolume:
    more = {key: spec.pop(key) for key in ("annotations", "labels", "finalizers", "deletion_timestamp") if key in spec}
    spec = {"access_modes": ("ReadWriteOnce", "ReadOnlyMany"), "volume_mode": "Filesystem", **spec}
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(name=name, uid=f"uid-{name}", resource_version="1", **more),
        spec=core_v1.PersistentVolumeSpec(capacity={"storage": size}, **spec),
        status=core_v1.PersistentVolumeStatus(phase=phase),
    )


def ref(of: core_v1.PersistentVolumeClaim, uid: str | None = None) -> core_v1.ObjectReference:
    uid = of.metadata.uid if uid is None else uid
    return core_v1.ObjectReference(kind="PersistentVolumeClaim", namespace="default", name=of.metadata.name, uid=uid)


def storage_class(name: str = "fast", mode: str = "Immediate", **more: Any) -> storage_v1.StorageClass:
    metadata = meta_v1.ObjectMeta(name=name, uid=f"uid-{name}", resource_version="1")
    more = {"provisioner": volumes.LOCAL, "reclaim_policy": "Delete", **more}
    return storage_v1.StorageClass(metadata=metadata, volume_binding_mode=mode, **more)


def node(name: str = "n1", folder: str = "/state/local-volumes") -> core_v1.Node:
    annotations = {volumes.LOCAL_FOLDER: folder} if folder else {}
    labels = {volumes.HOSTNAME: name}
    metadata = meta_v1.ObjectMeta(name=name, uid=name, resource_version="1", labels=labels, annotations=annotations)
    return core_v1.Node(metadata=metadata)


def of_claim(*objects: Any, name: str = "data") -> Decision:
    key = Key(kinds.PERSISTENT_VOLUME_CLAIM.resource, "default", name)
    return persistentvolumeclaim.reconcile(key, view(*objects), NOW, SeededIds(1))


def of_volume(*objects: Any, name: str = "pv") -> Decision:
    key = Key(kinds.PERSISTENT_VOLUME.resource, "", name)
    return persistentvolume.reconcile(key, view(*objects), NOW, SeededIds(1))


def told(decision: Decision) -> list[tuple[str, str]]:
    return [(effect.reason, effect.message) for effect in decision.effects if isinstance(effect, Emit)]


def written(decision: Decision, place: int = 0) -> Any:
    """The object that an effect writes."""
    effect = decision.effects[place]
    assert isinstance(effect, (Update, UpdateStatus))
    return effect.object


def taken(decision: Decision) -> str:
    """The name of the volume that the claim gets; empty for none."""
    for effect in decision.effects:
        if isinstance(effect, Update) and isinstance(effect.object, core_v1.PersistentVolumeClaim):
            assert effect.object.metadata.annotations[volumes.BIND_COMPLETED] == "yes"
            return effect.object.spec.volume_name
    return ""


LABELLED = meta_v1.LabelSelector(match_labels={"disk": "ssd"})


@pytest.mark.parametrize(
    ("wanted", "offered", "gets"),
    [
        (claim(), [volume()], "pv"),
        (claim(size="2Gi"), [volume()], ""),
        (claim(), [volume("a", "9Gi"), volume("b", "2Gi"), volume("c", "3Gi")], "b"),
        (claim(), [volume("b"), volume("a")], "a"),
        (claim(), [volume(phase="Pending")], ""),
        (claim(), [volume(phase="Released", claim_ref=ref(claim("other")))], ""),
        (claim(), [volume(storage_class_name="fast")], ""),
        (claim(storage_class_name="fast"), [volume()], ""),
        (claim(storage_class_name="fast"), [volume(storage_class_name="fast")], "pv"),
        (claim(access_modes=("ReadWriteMany",)), [volume()], ""),
        (claim(access_modes=("ReadOnlyMany",)), [volume()], "pv"),
        (claim(volume_mode="Block"), [volume()], ""),
        (claim(selector=LABELLED), [volume("a"), volume("b", "5Gi", labels={"disk": "ssd"})], "b"),
        (claim(), [volume(deletion_timestamp=at(-1))], ""),
        # Reserved for it by name, whatever the phase, the class and the size of others.
        (claim(), [volume("a"), volume("b", "5Gi", phase="Pending", claim_ref=ref(claim(), ""))], "b"),
        (claim(), [volume(claim_ref=ref(claim("other"), ""))], ""),
        (claim(), [volume(claim_ref=ref(claim(), "an older one"))], ""),
        (claim(volume_name="b"), [volume("a"), volume("b", "5Gi")], "b"),
        (claim(volume_name="b", size="9Gi"), [volume("b", "5Gi")], ""),
        (claim(volume_name="b"), [volume("b", claim_ref=ref(claim("other")))], ""),
        (claim(volume_name="b"), [volume("a")], ""),
    ],
)
def test_a_claim_takes_the_smallest_volume_that_suits(wanted: Any, offered: list[Any], gets: str) -> None:
    assert taken(of_claim(wanted, *offered)) == gets


def test_a_volume_is_reserved_before_its_claim_says_so() -> None:
    first, second = of_claim(claim(), volume()).effects
    assert isinstance(first, Update)
    assert isinstance(first.object, core_v1.PersistentVolume)
    assert first.object.spec.claim_ref is not None
    assert first.object.spec.claim_ref.uid == claim().metadata.uid
    assert first.object.metadata.annotations == {volumes.BOUND_BY_CONTROLLER: "yes"}
    assert isinstance(second, Update)
    assert second.object.metadata.annotations == {**BOUND, volumes.BOUND_BY_CONTROLLER: "yes"}
    # After a death in between the rest is done.
    assert taken(of_claim(claim(), first.object)) == "pv"
    # Who was named by both sides was bound by neither.
    named = of_claim(claim(volume_name="pv"), volume(claim_ref=ref(claim(), ""))).effects
    assert [effect.object.metadata.annotations for effect in named if isinstance(effect, Update)] == [{}, BOUND]


@pytest.mark.parametrize(
    ("wanted", "others", "reason", "message"),
    [
        (claim(), [], "FailedBinding", persistentvolumeclaim.NOTHING_FITS),
        (claim(storage_class_name="fast"), [], "ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found'),
        (
            claim(storage_class_name="fast"),
            [storage_class(mode=LATER)],
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        ),
        (
            claim(storage_class_name="fast", annotations={volumes.SELECTED_NODE: "n9"}),
            [storage_class(mode=LATER)],
            "ProvisioningFailed",
            'node "n9" not found',
        ),
        (
            claim(volume_name="pv"),
            [volume(size="1Mi")],
            "VolumeMismatch",
            'Cannot bind to requested volume "pv": requested PV is too small',
        ),
        (
            claim(volume_name="pv"),
            [volume(claim_ref=ref(claim("other")))],
            "FailedBinding",
            'volume "pv" already bound to a different claim.',
        ),
    ],
)
def test_a_claim_that_waits_says_why(wanted: Any, others: list[Any], reason: str, message: str) -> None:
    marks = {volumes.STORAGE_PROVISIONER: volumes.LOCAL, volumes.OLD_STORAGE_PROVISIONER: volumes.LOCAL}
    wanted = edited(wanted, metadata=edited(wanted.metadata, annotations={**wanted.metadata.annotations, **marks}))
    decision = of_claim(wanted, *others)
    assert told(decision) == [(reason, message)]
    assert decision.wake_after_ms


def test_a_claim_names_the_pod_that_is_not_scheduled_yet() -> None:
    user = pod("p")
    mount = core_v1.PersistentVolumeClaimVolumeSource(claim_name="data")
    mounts = (core_v1.Volume(name="v", persistent_volume_claim=mount),)
    user = msgspec.structs.replace(user, spec=msgspec.structs.replace(user.spec, volumes=mounts))
    decision = of_claim(claim(storage_class_name="fast"), storage_class(mode=LATER), user)
    assert told(decision) == [("WaitForFirstConsumer", "waiting for pod p to be scheduled")]


def test_an_external_provisioner_is_named_and_waited_for() -> None:
    wanted = claim(storage_class_name="fast")
    csi = storage_class(provisioner="csi.example.com")
    (marked,) = of_claim(wanted, csi).effects
    assert isinstance(marked, Update)
    assert marked.object.metadata.annotations[volumes.STORAGE_PROVISIONER] == "csi.example.com"
    ((reason, message),) = told(of_claim(marked.object, csi))
    assert reason == "ExternalProvisioning"
    assert "external provisioner 'csi.example.com'" in message


def test_a_folder_is_provisioned_on_the_selected_node() -> None:
    marks = {volumes.STORAGE_PROVISIONER: volumes.LOCAL, volumes.OLD_STORAGE_PROVISIONER: volumes.LOCAL}
    wanted = claim(storage_class_name="fast", annotations={**marks, volumes.SELECTED_NODE: "n1"})
    made, event = of_claim(wanted, storage_class(mode=LATER), node()).effects
    assert isinstance(made, Create)
    assert isinstance(made.object, core_v1.PersistentVolume)
    assert made.object.spec.local is not None
    assert isinstance(event, Emit)
    name = f"pvc-{wanted.metadata.uid}"
    assert (event.reason, event.message) == ("ProvisioningSucceeded", f"Successfully provisioned volume {name}")
    assert made.object.spec.local.path == f"/state/local-volumes/{name}"
    assert made.object.spec.persistent_volume_reclaim_policy == "Delete"
    assert volumes.home_of(made.object) == "n1"
    assert taken(of_claim(wanted, made.object, storage_class(mode=LATER), node())) == name
    nowhere = of_claim(wanted, storage_class(mode=LATER), node(folder=""))
    assert volumes.SELECTED_NODE not in written(nowhere, 1).metadata.annotations


def test_a_volume_knows_its_node_whose_host_name_is_another() -> None:
    other = node()
    other = edited(other, metadata=edited(other.metadata, labels={volumes.HOSTNAME: "host-7"}))
    wanted = claim(storage_class_name="fast", annotations={volumes.SELECTED_NODE: "n1"})
    made = localvolumes.made(wanted, storage_class(mode=LATER), other)
    assert made.spec.node_affinity is not None
    (term,) = made.spec.node_affinity.required.node_selector_terms  # type: ignore[union-attr]
    assert term.match_expressions[0].values == ("host-7",), "pods are placed by the label"
    assert volumes.home_of(made) == "n1", "and the folder is taken away by the node"
    marks = edited(made.metadata, name="pv", finalizers=(volumes.LOCAL,), deletion_timestamp=at())
    ending = edited(made, metadata=marks, status=core_v1.PersistentVolumeStatus(phase="Released"))
    assert of_volume(ending, other) == Decision(), "as long as there is one"
    assert written(of_volume(ending)).metadata.finalizers == ()


def test_a_bound_claim_shows_its_volume_grows_it_and_notices_its_loss() -> None:
    bound = claim(volume_name="pv", annotations=BOUND)
    mine = volume(claim_ref=ref(bound), annotations={volumes.PROVISIONED_BY: volumes.LOCAL})
    shown = written(of_claim(bound, mine))
    assert shown.status.phase == "Bound"
    assert shown.status.capacity == {"storage": "1Gi"}
    assert of_claim(shown, mine) == Decision()
    larger = claim(volume_name="pv", annotations=BOUND, size="4Gi")
    grown = of_claim(larger, mine)
    assert written(grown).spec.capacity == {"storage": "4Gi"}
    assert told(grown) == [("VolumeResizeSuccessful", "Resize volume succeeded")]
    assert told(of_claim(bound)) == [("ClaimLost", persistentvolumeclaim.LOST_VOLUME)]
    stolen = volume(claim_ref=ref(claim("other")))
    assert told(of_claim(bound, stolen)) == [("ClaimMisbound", persistentvolumeclaim.MISBOUND)]


@pytest.mark.parametrize(
    ("before", "claims", "phase"),
    [
        (volume(phase="Pending"), [], "Available"),
        (volume(phase="Pending", claim_ref=ref(claim(), "")), [], "Available"),
        (volume(claim_ref=ref(claim())), [claim(volume_name="pv")], "Bound"),
        (volume(phase="Bound", claim_ref=ref(claim())), [], "Released"),
        (volume(phase="Bound", claim_ref=ref(claim(), "an older one")), [claim(volume_name="pv")], "Released"),
    ],
)
def test_the_phase_of_a_volume(before: Any, claims: list[Any], phase: str) -> None:
    assert written(of_volume(before, *claims)).status.phase == phase


def test_a_released_volume_goes_the_way_of_its_policy() -> None:
    gone: dict[str, Any] = {"phase": "Released", "claim_ref": ref(claim())}
    assert of_volume(volume(**gone, persistent_volume_reclaim_policy="Retain")) == Decision()
    made = {volumes.PROVISIONED_BY: volumes.LOCAL}
    (deleted,) = of_volume(volume(**gone, persistent_volume_reclaim_policy="Delete", annotations=made)).effects
    assert isinstance(deleted, Delete)
    elsewhere = volume(**gone, persistent_volume_reclaim_policy="Delete", annotations={volumes.PROVISIONED_BY: "x"})
    assert of_volume(elsewhere) == Decision(), "whoever made it takes it away"
    ((reason, _),) = told(of_volume(volume(**gone, persistent_volume_reclaim_policy="Delete")))
    assert reason == "VolumeFailedDelete"
    failed = of_volume(volume(**gone, persistent_volume_reclaim_policy="Recycle"))
    assert told(failed) == [("VolumeFailedRecycle", "No recycler plugin found for the volume!")]
    assert written(failed, 1).status.phase == "Failed"


def test_a_node_s_volume_stays_until_its_node_has_taken_the_folder_away() -> None:
    def going(policy: str, finalizers: tuple[str, ...] = (volumes.LOCAL,)) -> core_v1.PersistentVolume:
        made = localvolume(policy)
        return edited(made, metadata=edited(made.metadata, finalizers=finalizers, deletion_timestamp=at(-1)))

    assert of_volume(going("Delete"), node()) == Decision()
    both = (volumes.VOLUME_FINALIZER, volumes.LOCAL)
    assert of_volume(going("Retain", both), node()) == Decision(), "it is protected still"
    for objects in ([going("Delete"), node("n2")], [going("Retain"), node()]):
        (effect,) = of_volume(*objects).effects
        assert isinstance(effect, Update)
        assert effect.object.metadata.finalizers == ()


def localvolume(policy: str) -> core_v1.PersistentVolume:
    here = core_v1.NodeSelectorRequirement(key=volumes.HOSTNAME, operator="In", values=("n1",))
    required = core_v1.NodeSelector(node_selector_terms=(core_v1.NodeSelectorTerm(match_expressions=(here,)),))
    return volume(
        phase="Released",
        claim_ref=ref(claim()),
        persistent_volume_reclaim_policy=policy,
        local=core_v1.LocalVolumeSource(path="/state/local-volumes/pv"),
        node_affinity=core_v1.VolumeNodeAffinity(required=required),
        annotations={volumes.PROVISIONED_BY: volumes.LOCAL},
        finalizers=(volumes.LOCAL,),
    )


def test_attributes_must_be_those_that_are_asked_for() -> None:
    wanted = claim(storage_class_name="fast", volume_attributes_class_name="gold")
    plain = volume("plain", storage_class_name="fast")
    golden = volume("golden", storage_class_name="fast", volume_attributes_class_name="gold")
    assert written(of_claim(wanted, storage_class(), plain, golden)).metadata.name == "golden"
    named = claim(storage_class_name="fast", volume_name="golden")
    ((reason, message),) = told(of_claim(named, storage_class(), golden))
    assert (reason, message) == (
        "VolumeMismatch", 'Cannot bind to requested volume "golden": volumeAttributesClassName does not match'
    )  # fmt: skip
    bound = claim(annotations=BOUND, volume_name="golden", volume_attributes_class_name="gold")
    mine = volume("golden", claim_ref=ref(bound), volume_attributes_class_name="gold")
    assert written(of_claim(bound, mine)).status.current_volume_attributes_class_name == "gold"


@pytest.mark.parametrize("provisioner", [volumes.LOCAL, volumes.NFS])
def test_folders_are_not_made_out_of_other_data(provisioner: str) -> None:
    marks = {volumes.STORAGE_PROVISIONER: provisioner, volumes.OLD_STORAGE_PROVISIONER: provisioner}
    source = core_v1.TypedObjectReference(kind="PersistentVolumeClaim", name="other")
    wanted = claim(storage_class_name="fast", data_source_ref=source, annotations=marks)
    ((reason, message),) = told(of_claim(wanted, storage_class(provisioner=provisioner)))
    said = f'plugin "{provisioner}" is not a CSI plugin. Only CSI plugin can provision a claim with a datasource'
    assert (reason, message) == ("ProvisioningFailed", said)


def test_a_driver_s_volume_is_grown_by_others() -> None:
    wanted = claim(size="2Gi", annotations=BOUND, volume_name="pv")
    bound_before = edited(wanted.status, phase="Bound", capacity={"storage": "1Gi"}, access_modes=("ReadWriteOnce",))
    wanted = edited(wanted, status=bound_before)
    small = volume(claim_ref=ref(wanted), access_modes=("ReadWriteOnce",))
    assert told(of_claim(wanted, small)) == [("ExternalExpanding", persistentvolumeclaim.EXTERNAL)]
    grown = volume(size="2Gi", claim_ref=ref(wanted), access_modes=("ReadWriteOnce",))
    assert of_claim(wanted, grown).effects == (), "its node says when it shows the new size"
