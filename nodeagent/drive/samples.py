"""Pages in Prometheus' text formats, read for the few metrics that somebody wants, and what counters say between reads.

A metric has the name that prometheus-adapter's default rules give to it, so that an autoscaler need not know which of
the two feeds it: a gauge its own, a counter its own without `_total` (and `_seconds` before it). A counter's value is
its rate by the second; of histograms and summaries there are `_sum` and `_count`, as rates too. Buckets are left out.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

SERIES_MAX = 200
"""Series of wanted metrics that one pod may have."""
LABELS_MAX_BYTES = 2048
"""What the labels of one series may have together."""
VALUE_MAX = 1e15
"""Thousandths of what is more do not fit into a quantity."""
RATE_MS = 60_000
"""Rates are those of so long, as far as it has been looked at."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_COUNTED = re.compile(r"(_seconds)?_total$")
_SUFFIXES = ("", "_total", "_sum", "_count", "_bucket")
_SUMS = ("_sum", "_count")
_SUMMED = ("histogram", "summary")
_UNTYPED = ("unknown", "untyped")

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name as it is served, and the labels in order."""


class Unreadable(Exception):
    """A page is not what it should be; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a page said."""

    gauges: Mapping[Series, float]
    counters: Mapping[Series, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a series is now."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    value: float
    window_ms: int = 0
    """How long a rate was looked at; 0 for what is no rate."""


def counter_name(name: str) -> str:
    """The name under which a counter is served."""
    return _COUNTED.sub("", name)


def read(text: str, wanted: Collection[str], *, is_open_metrics: bool = False) -> Reading:
    """The wanted metrics of a page, by their served names. Raises Unreadable."""
    lines = list(_relevant(text, wanted))
    if not lines:
        return Reading({}, {})
    page = "\n".join(lines) + "\n"
    gauges: dict[Series, float] = {}
    counters: dict[Series, float] = {}
    try:
        for family in _families(page, is_open_metrics=is_open_metrics):
            _take(family, wanted, gauges, counters)
    except (ValueError, KeyError, IndexError) as error:  # which the parsers raise for anything that is malformed
        raise Unreadable(f"the page is not in Prometheus' text format: {error}") from error
    # A gauge that has the name of a counter without its ending comes before it.
    names = {metric for metric, _ in gauges}
    counters = {series: value for series, value in counters.items() if series[0] not in names}
    if len(gauges) + len(counters) > SERIES_MAX:
        what = ", ".join(sorted({metric for metric, _ in (*gauges, *counters)}))
        raise Unreadable(f"more than {SERIES_MAX} series of {what}: use fewer labels")
    return Reading(gauges, counters)


def _families(page: str, *, is_open_metrics: bool) -> Iterator[Metric]:
    if is_open_metrics:
        yield from open_metrics(page + "# EOF\n")  # type: ignore[no-untyped-call]  # the library's
    else:
        yield from plain_text(page)


def _relevant(text: str, wanted: Collection[str]) -> Iterator[str]:
    """The lines that are about wanted metrics: parsing all of a large page would cost too much."""
    for line in text.splitlines():
        if line.startswith("#"):
            word, _, rest = line[1:].lstrip().partition(" ")
            name = _NAME.match(rest.lstrip())
            if word == "TYPE" and name and any(_is_wanted(name[0] + suffix, wanted) for suffix in _SUFFIXES):
                yield line
        elif (name := _NAME.match(line)) and _is_wanted(name[0], wanted):
            yield line


def _is_wanted(name: str, wanted: Collection[str]) -> bool:
    return name in wanted or counter_name(name) in wanted


def _take(family: Metric, wanted: Collection[str], gauges: dict[Series, float], counters: dict[Series, float]) -> None:
    for sample in family.samples:
        name, value = sample.name, float(sample.value)
        if not isfinite(value) or abs(value) > VALUE_MAX:
            continue
        counts = family.type == "counter" or (family.type in _UNTYPED and name.endswith("_total"))
        summed = family.type in _SUMMED and name in [family.name + suffix for suffix in _SUMS]
        served = counter_name(name) if counts else name
        if served not in wanted or (family.type in _SUMMED and not summed and name != family.name):
            continue
        labels = tuple(sorted(sample.labels.items()))
        if sum(len(key.encode()) + len(text.encode()) for key, text in labels) > LABELS_MAX_BYTES:
            raise Unreadable(f"a series of {name} has labels of more than {LABELS_MAX_BYTES} bytes")
        (counters if counts or summed else gauges)[served, labels] = value


@dataclass(slots=True)
class Rates:
    """What the counters of one pod were in the last minute."""

    _seen: dict[Series, deque[tuple[int, float]]] = field(default_factory=dict)

    def take(self, reading: Reading, at_ms: int) -> tuple[Sample, ...]:
        """What every series is after a reading; of a counter there is something from its second one on."""
        self._seen = {series: times for series, times in self._seen.items() if series in reading.counters}
        samples = [Sample(metric, labels, value) for (metric, labels), value in reading.gauges.items()]
        for series, value in reading.counters.items():
            times = self._seen.setdefault(series, deque())
            times.append((at_ms, value))
            while len(times) > 2 and times[1][0] <= at_ms - RATE_MS:
                times.popleft()
            window_ms = at_ms - times[0][0]
            if window_ms > 0:
                rate = _increase([one for _, one in times]) * 1000 / window_ms
                samples.append(Sample(*series, rate, window_ms))
        return tuple(samples)


def _increase(values: list[float]) -> float:
    """How much was counted; a counter that falls has begun again at zero."""
    total = 0.0
    for before, after in pairwise(values):
        total += after - before if after >= before else after
    return total
