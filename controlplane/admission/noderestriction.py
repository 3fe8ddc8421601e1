"""What a node may write with its certificate: itself, but not what steers pods to it, and its own pods' ends.

The other half of `controlplane.access.nodes`, which cannot see what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from controlplane.access.nodes import LEASES, node_of
from controlplane.admission.request import SUBRESOURCES, Operation, Request
from mizzen.api import kinds
from mizzen.api.errors import Forbidden, NotFound, quoted
from mizzen.api.kinds import Kind
from mizzen.api.references import SECRETS, configs_of
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.validate_pod import MIRROR
from mizzen.api.volumes import claims_of
from mizzen.engine.view import View

_RESTRICTED = "node-restriction.kubernetes.io"
_KUBERNETES = ("kubernetes.io", "k8s.io")
_OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_OWN_LABELS = frozenset(
    (
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    )
)  # fmt: skip
"""Labels of Kubernetes' own domains that a node says about itself."""

Labels = Mapping[str, str]


def check(request: Request, new: Any, old: Any, view: View) -> None:
    """Raise Forbidden or NotFound for what a node may not write; everybody else may, as far as this is concerned."""
    node = node_of(request.user) if request.user is not None else ""
    checker = _CHECKERS.get(request.kind) if node else None
    if checker is not None:
        checker(node, request, (new, old), view)


_Pair = tuple[Any, Any]
"""What is about to be stored, and what is."""


def _refuse(request: Request, why: str) -> Forbidden:
    return Forbidden(request.kind, _name(request), why)


def _name(request: Request) -> str:
    return request.name or request.object.metadata.name


def _part(request: Request) -> str:
    return request.subresource or SUBRESOURCES.get(request.operation, "")


def _pod(node: str, request: Request, pair: _Pair, view: View) -> None:
    match _part(request):
        case "":
            _whole_pod(node, request, pair, view)
        case "status":
            _pod_status(node, request, pair)
        case "eviction":
            pod = view.get(kinds.POD, request.namespace, request.name)
            if pod is None:
                raise NotFound(kinds.POD, request.name)
            if pod.spec.node_name != node:
                raise _refuse(request, f"node {node} can only evict pods with spec.nodeName set to itself")
        case other:
            why = f"unexpected pod subresource {quoted(other)}, only 'status' and 'eviction' are allowed"
            raise _refuse(request, why)


def _whole_pod(node: str, request: Request, pair: _Pair, view: View) -> None:
    if request.operation is Operation.CREATE:
        if MIRROR not in request.object.metadata.annotations:
            why = f"pod does not have {quoted(MIRROR)} annotation, node {quoted(node)} can only create mirror pods"
            raise _refuse(request, why)
        why = _new_pod(node, request.object, view)
        if why:
            raise _refuse(request, f"node {quoted(node)} {why}")
    elif request.operation is Operation.DELETE:
        if pair[1].spec.node_name != node:
            raise _refuse(request, f"node {quoted(node)} can only delete pods with spec.nodeName set to itself")
    else:
        operation = quoted(request.operation.value)
        why = f"unexpected operation {operation}, node {quoted(node)} can only create and delete mirror pods"
        raise _refuse(request, why)


def _new_pod(node: str, pod: core.Pod, view: View) -> str:
    """What is wrong with a pod that a node makes, after the node's name; empty where nothing is."""
    if pod.spec.node_name != node:
        return "can only create pods with spec.nodeName set to itself"
    return _wrong_owner(node, pod.metadata.owner_references, view) or _reference(pod)


def _wrong_owner(node: str, owners: tuple[meta.OwnerReference, ...], view: View) -> str:
    if len(owners) > 1:
        return "can only create pods with a single owner reference set to itself"
    if not owners or (owners[0].api_version, owners[0].kind, owners[0].name) != ("v1", "Node", node):
        return "can only create pods with an owner reference set to itself"
    if not owners[0].controller:
        return "can only create pods with a controller owner reference set to itself"
    if owners[0].block_owner_deletion:
        return "must not set blockOwnerDeletion on an owner reference"
    found = view.get(kinds.NODE, "", node)
    if found is None:
        raise NotFound(kinds.NODE, node)
    if found.metadata.uid != owners[0].uid:
        return f"UID mismatch: expected {owners[0].uid} got {found.metadata.uid}"
    return ""


def _reference(pod: core.Pod) -> str:
    """What a pod names that a node must not come to see by naming it."""
    named = [resource for resource, _, _ in configs_of(pod)]
    if pod.spec.service_account_name:
        what = "a service account"
    elif SECRETS in named:
        what = "secrets"
    elif named:
        what = "configmaps"
    elif any(source.cluster_trust_bundle is not None for source in _projected(pod)):
        what = "clustertrustbundles"
    elif any(True for _ in claims_of(pod)):
        what = "persistentvolumeclaims"
    else:
        return ""
    return f"can not create pods that reference {what}"


def _projected(pod: core.Pod) -> list[core.VolumeProjection]:
    return [
        source for volume in pod.spec.volumes if volume.projected is not None for source in volume.projected.sources
    ]


def _pod_status(node: str, request: Request, pair: _Pair) -> None:
    new, old = pair
    if old.spec.node_name != node:
        why = f"node {quoted(node)} can only update pod status for pods with spec.nodeName set to itself"
        raise _refuse(request, why)
    if new.metadata.labels != old.metadata.labels:
        raise _refuse(request, f"node {quoted(node)} cannot update labels through pod status")
    if new.status.resource_claim_statuses != old.status.resource_claim_statuses:
        raise _refuse(request, f"node {quoted(node)} cannot update resource claim statues")


def _node(node: str, request: Request, pair: _Pair, view: View) -> None:
    del view
    name, (new, old) = _name(request), pair
    if name != node:
        raise _refuse(request, f"node {quoted(node)} is not allowed to modify node {quoted(name)}")
    if request.operation is Operation.CREATE:
        forbidden = _forbidden(request.object.metadata.labels, {})
        if forbidden:
            why = f"is not allowed to set the following labels: {', '.join(forbidden)}"
            raise _refuse(request, f"node {quoted(node)} {why}")
    elif request.operation is not Operation.DELETE:
        if new.spec.taints != old.spec.taints:
            raise _refuse(request, f"node {quoted(node)} is not allowed to modify taints")
        forbidden = _forbidden(new.metadata.labels, old.metadata.labels)
        if forbidden:
            raise _refuse(request, f"is not allowed to modify labels: {', '.join(forbidden)}")
        if new.metadata.owner_references != old.metadata.owner_references:
            raise _refuse(request, f"node {quoted(node)} is not allowed to modify ownerReferences")


def _forbidden(new: Labels, old: Labels) -> list[str]:
    """The labels that differ and that are not a node's to set, in order."""
    changed = sorted(key for key in {*new, *old} if new.get(key) != old.get(key))
    return [key for key in changed if _is_restricted(key)]


def _is_restricted(label: str) -> bool:
    domain = label.rpartition("/")[0]
    if _lies_in(domain, (_RESTRICTED,)):
        return True
    return _lies_in(domain, _KUBERNETES) and label not in _OWN_LABELS and not _lies_in(domain, _OWN_DOMAINS)


def _lies_in(domain: str, parents: tuple[str, ...]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def _claim(node: str, request: Request, pair: _Pair, view: View) -> None:
    del view
    if request.operation is not Operation.UPDATE_STATUS:
        raise _refuse(request, "may only update PVC status")
    new, old = (_but_for_sizes(claim) for claim in pair)
    if new != old:
        why = f"node {quoted(node)} is not allowed to update fields other than status.quantity and status.conditions"
        raise _refuse(request, why)


def _but_for_sizes(claim: core.PersistentVolumeClaim) -> core.PersistentVolumeClaim:
    status = replace(claim.status, capacity={}, conditions=(), allocated_resources={}, allocated_resource_statuses={})
    metadata = replace(claim.metadata, resource_version="", managed_fields=())
    return replace(claim, metadata=metadata, status=status)


def _token(node: str, request: Request, pair: _Pair, view: View) -> None:
    del pair
    if not isinstance(request.object, authentication.TokenRequest):
        return
    bound = request.object.spec.bound_object_ref
    if bound is None or (bound.api_version, bound.kind) != ("v1", "Pod") or not bound.name:
        raise _refuse(request, "node requested token not bound to a pod")
    if not bound.uid:
        raise _refuse(request, "node requested token with a pod binding without a uid")
    pod = view.get(kinds.POD, request.namespace, bound.name)
    if pod is None:
        raise NotFound(kinds.POD, bound.name)
    if pod.metadata.uid != bound.uid:
        why = (
            f"the UID in the bound object reference ({bound.uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise _refuse(request, why)
    if pod.spec.node_name != node:
        raise _refuse(request, "node requested token bound to a pod scheduled on a different node")
    _check_audiences(request, request.object.spec.audiences, pod)


def _check_audiences(request: Request, audiences: tuple[str, ...], pod: core.Pod) -> None:
    """A node gets tokens for those alone for whom its pod asks in a volume."""
    if len(audiences) > 1:
        raise _refuse(request, "node may only request 0 or 1 audiences")
    asked = {source.service_account_token.audience for source in _projected(pod) if source.service_account_token}
    if audiences and audiences[0] not in asked:
        raise _refuse(request, f"audience {quoted(audiences[0])} not found in pod spec volume")


def _lease(node: str, request: Request, pair: _Pair, view: View) -> None:
    del pair, view
    if request.namespace != LEASES:
        raise _refuse(request, f"can only access leases in the {quoted(LEASES)} system namespace")
    if _name(request) != node:
        raise _refuse(request, "can only access node lease with the same name as the requesting node")


def _csi_node(node: str, request: Request, pair: _Pair, view: View) -> None:
    del pair, view
    if _name(request) != node:
        raise _refuse(request, "can only access CSINode with the same name as the requesting node")


def _slice(node: str, request: Request, pair: _Pair, view: View) -> None:
    del view
    whose = request.object if request.operation is Operation.CREATE else pair[1]
    if whose.spec.node_name != node:
        verb = {Operation.CREATE: "create", Operation.DELETE: "delete"}.get(request.operation, "update")
        raise _refuse(request, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")


_CHECKERS: Mapping[Kind[Any], Callable[[str, Request, _Pair, View], None]] = {
    kinds.POD: _pod,
    kinds.NODE: _node,
    kinds.PERSISTENT_VOLUME_CLAIM: _claim,
    kinds.SERVICE_ACCOUNT: _token,
    kinds.LEASE: _lease,
    kinds.CSI_NODE: _csi_node,
    kinds.RESOURCE_SLICE: _slice,
}
