"""The kinds that a cluster serves beside those of the table, as its discovery tells: those that users define.

What is found is a kind without a schema: objects come and go as they are, and the cluster checks them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mizzen.api import kinds
from mizzen.api.custom import Custom, CustomKind
from mizzen.client.config import ClusterConfig
from mizzen.client.rest import RestClient

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class _Kind(msgspec.Struct):
    kind: str = ""


class _Below(msgspec.Struct):
    subresource: str


class _Resource(msgspec.Struct, rename="camel"):
    resource: str
    scope: str = ""
    response_kind: _Kind | None = None
    singular_resource: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    subresources: tuple[_Below, ...] = ()


class _Version(msgspec.Struct):
    version: str
    resources: tuple[_Resource, ...] = ()


class _Named(msgspec.Struct):
    name: str


class _Group(msgspec.Struct):
    metadata: _Named
    versions: tuple[_Version, ...] = ()


class _Groups(msgspec.Struct):
    items: tuple[_Group, ...] = ()


async def discover(config: ClusterConfig) -> tuple[CustomKind, ...]:
    """The kinds that are not in the table, those of a group in its order of preference. Raises the API's errors."""
    async with RestClient(config) as client:
        return found_in(await client.get("/apis", accept=AGGREGATED))


def found_in(document: dict[str, Any]) -> tuple[CustomKind, ...]:
    """The kinds in a discovery document that are not in the table. Raises msgspec.ValidationError for what is none."""
    table = {(kind.group, kind.plural) for kind in kinds.KINDS}
    return tuple(
        _kind(group.metadata.name, version.version, resource)
        for group in msgspec.convert(document, _Groups).items
        for version in group.versions
        for resource in version.resources
        if (group.metadata.name, resource.resource) not in table
    )


def _kind(group: str, version: str, found: _Resource) -> CustomKind:
    return CustomKind(
        Custom,
        group,
        version,
        found.response_kind.kind if found.response_kind else "",
        found.resource,
        namespaced=found.scope == "Namespaced",
        short_names=found.short_names,
        categories=found.categories,
        subresources=tuple(below.subresource for below in found.subresources),
        stored=False,
        verbs=found.verbs,
        singular_name=found.singular_resource,
    )
