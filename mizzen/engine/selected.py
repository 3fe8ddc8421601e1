"""Pods and what selects them, found by the labels that selectors ask for instead of by looking at everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from mizzen.api import kinds
from mizzen.api.kinds import Object
from mizzen.api.selectors import Selector
from mizzen.api.types import core_v1
from mizzen.engine import indexes
from mizzen.engine.view import Index, View

T = TypeVar("T", bound=Object)


def pods(view: View, namespace: str, selector: Selector) -> list[core_v1.Pod]:
    """The pods of a namespace that a selector matches, by name."""
    asked = [indexes.labelled(namespace, key, value) for key, value in selector.exact]
    if asked:
        rarest = min(asked, key=lambda value: view.count(indexes.PODS_BY_LABEL, value))
        found = view.select(indexes.PODS_BY_LABEL, rarest)
    else:
        found = view.list(kinds.POD, namespace)
    return [pod for pod in found if selector.matches(pod.metadata.labels)]


def candidates(view: View, by_selected: Index[T], namespace: str, labels: Mapping[str, str]) -> Iterable[T]:
    """What of the index's kind may select a pod with these labels: everything else certainly does not."""
    for key, value in (*sorted(labels.items()), indexes.UNNAMED):
        yield from view.select(by_selected, indexes.labelled(namespace, key, value))
