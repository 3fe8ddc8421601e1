"""What a node may do with its certificate: what Kubernetes' node authorizer lets it do.

A node reads what its own pods name and nothing else of that sort. What it may write is only roughly drawn here, as a
request does not show what it writes: `controlplane.admission.noderestriction` draws the line. Our own agent asks little
of this, because its session brings what it needs; it is for tools on the node, and for agents that have no session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from controlplane.access.rules import Rules, allows
from controlplane.access.values import NODE_PREFIX, NODES, UserInfo, Verdict, Wanted
from mizzen.api import kinds
from mizzen.api.csivolumes import secrets_of
from mizzen.api.kinds import Kind
from mizzen.api.references import configs_of
from mizzen.api.types import core_v1 as core
from mizzen.api.types import rbac_v1 as rbac
from mizzen.api.validate_pod import MIRROR
from mizzen.api.volumes import claims_of
from mizzen.engine import indexes
from mizzen.engine.view import View

LEASES = "kube-node-lease"
"""The namespace of nodes' leases."""
UNLISTED = "node authorizer does not support user rule resolution"
"""Why no list of rules says all that a node may."""
_READ = ("get", "list", "watch")
_WRITE = ("update", "patch")
_OWN = ("get", "create", *_WRITE, "delete")
_ALLOWED = Verdict(True)
_SILENT = Verdict(False)


def _on(verbs: tuple[str, ...], group: str, *resources: str) -> rbac.PolicyRule:
    return rbac.PolicyRule(verbs=verbs, api_groups=(group,), resources=resources)


_RULES: Rules = (
    _on(("create",), "authentication.k8s.io", "tokenreviews"),
    _on(("create",), "authorization.k8s.io", "subjectaccessreviews", "localsubjectaccessreviews"),
    _on(_READ, "", "services"),
    _on(("create", *_WRITE), "", "events"),
    _on(("get",), "", "endpoints"),
    # A node does the work of kube-proxy, too; its session shows it all slices.
    _on(_READ, "discovery.k8s.io", "endpointslices"),
    _on(("create", *_READ), "certificates.k8s.io", "certificatesigningrequests"),
    _on(_READ, "storage.k8s.io", "csidrivers"),
    _on(_READ, "node.k8s.io", "runtimeclasses"),
)
"""What a node may do whatever its pods are."""


def node_of(user: UserInfo) -> str:
    """The node that a user is; empty for everybody else."""
    return user.name.removeprefix(NODE_PREFIX) if NODES in user.groups and user.name.startswith(NODE_PREFIX) else ""


def decide(node: str, wanted: Wanted, view: View) -> Verdict:
    """Whether a node may do it because it is a node; a refusal may say why."""
    resource, _, below = wanted.resource.partition("/")
    decider = _DECIDERS.get((wanted.group, resource)) if not wanted.path else None
    if decider is not None:
        return decider(node, wanted, below, view)
    return _ALLOWED if any(allows(rule, wanted) for rule in _RULES) else _SILENT


def _no(why: str) -> Verdict:
    return Verdict(False, why)


def _related(node: str, wanted: Wanted, view: View) -> Verdict:
    if not wanted.name:
        return _no("No Object name found")
    kind = kinds.BY_RESOURCE[f"{wanted.resource.partition('/')[0]}.{wanted.group}".removesuffix(".")]
    if _REACHED[kind](node, wanted.namespace, wanted.name, view):
        return _ALLOWED
    return _no(f"no relationship found between node '{node}' and this object")


def _get(node: str, wanted: Wanted, below: str, view: View) -> Verdict:
    if wanted.verb != "get":
        return _no("can only get individual resources of this type")
    return _no("cannot get subresource") if below else _related(node, wanted, view)


def _read(node: str, wanted: Wanted, below: str, view: View) -> Verdict:
    if wanted.verb not in _READ:
        return _no("can only read resources of this type")
    if below:
        return _no("cannot read subresource")
    if not wanted.namespace:
        return _no("can only read namespaced object of this type")
    return _related(node, wanted, view)


def _claim(node: str, wanted: Wanted, below: str, view: View) -> Verdict:
    if below != "status":
        return _get(node, wanted, below, view)
    if wanted.verb not in _WRITE:
        return _no("can only get/update/patch this type")
    return _related(node, wanted, view)


def _account(node: str, wanted: Wanted, below: str, view: View) -> Verdict:
    if wanted.verb == "get" and not below:
        return _related(node, wanted, view)
    if wanted.verb != "create" or not wanted.name:
        return _no("can only create tokens for individual service accounts")
    if below != "token":
        return _no("can only create token subresource of serviceaccount")
    return _related(node, wanted, view)


def _lease(node: str, wanted: Wanted, below: str, view: View) -> Verdict:
    del below, view
    if wanted.verb not in _OWN:
        return _no("can only get, create, update, patch, or delete a node lease")
    if wanted.namespace != LEASES:
        return _no(f'can only access leases in the "{LEASES}" system namespace')
    if wanted.verb != "create" and wanted.name != node:
        return _no("can only access node lease with the same name as the requesting node")
    return _ALLOWED


def _csi_node(node: str, wanted: Wanted, below: str, view: View) -> Verdict:
    del view
    if wanted.verb not in _OWN:
        return _no("can only get, create, update, patch, or delete a CSINode")
    if below:
        return _no("cannot authorize CSINode subresources")
    if wanted.verb != "create" and wanted.name != node:
        return _no("can only access CSINode with the same name as the requesting node")
    return _ALLOWED


def _slice(node: str, wanted: Wanted, below: str, view: View) -> Verdict:
    if below:
        return _no("cannot authorize ResourceSlice subresources")
    if wanted.verb == "create":
        return _ALLOWED
    if wanted.verb in _OWN:
        return _related(node, wanted, view)
    if ("spec.nodeName", node) in wanted.fields:
        return _ALLOWED
    return _no("can only list/watch/deletecollection resourceslices with spec.nodeName field selector")


def _node(node: str, wanted: Wanted, below: str, view: View) -> Verdict:
    del view
    if below == "status":
        return _ALLOWED if wanted.verb in _WRITE else _SILENT
    if below or wanted.verb not in ("create", *_WRITE, *_READ):
        return _SILENT
    if wanted.verb not in _READ or wanted.name == node:
        return _ALLOWED
    what = f"'{wanted.name}'" if wanted.name else "all nodes"
    return _no(f"node '{node}' cannot read {what}, only its own Node object")


def _pod(node: str, wanted: Wanted, below: str, view: View) -> Verdict:
    match below, wanted.verb:
        case ("", "get"):
            return _get(node, wanted, below, view)
        case ("", "list" | "watch"):
            if ("spec.nodeName", node) in wanted.fields:
                return _ALLOWED
            if wanted.name:
                return _related(node, wanted, view)
            return _no("can only list/watch pods with spec.nodeName field selector")
        case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
            return _ALLOWED
    return _SILENT


def _pods(node: str, namespace: str, view: View) -> Iterator[core.Pod]:
    """The node's pods that say what it may read; mirror pods, which it makes itself, do not."""
    for pod in view.select(indexes.PODS_BY_NODE, node):
        if pod.metadata.namespace == namespace and MIRROR not in pod.metadata.annotations:
            yield pod


def _is_own(node: str, namespace: str, name: str, view: View) -> bool:
    pod = view.get(kinds.POD, namespace, name)
    return pod is not None and pod.spec.node_name == node


def _names_config(node: str, namespace: str, name: str, view: View) -> bool:
    wanted = (kinds.CONFIG_MAP.plural, namespace, name)
    return any(wanted in configs_of(pod) for pod in _pods(node, namespace, view))


def _names_secret(node: str, namespace: str, name: str, view: View) -> bool:
    wanted = (kinds.SECRET.plural, namespace, name)
    if any(wanted in configs_of(pod) for pod in _pods(node, namespace, view)):
        return True
    return any((namespace, name) in secrets_of(volume) for volume in _volumes(node, view))


def _volumes(node: str, view: View) -> Iterator[core.PersistentVolume]:
    """The volumes behind the claims that the node's pods mount."""
    for pod in view.select(indexes.PODS_BY_NODE, node):
        if MIRROR in pod.metadata.annotations:
            continue
        for name, _ in claims_of(pod):
            claim = view.get(kinds.PERSISTENT_VOLUME_CLAIM, pod.metadata.namespace, name)
            volume = view.get(kinds.PERSISTENT_VOLUME, "", claim.spec.volume_name) if claim is not None else None
            if volume is not None and _is_of(volume, pod.metadata.namespace, name):
                yield volume


def _is_of(volume: core.PersistentVolume, namespace: str, claim: str) -> bool:
    reference = volume.spec.claim_ref
    return reference is not None and (reference.namespace, reference.name) == (namespace, claim)


def _mounts_claim(node: str, namespace: str, name: str, view: View) -> bool:
    return any(name == claim for pod in _pods(node, namespace, view) for claim, _ in claims_of(pod))


def _mounts_volume(node: str, namespace: str, name: str, view: View) -> bool:
    del namespace
    volume = view.get(kinds.PERSISTENT_VOLUME, "", name)
    claim = volume.spec.claim_ref if volume is not None else None
    return claim is not None and _mounts_claim(node, claim.namespace, claim.name, view)


def _runs_account(node: str, namespace: str, name: str, view: View) -> bool:
    return any(pod.spec.service_account_name == name for pod in _pods(node, namespace, view))


def _attaches(node: str, namespace: str, name: str, view: View) -> bool:
    del namespace
    attachment = view.get(kinds.VOLUME_ATTACHMENT, "", name)
    return attachment is not None and attachment.spec.node_name == node


def _claims_device(node: str, namespace: str, name: str, view: View) -> bool:
    for pod in _pods(node, namespace, view):
        named = [claim.resource_claim_name for claim in pod.spec.resource_claims]
        named += [status.resource_claim_name for status in pod.status.resource_claim_statuses]
        if name in named:
            return True
    return False


def _has_slice(node: str, namespace: str, name: str, view: View) -> bool:
    del namespace
    found = view.get(kinds.RESOURCE_SLICE, "", name)
    return found is not None and found.spec.node_name == node


_REACHED: Mapping[Kind[Any], Callable[[str, str, str, View], bool]] = {
    kinds.POD: _is_own,
    kinds.CONFIG_MAP: _names_config,
    kinds.SECRET: _names_secret,
    kinds.PERSISTENT_VOLUME_CLAIM: _mounts_claim,
    kinds.PERSISTENT_VOLUME: _mounts_volume,
    kinds.SERVICE_ACCOUNT: _runs_account,
    kinds.VOLUME_ATTACHMENT: _attaches,
    kinds.RESOURCE_CLAIM: _claims_device,
    kinds.RESOURCE_SLICE: _has_slice,
}
"""How an object is found to belong to a node: by the node's pods, or by what the object itself says."""

_DECIDERS: Mapping[tuple[str, str], Callable[[str, Wanted, str, View], Verdict]] = {
    (kind.group, kind.plural): decider
    for kind, decider in (
        (kinds.SECRET, _read), (kinds.CONFIG_MAP, _read), (kinds.PERSISTENT_VOLUME_CLAIM, _claim),
        (kinds.PERSISTENT_VOLUME, _get), (kinds.RESOURCE_CLAIM, _get), (kinds.VOLUME_ATTACHMENT, _get),
        (kinds.SERVICE_ACCOUNT, _account), (kinds.LEASE, _lease), (kinds.CSI_NODE, _csi_node),
        (kinds.RESOURCE_SLICE, _slice), (kinds.NODE, _node), (kinds.POD, _pod),
    )
}  # fmt: skip
