"""What the agent measures of itself, under the names that kubelet's dashboards and alerts know.

One registry per agent, so that several can live in one process; probes have another, because they have a page of
their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

from mizzen.base.telemetry import exponential
from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.values import PodRef

_SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_POD_START = (
    0.5,
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    20,
    30,
    45,
    60,
    120,
    180,
    240,
    300,
    360,
    480,
    600,
    900,
    1200,
    1800,
    2700,
    3600,
)


class Metrics:
    """The agent's instruments."""

    def __init__(self, node: str) -> None:
        """All of them, at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._gauge("kubelet_node_name", "The node's name", "node").labels(node).set(1)
        self.running_pods = self._gauge("kubelet_running_pods", "Pods that have a running sandbox")
        self.running_containers = self._gauge("kubelet_running_containers", "Containers by state", "container_state")
        operation = "operation_type"
        self._operations = self._counter("kubelet_runtime_operations", "Calls to the engine", operation)
        self._operation_errors = self._counter(
            "kubelet_runtime_operations_errors", "Failed calls to the engine", operation
        )
        name, text = "kubelet_runtime_operations_duration_seconds", "Seconds a call to the engine took"
        self._operation_s = self._histogram(name, text, exponential(0.005, 2.5, 14), operation)
        name, text = "kubelet_pod_start_duration_seconds", "Seconds from first seeing a pod to its containers running"
        self.pod_start_s = self._histogram(name, text, _POD_START)
        name, text = "kubelet_pod_worker_duration_seconds", "Seconds one step of a pod's life cycle took to decide"
        self.step_s = self._histogram(name, text, _SHORT, operation)
        name, text = "kubelet_pleg_relist_duration_seconds", "Seconds it took to ask the engine for everything"
        self._relist_s = self._histogram(name, text, _SHORT)
        name, text = "kubelet_pleg_relist_interval_seconds", "Seconds between two such questions"
        self._relist_interval_s = self._histogram(name, text, _SHORT)
        labels = ("probe_type", "result", "container", "pod", "namespace", "pod_uid")
        self._probe_registry = CollectorRegistry()
        self._probes = Counter("prober_probe", "Probes by result", labels, registry=self._probe_registry)
        self._probed: dict[str, set[tuple[str, ...]]] = {}
        name, text = "kubelet_certificate_manager_client_ttl_seconds", "Seconds until the node's certificate runs out"
        self.certificate_ttl_s = self._gauge(name, text)
        name = "kubelet_certificate_manager_client_expiration_renew_errors"
        self.renew_errors = self._counter(name, "Failed attempts to renew the node's certificate")
        name, text = "mizzen_agent_session_connected", "1 while the control plane is connected"
        self.session_connected = self._gauge(name, text)
        name, text = "mizzen_agent_events_dropped", "Events given up because too many waited"
        self.events_dropped = self._gauge(name, text)
        name, text = "mizzen_agent_illegal_transitions", "Mistakes in a pod's life cycle, see the log"
        self.illegal_steps = self._counter(name, text)
        self._last_relist = 0.0

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    @contextmanager
    def operation(self, kind: str) -> Iterator[None]:
        """Measure one call to the engine."""
        began = time.perf_counter()
        try:
            yield
        except RuntimeFailure:
            self._operation_errors.labels(kind).inc()
            raise
        finally:
            self._operations.labels(kind).inc()
            self._operation_s.labels(kind).observe(time.perf_counter() - began)

    def relisted(self, took_s: float) -> None:
        """The engine was asked for everything."""
        now = time.monotonic()
        self._relist_s.observe(took_s)
        if self._last_relist:
            self._relist_interval_s.observe(now - self._last_relist)
        self._last_relist = now

    def probed(self, pod: PodRef, container: str, kind: str, result: str) -> None:
        """A probe of a container was made."""
        labels = (kind, result, container, pod.name, pod.namespace, pod.uid)
        self._probed.setdefault(pod.uid, set()).add(labels)
        self._probes.labels(*labels).inc()

    def unprobed(self, uid: str) -> None:
        """A pod is probed no more; what was counted of it would stay for ever."""
        for labels in self._probed.pop(uid, ()):
            self._probes.remove(*labels)

    def page(self) -> bytes:
        """All instruments but probes in Prometheus' text format."""
        return generate_latest(self.registry)

    def probe_page(self) -> bytes:
        """Probes in the same format."""
        return generate_latest(self._probe_registry)
