"""The gRPC service for programs: the verbs of the REST API over typed messages.

Thin, as REST is: read the request (`grpc_objects`), check who asks (`grpc_call`), call the verb, put the object into
the answer. Streams of containers are in `grpc_streams`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from controlplane.admission import Operation
from controlplane.server import grpc_objects as objects
from controlplane.server import grpc_options as options
from controlplane.server.audit import Auditor
from controlplane.server.authn import VerifyToken, everywhere, no_tokens
from controlplane.server.grpc_call import GrpcCall, streaming, unary
from controlplane.server.grpc_parts import SCALE, PartCalls, check_scales
from controlplane.server.grpc_streams import StreamCalls
from controlplane.server.image_loads import ImageLoads
from controlplane.server.metrics import Metrics
from controlplane.server.paths import Place
from controlplane.server.reviews import Reviews
from controlplane.server.streams import Streams
from controlplane.server.tokens import Tokens
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_read import ListOptions
from mizzen.api import errors, kinds
from mizzen.api.catalog import Catalog
from mizzen.api.kinds import Kind
from mizzen.api.types import autoscaling_v1, core_v1, meta_v1
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
        self,
        verbs: Verbs,
        streams: Streams,
        plan: Planner,
        why: Why,
        metrics: Metrics,
        tokens: Tokens | None = None,
        verify_token: VerifyToken = no_tokens,
        images: ImageLoads | None = None,
        hears_nobody: Callable[[str], bool] = everywhere,
        auditor: Auditor | None = None,
    ) -> None:
        """`images`: who places images on nodes; None where there is no way to nodes."""
        self.hears_nobody = hears_nobody
        self.auditor = auditor
        self._images = images
        self._streams = StreamCalls(verbs, streams)
        self._parts = PartCalls(verbs, tokens)
        self._verbs = verbs
        self._plan = plan
        self._why = why
        self.metrics = metrics
        self.access = verbs.access
        self.verify_token = verify_token
        self._reviews = Reviews(verbs.access, tokens, verify_token)

    @property
    def _catalog(self) -> Catalog:
        """The kinds that there are now."""
        return self._verbs.registry.catalog

    @unary
    async def Get(self, request: cluster_pb2.GetRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """One object, or a part of it."""
        kind, namespace, name = objects.place_of(request.ref, self._catalog)
        if request.subresource:
            objects.check_readable(kind, request.subresource)
        call.allow("get", kind, namespace, name, request.subresource)
        if request.subresource == SCALE:
            return await self._parts.get_scale(kind, namespace, name)
        entry = await self._verbs.reads.get(kind, namespace, name, request.resource_version)
        return cluster_pb2.ObjectResponse(object=objects.packed_entry(kind, entry))

    @unary
    async def List(self, request: cluster_pb2.ListRequest, call: GrpcCall) -> cluster_pb2.ListResponse:  # noqa: N802
        """Objects of one kind."""
        kind = objects.kind_named(request.resource, self._catalog)
        namespace = request.namespace if kind.namespaced else ""
        call.allow_many("list", kind, namespace, request.field_selector)
        listing = await self._verbs.reads.list(kind, namespace, options.listing(request))
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
        call.allow_many("watch", kind, namespace, request.field_selector)
        watch = await self._verbs.watch(kind, namespace, options.watching(request))
        async with aclosing(watch.batches()) as batches:
            async for batch in batches:
                for answer in objects.watched(kind, batch):
                    yield answer

    @unary
    async def Create(self, request: cluster_pb2.CreateRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Stores a new object, answers a question, or creates something below an object."""
        if request.subresource:
            return await self._parts.create(request, call)
        checked = options.validation(request)
        kind, obj, warnings = objects.object_in(request.object, self._catalog, named=False, validation=checked)
        namespace = obj.metadata.namespace if kind.namespaced else ""
        call.allow("create", kind, namespace, dry_run=request.dry_run)
        if kind is kinds.BINDING:
            return await self._parts.bind(request, namespace, call)
        if self._reviews.takes(kind):
            answer = self._reviews.answer(call.user, kind, namespace, obj)
            return cluster_pb2.ObjectResponse(object=objects.packed(kind, answer))
        written = await self._verbs.writes.create(kind, namespace, obj, options.writing(request, call))
        return objects.answer(kind, written, warnings)

    @unary
    async def Update(self, request: cluster_pb2.UpdateRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Replaces an object or a part of it."""
        if request.subresource == SCALE:
            return await self._parts.update_scale(request, call)
        checked = options.validation(request)
        kind, obj, warnings = objects.object_in(request.object, self._catalog, named=True, validation=checked)
        namespace, name = obj.metadata.namespace if kind.namespaced else "", obj.metadata.name
        call.allow("update", kind, namespace, name, request.subresource, dry_run=request.dry_run)
        operation = objects.operation_of(kind, request.subresource)
        how = options.writing(request, call)
        written = await self._verbs.writes.update(kind, namespace, name, obj, how, operation)
        return objects.answer(kind, written, warnings)

    @unary
    async def Patch(self, request: cluster_pb2.PatchRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Changes parts of an object."""
        if request.subresource == SCALE:
            return await self._parts.patch_scale(request, call)
        kind, namespace, name = objects.place_of(request.ref, self._catalog)
        call.allow("patch", kind, namespace, name, request.subresource, dry_run=request.dry_run)
        operation = objects.operation_of(kind, request.subresource)
        how = options.writing(request, call, checked=options.validation(request))
        written = await self._verbs.writes.patch(kind, namespace, name, request.type, request.patch, how, operation)
        return objects.answer(kind, written)

    @unary
    async def Apply(self, request: cluster_pb2.ApplyRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Makes the fields of an object that its manager sets what is applied; makes the object where there is none."""
        if request.subresource == SCALE:
            return await self._parts.apply_scale(request, call)
        kind, obj, _ = objects.object_in(request.object, self._catalog, named=True)
        namespace, name = obj.metadata.namespace if kind.namespaced else "", obj.metadata.name
        call.allow("patch", kind, namespace, name, request.subresource, dry_run=request.dry_run)
        operation = objects.operation_of(kind, request.subresource)
        options.check_applier(request)
        value = objects.configuration(request.object, obj)
        how = options.writing(request, call, force=request.force)
        return objects.answer(kind, await self._verbs.writes.apply(kind, namespace, name, value, how, operation))

    @unary
    async def Delete(self, request: cluster_pb2.DeleteRequest, call: GrpcCall) -> cluster_pb2.ObjectResponse:  # noqa: N802
        """Deletes an object; the answer is its last state, or the one in which it waits."""
        kind, namespace, name = objects.place_of(request.ref, self._catalog)
        call.allow("delete", kind, namespace, name, dry_run=request.dry_run)
        how = options.deleting(request, call, uid=request.uid, resource_version=request.resource_version)
        deleted = await self._verbs.deletes.delete(kind, namespace, name, how)
        return cluster_pb2.ObjectResponse(object=objects.packed(kind, deleted.object))

    @unary
    async def DeleteCollection(  # noqa: N802
        self, request: cluster_pb2.DeleteCollectionRequest, call: GrpcCall
    ) -> cluster_pb2.ListResponse:
        """Deletes what matches."""
        kind = objects.kind_named(request.resource, self._catalog)
        namespace = objects.namespace_in(kind, request.namespace, "namespace")
        call.allow("deletecollection", kind, namespace, dry_run=request.dry_run)
        selection = ListOptions(
            label_selector=request.label_selector, field_selector=request.field_selector, limit=request.limit
        )
        how = options.deleting(request, call)
        deleted = await self._verbs.deletes.delete_collection(kind, namespace, selection, how)
        return cluster_pb2.ListResponse(items=[objects.packed(kind, one.object) for one in deleted])

    @unary
    async def Scale(self, request: cluster_pb2.ScaleRequest, call: GrpcCall) -> cluster_pb2.ScaleResponse:  # noqa: N802
        """Reads or sets a number of replicas."""
        kind, namespace, name = objects.place_of(request.ref, self._catalog)
        check_scales(kind)
        changes = request.HasField("replicas")
        call.allow("update" if changes else "get", kind, namespace, name, SCALE, dry_run=request.dry_run)
        if changes:
            metadata = meta_v1.ObjectMeta(name=name, namespace=namespace, resource_version=request.resource_version)
            wanted = autoscaling_v1.Scale(metadata=metadata, spec=autoscaling_v1.ScaleSpec(replicas=request.replicas))
            how = options.writing(request, call)
            scale, _ = await self._verbs.scales.update(kind, namespace, name, wanted, how)
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
        places = [objects.place_of(ref, self._catalog) for ref in request.delete]
        question = Question(
            apply=tuple(objects.object_in(packed, self._catalog, named=True)[1] for packed in request.apply),
            delete=tuple(Key(kind.resource, namespace, name) for kind, namespace, name in places),
            lose_nodes=tuple(request.lose_nodes),
            return_nodes=tuple(request.return_nodes),
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
        await self._entering(call, first.start, "exec", core_v1.PodExecOptions(
            container=first.start.container, command=tuple(first.start.command), stdin=first.start.stdin,
            stdout=True, stderr=not first.start.tty, tty=first.start.tty,
        ))  # fmt: skip
        async with aclosing(self._streams.exec(first.start, request)) as answers:
            async for answer in answers:
                yield answer

    @streaming
    async def Attach(  # noqa: N802
        self, request: AsyncIterator[cluster_pb2.AttachRequest], call: GrpcCall
    ) -> AsyncIterator[cluster_pb2.ExecResponse]:
        """The input and output of a container that runs."""
        first = await anext(request, None)
        if first is None or first.WhichOneof("body") != "start":
            raise errors.BadRequest("the first message must be `start`: which container")
        call.allow("create", kinds.POD, first.start.namespace, first.start.pod, "attach")
        await self._entering(call, first.start, "attach", core_v1.PodAttachOptions(
            container=first.start.container, stdin=first.start.stdin, stdout=True, stderr=not first.start.tty,
            tty=first.start.tty,
        ))  # fmt: skip
        async with aclosing(self._streams.attach(first.start, request)) as answers:
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
        await self._entering(call, first.start, "portforward", core_v1.PodPortForwardOptions(
            ports=(first.start.port,)
        ))  # fmt: skip
        async with aclosing(self._streams.forward(first.start, request)) as answers:
            async for answer in answers:
                yield answer

    @streaming
    async def LoadImage(  # noqa: N802
        self, request: AsyncIterator[cluster_pb2.LoadImageRequest], call: GrpcCall
    ) -> AsyncIterator[cluster_pb2.LoadImageResponse]:
        """Places images on nodes."""
        first = await anext(request, None)
        if first is None or first.WhichOneof("body") != "start":
            raise errors.BadRequest("the first message must be `start`: which nodes")
        nodes = tuple(first.start.nodes)
        call.allow("create", kinds.NODE, "", nodes[0] if len(nodes) == 1 else "", "images")
        if self._images is None:
            raise errors.ServiceUnavailable("this server reaches no nodes")
        async with aclosing(self._images.load(nodes, request)) as answers:
            async for answer in answers:
                yield answer

    async def _entering(self, call: GrpcCall, start: Any, subresource: str, given: Any) -> None:
        """Ask those who have a say about who enters a pod. Raises ApiError."""
        place = Place(kinds.POD, start.namespace, start.pod, subresource)
        await self._verbs.admission.consult(call.sent(place, given, Operation.CONNECT))


def _planned(plan: Plan) -> cluster_pb2.PlanResponse:
    steps = [
        cluster_pb2.PlanStep(
            at_ms=step.at_ms, action=step.action, object=objects.reference(step.object), message=step.message
        )
        for step in plan.steps
    ]
    return cluster_pb2.PlanResponse(steps=steps, problems=plan.problems, resource_version=plan.resource_version)
