"""How the figures are printed: sections of aligned plain lines, each section with the load of the machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

LABEL_WIDTH = 50
SKIPPED = 3
"""Exit code of a part that could not be measured here, with the reason printed."""
INTERRUPTED = 130
MET, MISSED = "met", "MISSED"


def part(main: Callable[[], None]) -> None:
    """Run a part; when it is interrupted its figures say how far it came, and a traceback would say no more."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def section(title: str) -> None:
    """Begin a section; the load average tells how busy the machine was with other things."""
    minute, five, _ = os.getloadavg()
    print(f"\n{title}  (load average {minute:.1f}, {five:.1f})", flush=True)


def row(label: str, *figures: str) -> None:
    """Print one line: what was measured, and the figures in columns."""
    print(f"  {label:{LABEL_WIDTH}}" + "".join(f"  {figure:<20}" for figure in figures).rstrip(), flush=True)


def skip(what: str, reason: str) -> NoReturn:
    """Say why something is not measured here, and end the part."""
    row(what, f"skipped: {reason}")
    sys.exit(SKIPPED)


def target(met: bool, text: str) -> str:
    """The target beside a figure, and whether it is met."""
    return f"target {text}: {MET if met else MISSED}"


def spread(rates: Sequence[float]) -> str:
    """The slowest and the fastest of several rounds: how much the machine was disturbed."""
    return f"{min(rates):,.0f}-{max(rates):,.0f} in {len(rates)}"
