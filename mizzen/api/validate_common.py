"""What the rules of all kinds share: names, labels, selectors, numbers, metadata.

A *rule* is a generator of `FieldError`s: it yields what is wrong and nothing when all is well. `path` is the field that
a rule looks at, as people write it (`spec.containers[0].image`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mizzen.api import formats, quantity, resources
from mizzen.api.errors import FieldError
from mizzen.api.formats import Check
from mizzen.api.types import meta_v1 as meta

Errors = Iterator[FieldError]

ANNOTATIONS_MAX_BYTES = 256 * 1024
IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"
NOT_POSITIVE = "must be greater than zero"
NOT_INTEGER = "must be an integer"
COUNTED = (
    "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims",
    "services.nodeports", "services.loadbalancers",
)  # fmt: skip
PROTOCOLS = ("SCTP", "TCP", "UDP")


def checked(path: str, value: str, check: Check) -> Errors:
    """A text must have its form."""
    for problem in check(value):
        yield FieldError.invalid(path, value, problem)


def required(path: str, value: Any, detail: str = "") -> Errors:
    """Something must be there."""
    if not value:
        yield FieldError.required(path, detail)


def required_and(path: str, value: str, check: Check) -> Errors:
    """A text must be there and have its form."""
    if not value:
        yield FieldError.required(path)
    else:
        yield from checked(path, value, check)


def one_of(path: str, value: str, supported: Iterable[str]) -> Errors:
    """A text must be there and be one of these."""
    if not value:
        yield FieldError.required(path)
    elif value not in supported:
        yield FieldError.unsupported(path, value, supported)


def maybe_one_of(path: str, value: str | None, supported: Iterable[str]) -> Errors:
    """A text must be one of these, if it is there."""
    if value is not None and value not in supported:
        yield FieldError.unsupported(path, value, supported)


def within(path: str, value: int, low: int, high: int) -> Errors:
    """A number must be in a range."""
    for problem in formats.within(value, low, high):
        yield FieldError.invalid(path, value, problem)


def port(path: str, value: int) -> Errors:
    """A number must be a port's."""
    yield from within(path, value, 1, 65535)


def port_or_name(path: str, value: int | str) -> Errors:
    """A port by number or by name."""
    if isinstance(value, int):
        yield from port(path, value)
    else:
        yield from checked(path, value, formats.port_name)


def not_negative(path: str, value: int | None) -> Errors:
    """A number must not be less than zero, if it is there."""
    if value is not None and value < 0:
        yield FieldError.invalid(path, value, NEGATIVE)


def unique(path: str, name: str, seen: set[str]) -> Errors:
    """A name must not have been seen; it is from now on."""
    if name in seen:
        yield FieldError.duplicate(path, name)
    seen.add(name)


def immutable(path: str, new: Any, old: Any) -> Errors:
    """A value must stay as it is."""
    if new != old:
        yield FieldError.invalid(path, new, IMMUTABLE)


def amount(path: str, name: str, text: str) -> Errors:
    """A resource's amount must not be negative, and whole where its parts make no sense."""
    nano = quantity.parse(text).nano
    if nano < 0:
        yield FieldError.invalid(path, text, NEGATIVE)
    if is_whole(name) and nano % quantity.NANO:
        yield FieldError.invalid(path, text, NOT_INTEGER)


def positive_amount(path: str, text: str) -> Errors:
    """An amount must be more than nothing."""
    if quantity.parse(text).nano <= 0:
        yield FieldError.invalid(path, text, NOT_POSITIVE)


def is_native(name: str) -> bool:
    """Whether a resource is one of ours, as opposed to what devices and others bring (`example.com/gpu`)."""
    return not resources.is_extended(name)


def is_whole(name: str) -> bool:
    """Whether a resource comes in whole pieces only."""
    return name in COUNTED or not is_native(name) or name.startswith("count/")


def label_key(path: str, key: str) -> Errors:
    """A label's key."""
    yield from checked(path, key, formats.qualified_name)


def labels(path: str, values: Mapping[str, str]) -> Errors:
    """Labels: keys and values."""
    for key, value in values.items():
        yield from checked(path, key, formats.qualified_name)
        yield from checked(path, value, formats.label_value)


def annotations_of(path: str, values: Mapping[str, str]) -> Errors:
    """Annotations: keys, and the size of all together."""
    size = 0
    for key, value in values.items():
        size += len(key.encode()) + len(value.encode())
        for problem in formats.qualified_name(key.lower()):
            yield FieldError.invalid(path, key, problem)
    if size > ANNOTATIONS_MAX_BYTES:
        yield FieldError.too_long(path, ANNOTATIONS_MAX_BYTES)


def label_selector(path: str, selector: meta.LabelSelector | None) -> Errors:
    """A selector on labels, if there is one."""
    if selector is None:
        return
    yield from labels(f"{path}.matchLabels", selector.match_labels)
    for i, expression in enumerate(selector.match_expressions):
        yield from label_requirement(f"{path}.matchExpressions[{i}]", expression)


def label_requirement(path: str, expression: meta.LabelSelectorRequirement, *, other_operators: bool = False) -> Errors:
    """One requirement on a label; with `other_operators` one that nobody knows is left to who reads it."""
    yield from presence_of_values(path, expression.operator, expression.values, other_operators=other_operators)
    yield from label_key(f"{path}.key", expression.key)
    for i, value in enumerate(expression.values):
        yield from checked(f"{path}.values[{i}]", value, formats.label_value)


def presence_of_values(path: str, operator: str, values: tuple[str, ...], *, other_operators: bool = False) -> Errors:
    """The operators of sets and of presence want values, or none; others are wrong unless `other_operators`."""
    if operator in ("In", "NotIn"):
        if not values:
            yield FieldError.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield FieldError.forbidden(f"{path}.values", detail)
    elif not other_operators:
        yield FieldError.invalid(f"{path}.operator", operator, "not a valid selector operator")
