"""The rules for definitions of kinds; those for the schemas in them stand in `validate_schema`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mizzen.api import codec, definitions, formats, jsonpath, validate_admission, validate_meta, validate_schema
from mizzen.api.conversion import REVIEW_VERSIONS
from mizzen.api.definitions import APPROVED
from mizzen.api.errors import FieldError
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.validate_common import Errors, checked, immutable, one_of, required

Definition = apiextensions.CustomResourceDefinition
Version = apiextensions.CustomResourceDefinitionVersion

_APPROVAL = f'protected groups must have approval annotation "{APPROVED}", see https://github.com/kubernetes/enhancements/pull/1111'
_COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")
_COLUMN_FORMATS = ("int32", "int64", "float", "double", "byte", "date", "date-time", "password")
_SELECTABLE_MAX = 8
_SELECTABLE_TYPES = ("string", "integer", "boolean")
_WARNING_MAX = 256


def create(definition: Definition) -> Errors:
    """A definition that is about to be."""
    yield from validate_meta.create(definition.metadata, formats.dns_subdomain, namespaced=False)
    yield from _name(definition)
    yield from _approval(definition)
    yield from _spec(definition.spec)


def update(new: Definition, old: Definition) -> Errors:
    """A definition that is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _spec(new.spec)
    yield from immutable("spec.group", new.spec.group, old.spec.group)
    yield from immutable("spec.names.plural", new.spec.names.plural, old.spec.names.plural)
    if definitions.holds(old, definitions.ESTABLISHED):
        yield from immutable("spec.scope", new.spec.scope, old.spec.scope)
        yield from immutable("spec.names.kind", new.spec.names.kind, old.spec.names.kind)
    yield from _stored(new)


def update_status(new: Definition, old: Definition) -> Errors:
    """A definition whose status is about to be replaced."""
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from _stored(new)


def _name(definition: Definition) -> Errors:
    wanted = f"{definition.spec.names.plural}.{definition.spec.group}"
    if definition.metadata.name != wanted:
        why = 'must be spec.names.plural+"."+spec.group'
        yield FieldError.invalid("metadata.name", definition.metadata.name, why)


def _approval(definition: Definition) -> Errors:
    if definitions.is_protected(definition) and not definition.metadata.annotations.get(APPROVED):
        yield FieldError.required(f"metadata.annotations[{APPROVED}]", _APPROVAL)


def _stored(definition: Definition) -> Errors:
    path = "status.storedVersions"
    names = [version.name for version in definition.spec.versions]
    for i, name in enumerate(definition.status.stored_versions):
        if name not in names:
            yield FieldError.invalid(f"{path}[{i}]", name, "missing from spec.versions; must appear in spec.versions")
    for version in definition.spec.versions:
        if version.storage and version.name not in definition.status.stored_versions:
            why = f"must have the storage version {version.name}"
            yield FieldError.invalid(path, definition.status.stored_versions, why)


def _spec(spec: apiextensions.CustomResourceDefinitionSpec) -> Errors:
    if not spec.group:
        yield FieldError.required("spec.group")
    elif problems := list(checked("spec.group", spec.group, formats.dns_subdomain)):
        yield from problems
    elif "." not in spec.group:
        yield FieldError.invalid("spec.group", spec.group, "should be a domain with at least one dot")
    yield from one_of("spec.scope", spec.scope, ("Cluster", "Namespaced"))
    yield from _versions(spec.versions)
    yield from _names(spec.names)
    yield from _conversion(spec)
    if spec.preserve_unknown_fields:
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield FieldError.invalid("spec.preserveUnknownFields", True, why)


def _versions(versions: tuple[Version, ...]) -> Errors:
    names = [version.name for version in versions]
    if len(set(names)) < len(names):
        yield FieldError.invalid("spec.versions", names, "must contain unique version names")
    if sum(version.storage for version in versions) != 1:
        why = "must have exactly one version marked as storage version"
        yield FieldError.invalid("spec.versions", names, why)
    schemas = [version.schema.open_api_v3_schema if version.schema else None for version in versions]
    alike = len(schemas) > 0 and schemas[0] is not None and all(schema == schemas[0] for schema in schemas)
    for i, version in enumerate(versions):
        path = f"spec.versions[{i}]"
        yield from checked(f"{path}.name", version.name, formats.dns_label_1035)
        yield from _warning(version, path)
        schema = schemas[i]
        if schema is None:
            yield FieldError.required(f"{path}.schema.openAPIV3Schema", "schemas are required")
            continue
        value = codec.to_dict(schema)
        if not alike or i == 0:
            # One schema for all versions is named as such, as Kubernetes does.
            where = "spec.validation.openAPIV3Schema" if alike else f"{path}.schema.openAPIV3Schema"
            yield from validate_schema.problems(value, where)
        yield from _subresources(version.subresources, f"{path}.subresources")
        yield from _columns(version.additional_printer_columns, f"{path}.additionalPrinterColumns")
        yield from _selectable(version.selectable_fields, value, f"{path}.selectableFields")


def _warning(version: Version, path: str) -> Errors:
    warning = version.deprecation_warning
    if warning is None:
        return
    where = f"{path}.deprecationWarning"
    if not version.deprecated:
        yield FieldError.invalid(where, warning, "can only be set for deprecated versions")
    if not warning:
        yield FieldError.invalid(where, warning, "must not be an empty string")
    elif len(warning.encode()) > _WARNING_MAX:
        yield FieldError.invalid(where, warning, f"must be <= {_WARNING_MAX} characters long")
    elif not warning.isprintable():
        yield FieldError.invalid(
            where, warning, "must only contain printable UTF-8 characters; non-printable characters found"
        )


def _names(names: apiextensions.CustomResourceDefinitionNames) -> Errors:
    path = "spec.names"
    yield from required(f"{path}.plural", names.plural)
    yield from required(f"{path}.kind", names.kind)
    for name, value in (("plural", names.plural), ("singular", names.singular)):
        if value:
            yield from checked(f"{path}.{name}", value, formats.dns_label_1035)
    for name, kind in (("kind", names.kind), ("listKind", names.list_kind)):
        for problem in formats.dns_label_1035(kind.lower()) if kind else ():
            why = f"may have mixed case, but should otherwise match: {problem}"
            yield FieldError.invalid(f"{path}.{name}", kind, why)
    for name, values in (("shortNames", names.short_names), ("categories", names.categories)):
        for i, value in enumerate(values):
            yield from checked(f"{path}.{name}[{i}]", value, formats.dns_label_1035)
    if names.kind and names.kind == names.list_kind:
        yield FieldError.invalid(f"{path}.listKind", names.list_kind, "kind and listKind may not be the same")


def _conversion(spec: apiextensions.CustomResourceDefinitionSpec) -> Errors:
    conversion = spec.conversion
    if conversion is None:
        return
    yield from one_of("spec.conversion.strategy", conversion.strategy, ("None", "Webhook"))
    if conversion.strategy == "None" and conversion.webhook is not None:
        why = "should not be set when strategy is not set to Webhook"
        yield FieldError.forbidden("spec.conversion.webhook", why)
    if conversion.strategy == "Webhook":
        yield from _converter(conversion.webhook, "spec.conversion.webhook")


def _converter(webhook: apiextensions.WebhookConversion | None, path: str) -> Errors:
    config = webhook.client_config if webhook is not None else None
    if webhook is None or config is None:
        yield FieldError.required(f"{path}.clientConfig", "required when strategy is set to Webhook")
        return
    yield from validate_admission.client_config(f"{path}.clientConfig", config)
    where, versions = f"{path}.conversionReviewVersions", webhook.conversion_review_versions
    if not versions:
        yield FieldError.required(where)
    elif not set(versions) & set(REVIEW_VERSIONS):
        yield FieldError.invalid(where, versions, f"must include at least one of {', '.join(REVIEW_VERSIONS)}")


def _subresources(given: apiextensions.CustomResourceSubresources | None, path: str) -> Errors:
    scale = given.scale if given is not None else None
    if scale is None:
        return
    yield from _scale_path(
        f"{path}.scale.specReplicasPath", scale.spec_replicas_path, (".spec",), "should be a json path under .spec"
    )
    yield from _scale_path(
        f"{path}.scale.statusReplicasPath",
        scale.status_replicas_path,
        (".status",),
        "should be a json path under .status",
    )
    if scale.label_selector_path:
        why = "should be a json path under either .spec or .status"
        yield from _scale_path(f"{path}.scale.labelSelectorPath", scale.label_selector_path, (".spec", ".status"), why)


def _scale_path(path: str, given: str, roots: tuple[str, ...], why: str) -> Errors:
    if not given:
        yield FieldError.required(path)
    elif not _simple(given):
        yield FieldError.invalid(path, given, "should be a json path of names such as .spec.replicas")
    elif not any(given.startswith(f"{root}.") for root in roots):
        yield FieldError.invalid(path, given, why)


def _simple(path: str) -> bool:
    """Whether a path consists of names only."""
    return path.startswith(".") and all(
        part.replace("-", "").replace("_", "").isalnum() for part in path[1:].split(".")
    )


def _columns(columns: tuple[apiextensions.CustomResourceColumnDefinition, ...], path: str) -> Errors:
    for i, column in enumerate(columns):
        where = f"{path}[{i}]"
        yield from required(f"{where}.name", column.name)
        yield from one_of(f"{where}.type", column.type, _COLUMN_TYPES)
        if column.format:
            yield from one_of(f"{where}.format", column.format, _COLUMN_FORMATS)
        if not column.json_path:
            yield FieldError.required(f"{where}.jsonPath")
            continue
        try:
            jsonpath.parse(column.json_path)
        except jsonpath.BadPath as error:
            yield FieldError.invalid(f"{where}.jsonPath", column.json_path, str(error))


def _selectable(fields: tuple[apiextensions.SelectableField, ...], schema: dict[str, Any], path: str) -> Errors:
    if len(fields) > _SELECTABLE_MAX:
        yield FieldError.too_many(path, len(fields), _SELECTABLE_MAX)
    seen: set[str] = set()
    for i, field in enumerate(fields):
        where, given = f"{path}[{i}].jsonPath", field.json_path
        if not given:
            yield FieldError.required(where)
        elif not _simple(given):
            yield FieldError.invalid(where, given, "is an invalid path: must be a simple json path in dot notation")
        elif given.startswith(".metadata."):
            yield FieldError.invalid(where, given, "must not point to fields in metadata")
        else:
            yield from _selected(where, given, schema)
        if given in seen:
            yield FieldError.duplicate(where, given)
        seen.add(given)


def _selected(where: str, given: str, schema: dict[str, Any]) -> Iterator[FieldError]:
    for name in given[1:].split("."):
        below = schema.get("properties", {}).get(name)
        if below is None:
            yield FieldError.invalid(where, given, "is an invalid path: does not refer to a valid field")
            return
        schema = below
    if schema.get("type") not in _SELECTABLE_TYPES:
        names = ", ".join(_SELECTABLE_TYPES)
        yield FieldError.invalid(
            where,
            given,
            f"must point to a field of type {names}. Enum string fields and strings with formats are allowed.",
        )
