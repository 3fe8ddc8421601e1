"""Says that this control plane serves, by a Lease that it renews; what follows from it is decided by the leader.

The lease is an object like any other, so `kubectl -n kube-system get leases` shows the control planes there are.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import structlog

from controlplane.server.pki import Pki
from controlplane.store.registry import Registry
from controlplane.store.values import StoreError
from mizzen.api import errors, kinds, times
from mizzen.api.types import coordination_v1, meta_v1
from mizzen.engine.values import Clock, Ids, Instant
from mizzen.engine.view import View

NAMESPACE = "kube-system"
IDENTITY = "apiserver.kubernetes.io/identity"
AUTHORITY = "mizzen.dev/authority"
"""The annotation with the hash of the authority that a control plane's certificates are from."""
RENEW_S = 5.0
LEAVE_S = 2.0
"""How long saying that it leaves may hold up a control plane's end."""
DURATION_S = 15
"""As Kubernetes' API servers: one that is silent for this long is no endpoint any more."""

_LOG = structlog.get_logger(__name__)


class ForeignAuthority(OSError):
    """Another control plane of this cluster has another authority: nobody could talk to both."""


def check_authority(view: View, address: str, authority: Pki, now: Instant) -> None:
    """Raises ForeignAuthority when a control plane at another address serves with another authority."""
    for lease in view.list(kinds.LEASE, NAMESPACE):
        theirs, other = lease.metadata.annotations.get(AUTHORITY), lease.spec.holder_identity
        if IDENTITY not in lease.metadata.labels or other == address or theirs in (None, authority.ca_hash):
            continue
        if lease.spec.renew_time and times.parse(lease.spec.renew_time) + DURATION_S * 1000 > now:
            raise ForeignAuthority(
                f"the authority in {authority.folder} is not that of the control plane at {other}, which serves the "
                "same cluster: copy pki/ca.crt and pki/ca.key from that one's data folder"
            )


class Presence:
    """One control plane's lease."""

    def __init__(self, registry: Registry, address: str, ca_hash: str, clock: Clock, ids: Ids) -> None:
        """The control plane that others reach at `address`, and the hash of its authority."""
        self._registry = registry
        self._ca_hash = ca_hash
        self._address = address
        self._name = f"apiserver-{address}"
        self._clock = clock
        self._ids = ids

    async def run(self) -> None:
        """Renew until cancelled, then leave; while the store is away there is nobody to tell."""
        try:
            while True:
                try:
                    await self.renew()
                except (StoreError, errors.ApiError) as error:
                    _LOG.warning("presence_not_renewed", error=str(error))
                await asyncio.sleep(RENEW_S)
        finally:
            with suppress(StoreError, errors.ApiError, TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._leave()

    async def renew(self) -> None:
        """Once. Raises StoreError or ApiError."""
        lease = self._registry.view.get(kinds.LEASE, NAMESPACE, self._name)
        if lease is None:
            await self._registry.create(self._renewed(self._new()))
        else:
            await self._registry.update(self._renewed(lease), int(lease.metadata.resource_version))

    async def _leave(self) -> None:
        lease = self._registry.view.get(kinds.LEASE, NAMESPACE, self._name)
        if lease is not None:
            await self._registry.delete(kinds.LEASE, NAMESPACE, self._name, int(lease.metadata.resource_version))

    def _new(self) -> coordination_v1.Lease:
        metadata = meta_v1.ObjectMeta(
            name=self._name,
            namespace=NAMESPACE,
            labels={IDENTITY: "mizzen-server"},
            uid=self._ids.uid("lease"),
            creation_timestamp=times.render(self._clock.now()),
        )
        return coordination_v1.Lease(metadata=metadata)

    def _renewed(self, lease: coordination_v1.Lease) -> coordination_v1.Lease:
        stamp = times.render_micro(self._clock.now())
        spec = msgspec.structs.replace(
            lease.spec,
            holder_identity=self._address,
            lease_duration_seconds=DURATION_S,
            acquire_time=lease.spec.acquire_time or stamp,
            renew_time=stamp,
        )
        metadata = msgspec.structs.replace(
            lease.metadata, annotations={**lease.metadata.annotations, AUTHORITY: self._ca_hash}
        )
        return msgspec.structs.replace(lease, metadata=metadata, spec=spec)
