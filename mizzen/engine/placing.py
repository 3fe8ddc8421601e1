"""What is said about a pod that would be better off on another node: between who scores nodes and who moves pods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from mizzen.api.types import core_v1
from mizzen.engine.view import View


class Better(NamedTuple):
    """A pod, and the node that is the best for it."""

    pod: core_v1.Pod
    node: str
    gain: int
    """By how much the best node's score is above that of the pod's own, in the scheduler's units."""


FindBetter: TypeAlias = Callable[[Sequence[core_v1.Pod], View], Better | None]
"""Which of some pods would gain most, if any gains; pods that their data holds where they are don't count."""
