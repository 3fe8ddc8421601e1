"""The tables of kinds that users define: the name, and the columns of the definition.

A cell for which an object has no value, or one of another type than its column's, is empty.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from controlplane.server.tables.model import NAME, Column, Row, TableOf, since
from mizzen.api import custom, jsonpath, times
from mizzen.api.custom import Custom, CustomKind
from mizzen.engine.values import Instant

_KEPT = 256
_METADATA = ".metadata"


@lru_cache(maxsize=_KEPT)
def table_of(kind: CustomKind) -> TableOf:
    """The table of a served version."""
    columns = tuple(
        Column(name=one.name, type=one.type, format=one.format, description=one.description, priority=one.priority)
        for one in kind.columns
    )
    cells = [(one.type, jsonpath.parse(one.path)) for one in kind.columns]
    deep = any(one.path.startswith(_METADATA) for one in kind.columns)

    def row(obj: Custom, now: Instant) -> Row:
        value: dict[str, Any] = custom.plain(obj)
        if deep:
            value["metadata"] = msgspec.to_builtins(obj.metadata, enc_hook=msgspec.json.decode)  # the entries' fields
        found = ((type_, path.find(value)) for type_, path in cells)
        return Row((obj.metadata.name, *(_cell(type_, values, now) for type_, values in found)))

    return TableOf((NAME, *columns), row)


def _cell(type_: str, values: list[Any], now: Instant) -> Any:
    if not values or values[0] is None:
        return None
    value = values[0]
    if type_ == "string":
        return _text(value)
    if type_ == "date":
        return _age(value, now)
    fits = {"integer": int, "number": int | float, "boolean": bool}[type_]
    if isinstance(value, bool) is not (type_ == "boolean") or not isinstance(value, fits):
        return int(value) if type_ == "integer" and isinstance(value, float) else None
    return value


def _age(value: Any, now: Instant) -> str:
    try:
        return since(value, now) if isinstance(value, str) else "<invalid>"
    except times.TimeError:
        return "<invalid>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
