"""Stories of claims and volumes, told by `test_disturbed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from mizzen.api import kinds, nfsvolumes
from mizzen.api.types import apps_v1, core_v1, meta_v1, storage_v1
from mizzen.api.volumes import HOME, LOCAL_FOLDER, NFS, NO_PROVISIONER
from mizzen.engine.writes import removal, replacement
from tests.scenarios.test_controllers import LOST_MS, SELECTOR, named, template

if TYPE_CHECKING:
    from tests.scenarios.test_disturbed import Disturbed


def worker(node: str, asks: core_v1.PersistentVolumeClaimSpec) -> core_v1.Pod:
    """A pod with a volume of its own, always on one node, because the volume says for ever which one it was."""
    source = core_v1.EphemeralVolumeSource(volume_claim_template=core_v1.PersistentVolumeClaimTemplate(spec=asks))
    scratch = core_v1.Volume(name="scratch", ephemeral=source)
    here = {"kubernetes.io/hostname": node}
    return core_v1.Pod(metadata=named("worker"), spec=replace(template().spec, volumes=(scratch,), node_selector=here))


def volumes(story: Disturbed) -> float:
    """Claims get folders of the node where their pod goes, and go with it, or wait until it has gone."""
    cls = storage_v1.StorageClass(
        metadata=meta_v1.ObjectMeta(name="local"), provisioner="mizzen.dev/local",
        volume_binding_mode="WaitForFirstConsumer", reclaim_policy="Retain",
    )  # fmt: skip
    asks = core_v1.PersistentVolumeClaimSpec(
        access_modes=("ReadWriteOnce",), storage_class_name="local",
        resources=core_v1.VolumeResourceRequirements(requests={"storage": "1Gi"}),
    )  # fmt: skip
    policy = apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy(when_scaled="Delete", when_deleted="Retain")
    spec = apps_v1.StatefulSetSpec(
        replicas=3, selector=SELECTOR, template=template(), service_name="db", pod_management_policy="Parallel",
        volume_claim_templates=(core_v1.PersistentVolumeClaim(metadata=meta_v1.ObjectMeta(name="data"), spec=asks),),
        persistent_volume_claim_retention_policy=policy,
    )  # fmt: skip
    for machine in story.run.nodes:
        node = story.get(kinds.NODE, machine.name, "")
        metadata = replace(node.metadata, annotations={LOCAL_FOLDER: "/srv/volumes"})
        story.run.store.commit((replacement(replace(node, metadata=metadata), int(metadata.resource_version)),))
    story.create(cls, apps_v1.StatefulSet(metadata=named("db"), spec=spec))
    # When the others have their places, which it would change.
    story.at(30, lambda: story.create(worker(story.run.nodes[0].name, asks)))
    story.at(90, lambda: story.delete(kinds.POD, "worker"))
    story.at(60, lambda: story.change(kinds.STATEFUL_SET, "db", replicas=2))
    story.at(120, lambda: story.delete(kinds.PERSISTENT_VOLUME_CLAIM, "data-db-1"))
    # Its pod comes back where the data is, however long that takes.
    story.at(180, lambda: story.holder("db-0").power_off(LOST_MS))
    return 900


def ended_volumes(story: Disturbed) -> None:
    claims = {one.metadata.name: one for one in story.list(kinds.PERSISTENT_VOLUME_CLAIM)}
    assert {name: one.status.phase for name, one in claims.items()} == {"data-db-0": "Bound", "data-db-1": "Bound"}
    assert claims["data-db-1"].metadata.deletion_timestamp is not None
    phases = sorted(one.status.phase for one in story.run.store.cache.list(kinds.PERSISTENT_VOLUME))
    assert phases == ["Bound", "Bound", "Released", "Released"]
    assert [pod.metadata.name for pod in story.pods()] == ["db-0", "db-1"]


def claiming(name: str, cls: str, mode: str = "ReadWriteOnce") -> core_v1.PersistentVolumeClaim:
    """A claim of a gigabyte."""
    asks = core_v1.PersistentVolumeClaimSpec(
        access_modes=(mode,), storage_class_name=cls,
        resources=core_v1.VolumeResourceRequirements(requests={"storage": "1Gi"}),
    )  # fmt: skip
    return core_v1.PersistentVolumeClaim(metadata=named(name), spec=asks)


def volume_on(node: str, name: str) -> core_v1.PersistentVolume:
    """A gigabyte of one node."""
    here = core_v1.NodeSelectorRequirement(key="kubernetes.io/hostname", operator="In", values=(node,))
    required = core_v1.NodeSelector(node_selector_terms=(core_v1.NodeSelectorTerm(match_expressions=(here,)),))
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(name=name),
        spec=core_v1.PersistentVolumeSpec(
            capacity={"storage": "1Gi"}, access_modes=("ReadWriteOnce",), storage_class_name="disks",
            local=core_v1.LocalVolumeSource(path=f"/srv/{name}"),
            node_affinity=core_v1.VolumeNodeAffinity(required=required),
        ),
    )  # fmt: skip


def shared_volumes(story: Disturbed) -> float:
    """Two claims of one pod go where two volumes are; a folder of a share is handed over when its claim has gone."""
    few, many, _ = (machine.name for machine in story.run.nodes)
    for machine in story.run.nodes:
        node = story.get(kinds.NODE, machine.name, "")
        metadata = replace(node.metadata, annotations={nfsvolumes.CLIENT: "true" if machine.name == many else "false"})
        story.run.store.commit((replacement(replace(node, metadata=metadata), int(metadata.resource_version)),))
    disks = storage_v1.StorageClass(
        metadata=meta_v1.ObjectMeta(name="disks"), provisioner=NO_PROVISIONER,
        volume_binding_mode="WaitForFirstConsumer",
    )  # fmt: skip
    share = storage_v1.StorageClass(
        metadata=meta_v1.ObjectMeta(name="share"), provisioner=NFS, reclaim_policy="Delete",
        parameters={"server": "nas", "share": "/export"},
    )  # fmt: skip
    names = ("one", "two")
    mounted = tuple(
        core_v1.Volume(name=name, persistent_volume_claim=core_v1.PersistentVolumeClaimVolumeSource(claim_name=name))
        for name in names
    )
    story.create(disks, share, volume_on(few, "pv-1"), volume_on(many, "pv-2"), volume_on(many, "pv-3"))
    story.create(*(claiming(name, "disks") for name in names), claiming("files", "share", "ReadWriteMany"))
    story.create(core_v1.Pod(metadata=named("user"), spec=replace(template().spec, volumes=mounted)))
    story.at(60, lambda: story.delete(kinds.PERSISTENT_VOLUME_CLAIM, "files"))
    return 180


def ended_shared_volumes(story: Disturbed) -> None:
    many = story.run.nodes[1].name
    (user,) = story.pods()
    assert (user.spec.node_name, user.status.phase) == (many, "Running")
    found = {one.metadata.name: one for one in story.run.store.cache.list(kinds.PERSISTENT_VOLUME)}
    claimed = {name: one.spec.claim_ref.name for name, one in found.items() if one.spec.claim_ref is not None}
    assert claimed.pop(next(name for name in claimed if name.startswith("pvc-"))) == "files"
    assert sorted(claimed) == ["pv-2", "pv-3"]
    (left,) = (one for name, one in found.items() if name.startswith("pvc-"))
    assert left.metadata.deletion_timestamp is not None
    assert (left.metadata.finalizers, left.metadata.annotations[HOME]) == ((NFS,), many)


DRIVER = "disks.example.org"
ATTACHER = "external-attacher/disks-example-org"


def attacher(story: Disturbed) -> None:
    """What a driver's external attacher does: it attaches and detaches, and holds what is attached by a finalizer."""
    for one in story.run.store.cache.list(kinds.VOLUME_ATTACHMENT):
        version = int(one.metadata.resource_version)
        is_going = one.metadata.deletion_timestamp is not None
        if is_going and ATTACHER in one.metadata.finalizers:
            story.run.store.commit((removal(kinds.VOLUME_ATTACHMENT, "", one.metadata.name, version),))
        elif not is_going and not one.status.attached:
            metadata = replace(one.metadata, finalizers=(ATTACHER,))
            status = storage_v1.VolumeAttachmentStatus(attached=True)
            story.run.store.commit((replacement(replace(one, metadata=metadata, status=status), version),))
    story.run.world.after(700, lambda: attacher(story))


def attached(story: Disturbed) -> float:
    """A volume for one node follows its pods: it is detached here before it is attached there."""
    source = core_v1.CSIPersistentVolumeSource(driver=DRIVER, volume_handle="disk-1")
    disk = core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(name="pv"),
        spec=core_v1.PersistentVolumeSpec(
            capacity={"storage": "1Gi"}, access_modes=("ReadWriteOnce",), storage_class_name="disks", csi=source
        ),
    )
    mounted = core_v1.PersistentVolumeClaimVolumeSource(claim_name="data")

    def user(name: str, node: str) -> core_v1.Pod:
        spec = replace(
            template().spec,
            volumes=(core_v1.Volume(name="data", persistent_volume_claim=mounted),),
            node_selector={"kubernetes.io/hostname": node},
        )
        return core_v1.Pod(metadata=named(name), spec=spec)

    first, second, _ = (machine.name for machine in story.run.nodes)
    driver = storage_v1.CSIDriver(metadata=meta_v1.ObjectMeta(name=DRIVER))
    story.create(driver, disk, claiming("data", "disks"), user("one", first))
    story.at(30, lambda: story.create(user("two", second)))
    story.at(60, lambda: story.delete(kinds.POD, "one"))
    attacher(story)
    return 180


def ended_attached(story: Disturbed) -> None:
    first, second, _ = (machine.name for machine in story.run.nodes)
    (attachment,) = story.run.store.cache.list(kinds.VOLUME_ATTACHMENT)
    assert (attachment.spec.node_name, attachment.status.attached) == (second, True)
    shown = {name: story.get(kinds.NODE, name, "").status.volumes_attached for name in (first, second)}
    assert [one.name for one in shown[second]] == [f"kubernetes.io/csi/{DRIVER}^disk-1"]
    assert shown[first] == ()
