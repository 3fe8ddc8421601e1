"""What requests say beside their objects: how to read, to write and to delete.

What a program may get wrong is said here, in words that name the field and what would do.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol, cast

from controlplane.admission.deletion import Deletion
from controlplane.server.grpc_call import GrpcCall
from controlplane.server.guards import signed_by_sender
from controlplane.server.verbs_delete import DeleteOptions
from controlplane.server.verbs_read import ListOptions
from controlplane.server.verbs_watch import TIMEOUT_S, WatchOptions
from controlplane.server.verbs_write import WriteOptions
from mizzen.api import codec, errors
from mizzen.api.codec import FieldValidation
from mizzen.api.types import meta_v1 as meta
from mizzen.wire.gen.mizzen.v1 import cluster_pb2

_PROPAGATIONS = ("", "Background", "Foreground", "Orphan")
_META = "meta.k8s.io/v1"
_VALIDATIONS = ("Ignore", "Warn", "Strict")


class _Write(Protocol):
    """What every request that writes says."""

    @property
    def dry_run(self) -> bool: ...

    @property
    def field_manager(self) -> str: ...


class _Deletion(Protocol):
    """What every request that deletes says."""

    @property
    def dry_run(self) -> bool: ...

    @property
    def grace_period_seconds(self) -> int: ...

    @property
    def propagation_policy(self) -> str: ...

    def HasField(self, field_name: Any) -> bool: ...  # noqa: N802  # protobuf's name


def validation(request: Any) -> FieldValidation:
    """What to do about unknown and duplicate fields. Raises BadRequest."""
    wanted = request.field_validation or "Warn"
    if wanted not in _VALIDATIONS:
        raise errors.BadRequest("field_validation: must be Ignore, Warn or Strict")
    return cast(FieldValidation, wanted)


def writing(
    request: _Write, call: GrpcCall, *, force: bool = False, checked: FieldValidation = "Ignore"
) -> WriteOptions:
    """How to write. Raises BadRequest."""
    return WriteOptions(
        dry_run=request.dry_run,
        validation=checked,
        guard=call.guard,
        sign=partial(signed_by_sender, call.user),
        manager=call.manager(request.field_manager),
        force=force,
        user=call.user,
        verb_options=_told(request, f"{type(request).__name__.removesuffix('Request')}Options", force),
    )


def _told(request: _Write, kind: str, force: bool) -> dict[str, Any]:
    """The options as an object, for those who have a say in what is admitted."""
    told: dict[str, Any] = {"kind": "PatchOptions" if kind == "ApplyOptions" else kind, "apiVersion": _META}
    if request.dry_run:
        told["dryRun"] = ["All"]
    if request.field_manager:
        told["fieldManager"] = request.field_manager
    if force:
        told["force"] = True
    return told


def check_applier(request: cluster_pb2.ApplyRequest) -> None:
    """Raise BadRequest unless an apply says who does it."""
    if not request.field_manager:
        raise errors.BadRequest("field_manager: say who applies, for example the name of your program")


def deleting(request: _Deletion, call: GrpcCall, *, uid: str = "", resource_version: str = "") -> DeleteOptions:
    """How to delete. Raises BadRequest."""
    if request.propagation_policy not in _PROPAGATIONS:
        raise errors.BadRequest("propagation_policy: must be Background, Foreground or Orphan")
    grace = request.grace_period_seconds if request.HasField("grace_period_seconds") else None
    given = meta.DeleteOptions(
        dry_run=("All",) if request.dry_run else (),
        grace_period_seconds=grace,
        preconditions=meta.Preconditions(uid=uid or None, resource_version=resource_version or None),
        propagation_policy=request.propagation_policy or None,
    )
    told = {**codec.to_dict(given), "kind": "DeleteOptions", "apiVersion": _META}
    how = Deletion(grace, request.propagation_policy)
    return DeleteOptions(how, uid, resource_version, request.dry_run, call.user, told)


def listing(request: cluster_pb2.ListRequest) -> ListOptions:
    """What to list."""
    return ListOptions(
        label_selector=request.label_selector,
        field_selector=request.field_selector,
        limit=request.limit,
        continue_=getattr(request, "continue"),
        resource_version=request.resource_version,
        resource_version_match=request.resource_version_match,
    )


def watching(request: cluster_pb2.WatchRequest) -> WatchOptions:
    """What to watch. Raises BadRequest."""
    if request.timeout_seconds < 0:
        raise errors.BadRequest("timeout_seconds: must not be negative")
    return WatchOptions(
        label_selector=request.label_selector,
        field_selector=request.field_selector,
        resource_version=request.resource_version,
        resource_version_match=request.resource_version_match,
        allow_bookmarks=request.allow_bookmarks,
        send_initial_events=request.send_initial_events if request.HasField("send_initial_events") else None,
        timeout_s=request.timeout_seconds or TIMEOUT_S,
    )
