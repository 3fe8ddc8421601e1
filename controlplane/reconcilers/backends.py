"""Which pods stand behind a service, at which addresses and ports."""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import kinds, selectors
from mizzen.api.kinds import Object
from mizzen.api.types import core_v1
from mizzen.engine import indexes, selected
from mizzen.engine.controller import ByMembership
from mizzen.engine.values import Key
from mizzen.engine.view import View


def pods_of(service: core_v1.Service, view: View) -> list[core_v1.Pod]:
    """The pods that a service selects."""
    return selected.pods(view, service.metadata.namespace, selectors.from_labels(service.spec.selector))


def address(pod: core_v1.Pod, family: str) -> str:
    """The pod's address of a family (`IPv4`, `IPv6`); empty where it has none."""
    found = [ip.ip for ip in pod.status.pod_ips] or [pod.status.pod_ip]
    return next((ip for ip in found if ip and (":" in ip) == (family == "IPv6")), "")


def target(port: core_v1.ServicePort, pod: core_v1.Pod) -> int | None:
    """The number behind a service's port; None where the port has a name that the pod lacks."""
    if isinstance(port.target_port, int):
        return port.target_port or port.port
    sidecars = (container for container in pod.spec.init_containers if container.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for candidate in container.ports:
            if candidate.name == port.target_port and (candidate.protocol or "TCP") == (port.protocol or "TCP"):
                return candidate.container_port
    return None


def hostname(service: core_v1.Service, pod: core_v1.Pod) -> str:
    """The name below the service's that the pod wants in DNS; empty for none."""
    return pod.spec.hostname if pod.spec.subdomain == service.metadata.name else ""


def reference(pod: core_v1.Pod) -> core_v1.ObjectReference:
    """What an address of the pod refers to."""
    metadata = pod.metadata
    return core_v1.ObjectReference(kind="Pod", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)


def _services_of_pod(obj: Object, view: View) -> Iterable[Key]:
    labels = obj.metadata.labels
    possible = selected.candidates(view, indexes.SERVICES_BY_SELECTED, obj.metadata.namespace, labels)
    return [
        Key(kinds.SERVICE.resource, service.metadata.namespace, service.metadata.name)
        for service in possible
        if selectors.from_labels(service.spec.selector).matches(labels)
    ]


services_of_pod = ByMembership(_services_of_pod)
"""A mapper from a pod to the services that select it."""


def behind(pod: core_v1.Pod) -> core_v1.Pod | None:
    """What of a pod services look at: nothing before it has an address."""
    return pod if pod.status.pod_ip or pod.status.pod_ips else None
