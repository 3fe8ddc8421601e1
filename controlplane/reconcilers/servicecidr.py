"""Takes ranges of cluster IPs into use, and lets them go once no service has an address that is in no other range."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from mizzen.api import kinds, times
from mizzen.api.kinds import Object
from mizzen.api.service_ranges import RANGE_FINALIZER, contains, covers, is_allocated
from mizzen.api.types import meta_v1, networking_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Update, UpdateStatus, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

GRACE_MS = 10_000
"""A range that ends is kept for so long, until every server has heard that nothing is given out of it any more."""
IN_USE = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One range."""
    item = view.get(kinds.SERVICE_CIDR, "", key.name)
    if item is None:
        return Decision()
    has_finalizer = RANGE_FINALIZER in item.metadata.finalizers
    if item.metadata.deletion_timestamp is None:
        if not has_finalizer:
            return Decision((_with(item, (*item.metadata.finalizers, RANGE_FINALIZER)),))
        return _told(item, now, "True", "", "Kubernetes Service CIDR is ready")
    if not has_finalizer:
        return Decision()
    if _is_needed(item, view):
        told = _told(item, now, "False", "Terminating", IN_USE)
        return Decision(told.effects, waiting=(Waiting("Terminating", IN_USE, key),))
    left_ms = times.parse(item.metadata.deletion_timestamp) + GRACE_MS - now
    if left_ms > 0:
        return Decision(wake_after_ms=left_ms)
    return Decision((_with(item, tuple(name for name in item.metadata.finalizers if name != RANGE_FINALIZER)),))


def _with(item: networking_v1.ServiceCIDR, finalizers: tuple[str, ...]) -> Update:
    return Update(replace(item, metadata=replace(item.metadata, finalizers=finalizers)))


def _told(item: networking_v1.ServiceCIDR, now: Instant, status: str, reason: str, message: str) -> Decision:
    present = next((one for one in item.status.conditions if one.type == "Ready"), None)
    if present is not None and (present.status, present.reason, present.message) == (status, reason, message):
        return Decision()
    since = present.last_transition_time if present is not None and present.status == status else times.render(now)
    condition = meta_v1.Condition(
        type="Ready", status=status, reason=reason, message=message, last_transition_time=since
    )
    others = tuple(one for one in item.status.conditions if one.type != "Ready")
    return Decision((UpdateStatus(replace(item, status=replace(item.status, conditions=(*others, condition)))),))


def _is_needed(item: networking_v1.ServiceCIDR, view: View) -> bool:
    """Whether some service would have an address that is in no range without this one."""
    others = [cidr for other in _others(item, view) for cidr in other.spec.cidrs]
    alone = [cidr for cidr in item.spec.cidrs if not any(covers(other, cidr) for other in others)]
    if not alone:
        return False
    for address in view.list(kinds.IP_ADDRESS):
        ip = address.metadata.name
        within = is_allocated(address) and any(contains(cidr, ip) for cidr in alone)
        if within and not any(contains(cidr, ip) for cidr in others):
            return True
    return False


def _others(item: networking_v1.ServiceCIDR, view: View) -> list[networking_v1.ServiceCIDR]:
    """The ranges that stay."""
    name = item.metadata.name
    return [
        other
        for other in view.list(kinds.SERVICE_CIDR)
        if other.metadata.name != name and other.metadata.deletion_timestamp is None
    ]


def _all(obj: Object, view: View) -> Iterable[Key]:
    return [Key(kinds.SERVICE_CIDR.resource, "", item.metadata.name) for item in view.list(kinds.SERVICE_CIDR)]


def _ending(obj: Object, view: View) -> Iterable[Key]:
    """An address that goes may have been the last that holds up a range."""
    return [key for key in _all(obj, view) if _ends(key, view)]


def _ends(key: Key, view: View) -> bool:
    item = view.get(kinds.SERVICE_CIDR, "", key.name)
    return item is not None and item.metadata.deletion_timestamp is not None


CONTROLLER = Controller(
    name="service-cidr-controller",
    kind=kinds.SERVICE_CIDR,
    reconcile=reconcile,
    watches=((kinds.SERVICE_CIDR, _all), (kinds.IP_ADDRESS, _ending)),
)
