"""Objects and references as they travel over gRPC, read and written in the API's terms.

What a program may get wrong is said here, in words that name the field and what would do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.admission.request import Operation
from controlplane.server import subresources
from controlplane.server.representations import empty, shown, storage, stored
from controlplane.server.verbs_watch import Batch
from controlplane.server.verbs_write import Written
from mizzen.api import codec, errors, kinds
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.codec import FieldValidation
from mizzen.api.custom import Custom, CustomKind
from mizzen.api.kinds import Kind
from mizzen.api.managed import applying
from mizzen.api.managed import objects as managed
from mizzen.api.types import meta_v1
from mizzen.engine.entry import Entry
from mizzen.engine.values import Key
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2

EVENTS_MAX = 256
EVENTS_MAX_BYTES = 1 << 20
"""Changes in one message of a watch: at most this many, and about this many bytes; clients refuse above 4 MiB."""
_INITIAL_END = "k8s.io/initial-events-end"


class _TypeMeta(msgspec.Struct, rename="camel"):
    """What is read of an object to know its kind."""

    api_version: str = ""
    kind: str = ""


def kind_named(resource: str, catalog: Catalog) -> Kind[Any]:
    """The kind of a resource such as `deployments.apps`, in its best version.

    Raises BadRequest, naming what there is.
    """
    kind = catalog.best.get(resource) or _versioned(resource, catalog)
    if kind is None:
        known = ", ".join(sorted(catalog.best))
        raise errors.BadRequest(f"resource {errors.quoted(resource)} is not served; there are: {known}")
    return kind


def _versioned(resource: str, catalog: Catalog) -> Kind[Any] | None:
    """The kind of a resource with a version, such as `deployments.v1.apps`."""
    plural, _, rest = resource.partition(".")
    version, _, group = rest.partition(".")
    return catalog.by_path.get((group, version, plural))


def place_of(ref: cluster_pb2.ObjectRef, catalog: Catalog = BUILT_IN) -> tuple[Kind[Any], str, str]:
    """Kind, namespace and name of a reference. Raises BadRequest where it does not name one object."""
    kind = kind_named(ref.resource, catalog)
    if not ref.name:
        raise errors.BadRequest("ref.name: name the object")
    return kind, namespace_in(kind, ref.namespace, "ref.namespace"), ref.name


def namespace_in(kind: Kind[Any], namespace: str, field: str) -> str:
    """The namespace, which kinds without namespaces do not have. Raises BadRequest where one is needed."""
    if kind.namespaced and not namespace:
        raise errors.BadRequest(f"{field}: a {kind.kind} needs a namespace, for example `default`")
    return namespace if kind.namespaced else ""


def object_in(
    packed: AnyMessage, catalog: Catalog = BUILT_IN, *, named: bool, validation: FieldValidation = "Ignore"
) -> tuple[Kind[Any], Any, tuple[str, ...]]:
    """An object that a program sent, in canonical form, its kind, and warnings of fields that its kind does not have.

    Raises BadRequest, also when it has no name.
    """
    warnings: tuple[str, ...] = ()
    try:
        obj = convert.from_any(packed)
        if isinstance(obj, meta_v1.CustomObject):
            obj, warnings = _custom_in(obj.json, catalog, validation)
        else:
            obj = codec.normalised(obj)
    except msgspec.ValidationError as error:
        raise errors.BadRequest(f"the object cannot be read: {error}") from error
    kind = obj.of if isinstance(obj, Custom) else kinds.BY_TYPE.get(type(obj))
    if kind is None:
        raise errors.BadRequest(f"a {type(obj).__name__} is not an object that is stored")
    namespace_in(kind, obj.metadata.namespace, "metadata.namespace")
    if named and not obj.metadata.name:
        raise errors.BadRequest("metadata.name: name the object")
    return kind, obj, warnings


def _custom_in(data: bytes, catalog: Catalog, validation: FieldValidation) -> tuple[Custom, tuple[str, ...]]:
    """The object of a user's kind that a JSON text holds. Raises BadRequest."""
    try:
        named = msgspec.json.decode(data, type=_TypeMeta)
    except msgspec.DecodeError as error:
        raise errors.BadRequest(f"the object cannot be read: {error}") from error
    kind = catalog.by_type.get((named.api_version, named.kind))
    if not isinstance(kind, CustomKind):
        raise errors.BadRequest(f"no definition is established for a {named.kind} in {named.api_version}")
    return codec.decode_json(data, kind, validation=validation)


def check_readable(kind: Kind[Any], subresource: str) -> None:
    """Raise BadRequest for a part that can't be read as an object."""
    found = subresources.find(kind, subresource)
    if found is None or "get" not in found.verbs or subresource in ("log", "exec", "attach", "portforward"):
        raise errors.BadRequest(f"{kind.resource} have no subresource {errors.quoted(subresource)} to read")


def operation_of(kind: Kind[Any], subresource: str) -> Operation:
    """What writing a part of an object is. Raises BadRequest for a part that can't be written."""
    operation = subresources.OPERATIONS.get(subresource)
    if operation is None or (subresource and subresource not in kind.subresources):
        raise errors.BadRequest(f"{kind.resource} have no subresource {errors.quoted(subresource)} to write")
    return operation


def configuration(packed: AnyMessage, obj: Any) -> dict[str, Any]:
    """An object as what is applied: just what is set in it, as it was `packed`. Raises BadRequest where that can't be.

    A message has no way to say that a field is not set other than by its empty value, so those count as not set.
    """
    if isinstance(obj, Custom):
        # The object has its defaults already, which its sender did not set.
        sent: Any = convert.from_any(packed)
        return applying.checked(msgspec.json.decode(sent.json), obj.of, obj.metadata.namespace)
    own = stored(obj)
    return applying.checked(managed.configuration_of(own), storage(kinds.kind_of(obj)), own.metadata.namespace)


def packed(kind: Kind[Any], obj: Any) -> AnyMessage:
    """A stored object as a program gets it."""
    return convert.to_any(shown(kind, obj))


def packed_entry(kind: Kind[Any], entry: Entry) -> AnyMessage:
    """An entry's object as a program gets it; its bytes are made once and kept with the entry."""
    if kind is not entry.kind:
        return packed(kind, entry.object())
    if entry.message is None:
        made = packed(kind, entry.object())
        entry.message = made.value
        return made
    return AnyMessage(type_url=convert.type_url(kind.type), value=entry.message)


def answer(kind: Kind[Any], written: Written, warnings: tuple[str, ...] = ()) -> cluster_pb2.ObjectResponse:
    """What became of a write, after what was noticed before it."""
    return cluster_pb2.ObjectResponse(object=packed(kind, written.object), warnings=(*warnings, *written.warnings))


def reference(key: Key) -> cluster_pb2.ObjectRef:
    """A key as it travels."""
    return cluster_pb2.ObjectRef(resource=key.resource, namespace=key.namespace, name=key.name)


def watched(kind: Kind[Any], batch: Batch) -> Iterator[cluster_pb2.WatchResponse]:
    """A batch of changes in messages of a bounded size."""
    events: list[cluster_pb2.WatchEvent] = []
    size = 0
    for change in batch.changes:
        event = cluster_pb2.WatchEvent(type=change.type.value, object=packed_entry(kind, change.entry))
        events.append(event)
        size += len(event.object.value)
        if len(events) >= EVENTS_MAX or size >= EVENTS_MAX_BYTES:
            yield cluster_pb2.WatchResponse(events=events)
            events, size = [], 0
    if batch.bookmark:
        notes = {_INITIAL_END: "true"} if batch.initial_end else {}
        metadata = meta_v1.ObjectMeta(resource_version=str(batch.bookmark), annotations=notes)
        mark = convert.to_any(msgspec.structs.replace(empty(kind), metadata=metadata))
        events.append(cluster_pb2.WatchEvent(type="BOOKMARK", object=mark))
    if events:
        yield cluster_pb2.WatchResponse(events=events)
