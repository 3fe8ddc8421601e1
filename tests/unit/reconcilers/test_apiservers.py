"""The endpoints of the API's own service follow the leases of the control planes."""

from __future__ import annotations

from typing import Any

from controlplane.reconcilers import apiservers
from mizzen.api import times
from mizzen.api.types import coordination_v1, core_v1, discovery_v1, meta_v1
from mizzen.engine.effects import Create, Decision, Delete, Update
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, view

OTHERS = {"10.0.0.10": -5, "10.0.0.11": -1}
"""Control planes, and when they were heard of last, in seconds from now."""


def service() -> core_v1.Service:
    """The API's own service."""
    port = core_v1.ServicePort(name="https", port=443, target_port=6443, protocol="TCP")
    metadata = meta_v1.ObjectMeta(name="kubernetes", namespace="default", resource_version="7", uid="s")
    return core_v1.Service(metadata=metadata, spec=core_v1.ServiceSpec(cluster_ip="10.96.0.1", ports=(port,)))


def lease(address: str, heard_s: int) -> coordination_v1.Lease:
    """A control plane's lease."""
    metadata = meta_v1.ObjectMeta(
        name=f"apiserver-{address}",
        namespace="kube-system",
        labels={apiservers.IDENTITY: "mizzen-server"},
        resource_version="9",
        uid=address,
    )
    spec = coordination_v1.LeaseSpec(
        holder_identity=address, lease_duration_seconds=15, renew_time=times.render_micro(NOW + heard_s * 1000)
    )
    return coordination_v1.Lease(metadata=metadata, spec=spec)


def piece(*addresses: str) -> discovery_v1.EndpointSlice:
    """The service's endpoints as they are."""
    return discovery_v1.EndpointSlice(
        metadata=meta_v1.ObjectMeta(name="kubernetes", namespace="default", resource_version="8", uid="e"),
        address_type="IPv4",
        endpoints=tuple(discovery_v1.Endpoint(addresses=(address,)) for address in addresses),
    )


def decide(*objects: Any, since: int = 0) -> Decision:
    """What is decided about the service."""
    return apiservers.decide(apiservers.SERVICE, view(*objects), NOW, since)


def addresses(made: discovery_v1.EndpointSlice) -> list[str]:
    """Where it leads."""
    return [address for endpoint in made.endpoints for address in endpoint.addresses]


def test_all_that_are_alive_are_endpoints() -> None:
    leases = [lease(*one) for one in OTHERS.items()]
    decision = decide(service(), *leases)
    (created,) = decision.effects
    assert isinstance(created, Create)
    assert isinstance(created.object, discovery_v1.EndpointSlice)
    assert addresses(created.object) == sorted(OTHERS)
    assert created.object.ports[0].port == 6443
    assert decision.wake_after_ms == 10_000
    (updated,) = decide(service(), *leases, piece("10.0.0.10")).effects
    assert isinstance(updated, Update)
    assert addresses(updated.object) == sorted(OTHERS)  # type: ignore[arg-type]
    assert decide(service(), *leases, piece(*sorted(OTHERS))).effects == ()


def test_one_that_is_silent_loses_its_place_and_its_lease() -> None:
    decision = decide(service(), lease("10.0.0.10", -15), lease("10.0.0.11", -1), piece(*OTHERS))
    updated, deleted = decision.effects
    assert isinstance(updated, Update)
    assert addresses(updated.object) == ["10.0.0.11"]  # type: ignore[arg-type]
    assert deleted == Delete(Key("leases.coordination.k8s.io", "kube-system", "apiserver-10.0.0.10"), "10.0.0.10", "9")
    assert decision.wake_after_ms == 14_000


def test_silence_before_this_leader_listened_says_nothing() -> None:
    decision = decide(service(), lease("10.0.0.10", -900), piece("10.0.0.10"), since=NOW - 5_000)
    assert decision == Decision(wake_after_ms=10_000)


def test_without_leases_everything_stays_as_it_is() -> None:
    node = coordination_v1.Lease(metadata=meta_v1.ObjectMeta(name="other", namespace="kube-system"))
    assert decide(service(), piece("10.0.0.10"), node) == Decision()
    other = Key("services", "default", "web")
    assert apiservers.decide(other, view(service(), lease("10.0.0.10", -1)), NOW, 0) == Decision()
