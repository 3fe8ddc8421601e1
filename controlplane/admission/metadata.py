"""Identity: what the server decides about an object's metadata, and what nobody can change later.

The server gives uid and creation time, completes generated names and fixes the namespace to that of the path. An
update starts from the stored identity, so a client that leaves such fields out changes nothing.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.admission import ownership
from controlplane.admission.request import Request
from mizzen.api import times
from mizzen.api.errors import BadRequest, Conflict, FieldError, Invalid
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Ids, Instant

_SUFFIX = 5
_BASE_MAX = 63 - _SUFFIX
"""A generated name fits into a label."""


def for_create(request: Request, now: Instant, ids: Ids) -> Any:
    """The object with the identity that it will have. Raises BadRequest or Invalid."""
    obj = request.object
    given: meta.ObjectMeta = obj.metadata
    if given.resource_version:
        raise BadRequest("resourceVersion should not be set on objects to be created")
    if not given.name and not given.generate_name:
        raise Invalid(request.kind, "", [FieldError.required("metadata.name", "name or generateName is required")])
    metadata = replace(
        given,
        name=given.name or given.generate_name[:_BASE_MAX] + ids.suffix(request.kind.resource, _SUFFIX),
        namespace=_namespace(request),
        uid=(request.internal and given.uid) or ids.uid(request.kind.resource),
        creation_timestamp=times.render(now),
        generation=0,
        self_link="",
        deletion_timestamp=None,
        deletion_grace_period_seconds=None,
        managed_fields=(),
    )
    return replace(obj, metadata=metadata)


def for_update(request: Request, old: Any) -> Any:
    """The object with the identity of the stored one. Raises BadRequest or Conflict."""
    given: meta.ObjectMeta = request.object.metadata
    stored: meta.ObjectMeta = old.metadata
    if given.name != stored.name:
        raise BadRequest(
            f"the name of the object ({given.name or 'based on generateName'}) does not match the name on the URL "
            f"({stored.name})"
        )
    if given.uid and given.uid != stored.uid:
        why = f"Precondition failed: UID in precondition: {given.uid}, UID in object meta: {stored.uid}"
        raise Conflict(request.kind, stored.name, why)
    _namespace(request)
    metadata = replace(
        given,
        namespace=stored.namespace,
        generate_name=stored.generate_name,
        uid=stored.uid,
        resource_version=stored.resource_version,
        generation=stored.generation,
        creation_timestamp=stored.creation_timestamp,
        deletion_timestamp=stored.deletion_timestamp,
        deletion_grace_period_seconds=stored.deletion_grace_period_seconds,
        self_link=stored.self_link,
        managed_fields=ownership.begun(request, stored),
    )
    return replace(request.object, metadata=metadata)


def kept(obj: Any, before: Any) -> Any:
    """The object with the identity and the managers that it had, and with its name where it has none any longer."""
    had: meta.ObjectMeta = before.metadata
    metadata = replace(
        had,
        name=obj.metadata.name or had.name,
        labels=obj.metadata.labels,
        annotations=obj.metadata.annotations,
        owner_references=obj.metadata.owner_references,
        finalizers=obj.metadata.finalizers,
    )
    return replace(obj, metadata=metadata)


def _namespace(request: Request) -> str:
    given = request.object.metadata.namespace
    if not request.kind.namespaced:
        return ""
    if given and given != request.namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    return request.namespace
