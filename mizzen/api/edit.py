"""Changes to frozen values: a new one is made only where something differs, so that unchanged parts stay shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def edited(obj: T, **fields: Any) -> T:
    """The object with these fields; itself when it has them already (the very same values)."""
    changes = {name: value for name, value in fields.items() if getattr(obj, name) is not value}
    return msgspec.structs.replace(obj, **changes) if changes else obj  # type: ignore[type-var]


def filled(obj: T, **fields: Any) -> T:
    """The object with these fields where it has None or an empty text."""
    changes = {name: value for name, value in fields.items() if getattr(obj, name) in (None, "")}
    return msgspec.structs.replace(obj, **changes) if changes else obj  # type: ignore[type-var]


def each(items: tuple[T, ...], change: Callable[[T], T]) -> tuple[T, ...]:
    """The items after a change; the same tuple when none has changed."""
    result = tuple(map(change, items))
    return items if all(new is old for new, old in zip(result, items, strict=True)) else result


def maybe(value: T | None, change: Callable[[T], T]) -> T | None:
    """The value after a change, if there is one."""
    return None if value is None else change(value)
