"""What pods and nodes use, as node agents measure it: kept in memory, read as objects of `metrics.k8s.io`.

With it comes what pods say of themselves, which `metric_apis` reads.

Nothing is stored. An agent tells every control plane, so each can answer for all nodes by itself. What was not heard
of again for a while is forgotten. An agent is believed about the pods that are on its node, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import structlog

from controlplane.store.registry import Registry
from mizzen.api import codec, errors, kinds, quantity, resources, spans, times
from mizzen.api.kinds import Kind
from mizzen.api.types import core_v1, meta_v1, metrics_v1beta1
from mizzen.engine.entry import Entry
from mizzen.engine.values import Clock, Instant
from mizzen.wire.gen.mizzen.v1 import node_pb2

KEPT_MS = 60_000
"""For how long a measurement is good."""
PODS_MAX = 2000
"""More pods are on no node."""
CONTAINERS_MAX = 256
SERIES_MAX = 10_000
"""An agent tells of no more."""
VALUE_MAX = 1e15
"""What is more does not fit into a quantity of thousandths."""

_NAMES = {
    kinds.NODE_METRICS: errors.Named("metrics.k8s.io", "nodemetrics", "NodeMetrics"),
    kinds.POD_METRICS: errors.Named("metrics.k8s.io", "podmetrics", "PodMetrics"),
}
_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """What a pod has said of itself."""

    at: Instant
    series: Mapping[str, Sequence[node_pb2.Series]]
    """By metric."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a node has told."""

    at: Instant
    """By this server's clock: nodes' clocks may differ."""
    usage: node_pb2.Usage
    pods: Mapping[str, node_pb2.PodUsage]
    """By uid."""
    said: Mapping[str, Said]
    """By uid."""


class Usages:
    """The last measurements of all nodes."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        """Of the pods and nodes in `registry`."""
        self._registry = registry
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def told(self, node: str, usage: node_pb2.Usage) -> None:
        """A node has measured."""
        now = self._clock.now()
        self._told = {name: one for name, one in self._told.items() if now - one.at <= KEPT_MS}
        if len(usage.pods) > PODS_MAX or any(len(pod.containers) > CONTAINERS_MAX for pod in usage.pods):
            _LOG.warning("usage_refused", node=node, error=f"more than {PODS_MAX} pods or {CONTAINERS_MAX} containers")
            return
        if len(usage.scraped) > PODS_MAX or sum(len(pod.series) for pod in usage.scraped) > SERIES_MAX:
            _LOG.warning("usage_refused", node=node, error=f"more than {PODS_MAX} pods or {SERIES_MAX} series")
            return
        said = {pod.uid: Said(now - max(0, pod.age_ms), _by_metric(pod.series)) for pod in usage.scraped}
        self._told[node] = _Told(now, usage, {pod.uid: pod for pod in usage.pods}, said)

    def get(self, kind: Kind[Any], namespace: str, name: str) -> Entry:
        """What one pod or node uses. Raises NotFound also for one that has not been measured."""
        view = self._registry.view
        made: Any = None
        if kind is kinds.POD_METRICS:
            pod = view.get(kinds.POD, namespace, name)
            made = pod and self.pod(pod)
        else:
            node = view.get(kinds.NODE, "", name)
            made = node and self.node(node)
        if made is None:
            raise errors.NotFound(_NAMES[kind], f"{namespace}/{name}" if namespace else name)
        return self._entry(kind, made)

    def every(self, kind: Kind[Any], namespace: str) -> Iterable[Entry]:
        """What all pods or nodes use that have been measured."""
        view = self._registry.view
        made: Iterable[Any]
        if kind is kinds.POD_METRICS:
            made = map(self.pod, view.list(kinds.POD, namespace))
        else:
            made = map(self.node, view.list(kinds.NODE))
        return (self._entry(kind, one) for one in made if one is not None)

    def pod(self, pod: core_v1.Pod) -> metrics_v1beta1.PodMetrics | None:
        """What a pod uses; None where nobody knows."""
        told = self._of(pod.spec.node_name)
        used = told.pods.get(pod.metadata.uid) if told is not None else None
        if told is None or used is None:
            return None
        return metrics_v1beta1.PodMetrics(
            metadata=self._metadata(pod.metadata),
            timestamp=times.render(told.at),
            window=spans.render(told.usage.window_ms * 1_000_000),
            containers=tuple(
                metrics_v1beta1.ContainerMetrics(name=name, usage=_amounts(used.containers[name]))
                for name in sorted(used.containers)
            ),
        )

    def said(self, pod: core_v1.Pod) -> Said | None:
        """What a pod has said of itself lately; None where nobody has heard it."""
        told = self._of(pod.spec.node_name)
        found = told.said.get(pod.metadata.uid) if told is not None else None
        return None if found is None or self._clock.now() - found.at > KEPT_MS else found

    def metrics(self) -> set[str]:
        """The metrics that any pod has said something of lately."""
        now = self._clock.now()
        recent = (told for told in self._told.values() if now - told.at <= KEPT_MS)
        return {metric for told in recent for said in told.said.values() for metric in said.series}

    def node(self, node: core_v1.Node) -> metrics_v1beta1.NodeMetrics | None:
        """What a node uses; None where nobody knows."""
        told = self._of(node.metadata.name)
        if told is None:
            return None
        return metrics_v1beta1.NodeMetrics(
            metadata=self._metadata(node.metadata),
            timestamp=times.render(told.at),
            window=spans.render(told.usage.window_ms * 1_000_000),
            usage=_amounts(told.usage.node),
        )

    def _of(self, node: str) -> _Told | None:
        told = self._told.get(node)
        return None if told is None or self._clock.now() - told.at > KEPT_MS else told

    def _metadata(self, of: meta_v1.ObjectMeta) -> meta_v1.ObjectMeta:
        return meta_v1.ObjectMeta(
            name=of.name,
            namespace=of.namespace,
            labels=of.labels,
            creation_timestamp=times.render(self._clock.now()),
        )

    def _entry(self, kind: Kind[Any], obj: Any) -> Entry:
        metadata = obj.metadata
        raw = codec.encode_json(obj)
        return Entry(kind, metadata.namespace, metadata.name, self._registry.revision, raw, obj)


def _by_metric(series: Iterable[node_pb2.Series]) -> dict[str, list[node_pb2.Series]]:
    found: dict[str, list[node_pb2.Series]] = {}
    for one in series:
        if isfinite(one.value) and abs(one.value) <= VALUE_MAX:
            found.setdefault(one.metric, []).append(one)
    return found


def _amounts(used: node_pb2.Used) -> dict[str, str]:
    return {
        resources.CPU: quantity.canonical(f"{max(0, used.cpu_nano)}n"),
        resources.MEMORY: quantity.canonical(f"{max(0, used.memory_bytes) // 1024}Ki"),
    }
