"""Does a node match what a pod asks of it: its node selector and its required node affinity?"""

from __future__ import annotations

from collections.abc import Mapping

from mizzen.api.types import core_v1


def matches(
    selector: Mapping[str, str], affinity: core_v1.NodeAffinity | None, name: str, labels: Mapping[str, str]
) -> bool:
    """The node selector, and any term of the required node affinity, against a node's name and labels."""
    if not selector.items() <= labels.items():
        return False
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    if required is None:
        return True
    return any(term_matches(term, name, labels) for term in required.node_selector_terms)


def term_matches(term: core_v1.NodeSelectorTerm, name: str, labels: Mapping[str, str]) -> bool:
    """All expressions of one term; an empty term matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": name}
    return all(_matches(e, labels) for e in term.match_expressions) and all(
        _matches(e, fields) for e in term.match_fields
    )


def _matches(expression: core_v1.NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.key)
    match expression.operator:
        case "In":
            return value is not None and value in expression.values
        case "NotIn":
            return value is None or value not in expression.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(value, expression)
    return False


def _compares(value: str | None, expression: core_v1.NodeSelectorRequirement) -> bool:
    try:
        have, bound = int(value or ""), int(expression.values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if expression.operator == "Gt" else have < bound
