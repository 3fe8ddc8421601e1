"""What objects use up of a ResourceQuota: which of its resources they count for, in which scopes, and how much.

Every namespaced kind is counted (`count/deployments.apps`), some under a short name too (`services`). Pods use compute
resources until they have ended, services ports of nodes and load balancers, claims storage.
The rules are those of Kubernetes 1.36. What it is not: it knows neither what is there already nor what is too much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from mizzen.api import kinds, quota_pods, resource_lists
from mizzen.api.kinds import Kind
from mizzen.api.resource_lists import Listed
from mizzen.api.selectors import Labels, Selector, from_field
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.validate_quota import VOLUME_CLASS

EXISTS = "Exists"
CLASS_INFIX = ".storageclass.storage.k8s.io/"
"""Between the name of a storage class and what is bounded for it."""
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_STORAGE, _REQUESTED_STORAGE, _CLAIMS = "storage", "requests.storage", "persistentvolumeclaims"
_OF_SERVICES = ("services", "services.nodeports", "services.loadbalancers")
_SHORT = (kinds.CONFIG_MAP, kinds.SECRET, kinds.REPLICATION_CONTROLLER, kinds.RESOURCE_QUOTA)
"""Kinds that are counted under their plural, too."""
_NEVER = (kinds.EVENT, kinds.EVENTS_EVENT)


def is_counted(kind: Kind[Any]) -> bool:
    """Whether quotas can bound objects of a kind."""
    return kind.namespaced and kind.stored and kind not in _NEVER


@lru_cache(maxsize=1024)
def count_name(kind: Kind[Any]) -> str:
    """The resource that stands for the number of a kind's objects."""
    return f"count/{kind.resource}"


def resources_of(kind: Kind[Any], names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names of resources that objects of a kind use."""
    count = count_name(kind)
    if kind is kinds.POD:
        return tuple(name for name in names if name == count or quota_pods.is_used(name))
    if kind is kinds.SERVICE:
        return tuple(name for name in names if name == count or name in _OF_SERVICES)
    if kind is kinds.PERSISTENT_VOLUME_CLAIM:
        return tuple(name for name in names if name == count or _is_of_claims(name))
    short = kind.plural if kind in _SHORT else ""
    return tuple(name for name in names if name in (count, short))


def _is_of_claims(name: str) -> bool:
    return name.rpartition(CLASS_INFIX)[2] in (_CLAIMS, _REQUESTED_STORAGE)


def usage(kind: Kind[Any], obj: Any, now: int) -> Listed:
    """What an object uses at a time (in milliseconds since the epoch). Raises QuantityError."""
    used = {count_name(kind): "1"}
    if isinstance(obj, core.Pod):
        return used | quota_pods.usage(obj, now)
    if isinstance(obj, core.Service):
        return used | _of_service(obj.spec)
    if isinstance(obj, core.PersistentVolumeClaim):
        return used | _of_claim(obj)
    return used | {kind.plural: "1"} if kind in _SHORT else used


def _of_service(spec: core.ServiceSpec) -> Listed:
    balanced = spec.type == "LoadBalancer"
    ports = len(spec.ports) if balanced or spec.type == "NodePort" else 0
    if balanced and spec.allocate_load_balancer_node_ports is False:
        ports = sum(port.node_port != 0 for port in spec.ports)
    return {"services": "1", "services.nodeports": str(ports), "services.loadbalancers": str(int(balanced))}


def _of_claim(claim: core.PersistentVolumeClaim) -> Listed:
    used = {_CLAIMS: "1"}
    asked = {name: text for name, text in claim.spec.resources.requests.items() if name == _STORAGE}
    if asked:
        given = resource_lists.only(claim.status.allocated_resources, asked)
        used[_REQUESTED_STORAGE] = resource_lists.most(asked, given)[_STORAGE]
    name = claim.metadata.annotations.get(CLASS_ANNOTATION) or claim.spec.storage_class_name
    return used | {f"{name}{CLASS_INFIX}{what}": amount for what, amount in used.items()} if name else used


def matches(quota: core.ResourceQuota, kind: Kind[Any], obj: Any, hard: Mapping[str, str]) -> bool:
    """Whether a quota with these limits bounds an object."""
    return bool(resources_of(kind, hard)) and in_scopes(quota.spec, obj)


def in_scopes(spec: core.ResourceQuotaSpec, obj: Any) -> bool:
    """Whether an object is in all the scopes that a quota is for."""
    if not spec.scopes and spec.scope_selector is None:
        return True
    terms = [core.ScopedResourceSelectorRequirement(scope_name=scope, operator=EXISTS) for scope in spec.scopes]
    terms += spec.scope_selector.match_expressions if spec.scope_selector is not None else ()
    if isinstance(obj, core.Pod):
        return all(quota_pods.in_scope(obj, term, _selector(term)) for term in terms)
    if isinstance(obj, core.PersistentVolumeClaim):
        return all(_in_scope_of_claims(obj, term) for term in terms)
    return not terms


def _selector(term: core.ScopedResourceSelectorRequirement) -> Selector:
    wanted = meta.LabelSelectorRequirement(key=term.scope_name, operator=term.operator, values=term.values)
    return from_field(meta.LabelSelector(match_expressions=(wanted,)))


def _in_scope_of_claims(claim: core.PersistentVolumeClaim, term: core.ScopedResourceSelectorRequirement) -> bool:
    if term.scope_name != VOLUME_CLASS:
        return False
    modified = claim.status.modify_volume_status
    names = (
        claim.spec.volume_attributes_class_name,
        claim.status.current_volume_attributes_class_name,
        modified.target_volume_attributes_class_name if modified is not None else None,
    )
    choices: list[Labels] = [{term.scope_name: name} for name in names if name]
    return any(_selector(term).matches(labels) for labels in choices or [{}])
