"""Schedules of faults, drawn from a seed: what goes wrong, where and when. After the last one all is well again."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

Fault = Literal["agent-crash", "power-off", "cut", "kill-container", "leader-change", "die-writing"]
KINDS: tuple[Fault, ...] = ("agent-crash", "power-off", "cut", "kill-container", "leader-change", "die-writing")


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault."""

    at_ms: int
    """After the start."""
    fault: Fault
    node: int
    """Which machine, where it concerns one."""
    for_ms: int
    """How long it lasts, where it does."""
    write: int = 0
    """Before which write the next leader dies."""


def schedule(random: Random, nodes: int, until_ms: int) -> list[Strike]:
    """Up to eight faults; every run leaves some kinds out, so that rare combinations come up too."""
    kinds = random.sample(KINDS, random.randint(1, len(KINDS)))
    strikes = [
        Strike(
            at_ms=random.randrange(2_000, until_ms),
            fault=random.choice(kinds),
            node=random.randrange(nodes),
            for_ms=random.choice((2_000, 20_000, 70_000, 200_000)),
            write=random.randint(1, 30),
        )
        for _ in range(random.randint(0, 8))
    ]
    return sorted(strikes, key=lambda strike: (strike.at_ms, strike.fault, strike.node))
