"""Volumes are attached where pods need them, shown in the node's status, and detached when it is safe."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from controlplane.reconcilers import attachdetach
from mizzen.api import csivolumes, kinds, volumes
from mizzen.api.types import core_v1, meta_v1, storage_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Decision, Delete, Emit, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, pod, view
from tests.fixtures.cluster_objects import node as any_node

DRIVER = "disks.example.org"
UNIQUE = csivolumes.unique_name(DRIVER, "h")
ATTACHED = (core_v1.AttachedVolume(name=UNIQUE, device_path=""),)


def node(name: str = "n1", attached: Any = (), in_use: tuple[str, ...] = (), ready: str = "True", since: float = 0,
         taints: tuple[core_v1.Taint, ...] = ()) -> core_v1.Node:  # fmt: skip
    made = any_node(name)
    condition = core_v1.NodeCondition(type="Ready", status=ready, last_transition_time=at(since))
    status = replace(made.status, volumes_attached=attached, volumes_in_use=in_use, conditions=(condition,))
    return replace(made, status=status, spec=replace(made.spec, taints=taints))


def claim() -> core_v1.PersistentVolumeClaim:
    spec = core_v1.PersistentVolumeClaimSpec(volume_name="pv")
    return core_v1.PersistentVolumeClaim(metadata=meta("data", annotations={volumes.BIND_COMPLETED: "yes"}), spec=spec)


def volume(modes: tuple[str, ...] = ("ReadWriteOnce",)) -> core_v1.PersistentVolume:
    spec = core_v1.PersistentVolumeSpec(
        csi=core_v1.CSIPersistentVolumeSource(driver=DRIVER, volume_handle="h"), access_modes=modes,
        claim_ref=core_v1.ObjectReference(namespace="default", name="data", uid=claim().metadata.uid),
    )  # fmt: skip
    return core_v1.PersistentVolume(metadata=meta_v1.ObjectMeta(name="pv", uid="pv", resource_version="1"), spec=spec)


def using(name: str = "web", where: str = "n1", phase: str = "Running") -> core_v1.Pod:
    made = pod(name, node=where)
    source = core_v1.PersistentVolumeClaimVolumeSource(claim_name="data")
    mounted = (core_v1.Volume(name="v", persistent_volume_claim=source),)
    return replace(made, spec=replace(made.spec, volumes=mounted), status=replace(made.status, phase=phase))


def attachment(
    where: str = "n1", *, attached: bool = True, error: str = "", **more: Any
) -> storage_v1.VolumeAttachment:
    name = csivolumes.attachment_name(DRIVER, "h", where)
    source = storage_v1.VolumeAttachmentSource(persistent_volume_name="pv")
    failed = storage_v1.VolumeError(message=error) if error else None
    return storage_v1.VolumeAttachment(
        metadata=meta_v1.ObjectMeta(name=name, uid=name, resource_version="1", **more),
        spec=storage_v1.VolumeAttachmentSpec(attacher=DRIVER, node_name=where, source=source),
        status=storage_v1.VolumeAttachmentStatus(attached=attached, attach_error=failed),
    )


def driver(*, required: bool) -> storage_v1.CSIDriver:
    metadata = meta_v1.ObjectMeta(name=DRIVER, uid=DRIVER, resource_version="1")
    return storage_v1.CSIDriver(metadata=metadata, spec=storage_v1.CSIDriverSpec(attach_required=required))


def decided(*objects: Any, where: str = "n1") -> Decision:
    seen = view(claim(), *objects)
    return attachdetach.reconcile(Key(kinds.NODE.resource, "", where), seen, NOW, SeededIds(1))


def done(decision: Decision) -> list[str]:
    """Short words for what is decided."""
    found = []
    for effect in decision.effects:
        match effect:
            case Create(made):
                found.append(f"attach {made.spec.source.persistent_volume_name} to {made.spec.node_name}")
            case Delete():
                found.append("detach")
            case UpdateStatus(changed):
                found.append(f"show {','.join(one.name for one in changed.status.volumes_attached)}")
            case Emit():
                found.append(f"{effect.reason} {effect.regarding.metadata.name}: {effect.message}")
    return found


SUCCEEDED = 'SuccessfulAttachVolume web: AttachVolume.Attach succeeded for volume "pv" '


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([node(), using(), volume()], ["attach pv to n1"]),
        ([node(), using(), volume(), driver(required=True)], ["attach pv to n1"]),
        ([node(), using(), volume(), driver(required=False)], []),
        ([node(), using(phase="Succeeded"), volume()], []),
        ([node(), using(where=""), volume()], []),
        ([node(), using(), volume(), attachment(attached=False)], []),
        ([node(), using(), volume(), attachment()], [f"show {UNIQUE}", SUCCEEDED]),
        ([node(attached=ATTACHED), using(), volume(), attachment()], []),
        ([node(attached=ATTACHED), using(), volume(), attachment(deletion_timestamp=at())], ["show "]),
        (
            [node(), using(), volume(), attachment(attached=False, error="no slot")],
            ['FailedAttachVolume web: AttachVolume.Attach failed for volume "pv" : no slot'],
        ),
        ([node(attached=ATTACHED), volume(), attachment()], ["show "]),
        ([node(), volume(), attachment()], ["detach"]),
        ([node(), volume(), attachment(attached=False)], ["detach"]),
        ([node(), volume(), attachment(deletion_timestamp=at())], []),
        ([node(), attachment()], ["detach"]),
        ([node(in_use=(UNIQUE,)), volume(), attachment()], []),
        ([volume(), attachment()], ["detach"]),
    ],
    ids=[
        "needed", "needed and required", "not required", "finished", "not placed", "under way", "attached", "shown",
        "on its way out", "refused", "leaves the status first", "then it is detached", "no longer wanted", "asked once",
        "its volume is gone", "in use", "node is gone",
    ],
)  # fmt: skip
def test_what_is_attached(objects: list[Any], expected: list[str]) -> None:
    assert done(decided(*objects)) == expected


def test_a_node_that_is_lost_holds_a_volume_for_six_minutes() -> None:
    lost = decided(node(in_use=(UNIQUE,), ready="Unknown", since=-60), volume(), attachment())
    assert (done(lost), lost.wake_after_ms) == ([], 300_000)
    assert done(decided(node(in_use=(UNIQUE,), ready="Unknown", since=-360), volume(), attachment())) == ["detach"]
    out = (core_v1.Taint(key=attachdetach.OUT_OF_SERVICE, effect="NoExecute"),)
    assert done(decided(node(in_use=(UNIQUE,), ready="Unknown", taints=out), volume(), attachment())) == ["detach"]
    assert done(decided(node(in_use=(UNIQUE,), taints=out), volume(), attachment())) == [], "it is well"


def test_a_volume_for_one_node_is_attached_to_one() -> None:
    seen = [node(), node("n2"), using("other", "n2"), using(), attachment("n2")]
    blocked = decided(*seen, volume())
    said = 'FailedAttachVolume web: Multi-Attach error for volume "pv" Volume is already used by pod(s) other'
    assert (done(blocked), blocked.wake_after_ms) == ([said], attachdetach.AGAIN_MS)
    assert blocked.waiting[0].reason == "FailedAttachVolume"
    assert done(decided(*seen, volume(("ReadWriteMany",)))) == ["attach pv to n1"]
    alone = decided(node(), node("n2"), using(), attachment("n2"), volume())
    assert "Volume is already exclusively attached to one node and can't be attached to another" in done(alone)[0]


def test_what_others_attach_stays() -> None:
    by_hand = attachment()
    by_hand = replace(by_hand, metadata=replace(by_hand.metadata, name="mine"))
    other = core_v1.AttachedVolume(name="kubernetes.io/iscsi/x", device_path="/dev/x")
    assert done(decided(node(attached=(other,)), volume(), by_hand)) == []
    shown = decided(node(attached=(other,)), using(), volume(), attachment()).effects[0]
    assert isinstance(shown, UpdateStatus)
    assert msgspec.to_builtins(shown.object.status.volumes_attached[0])["name"] == other.name


def test_who_is_concerned() -> None:
    waiting = using("later", "n2")
    seen = view(claim(), volume(), using(), waiting, node(), node("n2"))
    watches = dict(attachdetach.CONTROLLER.watches)

    def names(kind: Any, obj: Any) -> list[str]:
        return sorted({key.name for key in watches[kind](obj, seen)})

    assert names(kinds.VOLUME_ATTACHMENT, attachment("n3")) == ["n1", "n2", "n3"]
    assert names(kinds.PERSISTENT_VOLUME, volume()) == ["n1", "n2"]
    assert names(kinds.PERSISTENT_VOLUME_CLAIM, claim()) == ["n1", "n2"]
    assert names(kinds.POD, using()) == ["n1"]
    assert names(kinds.POD, pod("plain", node="n1")) == []
    assert names(kinds.CSI_DRIVER, driver(required=True)) == ["n1", "n2"]
