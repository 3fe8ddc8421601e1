"""Logs and metrics of a process: set up once, at the composition root.

Logs are structured: a constant event and key-values; people get lines, machines get JSON. Metrics follow
Kubernetes' names, so existing dashboards and alerts work.
"""

from __future__ import annotations

import logging
import sys
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal, TextIO

import prometheus_client
import structlog
from prometheus_client.utils import floatToGoString

LogFormat = Literal["text", "json"]

LEVELS: dict[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""The log levels by the names that settings use."""


def set_up_logs(level: str = "info", form: LogFormat = "text", stream: TextIO | None = None) -> None:
    """Send the process's logs, also those of libraries, to `stream` (default: standard error).

    Raises KeyError for a level that is not one of `LEVELS`.
    """
    target = stream if stream is not None else sys.stderr
    threshold = LEVELS[level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    # Libraries are only heard when something is wrong; what they say below that is of no use to an operator.
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[handler], force=True)


def set_up_metrics() -> None:
    """Leave out the `_created` series, which no dashboard of Kubernetes knows and which double the exposition."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


def exponential(first: float, factor: float, count: int) -> Sequence[float]:
    """Histogram buckets that grow by a factor, as Kubernetes' histograms have them; seconds mostly."""
    return tuple(first * factor**step for step in range(count))


class Tally:
    """What a histogram counts, in one thread: a fraction of what a metric's locks would cost.

    A collector shows it as a `HistogramMetricFamily`.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin with nothing counted; `bounds` ascend, and above the last one there is another bucket."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def include(self, other: Tally) -> None:
        """Count all that another one with the same bounds has counted."""
        self._counts = [one + more for one, more in zip(self._counts, other._counts, strict=True)]
        self._sum += other._sum

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """The counts up to each bound as Prometheus wants them, and the sum."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True)), self._sum
