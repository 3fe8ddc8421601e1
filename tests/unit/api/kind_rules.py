"""What the rules say of an example after a change: for tables of mistakes."""

from __future__ import annotations

from typing import Any

from mizzen.api import codec, defaults, kinds, patch, validate
from tests.fixtures.examples import example

IDENTITY = {"uid": "u", "resourceVersion": "1"}


def changed(kind: kinds.Kind[Any], *changes: dict[str, Any]) -> Any:
    """The example of a kind after merge patches, with its defaults."""
    body: Any = example(kind)
    body["metadata"] |= IDENTITY
    for change in changes:
        body = patch.apply_merge_patch(body, change)
    return defaults.apply(codec.decode_dict(body, kind)[0])


def lines(errors: tuple[Any, ...]) -> list[str]:
    """The errors as people read them."""
    return [str(error) for error in errors]


def mistakes(kind: kinds.Kind[Any], change: dict[str, Any]) -> list[str]:
    """What is wrong with the example after a change."""
    return lines(validate.validate_create(changed(kind, change)))


def refusals(
    kind: kinds.Kind[Any], change: dict[str, Any], before: dict[str, Any] | None = None, *, status: bool = False
) -> list[str]:
    """What is wrong with a change of an object, which is the example after `before`."""
    old = changed(kind, before or {})
    new = defaults.apply(codec.decode_dict(patch.apply_merge_patch(codec.to_dict(old), change), kind)[0])
    return lines((validate.validate_status_update if status else validate.validate_update)(new, old))


def begins(found: list[str], expected: list[str]) -> None:
    """Each found line begins with the expected one."""
    assert [line[: len(start)] for line, start in zip(found, expected, strict=False)] == expected, found
    assert len(found) == len(expected), found
