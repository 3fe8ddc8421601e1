"""What the server can do, as clients ask for it: groups, versions, resources, verbs. Computed once from the kinds.

Two forms of the same facts: the classic one, with a document per group version, and the aggregated one, with everything
in a single answer (`v2` and `v2beta1`, which differ in name only).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from controlplane.server import subresources
from mizzen.api import kinds
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1 as meta

_CORE = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A prepared answer."""

    body: bytes
    etag: str
    value: Any
    """What was encoded."""


def groups() -> list[str]:
    """The named groups in the table's order."""
    return list(dict.fromkeys(kind.group for kind in kinds.KINDS if kind.group))


def group_versions() -> list[str]:
    """Every `v1`, `apps/v1` that is served."""
    return list(dict.fromkeys(kind.api_version for kind in kinds.KINDS))


@cache
def documents(address: str) -> Mapping[str, Document]:
    """The classic answers by path without a trailing slash; `address` is where clients reach the server."""
    addresses = (meta.ServerAddressByClientCIDR(client_cidr="0.0.0.0/0", server_address=address),)
    made: dict[str, Any] = {
        "/api": meta.APIVersions(versions=("v1",), server_address_by_client_cidrs=addresses),
        "/apis": meta.APIGroupList(groups=tuple(_group(name) for name in groups())),
    }
    made |= {f"/apis/{name}": _group(name) for name in groups()}
    for group_version in group_versions():
        root = "/apis" if "/" in group_version else "/api"
        made[f"{root}/{group_version}"] = _resource_list(group_version)
    made["/"] = meta.RootPaths(
        paths=tuple(
            sorted([*made, "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"])
        )
    )
    return {path: _document(value) for path, value in made.items()}


@cache
def aggregated(path: str, version: str) -> Document:
    """The aggregated answer for `/api` or `/apis`."""
    names = [_CORE] if path == "/api" else groups()
    items = [_aggregated_group(name) for name in names]
    return _document(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }
    )


def _document(value: Any) -> Document:
    body = msgspec.json.encode(value)
    return Document(body, f'"{hashlib.sha512(body).hexdigest().upper()}"', value)


def _versions(group: str) -> list[str]:
    return list(dict.fromkeys(kind.version for kind in kinds.in_group(group)))


def _group(name: str) -> meta.APIGroup:
    versions = tuple(
        meta.GroupVersionForDiscovery(group_version=f"{name}/{version}", version=version) for version in _versions(name)
    )
    return meta.APIGroup(name=name, versions=versions, preferred_version=versions[0])


def _resource_list(group_version: str) -> meta.APIResourceList:
    found = [kind for kind in kinds.KINDS if kind.api_version == group_version]
    resources = [resource for kind in sorted(found, key=lambda kind: kind.plural) for resource in _resources(kind)]
    return meta.APIResourceList(group_version=group_version, resources=tuple(resources))


def _resources(kind: Kind[Any]) -> list[meta.APIResource]:
    own = meta.APIResource(
        name=kind.plural,
        singular_name=kind.singular,
        namespaced=kind.namespaced,
        kind=kind.kind,
        verbs=kind.verbs,
        short_names=kind.short_names,
        categories=kind.categories,
        storage_version_hash=_storage_hash(kind) if kind.stored else "",
    )
    below = [
        meta.APIResource(
            name=f"{kind.plural}/{sub.name}",
            namespaced=kind.namespaced,
            group=sub.group,
            version=sub.version,
            kind=sub.kind or kind.kind,
            verbs=sub.verbs,
        )
        for sub in subresources.of(kind)
    ]
    return [own, *below]


def _storage_hash(kind: Kind[Any]) -> str:
    return hashlib.sha256(f"{kind.api_version}/{kind.kind}".encode()).hexdigest()[:12]


def _aggregated_group(name: str) -> dict[str, Any]:
    versions = [
        {
            "version": version,
            "resources": [
                _aggregated_resource(kind)
                for kind in sorted(kinds.in_group(name), key=lambda kind: kind.plural)
                if kind.version == version
            ],
            "freshness": "Current",
        }
        for version in _versions(name)
    ]
    metadata = {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None}
    return {"metadata": metadata, "versions": versions}


def _aggregated_resource(kind: Kind[Any]) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    }
    if kind.short_names:
        resource["shortNames"] = kind.short_names
    if kind.categories:
        resource["categories"] = kind.categories
    below = [
        {
            "subresource": sub.name,
            "responseKind": {
                "group": sub.group or kind.group,
                "version": sub.version or kind.version,
                "kind": sub.kind or kind.kind,
            },
            "verbs": sub.verbs,
        }
        for sub in subresources.of(kind)
    ]
    if below:
        resource["subresources"] = below
    return resource
