"""Parts of objects that travel as objects of their own: scales, bindings, evictions and tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.admission.deletion import Deletion
from controlplane.server import grpc_options as options
from controlplane.server.grpc_call import GrpcCall
from controlplane.server.grpc_objects import place_of
from controlplane.server.paths import Place
from controlplane.server.tokens import Tokens
from controlplane.server.verbs import Verbs
from controlplane.server.verbs_delete import DeleteOptions
from mizzen.api import codec, errors, kinds
from mizzen.api.kinds import Kind
from mizzen.api.managed import objects as managed
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import autoscaling_v1 as autoscaling
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import policy_v1 as policy
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2

SCALE = "scale"
Answer = cluster_pb2.ObjectResponse
_Create = Callable[[cluster_pb2.CreateRequest, Place, GrpcCall], Awaitable[Any]]


class PartCalls:
    """What the calls of the service do on such parts."""

    def __init__(self, verbs: Verbs, tokens: Tokens | None) -> None:
        """Over `verbs`, and with `tokens` where the server makes any."""
        self._verbs = verbs
        self._tokens = tokens
        self._created: Mapping[str, _Create] = {"binding": self._bind, "eviction": self._evict, "token": self._token}

    async def create(self, request: cluster_pb2.CreateRequest, call: GrpcCall) -> Answer:
        """Creates below another object. Raises BadRequest where nothing can be created there."""
        kind, namespace, name = place_of(request.ref, self._verbs.registry.catalog)
        make = self._created.get(request.subresource)
        if make is None or request.subresource not in kind.subresources:
            quoted = errors.quoted(request.subresource)
            raise errors.BadRequest(f"subresource: nothing is created at {quoted} below {kind.resource}")
        call.allow("create", kind, namespace, name, request.subresource, dry_run=request.dry_run)
        return Answer(
            object=convert.to_any(await make(request, Place(kind, namespace, name, request.subresource), call))
        )

    async def bind(self, request: cluster_pb2.CreateRequest, namespace: str, call: GrpcCall) -> Answer:
        """Binds the pod that a binding names itself, and answers with it. Raises BadRequest, NotFound or Conflict."""
        await self._bind(request, Place(kinds.BINDING, namespace), call)
        return Answer(object=request.object)

    async def _bind(self, request: cluster_pb2.CreateRequest, place: Place, call: GrpcCall) -> Any:
        given = _of(request.object, core.Binding)
        asked = call.sent(place, given, dry_run=request.dry_run)
        binding, _ = await self._verbs.admission.consult(asked)
        await self._verbs.bind(place.namespace, place.name, binding, dry_run=request.dry_run)
        return meta.Status(status="Success", code=201)

    async def _evict(self, request: cluster_pb2.CreateRequest, place: Place, call: GrpcCall) -> Any:
        eviction = _of(request.object, policy.Eviction)
        if eviction.metadata.name not in ("", place.name):
            raise errors.BadRequest("metadata.name: must be ref.name, or empty")
        dry = request.dry_run or bool(eviction.delete_options and eviction.delete_options.dry_run)
        eviction, _ = await self._verbs.admission.consult(call.sent(place, eviction, dry_run=dry))
        given = eviction.delete_options or meta.DeleteOptions()
        conditions = given.preconditions or meta.Preconditions()
        how = DeleteOptions(
            Deletion(given.grace_period_seconds, given.propagation_policy or ""),
            conditions.uid or "",
            conditions.resource_version or "",
            request.dry_run or bool(given.dry_run),
            call.user,
        )
        await self._verbs.evictions.evict(place.namespace, place.name, how)
        return meta.Status(status="Success", code=201)

    async def _token(self, request: cluster_pb2.CreateRequest, place: Place, call: GrpcCall) -> Any:
        if self._tokens is None:
            raise errors.ServiceUnavailable("this server makes no tokens")
        wanted = _of(request.object, authentication.TokenRequest)
        await self._verbs.registry.fresh()
        wanted, _ = await self._verbs.admission.consult(call.sent(place, wanted, dry_run=request.dry_run))
        return self._tokens.issue(place.namespace, place.name, wanted)

    async def get_scale(self, kind: Kind[Any], namespace: str, name: str) -> Answer:
        """The scale of an object. Raises NotFound."""
        return Answer(object=convert.to_any(await self._verbs.scales.get(kind, namespace, name)))

    async def update_scale(self, request: cluster_pb2.UpdateRequest, call: GrpcCall) -> Answer:
        """Sets the scale of an object."""
        kind, namespace, name = self._scaled(request.ref)
        call.allow("update", kind, namespace, name, SCALE, dry_run=request.dry_run)
        scale = _of(request.object, autoscaling.Scale)
        how = options.writing(request, call)
        made, written = await self._verbs.scales.update(kind, namespace, name, scale, how)
        return Answer(object=convert.to_any(made), warnings=written.warnings)

    async def patch_scale(self, request: cluster_pb2.PatchRequest, call: GrpcCall) -> Answer:
        """Changes the scale of an object."""
        kind, namespace, name = self._scaled(request.ref)
        call.allow("patch", kind, namespace, name, SCALE, dry_run=request.dry_run)
        how = options.writing(request, call, checked=options.validation(request))
        made, written = await self._verbs.scales.patch(kind, namespace, name, request.type, request.patch, how)
        return Answer(object=convert.to_any(made), warnings=written.warnings)

    async def apply_scale(self, request: cluster_pb2.ApplyRequest, call: GrpcCall) -> Answer:
        """Applies a scale to an object."""
        kind, namespace, name = self._scaled(request.ref)
        call.allow("patch", kind, namespace, name, SCALE, dry_run=request.dry_run)
        options.check_applier(request)
        scale = _of(request.object, autoscaling.Scale)
        # A scale always says its number, also when that is 0.
        config = {**managed.configuration_of(scale), "spec": {"replicas": scale.spec.replicas}}
        how = options.writing(request, call, force=request.force)
        made, written = await self._verbs.scales.apply(kind, namespace, name, config, how)
        return Answer(object=convert.to_any(made), warnings=written.warnings)

    def _scaled(self, ref: cluster_pb2.ObjectRef) -> tuple[Kind[Any], str, str]:
        """What is scaled. Raises BadRequest for what has no scale."""
        kind, namespace, name = place_of(ref, self._verbs.registry.catalog)
        check_scales(kind)
        return kind, namespace, name


def check_scales(kind: Kind[Any]) -> None:
    """Raise BadRequest for a kind that has no scale."""
    if SCALE not in kind.subresources:
        raise errors.BadRequest(f"{kind.resource} have no replicas to scale")


def _of(packed: AnyMessage, type_: type[Any]) -> Any:
    """The object that was sent, in canonical form, which must be of a type. Raises BadRequest."""
    obj = convert.from_any(packed)
    if not isinstance(obj, type_):
        raise errors.BadRequest(f"object: must be a {type_.__name__}, not a {type(obj).__name__}")
    return codec.normalised(obj)
