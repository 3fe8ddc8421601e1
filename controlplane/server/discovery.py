"""What the server can do, as clients ask for it: groups, versions, resources, verbs. Computed once from each catalog.

Two forms of the same facts: the classic one, with a document per group version, and the aggregated one, with everything
in a single answer (`v2` and `v2beta1`, which differ in name only).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from controlplane.server import subresources
from mizzen.api import kinds, priorities
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.kinds import Kind
from mizzen.api.types import meta_v1 as meta
from mizzen.api.versions import by_priority

_CORE = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A prepared answer."""

    body: bytes
    etag: str
    value: Any
    """What was encoded."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A group and version that an extension server serves."""

    group: str
    version: str
    group_priority: int
    version_priority: int
    resources: tuple[Mapping[str, Any], ...] = ()
    """As the aggregated form has them."""
    current: bool = False
    """Whether that is what the extension server says now."""


@dataclass(frozen=True)
class Offer:
    """All that is served: here, and by extension servers."""

    catalog: Catalog = BUILT_IN
    extensions: tuple[Extension, ...] = ()

    @property
    def groups(self) -> list[str]:
        """The named groups, the most important first."""
        found = {group: priorities.of_group(group) for group in self.catalog.group_versions if group}
        for one in self.extensions:
            found[one.group] = max(found.get(one.group, 0), one.group_priority)
        return sorted(found, key=lambda group: -found[group])

    def versions(self, group: str) -> list[str]:
        """The versions of a group, the most important first."""
        own = self.catalog.group_versions.get(group, [])
        found = {version: priorities.of_version(group, version) for version in own}
        found |= {one.version: one.version_priority for one in self.extensions if one.group == group}
        order = [*own, *(version for version in by_priority(found) if version not in own)]
        return sorted(order, key=lambda version: -found[version])

    def extension(self, group: str, version: str) -> Extension | None:
        """The extension that serves a group and version, if one does."""
        return next((one for one in self.extensions if (one.group, one.version) == (group, version)), None)


class Discovery:
    """The prepared answers for the newest offer that was asked for."""

    def __init__(self, address: str) -> None:
        """Speak for a server that clients reach at `address`."""
        self._address = address
        self._offer: tuple[tuple[Kind[Any], ...], tuple[Extension, ...]] = ((), ())
        self._documents: Mapping[str, Document] = {}
        self._aggregated: dict[tuple[str, str], Document] = {}

    def document(self, offer: Offer, path: str) -> Document | None:
        """The classic answer under a path without a trailing slash, if there is one."""
        self._use(offer)
        return self._documents.get(path)

    def aggregated(self, offer: Offer, path: str, version: str) -> Document:
        """The aggregated answer for `/api` or `/apis`."""
        self._use(offer)
        found = self._aggregated.get((path, version))
        if found is None:
            found = self._aggregated[path, version] = aggregated(path, version, offer)
        return found

    def _use(self, offer: Offer) -> None:
        facts = (offer.catalog.served, offer.extensions)
        if self._offer != facts:
            self._offer = facts
            self._documents = documents(self._address, offer)
            self._aggregated = {}


def documents(address: str, offer: Offer = Offer()) -> Mapping[str, Document]:
    """The classic answers by path without a trailing slash; `address` is where clients reach the server."""
    addresses = (meta.ServerAddressByClientCIDR(client_cidr="0.0.0.0/0", server_address=address),)
    groups = {name: _group(name, offer) for name in offer.groups}
    made: dict[str, Any] = {
        "/api": meta.APIVersions(versions=("v1",), server_address_by_client_cidrs=addresses),
        "/apis": meta.APIGroupList(groups=tuple(groups.values())),
    }
    made |= {f"/apis/{name}": group for name, group in groups.items()}
    for group_version in dict.fromkeys(kind.api_version for kind in offer.catalog.served):
        root = "/apis" if "/" in group_version else "/api"
        made[f"{root}/{group_version}"] = _resource_list(group_version, offer.catalog)
    extended = [f"/apis/{one.group}/{one.version}" for one in offer.extensions]
    own = ["/healthz", "/livez", "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
    made["/"] = meta.RootPaths(paths=tuple(sorted({*made, *extended, *own})))
    return {path: _document(value) for path, value in made.items()}


def aggregated(path: str, version: str, offer: Offer = Offer()) -> Document:
    """The aggregated answer for `/api` or `/apis`."""
    names = [_CORE] if path == "/api" else offer.groups
    items = [_aggregated_group(name, offer) for name in names]
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


def _group(name: str, offer: Offer) -> meta.APIGroup:
    versions = tuple(
        meta.GroupVersionForDiscovery(group_version=f"{name}/{version}", version=version)
        for version in offer.versions(name)
    )
    return meta.APIGroup(name=name, versions=versions, preferred_version=versions[0])


def _resource_list(group_version: str, catalog: Catalog) -> meta.APIResourceList:
    found = [kind for kind in catalog.served if kind.api_version == group_version]
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


def _aggregated_group(name: str, offer: Offer) -> dict[str, Any]:
    versions = [_aggregated_version(name, version, offer) for version in offer.versions(name)]
    metadata = {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None}
    return {"metadata": metadata, "versions": versions}


def _aggregated_version(group: str, version: str, offer: Offer) -> dict[str, Any]:
    if (extension := offer.extension(group, version)) is not None:
        freshness = "Current" if extension.current else "Stale"
        return {"version": version, "resources": extension.resources, "freshness": freshness}
    found = [kind for kind in kinds.in_group(group, offer.catalog.served) if kind.version == version]
    resources = [_aggregated_resource(kind) for kind in sorted(found, key=lambda kind: kind.plural)]
    return {"version": version, "resources": resources, "freshness": "Current"}


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
