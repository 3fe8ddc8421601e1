"""The gRPC service for programs: the verbs of the REST API over typed messages.

Thin, as REST is: find the kind, check who asks, call the verb, put the object into the answer. Streams of containers
are in `grpc_streams`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.admission.deletion import Deletion
from controlplane.admission.request import Operation
from controlplane.server import authz
from controlplane.server.authn import UserInfo, from_certificate
from controlplane.server.grpc_errors import streaming, unary
from controlplane.server.grpc_streams import StreamCalls
from controlplane.server.paths import Place
from controlplane.server.streams import Streams
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_delete import DeleteOptions
from controlplane.server.verbs_read import ListOptions
from controlplane.server.verbs_watch import WatchOptions
from controlplane.server.verbs_write import WriteOptions, Written
from mizzen.api import codec, errors, kinds
from mizzen.api.kinds import Kind
from mizzen.api.types import autoscaling_v1, meta_v1
from mizzen.engine.entry import Entry
from mizzen.engine.plans import HORIZON_MAX_S, HORIZON_S, Plan, Question
from mizzen.engine.values import Key
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2, cluster_pb2_grpc

_OPERATIONS = {"": Operation.UPDATE, "status": Operation.UPDATE_STATUS, "finalize": Operation.FINALIZE}
Planner = Callable[[Question], Awaitable[Plan]]
"""Says what a change would do."""
Why = Callable[[Kind[Any], Any], list[cluster_pb2.Reason]]


def user_of(context: Any) -> UserInfo:
    """Who calls, by the certificate that TLS has verified. Raises Unauthorized."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    if not certificates:
        raise errors.Unauthorized("a call needs a client certificate")
    return from_certificate(ssl.PEM_cert_to_DER_cert(certificates[0].decode()))


def kind_named(resource: str) -> Kind[Any]:
    """The kind of a resource such as `deployments.apps`. Raises BadRequest, naming what there is."""
    kind = kinds.BY_RESOURCE.get(resource)
    if kind is None:
        known = ", ".join(sorted(kinds.BY_RESOURCE))
        raise errors.BadRequest(f"resource {resource!r} is not served; there are: {known}")
    return kind


class ClusterService(cluster_pb2_grpc.ClusterServicer):
    """The servicer."""

    def __init__(self, verbs: Verbs, streams: Streams, plan: Planner, why: Why) -> None:
        self._streams = StreamCalls(verbs, streams)
        self._verbs = verbs
        self._plan = plan
        self._why = why

    def _allow(self, context: Any, verb: str, kind: Kind[Any], namespace: str, name: str = "", sub: str = "") -> None:
        authz.check_place(user_of(context), verb, Place(kind, namespace, name, sub))

    def _object(self, packed: AnyMessage) -> tuple[Kind[Any], Any]:
        obj = convert.from_any(packed)
        kind = kinds.BY_TYPE.get(type(obj))
        if kind is None:
            raise errors.BadRequest(f"a {type(obj).__name__} is not an object that is stored")
        return kind, obj

    @unary
    async def Get(self, request: cluster_pb2.GetRequest, context: Any) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """One object."""
        ref, kind = request.ref, kind_named(request.ref.resource)
        self._allow(context, "get", kind, ref.namespace, ref.name)
        entry = await self._verbs.reads.get(kind, ref.namespace, ref.name)
        return cluster_pb2.ObjectResponse(object=convert.to_any(entry.object()))

    @unary
    async def List(self, request: cluster_pb2.ListRequest, context: Any) -> cluster_pb2.ListResponse:  # noqa: N802
        """Objects of one kind."""
        kind = kind_named(request.resource)
        self._allow(context, "list", kind, request.namespace)
        options = ListOptions(
            label_selector=request.label_selector,
            field_selector=request.field_selector,
            limit=request.limit,
            continue_=getattr(request, "continue"),
            resource_version=request.resource_version,
            resource_version_match=request.resource_version_match,
        )
        listing = await self._verbs.reads.list(kind, request.namespace, options)
        answer = cluster_pb2.ListResponse(
            items=[_packed(entry) for entry in listing.entries],
            resource_version=str(listing.version),
            remaining_item_count=listing.remaining,
        )
        setattr(answer, "continue", listing.continue_)
        return answer

    @streaming
    async def Watch(self, request: cluster_pb2.WatchRequest, context: Any) -> AsyncIterator[cluster_pb2.WatchResponse]:  # noqa: N802
        """Changes of one kind."""
        kind = kind_named(request.resource)
        self._allow(context, "watch", kind, request.namespace)
        options = WatchOptions(
            label_selector=request.label_selector,
            field_selector=request.field_selector,
            resource_version=request.resource_version,
            allow_bookmarks=request.allow_bookmarks,
        )
        watch = await self._verbs.watch(kind, request.namespace, options)
        async for batch in watch.batches():
            events = [
                cluster_pb2.WatchEvent(type=change.type.value, object=_packed(change.entry)) for change in batch.changes
            ]
            if batch.bookmark:
                metadata = meta_v1.ObjectMeta(resource_version=str(batch.bookmark))
                events.append(
                    cluster_pb2.WatchEvent(type="BOOKMARK", object=convert.to_any(kind.type(metadata=metadata)))
                )
            yield cluster_pb2.WatchResponse(events=events)

    @unary
    async def Create(self, request: cluster_pb2.CreateRequest, context: Any) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Stores a new object."""
        kind, obj = self._object(request.object)
        namespace = _namespace(kind, obj)
        self._allow(context, "create", kind, namespace)
        written = await self._verbs.writes.create(kind, namespace, obj, WriteOptions(dry_run=request.dry_run))
        return _answer(written)

    @unary
    async def Update(self, request: cluster_pb2.UpdateRequest, context: Any) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Replaces an object."""
        kind, obj = self._object(request.object)
        namespace, name = _namespace(kind, obj), obj.metadata.name
        self._allow(context, "update", kind, namespace, name, request.subresource)
        options = WriteOptions(dry_run=request.dry_run)
        operation = _operation(kind, request.subresource)
        return _answer(await self._verbs.writes.update(kind, namespace, name, obj, options, operation))

    @unary
    async def Patch(self, request: cluster_pb2.PatchRequest, context: Any) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Changes parts of an object."""
        ref, kind = request.ref, kind_named(request.ref.resource)
        self._allow(context, "patch", kind, ref.namespace, ref.name, request.subresource)
        written = await self._verbs.writes.patch(
            kind,
            ref.namespace,
            ref.name,
            request.type,
            request.patch,
            WriteOptions(dry_run=request.dry_run, validation="Strict"),
            _operation(kind, request.subresource),
        )
        return _answer(written)

    @unary
    async def Apply(self, request: cluster_pb2.ApplyRequest, context: Any) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Creates an object, or merges it into the one that is there."""
        kind, obj = self._object(request.object)
        namespace, name = _namespace(kind, obj), obj.metadata.name
        self._allow(context, "patch", kind, namespace, name)
        options = WriteOptions(dry_run=request.dry_run)
        try:
            await self._verbs.reads.get(kind, namespace, name)
        except errors.NotFound:
            return _answer(await self._verbs.writes.create(kind, namespace, obj, options))
        return _answer(
            await self._verbs.writes.patch(
                kind, namespace, name, "application/strategic-merge-patch+json", _wanted(obj), options
            )
        )

    @unary
    async def Delete(self, request: cluster_pb2.DeleteRequest, context: Any) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Deletes an object; the answer is its last state, or the one in which it waits."""
        ref, kind = request.ref, kind_named(request.ref.resource)
        self._allow(context, "delete", kind, ref.namespace, ref.name)
        grace = request.grace_period_seconds if request.HasField("grace_period_seconds") else None
        options = DeleteOptions(
            Deletion(grace, request.propagation_policy), request.uid, request.resource_version, request.dry_run
        )
        deleted = await self._verbs.deletes.delete(kind, ref.namespace, ref.name, options)
        return cluster_pb2.ObjectResponse(object=convert.to_any(deleted.object))

    @unary
    async def DeleteCollection(  # noqa: N802
        self, request: cluster_pb2.DeleteCollectionRequest, context: Any
    ) -> cluster_pb2.ListResponse:
        """Deletes what matches."""
        kind = kind_named(request.resource)
        self._allow(context, "deletecollection", kind, request.namespace)
        selection = ListOptions(label_selector=request.label_selector, field_selector=request.field_selector)
        deleted = await self._verbs.deletes.delete_collection(kind, request.namespace, selection, DeleteOptions())
        return cluster_pb2.ListResponse(items=[convert.to_any(one.object) for one in deleted])

    @unary
    async def Scale(self, request: cluster_pb2.ScaleRequest, context: Any) -> cluster_pb2.ScaleResponse:  # noqa: N802
        """Reads or sets a number of replicas."""
        ref, kind = request.ref, kind_named(request.ref.resource)
        if "scale" not in kind.subresources:
            raise errors.BadRequest(f"{ref.resource} have no replicas to scale")
        changes = request.HasField("replicas")
        self._allow(context, "update" if changes else "get", kind, ref.namespace, ref.name, "scale")
        if changes:
            wanted = autoscaling_v1.Scale(
                metadata=meta_v1.ObjectMeta(name=ref.name, namespace=ref.namespace),
                spec=autoscaling_v1.ScaleSpec(replicas=request.replicas),
            )
            scale, _ = await self._verbs.scales.update(kind, ref.namespace, ref.name, wanted, WriteOptions())
        else:
            scale = await self._verbs.scales.get(kind, ref.namespace, ref.name)
        return cluster_pb2.ScaleResponse(
            desired=scale.spec.replicas,
            current=scale.status.replicas,
            resource_version=scale.metadata.resource_version,
        )

    @unary
    async def Plan(self, request: cluster_pb2.PlanRequest, context: Any) -> cluster_pb2.PlanResponse:  # noqa: N802
        """What a change would do."""
        self._allow(context, "list", kinds.POD, "")
        for ref in request.delete:
            kind_named(ref.resource)
        question = Question(
            apply=tuple(self._object(packed)[1] for packed in request.apply),
            delete=tuple(Key(ref.resource, ref.namespace, ref.name) for ref in request.delete),
            lose_nodes=tuple(request.lose_nodes),
            horizon_s=min(request.horizon_s or HORIZON_S, HORIZON_MAX_S),
        )
        return _planned(await self._plan(question))

    @unary
    async def Why(self, request: cluster_pb2.WhyRequest, context: Any) -> cluster_pb2.WhyResponse:  # noqa: N802
        """Why an object is as it is."""
        ref, kind = request.ref, kind_named(request.ref.resource)
        self._allow(context, "get", kind, ref.namespace, ref.name)
        entry = await self._verbs.reads.get(kind, ref.namespace, ref.name)
        return cluster_pb2.WhyResponse(reasons=self._why(kind, entry.object()))

    @streaming
    async def Logs(self, request: cluster_pb2.LogsRequest, context: Any) -> AsyncIterator[cluster_pb2.LogsResponse]:  # noqa: N802
        """A container's output."""
        self._allow(context, "get", kinds.POD, request.namespace, request.pod, "log")
        async for answer in self._streams.logs(request):
            yield answer

    @streaming
    async def Exec(  # noqa: N802
        self, request: AsyncIterator[cluster_pb2.ExecRequest], context: Any
    ) -> AsyncIterator[cluster_pb2.ExecResponse]:
        """Runs a command in a container."""
        first = await anext(request, None)
        if first is None or first.WhichOneof("body") != "start":
            raise errors.BadRequest("the first message must be `start`: which container, which command")
        self._allow(context, "create", kinds.POD, first.start.namespace, first.start.pod, "exec")
        async for answer in self._streams.exec(first.start, request):
            yield answer

    @streaming
    async def PortForward(  # noqa: N802
        self, request: AsyncIterator[cluster_pb2.PortForwardRequest], context: Any
    ) -> AsyncIterator[cluster_pb2.PortForwardResponse]:
        """A connection to a port of a pod."""
        first = await anext(request, None)
        if first is None or first.WhichOneof("body") != "start":
            raise errors.BadRequest("the first message must be `start`: which pod, which port")
        self._allow(context, "create", kinds.POD, first.start.namespace, first.start.pod, "portforward")
        async for answer in self._streams.forward(first.start, request):
            yield answer


def _planned(plan: Plan) -> cluster_pb2.PlanResponse:
    steps = [
        cluster_pb2.PlanStep(at_ms=step.at_ms, action=step.action, object=_ref(step.object), message=step.message)
        for step in plan.steps
    ]
    return cluster_pb2.PlanResponse(steps=steps, problems=plan.problems, resource_version=plan.resource_version)


def _ref(key: Key) -> cluster_pb2.ObjectRef:
    return cluster_pb2.ObjectRef(resource=key.resource, namespace=key.namespace, name=key.name)


def _packed(entry: Entry) -> AnyMessage:
    return convert.to_any(entry.object())


def _answer(written: Written) -> cluster_pb2.ObjectResponse:
    return cluster_pb2.ObjectResponse(object=convert.to_any(written.object), warnings=written.warnings)


def _namespace(kind: Kind[Any], obj: Any) -> str:
    if not kind.namespaced:
        return ""
    if not obj.metadata.namespace:
        raise errors.BadRequest(f"metadata.namespace: a {kind.kind} needs a namespace, for example `default`")
    return str(obj.metadata.namespace)


def _operation(kind: Kind[Any], subresource: str) -> Operation:
    operation = _OPERATIONS.get(subresource)
    if operation is None or (subresource and subresource not in kind.subresources):
        raise errors.BadRequest(f"{kind.resource} have no subresource {subresource!r} that can be written")
    return operation


def _wanted(obj: Any) -> bytes:
    """The object as a patch that changes just what is set in it."""
    bare = msgspec.structs.replace(obj, status=type(obj.status)()) if hasattr(obj, "status") else obj
    return codec.encode_json(bare)
