"""A storage driver and an NFS server in a whole cluster: volumes made, attached, mounted, grown, and all of it undone.

The driver is real and mounts; its sidecars, which know nothing but the API, are played by the test. What is mounted as
NFS are folders of this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api import csivolumes, errors, kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import storage_v1 as storage
from mizzen.client import Client
from mizzen.client.config import load
from nodeagent.volumes import mounts
from nodeagent.volumes.disk import DiskVolumes
from nodeagent.volumes.nfs import Nfs
from tests.fixtures.csi_driver import NAME, TestDriver, serving
from tests.fixtures.memory_node import Machine
from tests.fixtures.nfs_stand_in import stand_in
from tests.fixtures.whole_cluster import IMAGES, whole_cluster

WAIT_S = 30.0
ATTACHER = "external-attacher/disks-example-org"
UNIQUE = csivolumes.unique_name(NAME, "disk-1")
RACK = "disks.example.org/rack"

pytestmark = pytest.mark.timeout(150)


class DiskMachine(Machine):
    """A machine in memory whose pods' volumes are on the disk."""

    def __init__(self, nfs: Nfs, folder: Path, *more: Any) -> None:
        super().__init__(folder, *more)
        self.nfs = nfs
        self.volumes = DiskVolumes(folder / "pods", nfs)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, because those of sockets are bounded; what is left mounted in it is taken away."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    made = Path(tempfile.mkdtemp(prefix="csi-"))
    yield made
    for point in mounts.mounted_under(str(made)):
        mounts.unmount(point)
    shutil.rmtree(made)


class World:
    """A cluster with a driver on its node `n1`."""

    def __init__(self, client: Client, driver: TestDriver, folder: Path) -> None:
        self.client, self.driver, self.folder = client, driver, folder

    async def until(self, what: str, holds: Callable[[], Any]) -> Any:
        """Wait until something holds; what it gave then."""
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    found = await holds()
                except errors.NotFound:
                    found = None
                if found:
                    return found
                await asyncio.sleep(0.1)
        raise AssertionError(what)

    async def attach(self) -> None:
        """What the external attacher does with the one attachment that there is."""

        async def one() -> storage.VolumeAttachment | None:
            found = (await self.client.list(kinds.VOLUME_ATTACHMENT)).items
            return found[0] if found else None

        found = await self.until("an attachment", one)
        assert (found.spec.attacher, found.spec.node_name) == (NAME, "n1")
        assert found.metadata.name == csivolumes.attachment_name(NAME, "disk-1", "n1")
        held = await self.client.update(replace(found, metadata=replace(found.metadata, finalizers=(ATTACHER,))))
        status = storage.VolumeAttachmentStatus(attached=True, attachment_metadata={"lun": "3"})
        await self.client.update(replace(held, status=status), subresource="status")

    async def detach(self) -> None:
        """What it does when the attachment is to go."""

        async def going() -> storage.VolumeAttachment | None:
            found = (await self.client.list(kinds.VOLUME_ATTACHMENT)).items
            return found[0] if found and found[0].metadata.deletion_timestamp else None

        found = await self.until("the attachment to go", going)
        await self.client.update(replace(found, metadata=replace(found.metadata, finalizers=())))

    async def running(self, name: str) -> core.Pod:
        """A pod once it runs."""

        async def runs() -> core.Pod | None:
            pod = await self.client.get(kinds.POD, "default", name)
            return pod if pod.status.phase == "Running" else None

        found: core.Pod = await self.until(f"{name} to run", runs)
        return found

    async def gone(self, kind: kinds.Kind[Any], name: str, namespace: str = "default") -> None:
        """Wait until an object is gone."""

        async def is_gone() -> bool:
            try:
                await self.client.get(kind, namespace, name)
            except errors.NotFound:
                return True
            return False

        await self.until(f"{name} to go", is_gone)

    async def node(self) -> core.Node:
        """The node with the driver."""
        return await self.client.get(kinds.NODE, "", "n1")


@asynccontextmanager
async def world(folder: Path, spec: storage.CSIDriverSpec, **driver: Any) -> AsyncIterator[World]:
    made = TestDriver(backend=folder / "backend", topology={RACK: "r1"}, volumes_max=5, **driver)
    with stand_in(folder / "server") as nfs:
        (folder / "server" / "nas" / "export").mkdir(parents=True)

        def machine(*what: Any) -> Machine:
            return DiskMachine(nfs, *what)

        async with (
            whole_cluster(folder, machine) as kubeconfig,
            Client(load(kubeconfig)) as client,
            serving(made, folder / "n1" / "kubelet"),
        ):
            await client.create(storage.CSIDriver(metadata=meta.ObjectMeta(name=NAME), spec=spec))
            yield World(client, made, folder)


def claimed() -> tuple[core.PersistentVolume, core.PersistentVolumeClaim]:
    """A volume of the driver that can be reached from its rack, and a claim for it."""
    rack = core.NodeSelectorRequirement(key=RACK, operator="In", values=("r1",))
    required = core.NodeSelector(node_selector_terms=(core.NodeSelectorTerm(match_expressions=(rack,)),))
    volume = core.PersistentVolume(
        metadata=meta.ObjectMeta(name="pv"),
        spec=core.PersistentVolumeSpec(
            capacity={"storage": "1Gi"}, access_modes=("ReadWriteOnce",), storage_class_name="disks",
            csi=core.CSIPersistentVolumeSource(driver=NAME, volume_handle="disk-1"),
            node_affinity=core.VolumeNodeAffinity(required=required),
        ),
    )  # fmt: skip
    claim = core.PersistentVolumeClaim(
        metadata=meta.ObjectMeta(name="data", namespace="default"),
        spec=core.PersistentVolumeClaimSpec(
            access_modes=("ReadWriteOnce",), storage_class_name="disks",
            resources=core.VolumeResourceRequirements(requests={"storage": "1Gi"}),
        ),
    )  # fmt: skip
    return volume, claim


def pod(name: str, volume: core.Volume, **spec: Any) -> core.Pod:
    container = core.Container(
        name="main", image=IMAGES[0], volume_mounts=(core.VolumeMount(name="v", mount_path="/data"),)
    )
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=core.PodSpec(containers=(container,), volumes=(volume,), termination_grace_period_seconds=1, **spec),
    )


async def test_a_driver_does_all_that_it_is_there_for(folder: Path) -> None:
    spec = storage.CSIDriverSpec(
        volume_lifecycle_modes=("Persistent", "Ephemeral"), pod_info_on_mount=True,
        token_requests=(storage.TokenRequest(audience="vault"),),
    )  # fmt: skip
    async with world(folder, spec) as w:
        await driver_is_known(w)
        await volume_is_attached_mounted_grown_and_given_back(w)
        await volume_that_lives_in_its_pod_needs_no_claim(w)
        await folder_of_a_share_is_shared_and_put_aside(w)


async def driver_is_known(w: World) -> None:

    async def registered() -> storage.CSINode:
        return await w.client.get(kinds.CSI_NODE, "", "n1")

    node = await w.until("the driver to be known", registered)
    (driver,) = node.spec.drivers
    assert (driver.name, driver.node_id, driver.topology_keys) == (NAME, "node-of-disks", (RACK,))
    assert driver.allocatable is not None and driver.allocatable.count == 5
    assert (await w.node()).metadata.labels[RACK] == "r1"


async def volume_is_attached_mounted_grown_and_given_back(w: World) -> None:
    for made in claimed():
        await w.client.create(made)
    source = core.PersistentVolumeClaimVolumeSource(claim_name="data")
    await w.client.create(pod("user", core.Volume(name="v", persistent_volume_claim=source)))
    await w.attach()
    running = await w.running("user")
    assert running.spec.node_name == "n1"
    assert w.driver.names()[-2:] == ["NodeStageVolume", "NodePublishVolume"]
    published = w.driver.last("NodePublishVolume")
    assert dict(published.publish_context) == {"lun": "3"}
    assert published.volume_context["csi.storage.k8s.io/pod.uid"] == running.metadata.uid

    async def shown() -> bool:
        status = (await w.node()).status
        return status.volumes_in_use == (UNIQUE,) and [one.name for one in status.volumes_attached] == [UNIQUE]

    await w.until("the node to say so", shown)

    # What the external resizer does.
    bigger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    await w.client.create(
        storage.StorageClass(metadata=meta.ObjectMeta(name="disks"), provisioner=NAME, allow_volume_expansion=True)
    )
    claim = (kinds.PERSISTENT_VOLUME_CLAIM, "default", "data")
    await w.client.patch(*claim, json.dumps(bigger).encode())
    pending = {
        "conditions": [{"type": "FileSystemResizePending", "status": "True"}],
        "allocatedResources": {"storage": "2Gi"},
        "allocatedResourceStatuses": {"storage": "NodeResizePending"},
    }
    await w.client.patch(*claim, json.dumps({"status": pending}).encode(), subresource="status")
    await w.client.patch(
        kinds.PERSISTENT_VOLUME, "", "pv", json.dumps({"spec": {"capacity": {"storage": "2Gi"}}}).encode()
    )

    async def grown() -> bool:
        status = (await w.client.get(*claim)).status
        return status.capacity == {"storage": "2Gi"} and not status.conditions

    await w.until("the claim to have grown", grown)
    assert w.driver.last("NodeExpandVolume").capacity_range.required_bytes == 2 << 30

    await w.client.delete(kinds.POD, "default", "user")
    await w.gone(kinds.POD, "user")
    assert w.driver.names()[-2:] == ["NodeUnpublishVolume", "NodeUnstageVolume"]
    await w.detach()
    status = (await w.node()).status
    assert (status.volumes_in_use, status.volumes_attached) == ((), ())
    assert not mounts.mounted_under(str(w.folder / "n1"))


async def volume_that_lives_in_its_pod_needs_no_claim(w: World) -> None:
    w.driver.calls.clear()
    keys = core.Secret(metadata=meta.ObjectMeta(name="keys", namespace="default"), data={"user": b"me"})
    await w.client.create(keys)
    inline = core.CSIVolumeSource(driver=NAME, node_publish_secret_ref=core.LocalObjectReference(name="keys"))
    here = {"kubernetes.io/hostname": "n1"}
    await w.client.create(pod("user", core.Volume(name="v", csi=inline), node_selector=here))
    await w.running("user")
    published = w.driver.last("NodePublishVolume")
    assert dict(published.secrets) == {"user": "me"}
    assert published.volume_context["csi.storage.k8s.io/ephemeral"] == "true"
    tokens = json.loads(published.volume_context["csi.storage.k8s.io/serviceAccount.tokens"])
    assert list(tokens) == ["vault"]
    assert w.driver.names() == ["NodePublishVolume"]
    await w.client.delete(kinds.POD, "default", "user")
    await w.gone(kinds.POD, "user")
    assert w.driver.names()[-1] == "NodeUnpublishVolume"
    assert not (await w.client.list(kinds.VOLUME_ATTACHMENT)).items


async def folder_of_a_share_is_shared_and_put_aside(w: World) -> None:
    await w.client.create(
        storage.StorageClass(
            metadata=meta.ObjectMeta(name="nfs"), provisioner="mizzen.dev/nfs", reclaim_policy="Delete",
            parameters={
                "server": "nas", "share": "/export", "onDelete": "archive",
                "subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}",
            },
        )
    )  # fmt: skip
    asked = core.PersistentVolumeClaimSpec(
        access_modes=("ReadWriteMany",), storage_class_name="nfs",
        resources=core.VolumeResourceRequirements(requests={"storage": "1Gi"}),
    )  # fmt: skip
    claim = core.PersistentVolumeClaim(metadata=meta.ObjectMeta(name="files", namespace="default"), spec=asked)
    await w.client.create(claim)
    source = core.PersistentVolumeClaimVolumeSource(claim_name="files")
    users = {node: f"user-of-{node}" for node in ("n1", "n2")}
    shown = {}
    for node, name in users.items():
        volume = core.Volume(name="v", persistent_volume_claim=source)
        await w.client.create(pod(name, volume, node_selector={"kubernetes.io/hostname": node}))
        uid = (await w.running(name)).metadata.uid
        shown[node] = w.folder / node / "pods" / uid / "volumes" / "v"
    (shown["n1"] / "file").write_text("from n1")
    assert (shown["n2"] / "file").read_text() == "from n1"
    for name in users.values():
        await w.client.delete(kinds.POD, "default", name)
        await w.gone(kinds.POD, name)
    bound = await w.client.get(kinds.PERSISTENT_VOLUME_CLAIM, "default", "files")
    await w.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, "default", "files")
    await w.gone(kinds.PERSISTENT_VOLUME, bound.spec.volume_name, "")
    export = w.folder / "server" / "nas" / "export" / "default"
    assert {path.name for path in export.iterdir()} == {"archived-files"}
    assert (export / "archived-files" / "file").read_text() == "from n1"
