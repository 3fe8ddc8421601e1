"""What a node may do, as a table: its own, what its pods name, and nothing else."""

from __future__ import annotations

import pytest

from controlplane.access.grants import wants
from controlplane.access.values import UserInfo, Wanted
from controlplane.server.authz import Authorizer
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import storage_v1 as storage
from mizzen.api.validate_pod import MIRROR
from tests.fixtures.admission import Cluster

NODE = UserInfo("system:node:n1", ("system:nodes", "system:authenticated"))
_CLAIM = core.PersistentVolumeClaimVolumeSource(claim_name="data")
_VOLUMES = (
    core.Volume(name="a", secret=core.SecretVolumeSource(secret_name="key")),
    core.Volume(name="b", persistent_volume_claim=_CLAIM),
    core.Volume(name="c", ephemeral=core.EphemeralVolumeSource()),
    core.Volume(
        name="d", csi=core.CSIVolumeSource(driver="x", node_publish_secret_ref=core.LocalObjectReference(name="drv"))
    ),
)


def pod(name: str, node: str, *volumes: core.Volume, account: str = "robot", mirror: bool = False) -> core.Pod:
    env = core.EnvFromSource(config_map_ref=core.ConfigMapEnvSource(name=f"{name}-map"))
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="shop", annotations={MIRROR: "x"} if mirror else {}),
        spec=core.PodSpec(
            node_name=node,
            containers=(core.Container(name="c", env_from=(env,)),),
            volumes=volumes,
            service_account_name=account,
        ),
    )


def volume(name: str, claim: str, secret: str) -> core.PersistentVolume:
    csi = core.CSIPersistentVolumeSource(
        driver="x",
        node_stage_secret_ref=core.SecretReference(name=secret, namespace="vault"),
        controller_publish_secret_ref=core.SecretReference(name="attach", namespace="vault"),
    )
    reference = core.ObjectReference(namespace="shop", name=claim)
    return core.PersistentVolume(
        metadata=meta.ObjectMeta(name=name), spec=core.PersistentVolumeSpec(csi=csi, claim_ref=reference)
    )


def attachment(name: str, node: str) -> storage.VolumeAttachment:
    return storage.VolumeAttachment(
        metadata=meta.ObjectMeta(name=name), spec=storage.VolumeAttachmentSpec(attacher="x", node_name=node)
    )


@pytest.fixture(scope="module")
def access() -> Authorizer:
    claim = core.PersistentVolumeClaim(
        metadata=meta.ObjectMeta(name="data", namespace="shop"),
        spec=core.PersistentVolumeClaimSpec(volume_name="disk"),
    )
    objects = (
        pod("mine", "n1", *_VOLUMES), pod("other", "n2", account="stranger"),
        pod("mirror", "n1", account="forged", mirror=True),
        claim, volume("disk", "data", "stage"), volume("foreign", "else", "hidden"),
        attachment("here", "n1"), attachment("there", "n2"),
    )  # fmt: skip
    return Authorizer(Cluster(objects).view)


ALLOWED = [
    "get nodes n1", "list nodes ? metadata.name=n1", "update nodes n1", "patch nodes/status n1", "create nodes",
    "get pods shop/mine", "get pods shop/mirror", "list pods ? spec.nodeName=n1",
    "watch pods ? spec.nodeName==n1,status.phase!=Failed",
    "create pods shop/", "delete pods shop/mine", "patch pods/status shop/mine", "create pods/eviction shop/mine",
    "get secrets shop/key", "watch secrets shop/key", "get secrets shop/drv", "get secrets vault/stage",
    "get configmaps shop/mine-map", "list configmaps shop/mine-map",
    "get persistentvolumeclaims shop/data", "get persistentvolumeclaims shop/mine-c",
    "patch persistentvolumeclaims/status shop/data", "get persistentvolumes disk",
    "get volumeattachments.storage.k8s.io here", "get serviceaccounts shop/robot",
    "create serviceaccounts/token shop/robot",
    "create leases.coordination.k8s.io kube-node-lease/", "update leases.coordination.k8s.io kube-node-lease/n1",
    "create csinodes.storage.k8s.io", "patch csinodes.storage.k8s.io n1",
    "create events shop/", "list services", "get endpoints shop/web", "watch endpointslices.discovery.k8s.io",
    "list runtimeclasses.node.k8s.io", "watch csidrivers.storage.k8s.io", "create resourceslices.resource.k8s.io",
    "list resourceslices.resource.k8s.io ? spec.nodeName=n1",
    "create certificatesigningrequests.certificates.k8s.io", "create tokenreviews.authentication.k8s.io",
    "create subjectaccessreviews.authorization.k8s.io",
]  # fmt: skip
NOTHING_FOUND = "no relationship found between node 'n1' and this object"
SELECTIVE = "can only list/watch pods with spec.nodeName field selector"
REFUSED = {
    "get nodes n2": "node 'n1' cannot read 'n2', only its own Node object",
    "list nodes": "node 'n1' cannot read all nodes, only its own Node object",
    "delete nodes n1": "", "get nodes/proxy n1": "",
    "get pods shop/other": NOTHING_FOUND, "get pods shop/none": NOTHING_FOUND,
    "list pods": SELECTIVE, "list pods ? spec.nodeName=n2": SELECTIVE, "list pods ? spec.nodeName!=n1": SELECTIVE,
    "list pods ? =,": SELECTIVE, "update pods shop/mine": "", "deletecollection pods shop/": "",
    "create pods/exec shop/mine": "", "get pods/log shop/mine": "", "create pods/binding shop/mine": "",
    "get pods/status shop/mine": "",
    "get secrets shop/other": NOTHING_FOUND, "get secrets kitchen/key": NOTHING_FOUND,
    "list secrets shop/": "No Object name found", "list secrets": "can only read namespaced object of this type",
    "update secrets shop/key": "can only read resources of this type",
    "get secrets vault/attach": NOTHING_FOUND, "get secrets vault/hidden": NOTHING_FOUND,
    "get configmaps shop/other-map": NOTHING_FOUND, "get configmaps shop/mirror-map": NOTHING_FOUND,
    "list persistentvolumeclaims shop/data": "can only get individual resources of this type",
    "get persistentvolumeclaims shop/else": NOTHING_FOUND,
    "update persistentvolumeclaims shop/data": "can only get individual resources of this type",
    "get persistentvolumeclaims/status shop/data": "can only get/update/patch this type",
    "get persistentvolumes foreign": NOTHING_FOUND, "get persistentvolumes none": NOTHING_FOUND,
    "get volumeattachments.storage.k8s.io there": NOTHING_FOUND,
    "create serviceaccounts/token shop/stranger": NOTHING_FOUND,
    "create serviceaccounts/token shop/forged": NOTHING_FOUND,
    "create serviceaccounts shop/": "can only create tokens for individual service accounts",
    "update leases.coordination.k8s.io kube-node-lease/n2":
        "can only access node lease with the same name as the requesting node",
    "create leases.coordination.k8s.io shop/":
        'can only access leases in the "kube-node-lease" system namespace',
    "list leases.coordination.k8s.io kube-node-lease/":
        "can only get, create, update, patch, or delete a node lease",
    "get csinodes.storage.k8s.io n2": "can only access CSINode with the same name as the requesting node",
    "list csinodes.storage.k8s.io": "can only get, create, update, patch, or delete a CSINode",
    "get resourceslices.resource.k8s.io s": NOTHING_FOUND,
    "list resourceslices.resource.k8s.io":
        "can only list/watch/deletecollection resourceslices with spec.nodeName field selector",
    "list namespaces": "", "get events shop/e": "", "create deployments.apps shop/": "", "update services shop/web": "",
    "get clusterroles.rbac.authorization.k8s.io admin": "",
}  # fmt: skip


def wanted(words: str) -> Wanted:
    """`VERB RESOURCE[.GROUP][/BELOW] [[NAMESPACE/]NAME] [? FIELDS]` as a request says it."""
    what, _, fields = words.partition(" ? ")
    verb, whole, where = (*what.split(), "")[:3]
    resource, slash, below = whole.partition("/")
    plural, _, group = resource.partition(".")
    namespace, _, name = where.rpartition("/")
    if fields.startswith("metadata.name="):
        name = fields.partition("=")[2]
    return wants(verb, group, f"{plural}{slash}{below}", namespace, name, fields)


@pytest.mark.parametrize("words", ALLOWED)
def test_a_node_may(access: Authorizer, words: str) -> None:
    assert access.decide(NODE, wanted(words)).allowed
    for other in (UserInfo("system:node:n1"), UserInfo("ann", ("system:nodes",)), UserInfo("n1", NODE.groups)):
        assert not access.decide(other, wanted(words)).allowed, "the name or the group alone makes no node"


@pytest.mark.parametrize("words", REFUSED)
def test_a_node_may_not(access: Authorizer, words: str) -> None:
    verdict = access.decide(NODE, wanted(words))
    assert (verdict.allowed, verdict.reason) == (False, REFUSED[words])


def test_a_node_may_no_path(access: Authorizer) -> None:
    assert not access.decide(NODE, Wanted("get", path="/metrics")).allowed
