"""The real clock, behind the engine's `Clock` protocol."""

from __future__ import annotations

import time

from mizzen.engine.values import Instant


class SystemClock:
    """The machine's clocks in whole milliseconds."""

    def now(self) -> Instant:
        """The wall clock in milliseconds since the epoch; it may be set back and forth."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds on a clock that never steps back; only differences have a meaning."""
        return time.monotonic_ns() // 1_000_000
