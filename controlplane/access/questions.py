"""What a question about access asks: the attributes of a request that nobody has made.

Selectors only narrow what is asked for. So of those that cannot be read the rest counts, and the answer says so.
"""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.access.grants import wants
from controlplane.access.values import Wanted
from mizzen.api import field_selectors, selectors
from mizzen.api.field_selectors import Term
from mizzen.api.selectors import SelectorError
from mizzen.api.types import authorization_v1 as authorization

_COMPARISONS = {"In": True, "NotIn": False}
"""The operators on fields, and whether the value has to be equal."""
_OF_LABELS = (*_COMPARISONS, "Exists", "DoesNotExist")


def asked(attributes: authorization.ResourceAttributes) -> tuple[Wanted, str]:
    """What somebody would want of objects, and what was left aside, in the words of the API; empty for nothing."""
    below = f"/{attributes.subresource}" if attributes.subresource else ""
    resource = attributes.resource + below
    wanted = wants(attributes.verb, attributes.group, resource, attributes.namespace, attributes.name)
    terms, failed = _fields(attributes.field_selector)
    strange, known = _labels(attributes.label_selector)
    problems = (
        _words("fieldSelector", failed=failed, some=bool(terms)),
        _words("labelSelector", failed=strange, some=known),
    )
    fields = tuple((term.field, term.value) for term in terms if term.equal)
    return replace(wanted, fields=fields), "; ".join(filter(None, problems))


def _words(field: str, *, failed: bool, some: bool) -> str:
    how = "partially ignored" if some else "ignored"
    return f"spec.resourceAttributes.{field} {how} due to parse error" if failed else ""


def _fields(selector: authorization.FieldSelectorAttributes | None) -> tuple[tuple[Term, ...], bool]:
    """The comparisons that can be read, and whether there are others."""
    if selector is None:
        return (), False
    if selector.raw_selector:
        try:
            return field_selectors.terms(selector.raw_selector), False
        except SelectorError:
            return (), True
    terms = tuple(
        Term(one.key, one.values[0], _COMPARISONS[one.operator])
        for one in selector.requirements
        if one.operator in _COMPARISONS and len(one.values) == 1
    )
    return terms, len(terms) < len(selector.requirements)


def _labels(selector: authorization.LabelSelectorAttributes | None) -> tuple[bool, bool]:
    """Whether there is something that cannot be read, and something that can; no rule here looks at labels."""
    if selector is None:
        return False, False
    if selector.raw_selector:
        try:
            return False, bool(selectors.parse(selector.raw_selector).requirements)
        except SelectorError:
            return True, False
    known = [one.operator in _OF_LABELS for one in selector.requirements]
    return not all(known), any(known)
