"""Every verb of the API, once: REST and gRPC are thin over this.

Takes and gives typed objects (bytes, where they are read); raises `mizzen.api.errors`. What the store raises on its own
account is turned into such errors by `api_error`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controlplane.admission import Admitted, Settings, nodes
from controlplane.admission.binding import bind
from controlplane.server.admit import Admission
from controlplane.server.authz import Authorizer
from controlplane.server.components import Components
from controlplane.server.conversions import Conversions
from controlplane.server.outward.dial import Dialer
from controlplane.server.usage import Usages
from controlplane.server.verbs_delete import Deletes
from controlplane.server.verbs_evict import Evictions
from controlplane.server.verbs_read import Reads
from controlplane.server.verbs_scale import Scales
from controlplane.server.verbs_watch import Watch, WatchOptions, open_watch
from controlplane.server.verbs_write import Writes, Written
from controlplane.server.webhook_calls import WebhookCalls
from controlplane.server.webhooks import Webhooks
from controlplane.store.registry import Registry
from controlplane.store.values import Closed, Refused, StoreError, TooLarge, UnknownOutcome
from mizzen.api import errors, kinds
from mizzen.api.kinds import Kind
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Clock, Ids


@dataclass(frozen=True, slots=True)
class Verbs:
    """The verbs, by what they do."""

    registry: Registry
    clock: Clock
    reads: Reads
    writes: Writes
    deletes: Deletes
    scales: Scales
    evictions: Evictions
    access: Authorizer
    """Who may use them; asked by those who serve requests, not by the verbs."""
    admission: Admission
    webhook_calls: WebhookCalls
    conversions: Conversions
    usages: Usages
    """What nodes and pods use; told by the nodes."""

    @classmethod
    def over(
        cls, registry: Registry, clock: Clock, ids: Ids, settings: Settings, dialer: Dialer | None = None
    ) -> Verbs:
        """All verbs over one registry. Without a dialer no webhook in a pod is reached."""
        calls = WebhookCalls(lambda: registry.view, dialer or Dialer())
        conversions = Conversions(calls, ids)
        admission = Admission(registry, clock, ids, settings, Webhooks(registry, calls, conversions, ids))
        usages = Usages(registry, clock)
        reads = Reads(registry, conversions, usages, Components(registry))
        writes = Writes(registry, clock, admission, conversions)
        deletes = Deletes(registry, reads, clock, admission, conversions)
        return cls(
            registry, clock, reads, writes, deletes, Scales(reads, writes), Evictions(registry, clock),
            Authorizer(registry.cache), admission, calls, conversions, usages,
        )  # fmt: skip

    async def close(self) -> None:
        """End what is open to others."""
        await self.webhook_calls.close()

    async def watch(self, kind: Kind[Any], namespace: str, options: WatchOptions) -> Watch:
        """Begin to watch. Raises BadRequest, Invalid, Expired or Timeout."""
        return await open_watch(self.reads, self.registry, self.conversions, kind, namespace, options)

    async def bind(self, namespace: str, name: str, binding: core.Binding, *, dry_run: bool = False) -> Written:
        """Assign a pod to a node. Raises NotFound, BadRequest, or Conflict when it can't be any longer.

        Without a name the binding names the pod itself.
        """
        target, metadata = binding.target, binding.metadata
        name = name or metadata.name
        if not name:
            raise errors.BadRequest("Name parameter required.")
        if metadata.name != name:
            raise errors.BadRequest("name in URL does not match name in Binding object")
        if metadata.namespace not in ("", namespace):
            raise errors.BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if not target.name:
            raise errors.BadRequest("a binding needs target.name, the name of the node")
        if target.kind not in ("", "Node"):
            raise errors.BadRequest(f'a pod is bound to a Node, not to a {target.kind}; set target.kind to "Node"')

        async def decide(pod: core.Pod) -> Admitted:
            now = self.clock.now()
            bound = bind(pod, target.name, now, uid=metadata.uid, annotations=metadata.annotations)
            return Admitted(nodes.placed(bound, target.name, self.registry.view))

        return await self.writes.decided(kinds.POD, namespace, name, decide, dry_run=dry_run)


def api_error(error: StoreError) -> errors.ApiError:
    """What a client is told when the store failed."""
    match error:
        case UnknownOutcome():
            return errors.Timeout("the store did not say whether the write happened; look before trying again")
        case TooLarge():
            return errors.RequestEntityTooLarge(f"the object does not fit into the store: {error}")
        case Refused():
            return errors.InternalError(f"the store refuses the write: {error}")
        case Closed():
            return errors.ServiceUnavailable("the server is shutting down; try again")
        case _:
            return errors.ServiceUnavailable(f"the store does not answer, try again: {error}")
