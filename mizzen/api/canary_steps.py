"""The steps of a canary as users write them: `20%, pause 30s, 50%, pause`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

STEPS_MAX = 50
_SHARE = re.compile(r"(\d{1,3})%")
_PAUSE = re.compile(r"pause(?:\s+(\d{1,6})(s|m|h))?")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}


@dataclass(frozen=True, slots=True)
class Share:
    """So many percent of the replicas are of the new revision."""

    percent: int

    def __str__(self) -> str:
        return f"{self.percent}%"

    def replicas(self, desired: int) -> int:
        """The share in replicas, rounded up: there is at least one."""
        return -(-desired * self.percent // 100)


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing goes on for a while."""

    for_ms: int | None
    """None: until it is promoted."""

    def __str__(self) -> str:
        return "pause until promoted" if self.for_ms is None else f"pause {self.for_ms // 1000}s"


Step: TypeAlias = Share | Pause


def parse(text: str) -> tuple[Step, ...]:
    """The steps in order. Raises ValueError, which says what to write instead."""
    steps = tuple(_step(word.strip()) for word in text.split(","))
    if len(steps) > STEPS_MAX:
        raise ValueError(f"has {len(steps)} steps: write at most {STEPS_MAX}")
    shares = [step.percent for step in steps if isinstance(step, Share)]
    if not isinstance(steps[0], Share):
        raise ValueError("begins with a pause: begin with a share such as 20%")
    if shares != sorted(set(shares)):
        raise ValueError("each share must be larger than the one before")
    return steps


def _step(word: str) -> Step:
    if (share := _SHARE.fullmatch(word)) and 0 < int(share[1]) < 100:
        return Share(int(share[1]))
    if pause := _PAUSE.fullmatch(word):
        return Pause(int(pause[1]) * _UNIT_MS[pause[2]] if pause[1] else None)
    why = "write shares from 1% to 99%, `pause`, or `pause` and a time such as 30s, 5m, 1h, separated by commas"
    raise ValueError(f"there is no step {word!r}: {why}")
