"""Defaults of the core kinds other than pods.

Some fields of the core kinds say the same twice, for history's sake (`podCIDR` and `podCIDRs`, `stringData` and
`data`); here they are brought together.
"""

from __future__ import annotations

from mizzen.api.edit import each, edited, filled
from mizzen.api.types import core_v1 as core

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
CLIENT_IP_AFFINITY_S = 10_800

_WITH_CLUSTER_IP = ("ClusterIP", "NodePort", "LoadBalancer")


def service(obj: core.Service) -> core.Service:
    """A cluster address without affinity; ports are TCP and lead to the same port of the pods."""
    spec = filled(obj.spec, session_affinity="None", type="ClusterIP")
    spec = edited(spec, ports=each(spec.ports, _service_port), session_affinity_config=_affinity(spec))
    outside = spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.external_ips))
    if outside:
        spec = filled(spec, external_traffic_policy="Cluster")
    if spec.type in _WITH_CLUSTER_IP:
        spec = filled(spec, internal_traffic_policy="Cluster")
    if spec.type != "LoadBalancer":
        return edited(obj, spec=spec)
    balancer = obj.status.load_balancer
    ingress = each(balancer.ingress, lambda entry: filled(entry, ip_mode="VIP") if entry.ip else entry)
    status = edited(obj.status, load_balancer=edited(balancer, ingress=ingress))
    return edited(obj, spec=filled(spec, allocate_load_balancer_node_ports=True), status=status)


def _service_port(port: core.ServicePort) -> core.ServicePort:
    return edited(filled(port, protocol="TCP"), target_port=port.target_port or port.port)


def _affinity(spec: core.ServiceSpec) -> core.SessionAffinityConfig | None:
    config = spec.session_affinity_config
    if spec.session_affinity == "None":
        return None
    client_ip = (config and config.client_ip) or core.ClientIPConfig()
    if spec.session_affinity != "ClientIP" or client_ip.timeout_seconds is not None:
        return config
    return core.SessionAffinityConfig(client_ip=core.ClientIPConfig(timeout_seconds=CLIENT_IP_AFFINITY_S))


def secret(obj: core.Secret) -> core.Secret:
    """Opaque; what was given as text is data like the rest."""
    obj = filled(obj, type="Opaque")
    if not obj.string_data:
        return obj
    texts = {key: text.encode() for key, text in obj.string_data.items()}
    return edited(obj, data={**obj.data, **texts}, string_data={})


def namespace(obj: core.Namespace) -> core.Namespace:
    """Active, with its own name as a label."""
    metadata, name = obj.metadata, obj.metadata.name
    if name and metadata.labels.get(NAMESPACE_NAME_LABEL) != name:
        metadata = edited(metadata, labels={**metadata.labels, NAMESPACE_NAME_LABEL: name})
    return edited(obj, metadata=metadata, status=filled(obj.status, phase="Active"))


def node(obj: core.Node) -> core.Node:
    """All of the capacity can be allocated; the pod address range is the first of the ranges."""
    spec, status = obj.spec, obj.status
    if spec.pod_cidr and not spec.pod_cidrs:
        spec = edited(spec, pod_cidrs=(spec.pod_cidr,))
    elif spec.pod_cidrs and not spec.pod_cidr:
        spec = edited(spec, pod_cidr=spec.pod_cidrs[0])
    if status.capacity and not status.allocatable:
        status = edited(status, allocatable=status.capacity)
    return edited(obj, spec=spec, status=status)


def endpoints(obj: core.Endpoints) -> core.Endpoints:
    """Ports are TCP."""
    return edited(obj, subsets=each(obj.subsets, _subset))


def _subset(subset: core.EndpointSubset) -> core.EndpointSubset:
    return edited(subset, ports=each(subset.ports, lambda port: filled(port, protocol="TCP")))


def limit_range(obj: core.LimitRange) -> core.LimitRange:
    """For containers: a default limit from the maximum, a default request from the default limit or the minimum."""
    return edited(obj, spec=edited(obj.spec, limits=each(obj.spec.limits, _limits)))


def _limits(item: core.LimitRangeItem) -> core.LimitRangeItem:
    if item.type != "Container":
        return item
    limit = {**item.max, **item.default}
    request = {**item.min, **limit, **item.default_request}
    return edited(
        item,
        default=item.default if limit == item.default else limit,
        default_request=item.default_request if request == item.default_request else request,
    )
