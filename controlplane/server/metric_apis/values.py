"""Values of metrics out of what pods have said last.

A pod's value is the sum of its series. That of another object is the sum over its pods: those that a Service or a
workload selects, those behind an Ingress' Services, all of a Namespace. External values are the series themselves,
each with the label `pod`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.server.usage import Usages
from mizzen.api import errors, kinds, selectors
from mizzen.api.kinds import Kind
from mizzen.api.metric_values import ALL, Asked, Value
from mizzen.api.selectors import Selector
from mizzen.api.types import core_v1
from mizzen.api.types import networking_v1 as networking
from mizzen.engine import selected
from mizzen.engine.values import Instant
from mizzen.engine.view import View

_POD = "pod"
_OWN_POD = "exported_pod"
"""Where a series' own label `pod` goes, as in Prometheus."""
_SELECTING: tuple[Kind[Any], ...] = (
    kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.REPLICATION_CONTROLLER, kinds.JOB,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """One value."""

    milli: int
    at: Instant
    window_ms: int
    """How long a rate was looked at; 0 where it is none."""
    kind: Kind[Any] | None = None
    """Of the described object; None for an external value."""
    namespace: str = ""
    name: str = ""
    labels: Mapping[str, str] | None = None
    """Of an external value."""


class MetricValues:
    """What is known now."""

    def __init__(self, view: Callable[[], View], usages: Usages) -> None:
        """Of the pods that there are, as agents have told `usages` of them."""
        self._view = view
        self._usages = usages

    def names(self) -> list[str]:
        """The metrics that some pod has said something of lately."""
        return sorted(self._usages.metrics())

    def values(self, asked: Asked) -> Sequence[Value]:
        """What an autoscaler needs of `find`. Raises the same."""
        return [Value(found.name, found.milli) for found in self.find(asked)]

    def find(self, asked: Asked) -> Sequence[Found]:
        """The values; of external ones there may be none. Raises NotFound or BadRequest."""
        series = _selector(asked.series)
        if not asked.resource:
            return list(self._external(asked, series))
        view = self._view()
        kind = view.catalog.best.get(asked.resource)
        pods_of = None if kind is None else _pods_of(kind)
        if kind is None or pods_of is None:
            raise _no_metric(asked)
        found = []
        for obj in _objects(kind, asked, view):
            mine = [one for pod in pods_of(obj, view) for one in self._of_pod(pod, asked.metric, series)]
            if mine:
                total = sum(one.milli for one in mine)
                at, window_ms = min(one.at for one in mine), max(one.window_ms for one in mine)
                found.append(Found(total, at, window_ms, kind, obj.metadata.namespace, obj.metadata.name))
        if not found:
            raise _no_metric(asked)
        return found

    def _external(self, asked: Asked, series: Selector) -> Iterator[Found]:
        for pod in self._view().list(kinds.POD, asked.namespace):
            yield from self._of_pod(pod, asked.metric, series)

    def _of_pod(self, pod: core_v1.Pod, metric: str, series: Selector) -> Iterator[Found]:
        """A pod's series of a metric."""
        said = self._usages.said(pod)
        for one in said.series.get(metric, ()) if said is not None else ():
            labels = _labels(one.labels, pod)
            if said is not None and series.matches(labels):
                yield Found(round(one.value * 1000), said.at, one.window_ms, labels=labels)


def _labels(own: Mapping[str, str], pod: core_v1.Pod) -> dict[str, str]:
    labels = dict(own)
    if _POD in labels:
        labels[_OWN_POD] = labels[_POD]
    return labels | {_POD: pod.metadata.name}


def _selector(text: str) -> Selector:
    try:
        return selectors.parse(text)
    except selectors.SelectorError as error:
        raise errors.BadRequest(str(error)) from error


def _no_metric(asked: Asked) -> errors.ApiError:
    """The words of Kubernetes' library for such servers."""
    named = "" if asked.name == ALL else f" {asked.name}"
    text = f"the server could not find the metric {asked.metric} for {asked.resource}{named}"
    return errors.ApiError(text, code=404, reason="NotFound")


def _objects(kind: Kind[Any], asked: Asked, view: View) -> Iterable[Any]:
    """The described objects. Raises NotFound or BadRequest."""
    namespace = asked.namespace if kind.namespaced else ""
    if asked.name == ALL:
        wanted = _selector(asked.labels)
        if kind is kinds.POD:
            return selected.pods(view, namespace, wanted)
        return [obj for obj in view.list(kind, namespace) if wanted.matches(obj.metadata.labels)]
    obj = view.get(kind, namespace, asked.name)
    if obj is None:
        raise errors.NotFound(kind, asked.name)
    return [obj]


Pods = Callable[[Any, View], Iterable[core_v1.Pod]]


def _pods_of(kind: Kind[Any]) -> Pods | None:
    """What gives the pods of a kind's objects; None for kinds that have none."""
    if kind in _SELECTING:
        return lambda obj, view: _selected(view, obj.metadata.namespace, selectors.of_workload(obj.spec.selector))
    return _PODS.get(kind.resource)


def _selected(view: View, namespace: str, selector: Selector) -> Iterable[core_v1.Pod]:
    if selector.nothing or selector.everything:
        return ()
    return selected.pods(view, namespace, selector)


def _of_service(service: core_v1.Service, view: View) -> Iterable[core_v1.Pod]:
    return _selected(view, service.metadata.namespace, selectors.from_labels(service.spec.selector))


def _of_ingress(ingress: networking.Ingress, view: View) -> Iterable[core_v1.Pod]:
    """The pods of all its Services, each once."""
    spec, namespace = ingress.spec, ingress.metadata.namespace
    backends = [path.backend for rule in spec.rules if rule.http is not None for path in rule.http.paths]
    if spec.default_backend is not None:
        backends.append(spec.default_backend)
    names = {backend.service.name for backend in backends if backend.service is not None}
    services = [view.get(kinds.SERVICE, namespace, name) for name in sorted(names)]
    pods = [pod for service in services if service is not None for pod in _of_service(service, view)]
    return {pod.metadata.uid: pod for pod in pods}.values()


_PODS: Mapping[str, Pods] = {
    kinds.POD.resource: lambda pod, view: (pod,),
    kinds.SERVICE.resource: _of_service,
    kinds.INGRESS.resource: _of_ingress,
    kinds.NAMESPACE.resource: lambda namespace, view: view.list(kinds.POD, namespace.metadata.name),
}
