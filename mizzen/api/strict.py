"""Unknown and duplicate fields, named one by one in the order in which they stand in the text.

The slow and exact half of strict decoding: `codec` calls it only when something is odd.
"""

from __future__ import annotations

import json
from typing import Any

from mizzen.api import schema

PROBLEMS_MAX = 100


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its repetitions."""


def problems(source: bytes | dict[str, Any], message: str) -> list[str]:
    """What strict decoding complains of: `unknown field "spec.foo"`, `duplicate field "spec.bar"`; each once.

    The source is JSON text, or a value that was made of it (which cannot have duplicates).
    """
    value = json.loads(source, object_pairs_hook=_Pairs) if isinstance(source, bytes) else source
    found: dict[str, None] = {}
    _scan(value, message, "", found)
    return list(found)[:PROBLEMS_MAX]


def duplicates(source: bytes) -> list[str]:
    """The fields that stand twice in one object of a JSON text, whatever they mean; each once."""
    found: dict[str, None] = {}
    _repeated(json.loads(source, object_pairs_hook=_Pairs), "", found)
    return list(found)[:PROBLEMS_MAX]


def _repeated(value: Any, path: str, found: dict[str, None]) -> None:
    seen: set[str] = set()
    for key, item in _pairs(value):
        where = f"{path}.{key}" if path else key
        if key in seen:
            found[f'duplicate field "{where}"'] = None
        seen.add(key)
        _repeated(item, where, found)
    if _is_list(value):
        for i, item in enumerate(value):
            _repeated(item, f"{path}[{i}]", found)


def _scan(value: Any, message: str, path: str, found: dict[str, None]) -> None:
    """Looks through one object: of a message, or with the empty name of a plain map."""
    known = _known(message) if message else None
    seen: set[str] = set()
    for key, item in _pairs(value):
        where = f"{path}.{key}" if path else key
        if known is not None and key not in known:
            found[f'unknown field "{where}"'] = None
            continue
        if key in seen:
            found[f'duplicate field "{where}"'] = None
        seen.add(key)
        if known is not None:
            _descend(item, known[key], where, found)


def _descend(item: Any, field: schema.Field | None, where: str, found: dict[str, None]) -> None:
    if field is None:
        return
    name = field.message
    if field.cardinality == "list" and _is_list(item) and name:
        for i, element in enumerate(item):
            _scan(element, name, f"{where}[{i}]", found)
    elif field.cardinality == "map":
        _scan(item, "", where, found)
        if name:
            for key, element in _pairs(item):
                _scan(element, name, f"{where}.{key}", found)
    elif field.cardinality == "one" and name:
        # Some fields hold one message or a list of them.
        for place, element in enumerate(item) if _is_list(item) else (("", item),):
            _scan(element, name, f"{where}[{place}]" if place != "" else where, found)


def _known(message: str) -> dict[str, schema.Field | None]:
    table = schema.message(message)
    known: dict[str, schema.Field | None] = dict(table.by_json_name)
    return known | {"apiVersion": None, "kind": None} if table.kind else known


def _is_list(value: Any) -> bool:
    """Whether a value is a list; an object with its repetitions is one only in Python's eyes."""
    return isinstance(value, list) and not isinstance(value, _Pairs)


def _pairs(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, _Pairs):
        return value
    return list(value.items()) if isinstance(value, dict) else []
