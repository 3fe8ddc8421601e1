"""Storage drivers of nodes: what a node is told of them, what it reports of them, and the tokens that they get."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from controlplane.server.tokens import PodToken
from mizzen.api import errors, kinds
from mizzen.api.references import TokenWish
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import storage_v1 as storage
from mizzen.api.volumes import BIND_COMPLETED
from mizzen.wire.gen.mizzen.v1 import node_pb2
from tests.fixtures import cluster_objects
from tests.unit.server.test_node_feed import NODE, cluster, secret
from tests.unit.server.test_node_feed import claim as any_claim
from tests.unit.server.test_node_feed import claiming as mounting
from tests.unit.server.test_node_reports import Report, rig
from tests.unit.server.test_tokens import named, place

DRIVER = "disks.example.org"


def claiming(*claims: str) -> core.Pod:
    """A pod of node n1 that mounts claims."""
    made = cluster_objects.pod("web", node="n1")
    mounts = tuple(
        core.Volume(name=one, persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name=one))
        for one in claims
    )
    return replace(made, spec=replace(made.spec, volumes=mounts))


def volume(secret_name: str = "") -> core.PersistentVolume:
    reference = core.SecretReference(namespace="default", name=secret_name) if secret_name else None
    csi = core.CSIPersistentVolumeSource(driver=DRIVER, volume_handle="d", node_stage_secret_ref=reference)
    claimed = core.ObjectReference(namespace="default", name="data")
    return core.PersistentVolume(
        metadata=meta.ObjectMeta(name="pv"), spec=core.PersistentVolumeSpec(csi=csi, claim_ref=claimed)
    )


def attachment(name: str, node: str) -> storage.VolumeAttachment:
    source = storage.VolumeAttachmentSource(persistent_volume_name="pv")
    spec = storage.VolumeAttachmentSpec(attacher=DRIVER, node_name=node, source=source)
    return storage.VolumeAttachment(metadata=meta.ObjectMeta(name=name), spec=spec)


async def test_a_node_is_told_of_drivers_of_its_attachments_and_of_secrets_that_volumes_need() -> None:
    async with cluster() as c:
        await c.connect()
        for made in (
            storage.CSIDriver(metadata=meta.ObjectMeta(name=DRIVER)), attachment("mine", NODE),
            attachment("theirs", "n2"), secret("keys"), secret("others"), volume("keys"), any_claim("data", "pv"),
            mounting("a", "data"),
        ):  # fmt: skip
            await c.put(made)
        await c.send()

        def has() -> set[str]:
            return {key.name for key in c.agent.known()}

        assert has() == {DRIVER, "mine", "keys", "pv", "data", "a"}
        await c.put(volume("others"))
        await c.send()
        assert has() == {DRIVER, "mine", "others", "pv", "data", "a"}
        await c.connect()
        await c.send()
        assert has() == {DRIVER, "mine", "others", "pv", "data", "a"}
        await c.drop(kinds.VOLUME_ATTACHMENT, "mine")
        await c.drop(kinds.POD, "a")
        await c.send()
        assert has() == {DRIVER}


def said(kind: Any, value: Any, name: str = NODE, namespace: str = "") -> Report:
    return node_pb2.Report(kind=kind, namespace=namespace, name=name, json=msgspec.json.encode(value))


async def test_the_drivers_of_a_node_are_stored_with_their_labels() -> None:
    async with rig() as r:
        await r.create(cluster_objects.node("n1"))
        driver = storage.CSINodeDriver(name=DRIVER, node_id="7", topology_keys=("rack",))
        reported = storage.CSINode(
            metadata=meta.ObjectMeta(name="n1", labels={"rack": "r1"}), spec=storage.CSINodeSpec(drivers=(driver,))
        )
        for _ in range(2):
            await r.reports.store("n1", [said(Report.CSI_NODE, reported)])
        found = r.registry.view.get(kinds.CSI_NODE, "", "n1")
        node = r.registry.view.get(kinds.NODE, "", "n1")
        assert found is not None and node is not None
        assert found.spec.drivers == (driver,)
        assert found.metadata.owner_references[0].uid == node.metadata.uid
        assert node.metadata.labels["rack"] == "r1"
        await r.reports.store("n1", [said(Report.CSI_NODE, storage.CSINode())])
        found = r.registry.view.get(kinds.CSI_NODE, "", "n1")
        assert found is not None and found.spec.drivers == ()
        await r.reports.store("n2", [said(Report.CSI_NODE, reported)])
        assert r.registry.view.get(kinds.CSI_NODE, "", "n2") is None


async def test_a_claim_whose_volume_has_grown_says_so() -> None:
    async with rig() as r:
        pending = core.PersistentVolumeClaimCondition(type="FileSystemResizePending", status="True")
        status = core.PersistentVolumeClaimStatus(
            phase="Bound", capacity={"storage": "1Gi"}, conditions=(pending,),
            allocated_resource_statuses={"storage": "NodeResizePending"}, allocated_resources={"storage": "2Gi"},
        )  # fmt: skip
        metadata = meta.ObjectMeta(name="data", namespace="default", uid="c")
        await r.create(core.PersistentVolumeClaim(metadata=metadata, status=status))
        await r.create(claiming("data"))
        grown = core.PersistentVolumeClaimStatus(capacity={"storage": "2Gi"})
        await r.reports.store("n2", [said(Report.CLAIM_GROWN, grown, "data", "default")])
        found = r.registry.view.get(kinds.PERSISTENT_VOLUME_CLAIM, "default", "data")
        assert found is not None and found.status == status, "no pod of that node mounts it"
        await r.reports.store("n1", [said(Report.CLAIM_GROWN, grown, "data", "default")])
        found = r.registry.view.get(kinds.PERSISTENT_VOLUME_CLAIM, "default", "data")
        assert found is not None
        assert found.status == replace(
            status, capacity={"storage": "2Gi"}, conditions=(), allocated_resource_statuses={}
        )


async def test_what_is_attached_is_not_the_node_s_to_say() -> None:
    async with rig() as r:
        attached = core.AttachedVolume(name=f"kubernetes.io/csi/{DRIVER}^d", device_path="")
        node = cluster_objects.node("n1")
        await r.create(replace(node, status=replace(node.status, volumes_attached=(attached,))))
        told = core.NodeStatus(volumes_in_use=(attached.name,))
        await r.reports.store("n1", [said(Report.NODE_STATUS, told)])
        found = r.registry.view.get(kinds.NODE, "", "n1")
        assert found is not None
        assert (found.status.volumes_attached, found.status.volumes_in_use) == ((attached,), (attached.name,))


async def test_drivers_get_the_tokens_that_they_ask_for() -> None:
    async with place() as here:
        claimed = core.PersistentVolumeClaimVolumeSource(claim_name="data")
        inline = core.Volume(name="x", csi=core.CSIVolumeSource(driver="inline"))
        spec = core.PodSpec(
            node_name="n1", service_account_name="robot", containers=(core.Container(name="c"),),
            volumes=(core.Volume(name="v", persistent_volume_claim=claimed), inline),
        )  # fmt: skip
        bound = core.PersistentVolumeClaimSpec(volume_name="pv")
        for made in (
            core.Pod(metadata=named("r"), spec=spec),
            core.PersistentVolumeClaim(metadata=named("data", annotations={BIND_COMPLETED: "yes"}), spec=bound),
            replace(volume(), metadata=named("pv", "")),
            *(
                storage.CSIDriver(
                    metadata=named(name, ""),
                    spec=storage.CSIDriverSpec(token_requests=(storage.TokenRequest(audience=f"for-{name}"),)),
                )
                for name in (DRIVER, "inline", "unused")
            ),
        ):
            await here.registry.create(made)
        for name in (DRIVER, "inline"):
            here.tokens.for_pod("n1", PodToken("shop", "r", "uid-r", TokenWish(f"for-{name}", 3600)))
        with pytest.raises(errors.Forbidden):
            here.tokens.for_pod("n1", PodToken("shop", "r", "uid-r", TokenWish("for-unused", 3600)))
