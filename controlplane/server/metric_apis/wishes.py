"""Which metrics of pods autoscalers go by: agents are asked for these and no others.

So what pods say beside them costs nothing, and a label too many in a page is no burden for the control plane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from controlplane.server.aggregation.claims import Claims
from mizzen.api import kinds
from mizzen.api.metric_values import CUSTOM, EXTERNAL
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Change, ChangeType

NAMES_MAX = 1_000
"""Names that agents are told of altogether."""

_Key = tuple[str, str]
_Wish = tuple[str, str]
"""The group of the API and the name of the metric."""
_LOG = structlog.get_logger(__name__)


def wishes(spec: autoscaling.HorizontalPodAutoscalerSpec) -> frozenset[_Wish]:
    """The metrics of one autoscaler, each with the API that it is asked from."""
    found = set()
    for metric in spec.metrics:
        if (source := metric.pods or metric.object) is not None:
            found.add((CUSTOM, source.metric.name))
        if metric.external is not None:
            found.add((EXTERNAL, metric.external.metric.name))
    return frozenset(found)


class Wishes:
    """Those of all autoscalers, kept up to date."""

    def __init__(self, cache: Cache) -> None:
        """Of the autoscalers in `cache`."""
        self._claims = Claims(cache)
        self._seen: dict[_Key, tuple[int, frozenset[_Wish]]] = {}
        """By autoscaler: of which generation, and what."""
        for hpa in cache.list(kinds.HORIZONTAL_POD_AUTOSCALER):
            self._take(hpa)
        self.now: Mapping[str, tuple[str, ...]] = self._computed()
        """The names of metrics by namespace; without what an extension server is asked for."""

    def follow(self, changes: Sequence[Change]) -> bool:
        """Take changes in; whether `now` is another."""
        relevant = False
        for change in changes:
            entry = change.entry
            if entry.kind is kinds.API_SERVICE:
                relevant = True
            elif entry.kind is kinds.HORIZONTAL_POD_AUTOSCALER:
                relevant = self._follow_one(change) or relevant
        if not relevant:
            return False
        before, self.now = self.now, self._computed()
        return self.now != before

    def _follow_one(self, change: Change) -> bool:
        entry = change.entry
        key = (entry.namespace, entry.name)
        if change.type is ChangeType.DELETED:
            return self._seen.pop(key, None) is not None
        hpa = entry.object()
        if key in self._seen and self._seen[key][0] == hpa.metadata.generation:
            return False  # its status was written, which happens all the time
        self._take(hpa)
        return True

    def _take(self, hpa: autoscaling.HorizontalPodAutoscaler) -> None:
        key = (hpa.metadata.namespace, hpa.metadata.name)
        self._seen[key] = (hpa.metadata.generation, wishes(hpa.spec))

    def _computed(self) -> Mapping[str, tuple[str, ...]]:
        others = {group for group, _ in self._claims.all()}
        found = sorted(
            {
                (namespace, name)
                for (namespace, _), (_, wanted) in self._seen.items()
                for group, name in wanted
                if group not in others
            }
        )
        if len(found) > NAMES_MAX:
            _LOG.warning("metrics_left_out", names=len(found) - NAMES_MAX, most=NAMES_MAX)
        by_namespace: dict[str, list[str]] = {}
        for namespace, name in found[:NAMES_MAX]:
            by_namespace.setdefault(namespace, []).append(name)
        return {namespace: tuple(names) for namespace, names in by_namespace.items()}
