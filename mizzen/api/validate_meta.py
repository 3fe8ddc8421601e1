"""The rules for `metadata`, the same for all kinds but for the form of names."""

from __future__ import annotations

from mizzen.api import formats
from mizzen.api.errors import FieldError
from mizzen.api.formats import Check
from mizzen.api.types import meta_v1 as meta
from mizzen.api.validate_common import (
    Errors,
    annotations_of,
    checked,
    immutable,
    labels,
    not_negative,
)

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"

_OPERATIONS = ("Apply", "Update")
_MANAGER_MAX = 128


def create(metadata: meta.ObjectMeta, name_check: Check, *, namespaced: bool) -> Errors:
    """Metadata of an object that is about to be; a generated name is there already."""
    if metadata.generate_name:
        for problem in name_check(_as_prefix(metadata.generate_name)):
            yield FieldError.invalid("metadata.generateName", metadata.generate_name, problem)
    if not metadata.name:
        yield FieldError.required("metadata.name", "name or generateName is required")
    else:
        yield from checked("metadata.name", metadata.name, name_check)
    yield from _namespace(metadata.namespace, namespaced)
    yield from _common(metadata)


def update(new: meta.ObjectMeta, old: meta.ObjectMeta) -> Errors:
    """Metadata of an object that is about to be replaced."""
    if old.deletion_timestamp is not None:
        extra = sorted(set(new.finalizers) - set(old.finalizers))
        if extra:
            found = ", ".join(f'"{name}"' for name in extra)
            why = "no new finalizers can be added if the object is being deleted, found new finalizers "
            why += f"[]string{{{found}}}"
            yield FieldError.forbidden("metadata.finalizers", why)
    if not new.resource_version:
        yield FieldError.invalid("metadata.resourceVersion", "", "must be specified for an update")
    if new.generation < old.generation:
        yield FieldError.invalid("metadata.generation", new.generation, "must not be decremented")
    yield from immutable("metadata.name", new.name, old.name)
    yield from immutable("metadata.namespace", new.namespace, old.namespace)
    yield from immutable("metadata.uid", new.uid, old.uid)
    yield from immutable("metadata.creationTimestamp", new.creation_timestamp, old.creation_timestamp)
    yield from immutable("metadata.deletionTimestamp", new.deletion_timestamp, old.deletion_timestamp)
    yield from immutable(
        "metadata.deletionGracePeriodSeconds", new.deletion_grace_period_seconds, old.deletion_grace_period_seconds
    )
    yield from _common(new)


def _as_prefix(name: str) -> str:
    """What will follow a trailing dash makes it valid."""
    return f"{name[:-2]}a" if len(name) > 1 and name.endswith("-") else name


def _namespace(namespace: str, namespaced: bool) -> Errors:
    if not namespaced:
        if namespace:
            yield FieldError.forbidden("metadata.namespace", "not allowed on this type")
    elif not namespace:
        yield FieldError.required("metadata.namespace")
    else:
        yield from checked("metadata.namespace", namespace, formats.dns_label)


def _common(metadata: meta.ObjectMeta) -> Errors:
    yield from not_negative("metadata.generation", metadata.generation)
    yield from labels("metadata.labels", metadata.labels)
    yield from annotations_of("metadata.annotations", metadata.annotations)
    yield from _owners(metadata.owner_references)
    yield from _finalizers(metadata.finalizers)
    for i, entry in enumerate(metadata.managed_fields):
        yield from _managed(f"metadata.managedFields[{i}]", entry)


def _owners(references: tuple[meta.OwnerReference, ...]) -> Errors:
    path = "metadata.ownerReferences"
    controller = ""
    for reference in references:
        yield from _owner(path, reference)
        if not reference.controller:
            continue
        name = f"{reference.kind}/{reference.name}"
        if controller:
            why = (
                'Only one reference can have Controller set to true. Found "true" in references for '
                f"{controller} and {name}"
            )
            yield FieldError.invalid(path, references, why)
        controller = controller or name


def _owner(path: str, reference: meta.OwnerReference) -> Errors:
    if not reference.api_version.rpartition("/")[2]:
        yield FieldError.invalid(f"{path}.apiVersion", reference.api_version, "version must not be empty")
    for name, value in (("kind", reference.kind), ("name", reference.name), ("uid", reference.uid)):
        if not value:
            yield FieldError.invalid(f"{path}.{name}", value, "must not be empty")
    if (reference.api_version, reference.kind) == ("v1", "Event"):
        yield FieldError.invalid(path, reference, "/v1, Kind=Event is disallowed from being an owner")


def _finalizers(finalizers: tuple[str, ...]) -> Errors:
    path = "metadata.finalizers"
    for finalizer in finalizers:
        yield from checked(path, finalizer, formats.qualified_name)
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        yield FieldError.invalid(path, finalizers, f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set")


def _managed(path: str, entry: meta.ManagedFieldsEntry) -> Errors:
    if entry.operation not in _OPERATIONS:
        yield FieldError.invalid(f"{path}.operation", entry.operation, "must be `Apply` or `Update`")
    if entry.fields_type and entry.fields_type != "FieldsV1":
        yield FieldError.invalid(f"{path}.fieldsType", entry.fields_type, "must be `FieldsV1`")
    if len(entry.manager) > _MANAGER_MAX:
        yield FieldError.too_long(f"{path}.manager", _MANAGER_MAX)
