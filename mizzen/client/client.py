"""The cluster's verbs for programs, over gRPC, with typed objects.

    async with Client(config.load()) as client:
        pods = await client.list(kinds.POD, "default", label_selector="app=web")

Objects of kinds that users define are `mizzen.api.custom.Custom`; `mizzen.client.discovery` finds their kinds. Errors
are those of the API (`mizzen.api.errors`); a cluster that can't be reached is `ServiceUnavailable`. Every call with one
answer has a deadline.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec

from mizzen.api import custom, errors, kinds
from mizzen.api.custom import CustomKind
from mizzen.api.kinds import Kind, Object
from mizzen.api.managed.entries import COMMAND_LINE
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import autoscaling_v1 as autoscaling
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import policy_v1 as policy
from mizzen.client.containers import Containers
from mizzen.client.images import Images
from mizzen.client.values import Event, Listed, Reason
from mizzen.engine.plans import Plan, PlanStep
from mizzen.engine.values import Key
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb

T = TypeVar("T", bound=Object)
A = TypeVar("A")


class Client(Containers, Images):
    """A connection to a cluster."""

    # -- reading ---------------------------------------------------------------------------------------------------

    async def get(
        self, kind: Kind[T], namespace: str, name: str, *, subresource: str = "", resource_version: str = ""
    ) -> T:
        """One object; with a version, as it is in a state that is not older. Raises NotFound."""
        request = pb.GetRequest(
            ref=_ref(kind, namespace, name), subresource=subresource, resource_version=resource_version
        )
        return _object(kind, (await self._call("Get", request)).object)

    async def list(
        self, kind: Kind[T], namespace: str = "", *, label_selector: str = "", field_selector: str = "", page: int = 500
    ) -> Listed[T]:
        """All objects that match, at one version, fetched in pages."""
        found: list[T] = []
        token = ""
        while True:
            one = await self.list_page(
                kind, namespace, label_selector=label_selector, field_selector=field_selector, limit=page,
                continue_=token,
            )  # fmt: skip
            found += one.items
            token = one.continue_
            if not token:
                return Listed(tuple(found), one.resource_version)

    async def list_page(
        self,
        kind: Kind[T],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
    ) -> Listed[T]:
        """At most `limit` objects that match, and how to ask for the next ones. Raises Expired for an old token."""
        request = pb.ListRequest(
            resource=_named(kind),
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            resource_version=resource_version,
            resource_version_match=resource_version_match,
        )
        setattr(request, "continue", continue_)
        answer = await self._call("List", request)
        remaining = answer.remaining_item_count if answer.HasField("remaining_item_count") else None
        items = tuple([_object(kind, item) for item in answer.items])
        return Listed(items, answer.resource_version, getattr(answer, "continue"), remaining)

    async def watch(
        self,
        kind: Kind[T],
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        send_initial_events: bool = False,
        timeout_s: int = 0,
    ) -> AsyncGenerator[Event[T], None]:
        """Changes after a version (without one: the present objects first) until the connection, or the time, ends.

        With `send_initial_events` the present objects come first in any case, and after them a bookmark with the
        annotation `k8s.io/initial-events-end`. Raises Expired where the changes are not known any more: list again.
        """
        request = pb.WatchRequest(
            resource=_named(kind),
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
            allow_bookmarks=True,
            timeout_seconds=timeout_s,
        )
        if send_initial_events:
            request.send_initial_events, request.resource_version_match = True, "NotOlderThan"
        async with aclosing(self._stream("Watch", request)) as answers:
            async for answer in answers:
                for event in answer.events:
                    yield Event(event.type, _object(kind, event.object))

    # -- writing ---------------------------------------------------------------------------------------------------

    async def create(
        self, obj: T, *, dry_run: bool = False, field_manager: str = COMMAND_LINE, field_validation: str = ""
    ) -> T:
        """Stores a new object. Raises AlreadyExists, Invalid."""
        request = pb.CreateRequest(
            object=convert.to_any(obj), dry_run=dry_run, field_manager=field_manager, field_validation=field_validation
        )
        return _object(kinds.kind_of(obj), (await self._call("Create", request)).object)

    async def update(
        self, obj: T, *, subresource: str = "", dry_run: bool = False, field_manager: str = COMMAND_LINE
    ) -> T:
        """Replaces an object; with a resource version it must still be at that version. Raises Conflict."""
        request = pb.UpdateRequest(
            object=convert.to_any(obj), subresource=subresource, dry_run=dry_run, field_manager=field_manager
        )
        return _object(kinds.kind_of(obj), (await self._call("Update", request)).object)

    async def patch(
        self,
        kind: Kind[T],
        namespace: str,
        name: str,
        patch: bytes,
        *,
        type_: str = "merge",
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = COMMAND_LINE,
        field_validation: str = "Strict",
    ) -> T:
        """Changes parts of an object; `type_` is `json`, `merge` or `strategic-merge`."""
        request = pb.PatchRequest(
            ref=_ref(kind, namespace, name),
            type=f"application/{type_}-patch+json",
            patch=patch,
            subresource=subresource,
            dry_run=dry_run,
            field_manager=field_manager,
            field_validation=field_validation,
        )
        return _object(kind, (await self._call("Patch", request)).object)

    async def apply(
        self,
        obj: T,
        *,
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = COMMAND_LINE,
        force: bool = False,
    ) -> T:
        """Makes the fields that are set in the object so; makes the object where there is none.

        What this manager applied before and is not in the object any more goes. Raises Conflict when others manage
        fields that would change, unless they are taken over by `force`.
        """
        request = pb.ApplyRequest(
            object=convert.to_any(obj),
            subresource=subresource,
            dry_run=dry_run,
            field_manager=field_manager,
            force=force,
        )
        return _object(kinds.kind_of(obj), (await self._call("Apply", request)).object)

    # -- deleting --------------------------------------------------------------------------------------------------

    async def delete(
        self,
        kind: Kind[T],
        namespace: str,
        name: str,
        *,
        grace_period_s: int | None = None,
        propagation: str = "Background",
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
    ) -> T:
        """Deletes an object; what comes back is its last state, or the one in which it waits to go.

        With a uid or a version the object must be that one. Raises Conflict.
        """
        request = pb.DeleteRequest(
            ref=_ref(kind, namespace, name),
            uid=uid,
            resource_version=resource_version,
            grace_period_seconds=grace_period_s,
            propagation_policy=propagation,
            dry_run=dry_run,
        )
        return _object(kind, (await self._call("Delete", request)).object)

    async def delete_collection(
        self,
        kind: Kind[T],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace_period_s: int | None = None,
        propagation: str = "Background",
        dry_run: bool = False,
    ) -> tuple[T, ...]:
        """Deletes the objects of a namespace that match, all without selectors; returns their last states."""
        request = pb.DeleteCollectionRequest(
            resource=_named(kind),
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            grace_period_seconds=grace_period_s,
            propagation_policy=propagation,
            dry_run=dry_run,
        )
        answer = await self._call("DeleteCollection", request)
        return tuple(_object(kind, item) for item in answer.items)

    async def evict(self, eviction: policy.Eviction, *, dry_run: bool = False) -> None:
        """Lets a pod go, if its disruption budgets allow that. Raises TooManyRequests where they do not yet."""
        await self._below(kinds.POD, eviction, "eviction", dry_run)

    # -- parts -----------------------------------------------------------------------------------------------------

    async def scale(self, kind: Kind[Any], namespace: str, name: str, replicas: int | None = None) -> tuple[int, int]:
        """Sets (where given) and returns the number of replicas: (wanted, present)."""
        request = pb.ScaleRequest(ref=_ref(kind, namespace, name), replicas=replicas, field_manager=COMMAND_LINE)
        answer = await self._call("Scale", request)
        return answer.desired, answer.current

    async def get_scale(self, kind: Kind[Any], namespace: str, name: str) -> autoscaling.Scale:
        """The scale of an object, with its selector."""
        request = pb.GetRequest(ref=_ref(kind, namespace, name), subresource="scale")
        return _typed(autoscaling.Scale, (await self._call("Get", request)).object)

    async def update_scale(
        self, kind: Kind[Any], scale: autoscaling.Scale, *, dry_run: bool = False
    ) -> autoscaling.Scale:
        """Sets the scale of the object that it names; with a version it must be at that one. Raises Conflict."""
        request = pb.UpdateRequest(
            object=convert.to_any(scale),
            ref=_ref(kind, scale.metadata.namespace, scale.metadata.name),
            subresource="scale",
            dry_run=dry_run,
            field_manager=COMMAND_LINE,
        )
        return _typed(autoscaling.Scale, (await self._call("Update", request)).object)

    async def bind(self, binding: core.Binding, *, dry_run: bool = False) -> None:
        """Assigns the pod that the binding names to a node. Raises Conflict when it can't be any longer."""
        await self._below(kinds.POD, binding, "binding", dry_run)

    async def create_token(
        self, namespace: str, account: str, spec: authentication.TokenRequestSpec
    ) -> authentication.TokenRequest:
        """A token of a service account. Raises NotFound, Invalid."""
        wanted = authentication.TokenRequest(metadata=meta.ObjectMeta(name=account, namespace=namespace), spec=spec)
        answer = await self._below(kinds.SERVICE_ACCOUNT, wanted, "token", dry_run=False)
        return _typed(authentication.TokenRequest, answer.object)

    async def _below(self, kind: Kind[Any], obj: Any, subresource: str, dry_run: bool) -> Any:
        metadata: meta.ObjectMeta = obj.metadata
        request = pb.CreateRequest(
            object=convert.to_any(obj),
            ref=_ref(kind, metadata.namespace, metadata.name),
            subresource=subresource,
            dry_run=dry_run,
        )
        return await self._call("Create", request)

    # -- explaining ------------------------------------------------------------------------------------------------

    async def plan(
        self,
        apply: Iterable[Object] = (),
        *,
        lose_nodes: Iterable[str] = (),
        return_nodes: Iterable[str] = (),
        horizon_s: int = 0,
    ) -> Plan:
        """What a change, or the loss or return of nodes, would do."""
        request = pb.PlanRequest(
            apply=[convert.to_any(obj) for obj in apply],
            lose_nodes=list(lose_nodes),
            return_nodes=list(return_nodes),
            horizon_s=horizon_s,
        )
        answer = await self._call("Plan", request)
        steps = tuple(
            PlanStep(s.at_ms, s.action, Key(s.object.resource, s.object.namespace, s.object.name), s.message)
            for s in answer.steps
        )
        return Plan(steps, tuple(answer.problems), answer.resource_version)

    async def why(self, kind: Kind[Any], namespace: str, name: str) -> tuple[Reason, ...]:
        """Why an object is as it is."""
        answer = await self._call("Why", pb.WhyRequest(ref=_ref(kind, namespace, name)))
        return tuple(Reason(r.reason, r.message, r.since) for r in answer.reasons)


def _named(kind: Kind[Any]) -> str:
    """The resource as requests name it, with its version where that is not the one that is taken by itself."""
    if kinds.BY_RESOURCE.get(kind.resource) is kind:
        return kind.resource
    return f"{kind.plural}.{kind.version}.{kind.group}"


def _ref(kind: Kind[Any], namespace: str, name: str) -> pb.ObjectRef:
    return pb.ObjectRef(resource=_named(kind), namespace=namespace if kind.namespaced else "", name=name)


def _object(kind: Kind[T], packed: Any) -> T:
    if not isinstance(kind, CustomKind):
        return _typed(kind.type, packed)
    found = _typed(meta.CustomObject, packed)
    try:
        read: Any = custom.from_stored(kind, found.json)
    except msgspec.DecodeError as error:
        raise errors.InternalError(f"the server answered with what is no {kind.kind}: {error}") from error
    one: T = read
    return one


def _typed(type_: type[A], packed: Any) -> A:
    obj: Any = convert.from_any(packed)
    if not isinstance(obj, type_):
        raise errors.InternalError(f"the server answered with a {type(obj).__name__}, not a {type_.__name__}")
    found: A = obj
    return found
