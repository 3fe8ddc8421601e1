"""What a plan is asked, and what it says: plain values between the simulator, the servers and the client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mizzen.engine.values import Key

HORIZON_S = 600
"""How far a plan looks ahead when nobody says, in seconds."""
HORIZON_MAX_S = 3600


@dataclass(frozen=True, slots=True)
class Question:
    """A change, a loss or a return, whose effect is asked for."""

    apply: tuple[Any, ...] = ()
    """Objects as a user would apply them."""
    delete: tuple[Key, ...] = ()
    lose_nodes: tuple[str, ...] = ()
    return_nodes: tuple[str, ...] = ()
    """Nodes that are lost, and come back."""
    horizon_s: int = HORIZON_S


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One thing that would happen."""

    at_ms: int
    """Milliseconds after the change."""
    action: str
    """`create`, `change`, `bind`, `ready`, `unready`, `stop`, `delete`."""
    object: Key
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would happen."""

    steps: tuple[PlanStep, ...]
    problems: tuple[str, ...]
    """What is not well at the end, in plain words."""
    resource_version: str
    """The cluster's version that was planned on."""
