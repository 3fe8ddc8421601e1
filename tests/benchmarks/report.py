"""How the figures are printed: sections of aligned plain lines, each section with the load of the machine."""

from __future__ import annotations

import os

LABEL_WIDTH = 52


def section(title: str) -> None:
    """Begin a section; the load average tells how busy the machine was with other things."""
    minute, five, _ = os.getloadavg()
    print(f"\n{title}  (load average {minute:.1f}, {five:.1f})", flush=True)


def row(label: str, *figures: str) -> None:
    """Print one line: what was measured, and the figures in columns."""
    print(f"  {label:{LABEL_WIDTH}}" + "".join(f"  {figure:<20}" for figure in figures).rstrip(), flush=True)


def skipped(what: str, reason: str) -> None:
    """Say why a part is not measured here."""
    row(what, f"skipped: {reason}")


def target(met: bool, text: str) -> str:
    """The target beside a figure, and whether it is met."""
    return f"target {text}: {'met' if met else 'MISSED'}"
