"""The gRPC service for programs: the verbs of the REST API over typed messages.

Thin, as REST is: read the request (`grpc_objects`), check who asks (`grpc_call`), call the verb, put the object into
the answer. Streams of containers are in `grpc_streams`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from controlplane.admission.deletion import Deletion
from controlplane.server import grpc_objects as objects
from controlplane.server.grpc_call import GrpcCall, streaming, unary
from controlplane.server.grpc_streams import StreamCalls
from controlplane.server.metrics import Metrics
from controlplane.server.reviews import Reviews
from controlplane.server.streams import Streams
from controlplane.server.tokens import Tokens
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_delete import DeleteOptions
from controlplane.server.verbs_read import ListOptions
from controlplane.server.verbs_watch import WatchOptions
from controlplane.server.verbs_write import WriteOptions
from mizzen.api import errors, kinds
from mizzen.api.catalog import Catalog
from mizzen.api.kinds import Kind
from mizzen.api.types import autoscaling_v1, meta_v1
from mizzen.engine.plans import HORIZON_MAX_S, HORIZON_S, Plan, Question
from mizzen.engine.values import Key
from mizzen.wire.gen.mizzen.v1 import cluster_pb2, cluster_pb2_grpc

Planner = Callable[[Question], Awaitable[Plan]]
Why = Callable[[Kind[Any], Any], list[cluster_pb2.Reason]]

_PACKED_AT_ONCE = 64
"""Objects of a list that are packed before others get their turn."""


class ClusterService(cluster_pb2_grpc.ClusterServicer):
    """The servicer."""

    def __init__(
        self, verbs: Verbs, streams: Streams, plan: Planner, why: Why, metrics: Metrics, tokens: Tokens | None = None
    ) -> None:
        self._streams = StreamCalls(verbs, streams)
        self._verbs = verbs
        self._plan = plan
        self._why = why
        self.metrics = metrics
        self.access = verbs.access
        self._reviews = Reviews(verbs.access, tokens)

    @property
    def _catalog(self) -> Catalog:
        """The kinds that there are now."""
        return self._verbs.registry.catalog

    @unary
    async def Get(self, request: cluster_pb2.GetRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """One object."""
        kind, namespace, name = objects.place_of(request.ref, self._catalog)
        call.allow("get", kind, namespace, name)
        entry = await self._verbs.reads.get(kind, namespace, name)
        return cluster_pb2.ObjectResponse(object=objects.packed_entry(kind, entry))

    @unary
    async def List(self, request: cluster_pb2.ListRequest, call: GrpcCall) -> cluster_pb2.ListResponse:  # noqa: N802
        """Objects of one kind."""
        kind = objects.kind_named(request.resource, self._catalog)
        namespace = request.namespace if kind.namespaced else ""
        call.allow("list", kind, namespace)
        options = ListOptions(
            label_selector=request.label_selector,
            field_selector=request.field_selector,
            limit=request.limit,
            continue_=getattr(request, "continue"),
            resource_version=request.resource_version,
            resource_version_match=request.resource_version_match,
        )
        listing = await self._verbs.reads.list(kind, namespace, options)
        answer = cluster_pb2.ListResponse(resource_version=str(listing.version), remaining_item_count=listing.remaining)
        setattr(answer, "continue", listing.continue_)
        for start in range(0, len(listing.entries), _PACKED_AT_ONCE):
            part = listing.entries[start : start + _PACKED_AT_ONCE]
            answer.items.extend(objects.packed_entry(kind, entry) for entry in part)
            await asyncio.sleep(0)
        return answer

    @streaming
    async def Watch(  # noqa: N802
        self, request: cluster_pb2.WatchRequest, call: GrpcCall
    ) -> AsyncIterator[cluster_pb2.WatchResponse]:
        """Changes of one kind."""
        kind = objects.kind_named(request.resource, self._catalog)
        namespace = request.namespace if kind.namespaced else ""
        call.allow("watch", kind, namespace)
        options = WatchOptions(
            label_selector=request.label_selector,
            field_selector=request.field_selector,
            resource_version=request.resource_version,
            allow_bookmarks=request.allow_bookmarks,
        )
        watch = await self._verbs.watch(kind, namespace, options)
        async with aclosing(watch.batches()) as batches:
            async for batch in batches:
                for answer in objects.watched(kind, batch):
                    yield answer

    @unary
    async def Create(self, request: cluster_pb2.CreateRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Stores a new object."""
        kind, obj = objects.object_in(request.object, self._catalog, named=False)
        call.allow("create", kind, obj.metadata.namespace, dry_run=request.dry_run)
        namespace = obj.metadata.namespace
        if self._reviews.takes(kind):
            answer = self._reviews.answer(call.user, kind, namespace, obj)
            return cluster_pb2.ObjectResponse(object=objects.packed(kind, answer))
        manager = call.manager(request.field_manager)
        options = WriteOptions(
            dry_run=request.dry_run, guard=call.guard, sign=call.sign, manager=manager, user=call.user
        )
        return objects.answer(kind, await self._verbs.writes.create(kind, namespace, obj, options))

    @unary
    async def Update(self, request: cluster_pb2.UpdateRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Replaces an object."""
        kind, obj = objects.object_in(request.object, self._catalog, named=True)
        namespace, name = obj.metadata.namespace, obj.metadata.name
        call.allow("update", kind, namespace, name, request.subresource, dry_run=request.dry_run)
        manager = call.manager(request.field_manager)
        options = WriteOptions(dry_run=request.dry_run, guard=call.guard, manager=manager, user=call.user)
        operation = objects.operation_of(kind, request.subresource)
        return objects.answer(kind, await self._verbs.writes.update(kind, namespace, name, obj, options, operation))

    @unary
    async def Patch(self, request: cluster_pb2.PatchRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Changes parts of an object."""
        kind, namespace, name = objects.place_of(request.ref, self._catalog)
        call.allow("patch", kind, namespace, name, request.subresource, dry_run=request.dry_run)
        manager = call.manager(request.field_manager)
        options = WriteOptions(
            dry_run=request.dry_run, validation="Strict", guard=call.guard, manager=manager, user=call.user
        )
        operation = objects.operation_of(kind, request.subresource)
        written = await self._verbs.writes.patch(kind, namespace, name, request.type, request.patch, options, operation)
        return objects.answer(kind, written)

    @unary
    async def Apply(self, request: cluster_pb2.ApplyRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Makes the fields of an object that its manager sets what is applied; makes the object where there is none."""
        kind, obj = objects.object_in(request.object, self._catalog, named=True)
        namespace, name = obj.metadata.namespace, obj.metadata.name
        call.allow("patch", kind, namespace, name, request.subresource, dry_run=request.dry_run)
        if not request.field_manager:
            raise errors.BadRequest("field_manager: say who applies, for example the name of your program")
        operation = objects.operation_of(kind, request.subresource)
        manager = call.manager(request.field_manager)
        options = WriteOptions(
            dry_run=request.dry_run,
            guard=call.guard,
            sign=call.sign,
            manager=manager,
            force=request.force,
            user=call.user,
        )
        value = objects.configuration(request.object, obj)
        return objects.answer(kind, await self._verbs.writes.apply(kind, namespace, name, value, options, operation))

    @unary
    async def Delete(self, request: cluster_pb2.DeleteRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Deletes an object; the answer is its last state, or the one in which it waits."""
        kind, namespace, name = objects.place_of(request.ref, self._catalog)
        call.allow("delete", kind, namespace, name, dry_run=request.dry_run)
        grace = request.grace_period_seconds if request.HasField("grace_period_seconds") else None
        how = Deletion(grace, objects.propagation_in(request))
        options = DeleteOptions(how, request.uid, request.resource_version, request.dry_run, call.user)
        deleted = await self._verbs.deletes.delete(kind, namespace, name, options)
        return cluster_pb2.ObjectResponse(object=objects.packed(kind, deleted.object))

    @unary
    async def DeleteCollection(  # noqa: N802
        self, request: cluster_pb2.DeleteCollectionRequest, call: GrpcCall
    ) -> cluster_pb2.ListResponse:
        """Deletes what matches."""
        kind = objects.kind_named(request.resource, self._catalog)
        namespace = objects.namespace_in(kind, request.namespace, "namespace")
        call.allow("deletecollection", kind, namespace)
        selection = ListOptions(label_selector=request.label_selector, field_selector=request.field_selector)
        deleted = await self._verbs.deletes.delete_collection(kind, namespace, selection, DeleteOptions(user=call.user))
        return cluster_pb2.ListResponse(items=[objects.packed(kind, one.object) for one in deleted])

    @unary
    async def Scale(self, request: cluster_pb2.ScaleRequest, call: GrpcCall) -> cluster_pb2.ScaleResponse:  # noqa: N802
        """Reads or sets a number of replicas."""
        kind, namespace, name = objects.place_of(request.ref, self._catalog)
        if "scale" not in kind.subresources:
            raise errors.BadRequest(f"{kind.resource} have no replicas to scale")
        changes = request.HasField("replicas")
        call.allow("update" if changes else "get", kind, namespace, name, "scale")
        if changes:
            wanted = autoscaling_v1.Scale(
                metadata=meta_v1.ObjectMeta(name=name, namespace=namespace),
                spec=autoscaling_v1.ScaleSpec(replicas=request.replicas),
            )
            scale, _ = await self._verbs.scales.update(
                kind, namespace, name, wanted, WriteOptions(manager=call.manager(""), user=call.user)
            )
        else:
            scale = await self._verbs.scales.get(kind, namespace, name)
        return cluster_pb2.ScaleResponse(
            desired=scale.spec.replicas,
            current=scale.status.replicas,
            resource_version=scale.metadata.resource_version,
        )

    @unary
    async def Plan(self, request: cluster_pb2.PlanRequest, call: GrpcCall) -> cluster_pb2.PlanResponse:  # noqa: N802
        """What a change would do."""
        call.allow("list", kinds.POD, "")
        places = [objects.place_of(ref) for ref in request.delete]
        question = Question(
            apply=tuple(objects.object_in(packed, named=True)[1] for packed in request.apply),
            delete=tuple(Key(kind.resource, namespace, name) for kind, namespace, name in places),
            lose_nodes=tuple(request.lose_nodes),
            horizon_s=min(request.horizon_s or HORIZON_S, HORIZON_MAX_S),
        )
        return _planned(await self._plan(question))

    @unary
    async def Why(self, request: cluster_pb2.WhyRequest, call: GrpcCall) -> cluster_pb2.WhyResponse:  # noqa: N802
        """Why an object is as it is."""
        kind, namespace, name = objects.place_of(request.ref, self._catalog)
        call.allow("get", kind, namespace, name)
        entry = await self._verbs.reads.get(kind, namespace, name)
        return cluster_pb2.WhyResponse(reasons=self._why(kind, entry.object()))

    @streaming
    async def Logs(self, request: cluster_pb2.LogsRequest, call: GrpcCall) -> AsyncIterator[cluster_pb2.LogsResponse]:  # noqa: N802
        """A container's output."""
        call.allow("get", kinds.POD, request.namespace, request.pod, "log")
        async with aclosing(self._streams.logs(request)) as answers:
            async for answer in answers:
                yield answer

    @streaming
    async def Exec(  # noqa: N802
        self, request: AsyncIterator[cluster_pb2.ExecRequest], call: GrpcCall
    ) -> AsyncIterator[cluster_pb2.ExecResponse]:
        """Runs a command in a container."""
        first = await anext(request, None)
        if first is None or first.WhichOneof("body") != "start":
            raise errors.BadRequest("the first message must be `start`: which container, which command")
        call.allow("create", kinds.POD, first.start.namespace, first.start.pod, "exec")
        async with aclosing(self._streams.exec(first.start, request)) as answers:
            async for answer in answers:
                yield answer

    @streaming
    async def PortForward(  # noqa: N802
        self, request: AsyncIterator[cluster_pb2.PortForwardRequest], call: GrpcCall
    ) -> AsyncIterator[cluster_pb2.PortForwardResponse]:
        """A connection to a port of a pod."""
        first = await anext(request, None)
        if first is None or first.WhichOneof("body") != "start":
            raise errors.BadRequest("the first message must be `start`: which pod, which port")
        call.allow("create", kinds.POD, first.start.namespace, first.start.pod, "portforward")
        async with aclosing(self._streams.forward(first.start, request)) as answers:
            async for answer in answers:
                yield answer


def _planned(plan: Plan) -> cluster_pb2.PlanResponse:
    steps = [
        cluster_pb2.PlanStep(
            at_ms=step.at_ms, action=step.action, object=objects.reference(step.object), message=step.message
        )
        for step in plan.steps
    ]
    return cluster_pb2.PlanResponse(steps=steps, problems=plan.problems, resource_version=plan.resource_version)
