"""Groups and versions of the API as objects: one for each that is served here, and whether each is available.

Those that this server serves itself are made, kept and taken away here. Those of extension servers belong to whoever
made them; here is decided what their condition says, from the service in front of them and from what came of asking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from mizzen.api import kinds, priorities, times
from mizzen.api.errors import quoted
from mizzen.api.types import apiextensions_v1 as apiextensions
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import core_v1, discovery_v1, meta_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Update, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
"""The label of the objects that are kept here: `onstart` for what is built in, `true` for users' kinds."""
_AVAILABLE = "Available"
_OF_SERVICE = "kubernetes.io/service-name"
_HTTPS = 443
_SEED = "kube-system"
"""Stands for the cluster: when it is seen, so is everything that is built in."""
_OWN = "apiregistration.k8s.io"
"""The group of these objects themselves; it is there whatever they say, so none says so."""
_BUILT_IN = tuple(pair for pair in priorities.BUILT_IN if pair[0] != _OWN)

Condition = apiregistration.APIServiceCondition
Served = apiregistration.APIService


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One group and version: make its object, put it right or take it away, and say that what is local is there."""
    found = view.get(kinds.API_SERVICE, "", key.name)
    wanted = _wanted(key.name, view)
    if found is None:
        return Decision() if wanted is None else Decision((Create(wanted),))
    if AUTOMANAGED in found.metadata.labels:
        if wanted is None:
            gone = Delete(Key(kinds.API_SERVICE.resource, "", key.name), found.metadata.uid)
            return Decision() if found.metadata.deletion_timestamp else Decision((gone,))
        if found.spec != wanted.spec:
            return Decision((Update(replace(found, spec=wanted.spec)),))
    if found.spec.service is not None:
        return Decision()
    local = Condition(
        type=_AVAILABLE, status="True", reason="Local", message="Local APIServices are always available"
    )  # fmt: skip
    return Decision(tuple(stated(found, local, now)))


def _wanted(name: str, view: View) -> Served | None:
    version, _, group = name.partition(".")
    built_in = (group, version) in _BUILT_IN
    if not built_in and (group == _OWN or version not in view.catalog.group_versions.get(group, ())):
        return None
    metadata = meta_v1.ObjectMeta(name=name, labels={AUTOMANAGED: "onstart" if built_in else "true"})
    spec = apiregistration.APIServiceSpec(
        group=group,
        version=version,
        group_priority_minimum=priorities.of_group(group),
        version_priority=priorities.of_version(group, version),
    )
    return Served(metadata=metadata, spec=spec)


def unreachable(served: Served, view: View) -> Condition | None:
    """What is wrong before anybody can be asked whether a group and version of an extension server is available."""
    reference = served.spec.service
    assert reference is not None, "asked about a local one"
    namespace, name, number = reference.namespace, reference.name, reference.port or _HTTPS
    where = f"service/{name} in {quoted(namespace)}"
    service = view.get(kinds.SERVICE, namespace, name)
    if service is None:
        return _unavailable("ServiceNotFound", f"{where} is not present")
    if service.spec.type == "ExternalName":
        return None
    port = next((port for port in service.spec.ports if port.port == number), None)
    if port is None:
        return _unavailable("ServicePortError", f"{where} is not listening on port {number}")
    pieces = [piece for piece in view.list(kinds.ENDPOINT_SLICE, namespace) if _is_of(piece, name)]
    if not pieces:
        return _unavailable("EndpointsNotFound", f"cannot find endpointslices for {where}")
    if not any(_has_ready(piece, port.name) for piece in pieces):
        why = f"endpointslices for {where} have no addresses with port name {quoted(port.name)}"
        return _unavailable("MissingEndpoints", why)
    return None


def checked(problem: str) -> Condition:
    """What asking has shown; an empty problem is none."""
    if problem:
        return _unavailable("FailedDiscoveryCheck", problem)
    return Condition(type=_AVAILABLE, status="True", reason="Passed", message="all checks passed")


def stated(served: Served, condition: Condition, now: Instant) -> Iterator[UpdateStatus]:
    """The write that makes an object say it, unless it does."""
    before = next((one for one in served.status.conditions if one.type == condition.type), None)
    same = before is not None and before.status == condition.status
    stamp = before.last_transition_time if before is not None and same else times.render(now)
    condition = replace(condition, last_transition_time=stamp)
    if condition != before:
        others = tuple(one for one in served.status.conditions if one.type != condition.type)
        yield UpdateStatus(replace(served, status=replace(served.status, conditions=(*others, condition))))


def _unavailable(reason: str, message: str) -> Condition:
    return Condition(type=_AVAILABLE, status="False", reason=reason, message=message)


def _is_of(piece: discovery_v1.EndpointSlice, name: str) -> bool:
    return piece.metadata.labels.get(_OF_SERVICE) == name


def _has_ready(piece: discovery_v1.EndpointSlice, port_name: str) -> bool:
    return any((port.name or "") == port_name and port.port for port in piece.ports) and any(
        endpoint.addresses and endpoint.conditions.ready is not False for endpoint in piece.endpoints
    )


def _key(group: str, version: str) -> Key:
    return Key(kinds.API_SERVICE.resource, "", f"{version}.{group}")


def _of_cluster(namespace: core_v1.Namespace, view: View) -> Iterable[Key]:
    return [_key(*pair) for pair in _BUILT_IN] if namespace.metadata.name == _SEED else []


def _of_definition(definition: apiextensions.CustomResourceDefinition, view: View) -> Iterable[Key]:
    return [_key(definition.spec.group, version.name) for version in definition.spec.versions]


CONTROLLER = Controller(
    name="autoregister",
    kind=kinds.API_SERVICE,
    reconcile=reconcile,
    watches=((kinds.NAMESPACE, _of_cluster), (kinds.CUSTOM_RESOURCE_DEFINITION, _of_definition)),
)
