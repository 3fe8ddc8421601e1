"""What the node, its pods and its containers use, under the kubelet's and cAdvisor's names.

The kubelet tells when a thing was measured beside each value, and so do these pages.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from nodeagent.drive.cgroups import Flow, Unreadable
from nodeagent.drive.usage import Counts, Meter
from nodeagent.runtime.values import ContainerState, PodRef

NS = 1e9
_CONTAINER = ("container", "pod", "namespace")
_POD = ("pod", "namespace")
_CADVISOR = ("container", "id", "image", "name", "namespace", "pod")
_FLOW = {"bytes": "bytes", "packets": "packets", "errors": "errors", "packets_dropped": "dropped"}


class ResourcePages:
    """The pages `/metrics/resource` and `/metrics/cadvisor`."""

    def __init__(self, meter: Meter) -> None:
        """Of what the meter counts."""
        self._meter = meter

    async def resource(self) -> bytes:
        """What the kubelet tells of resources; that it could not be measured is told, too."""
        counts = await self._counts()
        error = GaugeMetricFamily("resource_scrape_error", "1 if usage could not be measured, 0 otherwise")
        error.add_metric((), float(counts is None))
        return text((*(resource(counts) if counts is not None else ()), error))

    async def cadvisor(self) -> bytes:
        """What dashboards read of what cAdvisor tells."""
        counts = await self._counts()
        error = GaugeMetricFamily("container_scrape_error", "1 if usage could not be measured, 0 otherwise")
        error.add_metric((), float(counts is None))
        return text((*(cadvisor(counts) if counts is not None else ()), error))

    async def _counts(self) -> Counts | None:
        try:
            return await self._meter.counts()
        except Unreadable:
            return None


def resource(counts: Counts) -> tuple[Metric, ...]:
    """What everything has used, as the kubelet names it."""
    at_s = counts.at_ms / 1000
    node_cpu = CounterMetricFamily("node_cpu_usage_seconds", "Processor time that the node has used")
    node_cpu.add_metric((), counts.node.cpu_ns / NS, timestamp=at_s)
    node_memory = GaugeMetricFamily("node_memory_working_set_bytes", "Working set of the node")
    node_memory.add_metric((), counts.node.memory_bytes, timestamp=at_s)
    start = GaugeMetricFamily("container_start_time_seconds", "When the container began", labels=_CONTAINER)
    cpu = CounterMetricFamily("container_cpu_usage_seconds", "Processor time of the container", labels=_CONTAINER)
    memory = GaugeMetricFamily("container_memory_working_set_bytes", "Working set of the container", labels=_CONTAINER)
    memories: dict[PodRef, int] = {}
    for state, counted in counts.containers:
        labels = (state.name, state.pod.name, state.pod.namespace)
        start.add_metric(labels, state.started_at_ms / 1000)
        cpu.add_metric(labels, counted.cpu_ns / NS, timestamp=at_s)
        memory.add_metric(labels, counted.memory_bytes, timestamp=at_s)
        memories[state.pod] = memories.get(state.pod, 0) + counted.memory_bytes
    pod_cpu = CounterMetricFamily("pod_cpu_usage_seconds", "Processor time of the pod's containers", labels=_POD)
    pod_memory = GaugeMetricFamily("pod_memory_working_set_bytes", "Working set of the pod's containers", labels=_POD)
    for pod, memory_bytes in memories.items():
        pod_cpu.add_metric((pod.name, pod.namespace), counts.pods_ns[pod] / NS, timestamp=at_s)
        pod_memory.add_metric((pod.name, pod.namespace), memory_bytes, timestamp=at_s)
    return node_cpu, node_memory, start, cpu, memory, pod_cpu, pod_memory


def cadvisor(counts: Counts) -> tuple[Metric, ...]:
    """What everything has used, as cAdvisor names it; the root group stands for the node."""
    at_s = counts.at_ms / 1000
    cpu = CounterMetricFamily("container_cpu_usage_seconds", "Processor time", labels=(*_CADVISOR, "cpu"))
    working_set = GaugeMetricFamily("container_memory_working_set_bytes", "Working set", labels=_CADVISOR)
    usage = GaugeMetricFamily("container_memory_usage_bytes", "All memory, caches included", labels=_CADVISOR)
    for state, counted in ((None, counts.node), *counts.containers):
        labels = _labels(counted.group, state)
        cpu.add_metric((*labels, "total"), counted.cpu_ns / NS, timestamp=at_s)
        working_set.add_metric(labels, counted.memory_bytes, timestamp=at_s)
        usage.add_metric(labels, counted.usage_bytes, timestamp=at_s)
    start = GaugeMetricFamily("container_start_time_seconds", "When the container began", labels=_CADVISOR)
    for state, counted in counts.containers:
        start.add_metric(_labels(counted.group, state), state.started_at_ms / 1000, timestamp=at_s)
    return cpu, working_set, usage, start, *_networks(counts)


def _networks(counts: Counts) -> list[Metric]:
    """A network belongs to a pod and to none of its containers."""
    found: list[Metric] = []
    for way in ("receive", "transmit"):
        for what, attribute in _FLOW.items():
            name, labels = f"container_network_{way}_{what}", (*_CADVISOR, "interface")
            family = CounterMetricFamily(name, f"What pods' interfaces {way}", labels=labels)
            for sandbox, interfaces in counts.networks:
                for interface, traffic in interfaces.items():
                    flow: Flow = traffic.received if way == "receive" else traffic.sent
                    pod = sandbox.pod
                    values = ("", "", "", sandbox.id, pod.namespace, pod.name, interface)
                    family.add_metric(values, getattr(flow, attribute), timestamp=counts.at_ms / 1000)
            found.append(family)
    return found


def _labels(group: str, state: ContainerState | None) -> tuple[str, ...]:
    if state is None:
        return "", group, "", "", "", ""
    return state.name, group, state.image, state.id, state.pod.namespace, state.pod.name


class _Collected:
    """Families that are known already, as the library's text format wants them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def text(families: Iterable[Metric]) -> bytes:
    """The families in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families))
    return generate_latest(registry)
