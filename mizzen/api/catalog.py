"""Which kinds there are at one moment: those of the table, and those that users have defined.

A catalog is a value. Each change of a definition makes another one; kinds whose definitions have not changed are the
same in both, so that whatever is made of a kind can be kept with it.

Vocabulary: see `custom` for *hub* and *served version*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mizzen.api import codec, definitions, kinds, structural
from mizzen.api.custom import Column, Conversion, Custom, CustomKind, ScalePaths
from mizzen.api.kinds import Kind
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.versions import by_priority

Definition = apiextensions.CustomResourceDefinition
_Place = tuple[str, str]


@dataclass(frozen=True)
class Defined:
    """One definition and what it amounts to."""

    definition: Definition
    hub: CustomKind
    versions: tuple[CustomKind, ...] = ()
    """The served versions, the best first; none before the definition is established."""


@dataclass(frozen=True)
class Catalog:
    """All kinds at one moment."""

    defined: Mapping[str, Defined] = field(default_factory=dict)
    """By the definitions' names, in order."""
    hubs: Mapping[_Place, CustomKind] = field(default_factory=dict)
    """Every hub there ever was, by group and plural: what a definition leaves behind is found when it comes back."""

    def with_definition(self, definition: Definition) -> Catalog:
        """The catalog with a definition added or replaced; itself where that makes no difference."""
        name = definition.metadata.name
        before = self.defined.get(name)
        if before is not None and _facts(before.definition) == _facts(definition):
            return self
        spec = definition.spec
        place = (spec.group, spec.names.plural)
        hub = self.hubs.get(place)
        if hub is None or not _fits(hub, definition):
            hub = _hub(definition)
        defined = {**self.defined, name: Defined(definition, hub, _versions(definition, hub))}
        return Catalog(dict(sorted(defined.items())), {**self.hubs, place: hub})

    def without(self, name: str) -> Catalog:
        """The catalog without a definition."""
        return Catalog({key: one for key, one in self.defined.items() if key != name}, self.hubs)

    @cached_property
    def served(self) -> tuple[Kind[Any], ...]:
        """Every kind that a path may name: the table's in its order, then those of users."""
        return (*kinds.KINDS, *(kind for one in self.defined.values() for kind in one.versions))

    @cached_property
    def by_path(self) -> dict[tuple[str, str, str], Kind[Any]]:
        """The served kinds by group, version and plural."""
        # The table's own come last, because nobody may take their places.
        return {(kind.group, kind.version, kind.plural): kind for kind in reversed(self.served)}

    @cached_property
    def stored(self) -> tuple[Kind[Any], ...]:
        """Every kind that objects are stored as."""
        return (*(kind for kind in kinds.KINDS if kind.stored), *self.custom)

    @cached_property
    def custom(self) -> tuple[CustomKind, ...]:
        """The hubs of the definitions that there are."""
        return tuple(one.hub for one in self.defined.values())

    @cached_property
    def by_place(self) -> dict[_Place, Kind[Any]]:
        """The stored kinds by group and plural."""
        return {(kind.group, kind.plural): kind for kind in reversed(self.stored)}

    @cached_property
    def by_resource(self) -> dict[str, Kind[Any]]:
        """The stored kinds, and the table's others, by `pods`, `widgets.example.com`."""
        return {hub.resource: hub for hub in self.custom} | kinds.BY_RESOURCE

    @cached_property
    def best(self) -> dict[str, Kind[Any]]:
        """The kinds that are served, each in its best version, by `pods`, `widgets.example.com`."""
        custom = {one.hub.resource: one.versions[0] for one in self.defined.values() if one.versions}
        return custom | kinds.BY_RESOURCE

    @cached_property
    def by_type(self) -> dict[tuple[str, str], Kind[Any]]:
        """The served kinds by what stands in an object: `apiVersion` and `kind`."""
        return {(kind.api_version, kind.kind): kind for kind in reversed(self.served)}

    @cached_property
    def by_kind(self) -> dict[tuple[str, str], Kind[Any]]:
        """The kinds that objects are stored as, by the version and kind that references to them may name."""
        custom = {(kind.api_version, kind.kind): one.hub for one in self.defined.values() for kind in one.versions}
        return custom | {place: kinds.BY_RESOURCE[kind.resource] for place, kind in kinds.BY_KIND.items()}

    @cached_property
    def group_versions(self) -> dict[str, list[str]]:
        """The versions of every group, the best first; groups in the table's order, then those of users."""
        found: dict[str, list[str]] = {}
        for kind in self.served:
            versions = found.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        own = {kind.group for kind in kinds.KINDS}
        return {group: versions if group in own else by_priority(versions) for group, versions in found.items()}


BUILT_IN = Catalog()
"""The catalog without definitions."""


def _facts(definition: Definition) -> Any:
    """All that a catalog reads of a definition."""
    return (
        definition.metadata.uid,
        definition.metadata.deletion_timestamp is None,
        definition.spec,
        definitions.holds(definition, definitions.ESTABLISHED),
        definition.status.accepted_names,
    )


def _fits(hub: CustomKind, definition: Definition) -> bool:
    return hub.kind == definition.spec.names.kind and hub.namespaced is _namespaced(definition)


def _namespaced(definition: Definition) -> bool:
    return definition.spec.scope == "Namespaced"


def _hub(definition: Definition) -> CustomKind:
    spec = definition.spec
    storage = next((version.name for version in spec.versions if version.storage), "")
    return CustomKind(
        Custom, spec.group, storage, spec.names.kind, spec.names.plural, namespaced=_namespaced(definition)
    )


def _versions(definition: Definition, hub: CustomKind) -> tuple[CustomKind, ...]:
    if not definitions.holds(definition, definitions.ESTABLISHED):
        return ()
    served = {version.name: version for version in definition.spec.versions if version.served}
    return tuple(_version(definition, served[name], hub) for name in by_priority(served))


def _version(
    definition: Definition, version: apiextensions.CustomResourceDefinitionVersion, hub: CustomKind
) -> CustomKind:
    names = definition.status.accepted_names
    below = version.subresources or apiextensions.CustomResourceSubresources()
    return CustomKind(
        Custom,
        hub.group,
        version.name,
        hub.kind,
        hub.plural,
        namespaced=hub.namespaced,
        short_names=names.short_names,
        categories=names.categories,
        subresources=(*(("status",) if below.status else ()), *(("scale",) if below.scale else ())),
        stored=False,
        hub=hub,
        singular_name=names.singular,
        list_name=names.list_kind,
        schema=schema_of(version),
        columns=tuple(map(_column, version.additional_printer_columns)) or (_AGE,),
        scale=_scale(below.scale),
        selectable=tuple(path_names(selectable.json_path) for selectable in version.selectable_fields),
        warning=_warning(definition, version),
        terminating=definition.metadata.deletion_timestamp is not None,
        conversion=_conversion(definition),
    )


def schema_of(version: apiextensions.CustomResourceDefinitionVersion) -> structural.Node:
    """The compiled schema of a version. The names that every object has are part of it."""
    given = version.schema.open_api_v3_schema if version.schema else None
    value = {} if given is None else codec.to_dict(given)
    return structural.root(value)


def path_names(path: str) -> tuple[str, ...]:
    """The names in a simple JSON path such as `.spec.replicas`."""
    return tuple(filter(None, path.split(".")))


_AGE = Column("Age", "date", "", "Time since the object was created.", 0, ".metadata.creationTimestamp")


def _column(column: apiextensions.CustomResourceColumnDefinition) -> Column:
    return Column(column.name, column.type, column.format, column.description, column.priority, column.json_path)


def _scale(scale: apiextensions.CustomResourceSubresourceScale | None) -> ScalePaths | None:
    if scale is None:
        return None
    return ScalePaths(
        path_names(scale.spec_replicas_path),
        path_names(scale.status_replicas_path),
        path_names(scale.label_selector_path or ""),
    )


def _conversion(definition: Definition) -> Conversion | None:
    """How versions are made of each other, where there are several and a webhook is named."""
    given, versions = definition.spec.conversion, definition.spec.versions
    if given is None or given.strategy != "Webhook" or given.webhook is None or len(versions) == 1:
        return None
    return Conversion(given.webhook, next((one.name for one in versions if one.storage), ""))


def _warning(definition: Definition, version: apiextensions.CustomResourceDefinitionVersion) -> str:
    if not version.deprecated:
        return ""
    if version.deprecation_warning is not None:
        return version.deprecation_warning
    spec = definition.spec
    text = f"{spec.group}/{version.name} {spec.names.kind} is deprecated"
    better = [one.name for one in spec.versions if one.served and not one.deprecated]
    return f"{text}; use {spec.group}/{by_priority(better)[0]} {spec.names.kind}" if better else text
