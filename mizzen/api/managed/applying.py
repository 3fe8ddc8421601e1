"""Applying a configuration to an object: the checks, the merge, and what is said when it can't be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from mizzen.api import codec, custom, errors
from mizzen.api.custom import CustomKind
from mizzen.api.errors import ApiError, BadRequest
from mizzen.api.kinds import Kind
from mizzen.api.managed import entries, last_applied, objects, values
from mizzen.api.managed.entries import APPLY, Conflict, Conflicts, Entries, Writer
from mizzen.api.managed.shapes import Shape
from mizzen.api.managed.values import Json
from mizzen.api.types import meta_v1 as meta

CAUSE = "FieldManagerConflict"
_STATUS_KEEPS = ("apiVersion", "kind", "metadata", "status")
_IDENTITY = ("name", "namespace", "uid", "resourceVersion")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What somebody applies."""

    value: Json
    manager: str
    force: bool = False
    """Take fields from others."""
    subresource: str = ""
    """Empty, or `status`."""


def checked(config: Json, kind: Kind[Any], namespace: str) -> Json:
    """The configuration, if it can be one of this kind, with canonical scalars. Raises BadRequest."""
    given = f"{_group_version(config.get('apiVersion'))}, Kind={config.get('kind') or ''}"
    wanted = f"{_group_version(kind.api_version)}, Kind={kind.kind}"
    if given != wanted:
        raise BadRequest(f"invalid object type: {given}; this path is for {wanted}")
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    name = metadata.get("name") if isinstance(metadata, dict) else ""
    try:
        return values.checked(config, objects.shape_of(kind))
    except RecursionError as error:
        raise BadRequest("the object is nested too deeply") from error
    except values.BadValue as error:
        where = f"{namespace}/{name}; {wanted}"
        raise BadRequest(f"failed to create typed patch object ({where}): {error}") from error


def apply(old: Any | None, kind: Kind[Any], config: Configuration, time: str) -> Any:
    """The object that an applied configuration makes of the stored one (None: there is none), with its entries.

    `kind` is the one that is stored, for users' kinds the version in which it is applied.

    Raises BadRequest, or an ApiError with code 409 that names every field that others own.
    """
    writer = Writer(config.manager, kind.api_version, APPLY, config.subresource)
    shape = objects.shape_of(kind)
    value = _own_part(config, kind)
    managed: Entries = old.metadata.managed_fields if old is not None else ()
    live: Json = {} if old is None else codec.to_dict(_seen(objects.with_entries(old, ()), kind))
    if old is not None and not managed:
        known = _own_part(dataclasses.replace(config, value=live), kind)
        managed = objects.first_account(known, kind, time)
    try:
        merged, managed = _merged(managed, live, value, shape, writer, time, force=config.force)
    except Conflicts as conflicts:
        raise conflict_error(conflicts.all) from conflicts
    made, _ = codec.decode_dict(last_applied.synchronised(merged, live, config.value, config.manager), kind)
    made = replace(made, metadata=replace(made.metadata, managed_fields=managed))
    return custom.stored(made) if isinstance(kind, CustomKind) else made


def _seen(obj: Any, kind: Kind[Any]) -> Any:
    """A stored object as whoever applies to it sees it."""
    return custom.in_version(kind, obj) if isinstance(kind, CustomKind) else obj


def _merged(
    managed: Entries, live: Json, value: Json, shape: Shape, writer: Writer, time: str, *, force: bool
) -> tuple[Json, Entries]:
    if force:
        return entries.applied(managed, live, value, shape, writer, time, forced=None)
    try:
        return entries.applied(managed, live, value, shape, writer, time)
    except Conflicts:
        allowed = last_applied.taken_over(live, shape, writer)
        if allowed is None:
            raise
        return entries.applied(managed, live, value, shape, writer, time, forced=allowed)


def _own_part(config: Configuration, kind: Kind[Any]) -> Json:
    """What of a value the request may set: an object but for its status, or its status and metadata."""
    if config.subresource == "status":
        own = {name: inner for name, inner in config.value.items() if name in _STATUS_KEEPS}
        if isinstance(kind, CustomKind) and isinstance(metadata := own.get("metadata"), dict):
            # With a user's status no metadata is written.
            own["metadata"] = {name: inner for name, inner in metadata.items() if name in _IDENTITY}
        return own
    if kind.has_status if isinstance(kind, CustomKind) else "status" in kind.type.__struct_fields__:
        return {name: inner for name, inner in config.value.items() if name != "status"}
    return config.value


def _group_version(api_version: Any) -> str:
    text = str(api_version or "")
    return text if "/" in text else f"/{text}"


# Conflicts


def conflict_error(conflicts: Sequence[Conflict]) -> ApiError:
    """The error that names every conflict, as `kubectl` shows it."""
    causes = tuple(
        meta.StatusCause(reason=CAUSE, message=f"conflict with {_said(one.owner)}", field=one.path) for one in conflicts
    )
    return ApiError(_message(conflicts), meta.StatusDetails(causes=causes), code=409, reason="Conflict")


def _message(conflicts: Sequence[Conflict]) -> str:
    if len(conflicts) == 1:
        return f"Apply failed with 1 conflict: conflict with {_said(conflicts[0].owner)}: {conflicts[0].path}"
    by_owner: dict[str, list[str]] = {}
    for one in conflicts:
        by_owner.setdefault(_said(one.owner), []).append(one.path)
    lines = []
    for owner in sorted(by_owner):
        lines += [f"conflicts with {owner}:", *(f"- {path}" for path in by_owner[owner])]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def _said(owner: meta.ManagedFieldsEntry) -> str:
    said = errors.quoted(owner.manager)
    if owner.subresource:
        said += f" with subresource {errors.quoted(owner.subresource)}"
    return f"{said} using {owner.api_version}" if owner.operation == entries.UPDATE else said
