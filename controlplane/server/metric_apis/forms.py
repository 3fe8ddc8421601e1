"""Answers of the two groups in each version, as bytes: written for clients, and read from extension servers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from controlplane.server.metric_apis.values import Found
from mizzen.api import quantity, selectors, times
from mizzen.api.errors import BadRequest
from mizzen.api.metric_values import CUSTOM, EXTERNAL, Asked, Value
from mizzen.api.quantity import QuantityError
from mizzen.api.selectors import Op

_LISTS = {CUSTOM: "MetricValueList", EXTERNAL: "ExternalMetricValueList"}
_OLD = "v1beta1"
_NAMESPACED = (("pods", True), ("services", True), ("namespaces", False))
"""The resources that discovery names for each metric; others may be asked for, too."""
_WRITTEN = {
    Op.IN: "In", Op.NOT_IN: "NotIn", Op.NOT_EQUALS: "NotIn", Op.EXISTS: "Exists", Op.DOES_NOT_EXIST: "DoesNotExist",
}  # fmt: skip


class Unclear(Exception):
    """An extension server's answer cannot be read; the text says why."""


def values_body(asked: Asked, version: str, found: Iterable[Found]) -> bytes:
    """The answer. Raises BadRequest for a selector of series that no object can hold."""
    item = _custom if asked.resource else _external
    return msgspec.json.encode(
        {
            "kind": _LISTS[asked.group],
            "apiVersion": f"{asked.group}/{version}",
            "metadata": {},
            "items": [item(asked, version, one) for one in found],
        }
    )


def _custom(asked: Asked, version: str, one: Found) -> dict[str, Any]:
    assert one.kind is not None, "a value of an object"
    described = {"kind": one.kind.kind, "name": one.name, "apiVersion": one.kind.api_version}
    if one.namespace:
        described["namespace"] = one.namespace
    selector = _selector(asked.series)
    told: dict[str, Any] = {"describedObject": described}
    if version == _OLD:
        told |= {"metricName": asked.metric, "selector": selector}
    else:
        told["metric"] = {"name": asked.metric, "selector": selector}
    return told | _told(one, "window" if version == _OLD else "windowSeconds")


def _external(asked: Asked, version: str, one: Found) -> dict[str, Any]:
    return {"metricName": asked.metric, "metricLabels": one.labels, **_told(one, "window")}


def _told(one: Found, window: str) -> dict[str, Any]:
    told: dict[str, Any] = {"timestamp": times.render(one.at), "value": quantity.of_milli(one.milli)}
    if one.window_ms:
        told[window] = max(1, round(one.window_ms / 1000))
    return told


def _selector(text: str) -> dict[str, Any] | None:
    """A selector in text as the object that it stands for."""
    labels, expressions = {}, []
    for one in selectors.parse(text).requirements:
        if one.op in (Op.EQUALS, Op.DOUBLE_EQUALS):
            labels[one.key] = one.values[0]
        elif one.op in _WRITTEN:
            expression: dict[str, Any] = {"key": one.key, "operator": _WRITTEN[one.op]}
            expressions.append(expression | ({"values": one.values} if one.values else {}))
        else:
            raise BadRequest(f"metricLabelSelector: {one}: labels of series are compared as texts; use = or in")
    if not labels and not expressions:
        return None
    return ({"matchLabels": labels} if labels else {}) | ({"matchExpressions": expressions} if expressions else {})


def resources(group: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """What discovery says of a group with these metrics, in the classic form."""
    kind = {"singularName": "", "kind": _LISTS[group], "verbs": ["get"]}
    if group == EXTERNAL:
        return [{"name": name, "namespaced": True, **kind} for name in names]
    return [
        {"name": f"{resource}/{name}", "namespaced": namespaced, **kind}
        for resource, namespaced in _NAMESPACED
        for name in names
    ]


def resource_list(group: str, version: str, names: Sequence[str]) -> bytes:
    """The list of resources of a group and version."""
    return msgspec.json.encode(
        {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}",
            "resources": resources(group, names),
        }
    )


class _Described(msgspec.Struct):
    name: str = ""


class _Item(msgspec.Struct, rename="camel"):
    value: str
    described_object: _Described = msgspec.field(default_factory=_Described)


class _List(msgspec.Struct):
    items: list[_Item] | None = None


def read(body: bytes) -> Sequence[Value]:
    """The values in an answer of either group, in any version. Raises Unclear."""
    try:
        found = msgspec.json.decode(body, type=_List)
        return [Value(item.described_object.name, quantity.milli(item.value)) for item in found.items or ()]
    except (msgspec.DecodeError, UnicodeError, QuantityError) as error:
        raise Unclear(f"the answer is no list of values: {error}") from error
