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


def there(*addresses: str) -> tuple[discovery_v1.EndpointSlice, core_v1.Endpoints]:
    """The service's endpoints as they are, in both forms."""
    metadata = meta_v1.ObjectMeta(name="kubernetes", namespace="default", resource_version="8", uid="e")
    piece = discovery_v1.EndpointSlice(
        metadata=metadata,
        address_type="IPv4",
        endpoints=tuple(discovery_v1.Endpoint(addresses=(address,)) for address in addresses),
    )
    subset = core_v1.EndpointSubset(
        addresses=tuple(core_v1.EndpointAddress(ip=address) for address in addresses),
        ports=(core_v1.EndpointPort(name="https", port=6443, protocol="TCP"),),
    )
    return piece, core_v1.Endpoints(metadata=metadata, subsets=(subset,))


def decide(*objects: Any, since: int = 0) -> Decision:
    """What is decided about the service."""
    return apiservers.decide(apiservers.SERVICE, view(*objects), NOW, since)


def led(effects: Any) -> list[tuple[str, list[str]]]:
    """Where what is made or changed leads, by its kind."""
    found: list[tuple[str, list[str]]] = []
    for effect in effects:
        made = effect.object
        if isinstance(made, discovery_v1.EndpointSlice):
            found.append((made.kind, [address for endpoint in made.endpoints for address in endpoint.addresses]))
        else:
            found.append((made.kind, [one.ip for subset in made.subsets for one in subset.addresses]))
    return found


def test_all_that_are_alive_are_endpoints() -> None:
    leases = [lease(*one) for one in OTHERS.items()]
    both = [("EndpointSlice", sorted(OTHERS)), ("Endpoints", sorted(OTHERS))]
    decision = decide(service(), *leases)
    assert {type(effect) for effect in decision.effects} == {Create}
    assert led(decision.effects) == both
    piece, old_form = (effect.object for effect in decision.effects if isinstance(effect, Create))
    assert isinstance(piece, discovery_v1.EndpointSlice)
    assert piece.ports[0].port == 6443
    assert old_form.metadata.labels == {"endpointslice.kubernetes.io/skip-mirror": "true"}
    assert decision.wake_after_ms == 10_000
    changed = decide(service(), *leases, *there("10.0.0.10")).effects
    assert {type(effect) for effect in changed} == {Update}
    assert led(changed) == both
    assert decide(service(), *leases, *there(*sorted(OTHERS))).effects == ()


def test_one_that_is_silent_loses_its_place_and_its_lease() -> None:
    decision = decide(service(), lease("10.0.0.10", -15), lease("10.0.0.11", -1), *there(*OTHERS))
    *updated, deleted = decision.effects
    assert led(updated) == [("EndpointSlice", ["10.0.0.11"]), ("Endpoints", ["10.0.0.11"])]
    assert deleted == Delete(Key("leases.coordination.k8s.io", "kube-system", "apiserver-10.0.0.10"), "10.0.0.10", "9")
    assert decision.wake_after_ms == 14_000


def test_silence_before_this_leader_listened_says_nothing() -> None:
    decision = decide(service(), lease("10.0.0.10", -900), *there("10.0.0.10"), since=NOW - 5_000)
    assert decision == Decision(wake_after_ms=10_000)


def test_without_leases_everything_stays_as_it_is() -> None:
    node = coordination_v1.Lease(metadata=meta_v1.ObjectMeta(name="other", namespace="kube-system"))
    assert decide(service(), *there("10.0.0.10"), node) == Decision()
    other = Key("services", "default", "web")
    assert apiservers.decide(other, view(service(), lease("10.0.0.10", -1)), NOW, 0) == Decision()
