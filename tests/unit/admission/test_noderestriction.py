"""What a node may write: a table of refusals in Kubernetes' words, and what goes through."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.access.values import UserInfo
from controlplane.admission import Operation, Request, Settings, noderestriction
from mizzen.api import kinds
from mizzen.api.errors import Forbidden, NotFound
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import coordination_v1 as coordination
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import policy_v1 as policy
from mizzen.api.types import storage_v1 as storage
from mizzen.api.validate_pod import MIRROR
from tests.fixtures.admission import Cluster

NODE = UserInfo("system:node:n1", ("system:nodes", "system:authenticated"))
OWNER = meta.OwnerReference(api_version="v1", kind="Node", name="n1", uid="u1", controller=True)
SPEC = core.PodSpec(node_name="n1", containers=(core.Container(name="c", image="img:1"),))


def pod(name: str = "p", node: str = "n1", owners: tuple[meta.OwnerReference, ...] = (), **spec: Any) -> core.Pod:
    metadata = meta.ObjectMeta(
        name=name, namespace="shop", uid=f"uid-{name}", owner_references=owners,
        annotations={MIRROR: "x"} if owners else {},
    )  # fmt: skip
    return core.Pod(metadata=metadata, spec=replace(SPEC, node_name=node, **spec))


def node(name: str = "n1", **metadata: Any) -> core.Node:
    return core.Node(metadata=meta.ObjectMeta(name=name, uid="u1", **metadata))


def mirror(**change: Any) -> core.Pod:
    return pod("m", owners=(OWNER,), **change)


def secret(name: str) -> core.Volume:
    return core.Volume(name="v", secret=core.SecretVolumeSource(secret_name=name))


CLUSTER = Cluster.with_namespaces("shop", "kube-node-lease").having(
    node(), node("n2"), pod("mine", volumes=(core.Volume(name="t", projected=core.ProjectedVolumeSource(sources=(
        core.VolumeProjection(service_account_token=core.ServiceAccountTokenProjection(audience="vault", path="t")),
    ))),)), pod("other", "n2"),
)  # fmt: skip


def refused(operation: Operation, obj: Any, old: Any = None, user: UserInfo = NODE, **more: Any) -> str:
    """Why not; empty where it may be."""
    kind = more.pop("kind", None) or kinds.kind_of(obj)
    name = more.pop("name", "" if old is None else old.metadata.name)
    request = Request(operation, kind, more.pop("namespace", obj.metadata.namespace), name, obj, user=user, **more)
    try:
        noderestriction.check(request, obj, old, CLUSTER.view)
    except (Forbidden, NotFound) as error:
        return error.message.partition(" is forbidden: ")[2] or error.message
    return ""


SELF = "set to itself"
CREATED: list[tuple[Any, str]] = [
    (mirror(), ""),
    (pod(), f'pod does not have "{MIRROR}" annotation, node "n1" can only create mirror pods'),
    (mirror(node="n2"), f'node "n1" can only create pods with spec.nodeName {SELF}'),
    (pod(owners=(OWNER, OWNER)), f'node "n1" can only create pods with a single owner reference {SELF}'),
    (pod(owners=(replace(OWNER, name="n2"),)), f'node "n1" can only create pods with an owner reference {SELF}'),
    (
        pod(owners=(replace(OWNER, controller=None),)),
        f'node "n1" can only create pods with a controller owner reference {SELF}',
    ),
    (
        pod(owners=(replace(OWNER, block_owner_deletion=True),)),
        'node "n1" must not set blockOwnerDeletion on an owner reference',
    ),
    (pod(owners=(replace(OWNER, uid="u9"),)), 'node "n1" UID mismatch: expected u9 got u1'),
    (mirror(service_account_name="robot"), 'node "n1" can not create pods that reference a service account'),
    (mirror(volumes=(secret("s"),)), 'node "n1" can not create pods that reference secrets'),
    (
        mirror(volumes=(core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="c")),)),
        'node "n1" can not create pods that reference configmaps',
    ),
    (node(labels={"kubernetes.io/hostname": "n1", "team": "a", "x.node.kubernetes.io/y": "1"}), ""),
    (node("n2"), 'node "n1" is not allowed to modify node "n2"'),
    (
        node(labels={"node-restriction.kubernetes.io/fips": "1", "node-role.kubernetes.io/control-plane": ""}),
        (
            'node "n1" is not allowed to set the following labels: node-restriction.kubernetes.io/fips, '
            "node-role.kubernetes.io/control-plane"
        ),
    ),
    (coordination.Lease(metadata=meta.ObjectMeta(name="n1", namespace="kube-node-lease")), ""),
    (
        coordination.Lease(metadata=meta.ObjectMeta(name="n2", namespace="kube-node-lease")),
        "can only access node lease with the same name as the requesting node",
    ),
    (
        storage.CSINode(metadata=meta.ObjectMeta(name="n2")),
        "can only access CSINode with the same name as the requesting node",
    ),
]


@pytest.mark.parametrize(("obj", "why"), CREATED)
def test_created(obj: Any, why: str) -> None:
    assert refused(Operation.CREATE, obj) == why
    assert not refused(Operation.CREATE, obj, user=UserInfo("ann", ("system:authenticated",)))


def test_a_node_changes_itself_but_not_what_steers_pods_to_it() -> None:
    old = node(labels={"a.node-restriction.kubernetes.io/x": "1", "k8s.io/z": "1"})
    tainted = replace(old, spec=core.NodeSpec(taints=(core.Taint(key="k", effect="NoSchedule"),)))
    table = {
        "": [old, replace(old, spec=core.NodeSpec(unschedulable=True)), node(labels={**old.metadata.labels, "a": "b"})],
        'node "n1" is not allowed to modify taints': [tainted],
        "is not allowed to modify labels: a.node-restriction.kubernetes.io/x, k8s.io/z": [node()],
        "is not allowed to modify labels: k8s.io/z": [node(labels={**old.metadata.labels, "k8s.io/z": "2"})],
        'node "n1" is not allowed to modify ownerReferences': [
            node(labels=old.metadata.labels, owner_references=(OWNER,))
        ],
    }
    for why, changed in table.items():
        for new in changed:
            for operation in (Operation.UPDATE, Operation.UPDATE_STATUS):
                assert refused(operation, new, old) == why
    assert "is not allowed to modify node" in refused(Operation.UPDATE, node("n2"), node("n2"))


def test_a_node_ends_and_reports_its_own_pods() -> None:
    mine, other = pod("mine"), pod("other", "n2")
    assert not refused(Operation.DELETE, mine, mine)
    assert refused(Operation.DELETE, other, other) == f'node "n1" can only delete pods with spec.nodeName {SELF}'
    assert "can only create and delete mirror pods" in refused(Operation.UPDATE, mine, mine)
    running = replace(mine, status=core.PodStatus(phase="Running"))
    assert not refused(Operation.UPDATE_STATUS, running, mine)
    assert "can only update pod status for pods with" in refused(Operation.UPDATE_STATUS, other, other)
    labelled = replace(mine, metadata=replace(mine.metadata, labels={"a": "b"}))
    assert refused(Operation.UPDATE_STATUS, labelled, mine) == 'node "n1" cannot update labels through pod status'
    assert refused(Operation.RESIZE, mine, mine) == (
        "unexpected pod subresource \"resize\", only 'status' and 'eviction' are allowed"
    )
    evictions = [
        refused(
            Operation.CREATE, policy.Eviction(), kind=kinds.POD, namespace="shop", name=name, subresource="eviction"
        )
        for name in ("mine", "other", "none")
    ]
    assert evictions == ["", f"node n1 can only evict pods with spec.nodeName {SELF}", 'pods "none" not found']


def test_a_node_writes_only_the_size_of_claims() -> None:
    old = core.PersistentVolumeClaim(metadata=meta.ObjectMeta(name="data", namespace="shop", resource_version="1"))
    grown = replace(old, status=replace(old.status, capacity={"storage": "2Gi"}))
    assert not refused(Operation.UPDATE_STATUS, grown, old)
    bound = replace(old, status=replace(old.status, phase="Bound"))
    assert "other than status.quantity and status.conditions" in refused(Operation.UPDATE_STATUS, bound, old)
    assert refused(Operation.UPDATE, grown, old) == "may only update PVC status"


TOKENS = {
    "": [("v1", "Pod", "mine", "uid-mine", ()), ("v1", "Pod", "mine", "uid-mine", ("vault",))],
    "node requested token not bound to a pod": [("v1", "Secret", "mine", "u", ()), ("v1", "Pod", "", "u", ())],
    "node requested token with a pod binding without a uid": [("v1", "Pod", "mine", "", ())],
    'pods "none" not found': [("v1", "Pod", "none", "u", ())],
    "the UID in the bound object reference (u) does not match the UID in record. "
    "The object might have been deleted and then recreated": [("v1", "Pod", "mine", "u", ())],
    "node requested token bound to a pod scheduled on a different node": [("v1", "Pod", "other", "uid-other", ())],
    "node may only request 0 or 1 audiences": [("v1", "Pod", "mine", "uid-mine", ("a", "b"))],
    'audience "a" not found in pod spec volume': [("v1", "Pod", "mine", "uid-mine", ("a",))],
}


def test_a_node_gets_tokens_for_its_pods_alone() -> None:
    for why, asked in TOKENS.items():
        for version, kind, name, uid, audiences in asked:
            bound = authentication.BoundObjectReference(api_version=version, kind=kind, name=name, uid=uid)
            spec = authentication.TokenRequestSpec(audiences=audiences, bound_object_ref=bound)
            request = authentication.TokenRequest(spec=spec)
            told = refused(
                Operation.CREATE, request, kind=kinds.SERVICE_ACCOUNT, namespace="shop", name="robot",
                subresource="token",
            )  # fmt: skip
            assert told == why


def test_a_mirror_pod_gets_no_account() -> None:
    cluster = Cluster(CLUSTER.objects, Settings(service_accounts=True))
    made = cluster.create(mirror(), "shop", user=NODE).object
    assert (made.spec.service_account_name, made.spec.volumes) == ("", ())
