"""What extension servers need to know: by whom users prove who they are, and how the front proxy names them.

Kubernetes' libraries for extension servers read it from a config map, through a role in its namespace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec.structs import replace

from controlplane.server.verbs import Verbs
from controlplane.server.verbs_write import WriteOptions
from mizzen.api import errors, kinds
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac

FRONT_PROXY = "front-proxy-client"
"""The common name of the front proxy's certificate."""
CONFIG = "extension-apiserver-authentication"
_NAMESPACE = "kube-system"
_READER = "extension-apiserver-authentication-reader"
_GROUP = "rbac.authorization.k8s.io"
_READERS = ("system:kube-controller-manager", "system:kube-scheduler")
_CLIENTS, _PROXIES = "client-ca-file", "requestheader-client-ca-file"
_HEADERS = {
    "requestheader-allowed-names": json.dumps([FRONT_PROXY]),
    "requestheader-extra-headers-prefix": json.dumps(["X-Remote-Extra-"]),
    "requestheader-group-headers": json.dumps(["X-Remote-Group"]),
    "requestheader-uid-headers": json.dumps(["X-Remote-Uid"]),
    "requestheader-username-headers": json.dumps(["X-Remote-User"]),
}
_INTERNAL = WriteOptions(internal=True, manager="kube-apiserver")


async def ensure(verbs: Verbs, clients_pem: str, proxies_pem: str) -> None:
    """Make the config map, or add these authorities to it, and the role that reads it."""
    data = {_CLIENTS: clients_pem, _PROXIES: proxies_pem, **_HEADERS}
    config = core.ConfigMap(metadata=meta.ObjectMeta(name=CONFIG, namespace=_NAMESPACE), data=data)

    def merged(found: core.ConfigMap) -> core.ConfigMap:
        return replace(found, data=_merged(found.data, data))

    if not await _made(verbs, config):
        await verbs.writes.change(kinds.CONFIG_MAP, _NAMESPACE, CONFIG, merged, _INTERNAL)
    await _made(verbs, _role())
    await _made(verbs, _binding())


def _merged(found: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """What is wanted, with the authorities of other control planes kept."""
    merged = {**found, **wanted}
    for key in (_CLIENTS, _PROXIES):
        before = found.get(key, "")
        if before:
            merged[key] = before if wanted[key] in before else f"{before.rstrip()}\n{wanted[key]}"
    return merged


async def _made(verbs: Verbs, obj: Object) -> bool:
    """Make an object unless it is there; whether it was made."""
    kind = kinds.kind_of(obj)
    if verbs.registry.view.get(kind, obj.metadata.namespace, obj.metadata.name) is not None:
        return False
    try:
        await verbs.writes.create(kind, obj.metadata.namespace, obj, _INTERNAL)
    except errors.AlreadyExists:
        # Another control plane starts at the same time.
        await verbs.registry.fresh()
        return False
    return True


def _metadata(name: str) -> meta.ObjectMeta:
    return meta.ObjectMeta(
        name=name,
        namespace=_NAMESPACE,
        labels={"kubernetes.io/bootstrapping": "rbac-defaults"},
        annotations={"rbac.authorization.kubernetes.io/autoupdate": "true"},
    )


def _role() -> rbac.Role:
    rule = rbac.PolicyRule(
        verbs=("get", "list", "watch"), api_groups=("",), resources=("configmaps",), resource_names=(CONFIG,)
    )
    return rbac.Role(metadata=_metadata(_READER), rules=(rule,))


def _binding() -> rbac.RoleBinding:
    return rbac.RoleBinding(
        metadata=_metadata(f"system::{_READER}"),
        role_ref=rbac.RoleRef(api_group=_GROUP, kind="Role", name=_READER),
        subjects=tuple(rbac.Subject(kind="User", api_group=_GROUP, name=name) for name in _READERS),
    )
