"""Writes the table of docs/api.md from the one table of kinds: `python docs/generate.py`, or `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from controlplane.server import subresources
from mizzen.api import kinds

PAGE = Path(__file__).with_name("api.md")
BEGIN, END = "<!-- the table begins -->\n", "<!-- the table ends -->\n"
VERBS = ("create", "get", "list", "watch", "update", "patch", "delete", "deletecollection")


def table() -> str:
    """A row for every kind and for each path below its objects."""
    head = ["resource", "kind", "in a namespace", *VERBS]
    rows = [head, ["---"] * len(head)]
    for kind in sorted(kinds.KINDS, key=lambda kind: (kind.group, kind.version, kind.plural)):
        names = f" ({', '.join(kind.short_names)})" if kind.short_names else ""
        space = "yes" if kind.namespaced else "no"
        rows.append([f"`{_path(kind)}`{names}", kind.kind, space, *_cells(kind.verbs)])
        rows += [
            [f"`{_path(kind)}/{sub.name}`", sub.kind or kind.kind, space, *_cells(sub.verbs)]
            for sub in subresources.of(kind)
        ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def page(text: str) -> str:
    """The page with a fresh table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def _path(kind: kinds.Kind[Any]) -> str:
    return f"{kind.api_version}/{kind.plural}"


def _cells(verbs: Sequence[str]) -> list[str]:
    return ["yes" if verb in verbs else "–" for verb in VERBS]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
