"""What an object takes that there is only one of in the cluster, stored in the object's own commit.

A node port is a raw key whose value names the owner, a cluster IP an IPAddress object. Whoever meets one whose owner is
gone, or no longer uses it, takes it over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from controlplane.admission import Admitted, Request, cluster_ips, services
from controlplane.server.admit import Admission
from controlplane.server.charging import Charging
from controlplane.store.registry import Bounced, Registry
from controlplane.store.values import ROOT, Put, Record
from mizzen.api import errors, kinds
from mizzen.engine.values import Clock
from mizzen.engine.writes import Write

ALLOCATIONS = ROOT + "allocations/"
"""Prefix of the keys that hold claims."""
_ADDRESS = "an address"
"""Stands for the key where somebody else was faster with an address."""


class _Owner(msgspec.Struct):
    """The value of a claim's key."""

    namespace: str
    name: str
    uid: str


class Claiming:
    """Commits one server's writes, with what they claim and what they are charged for."""

    def __init__(self, registry: Registry, clock: Clock, admission: Admission) -> None:
        """Commit to `registry` what `admission` has admitted."""
        self._registry = registry
        self._admission = admission
        self.charging = Charging(registry, clock)

    async def commit(
        self,
        write: Write,
        admitted: Admitted,
        expects: Mapping[str, int],
        request: Request | None = None,
        old: Any = None,
    ) -> Any:
        """Do a write; return the object with its version. Raises Bounced for a claim, and what charging raises."""
        metadata = admitted.object.metadata
        extra: list[Put] = []
        if admitted.claims:
            owner = msgspec.json.encode(_Owner(metadata.namespace, metadata.name, metadata.uid))
            extra = [Put(ALLOCATIONS + claim, owner, expects.get(claim, 0)) for claim in admitted.claims]
        write = replace(write, beside=self._admission.addresses(admitted))
        try:
            return await self.charging.commit(write, request, old, extra)
        except errors.ApiError as error:
            if admitted.addresses and cluster_ips.is_lost(error):
                raise Bounced(_ADDRESS, None) from error
            raise

    async def resolve(self, request: Request, bounced: Bounced, expects: dict[str, int]) -> Request:
        """After a claim was in the way: take it over if its owner is gone, or pick another next time."""
        await self._registry.fresh()
        if bounced.key == _ADDRESS:  # the view shows it as taken by now
            return request
        claim = bounced.key.removeprefix(ALLOCATIONS)
        if bounced.current is not None and self._in_use(claim, bounced.current):
            expects.pop(claim, None)
            return replace(request, taken=request.taken | {claim})
        expects[claim] = bounced.current.version if bounced.current else 0
        return request

    def _in_use(self, claim: str, record: Record) -> bool:
        owner = msgspec.json.decode(record.value, type=_Owner)
        service = self._registry.view.get(kinds.SERVICE, owner.namespace, owner.name)
        return service is not None and service.metadata.uid == owner.uid and claim in services.claims_of(service)
