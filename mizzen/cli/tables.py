"""The API's tables as aligned columns of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

GAP = "   "


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns are shown, and what the names begin with."""

    wide: bool = False
    namespace: bool = False
    """Whether a column says in which namespace an object is."""
    prefix: str = ""
    """Such as `deployment.apps/`, where objects of several kinds are shown."""


class TableText:
    """Tables of one kind, one below the other: the columns stay as wide as the first rows have made them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._columns: list[tuple[int, str]] = []
        self._widths: list[int] = []

    def add(self, tables: Sequence[dict[str, Any]]) -> str:
        """The lines of the tables' rows, below a header the first time; empty where there are none."""
        for table in tables:
            # In a watch, only the first table says what its columns are.
            self._columns = self._columns or [
                (i, column["name"].upper())
                for i, column in enumerate(table.get("columnDefinitions") or [])
                if self._layout.wide or not column.get("priority")
            ]
        rows = [self._cells(row) for table in tables for row in table.get("rows") or []]
        if rows and not self._widths:
            names = [name for _, name in self._columns]
            rows.insert(0, ["NAMESPACE", *names] if self._layout.namespace else names)
            self._widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "".join(f"{self._line(row)}\n" for row in rows)

    def _cells(self, row: dict[str, Any]) -> list[str]:
        cells = [_text(row["cells"][i]) for i, _ in self._columns]
        cells[0] = self._layout.prefix + cells[0]
        return [row["object"]["metadata"].get("namespace", ""), *cells] if self._layout.namespace else cells

    def _line(self, row: list[str]) -> str:
        return GAP.join(cell.ljust(width) for cell, width in zip(row, self._widths, strict=True)).rstrip()


def _text(value: Any) -> str:
    return "<none>" if value is None or value == "" else str(value)
