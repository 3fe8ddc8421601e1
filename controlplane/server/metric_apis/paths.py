"""What a path of the two groups asks for, and the path that asks for it.

/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/hits?labelSelector=app%3Dweb     of each pod
/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/services/web/hits                       of one Service
/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/metrics/hits                            of the namespace
/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue?labelSelector=queue%3Dmail      of nothing in the cluster
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from multidict import MultiMapping

from mizzen.api.metric_values import ALL, CUSTOM, CUSTOM_VERSIONS, EXTERNAL, EXTERNAL_VERSIONS, NAMESPACES, Asked

VERSIONS = {CUSTOM: CUSTOM_VERSIONS, EXTERNAL: EXTERNAL_VERSIONS}
"""The versions of the groups that are served, the best first."""
_OF_NAMESPACE = "metrics"
"""Stands in the place of a resource where the value is of the namespace itself."""
_LABELS, _SERIES = "labelSelector", "metricLabelSelector"


def group_version(path: str) -> tuple[str, str] | None:
    """The group and version that a path is in, of those here."""
    parts = path.split("/", 4)
    if len(parts) < 4 or parts[1] != "apis" or parts[3] not in VERSIONS.get(parts[2], ()):
        return None
    return parts[2], parts[3]


def parse(path: str, query: MultiMapping[str]) -> Asked | None:
    """What a path below a group and version asks for; None where it is nothing."""
    parts = path.strip("/").split("/")[1:]
    if len(parts) < 4 or parts[2] != "namespaces" or not all(parts):
        return None
    group, _, _, namespace, *rest = parts
    labels, series = query.get(_LABELS, ""), query.get(_SERIES, "")
    match rest:
        case [metric] if group == EXTERNAL:
            return Asked(namespace, metric, labels)
        case [resource, metric] if group == CUSTOM and resource == _OF_NAMESPACE:
            return Asked(namespace, metric, series, NAMESPACES, namespace)
        case [resource, name, metric] if group == CUSTOM:
            return Asked(namespace, metric, series, resource, name, labels)
    return None


def path_of(asked: Asked, version: str) -> str:
    """Path and query of the request, in a version of its group."""
    begin = f"/apis/{asked.group}/{version}/namespaces/{quote(asked.namespace, safe='')}"
    metric = quote(asked.metric, safe="")
    if not asked.resource:
        return f"{begin}/{metric}{_query({_LABELS: asked.series})}"
    query = _query({_LABELS: asked.labels, _SERIES: asked.series})
    if asked.resource == NAMESPACES:
        return f"{begin}/{_OF_NAMESPACE}/{metric}{query}"
    return f"{begin}/{asked.resource}/{quote(asked.name, safe=ALL)}/{metric}{query}"


def _query(given: dict[str, str]) -> str:
    found = {name: text for name, text in given.items() if text}
    return f"?{urlencode(found)}" if found else ""
