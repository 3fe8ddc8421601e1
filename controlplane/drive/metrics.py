"""The metrics of the drivers, under Kubernetes' names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from mizzen.base.telemetry import exponential
from mizzen.engine.loop import ControlLoop
from mizzen.engine.values import Clock

_BUCKETS_S = exponential(10e-9, 10, 10)
_BUCKETS_MS = [1000 * bound for bound in _BUCKETS_S]


class Durations:
    """A histogram of durations; counting costs a fraction of what a metric's lock and buckets would."""

    def __init__(self) -> None:
        """Begin with none."""
        self._times = [0] * (len(_BUCKETS_MS) + 1)
        self._total_ms = 0

    def add(self, took_ms: int) -> None:
        """Count one of so many milliseconds."""
        self._times[bisect_left(_BUCKETS_MS, took_ms)] += 1
        self._total_ms += took_ms

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """The counts up to each bound as Prometheus wants them, and the sum in seconds."""
        counts = accumulate(self._times)
        bounds = [*map(floatToGoString, _BUCKETS_S), "+Inf"]
        return list(zip(bounds, counts, strict=True)), self._total_ms / 1000


class WorkqueueCollector(Collector):
    """Reads the queues of the running control loops when Prometheus asks, so that counting costs nothing."""

    def __init__(self, clock: Clock) -> None:
        """Begin with no loops."""
        self._clock = clock
        self._retired: dict[str, tuple[int, int]] = {}  # adds and retries of loops that ended
        self._durations: dict[str, tuple[Durations, Durations]] = {}
        self._loops: tuple[ControlLoop, ...] = ()

    def durations(self, name: str) -> tuple[Durations, Durations]:
        """Where a loop of that name counts how long keys wait, and how long they run."""
        return self._durations.setdefault(name, (Durations(), Durations()))

    def use(self, loops: Iterable[ControlLoop]) -> None:
        """Report these loops from now on; counters go on from those before."""
        for loop in self._loops:
            adds, retries = self._retired.get(loop.controller.name, (0, 0))
            self._retired[loop.controller.name] = (adds + loop.queue.adds, retries + loop.retries)
        self._loops = tuple(loops)

    def collect(self) -> Iterable[Metric]:
        """Return the current state of all queues."""
        adds = CounterMetricFamily("workqueue_adds", "Keys queued", labels=["name"])
        retries = CounterMetricFamily("workqueue_retries", "Runs that failed and are tried again", labels=["name"])
        depth = GaugeMetricFamily("workqueue_depth", "Keys that wait to be run", labels=["name"])
        unfinished = GaugeMetricFamily(
            "workqueue_unfinished_work_seconds", "How long the running keys have been running, in sum", labels=["name"]
        )
        longest = GaugeMetricFamily(
            "workqueue_longest_running_processor_seconds", "How long the longest run has been running", labels=["name"]
        )
        waited = HistogramMetricFamily(
            "workqueue_queue_duration_seconds", "How long a key waits before it is run", labels=["name"]
        )
        ran = HistogramMetricFamily("workqueue_work_duration_seconds", "How long running a key takes", labels=["name"])
        for called, both in self._durations.items():
            for family, durations in zip((waited, ran), both, strict=True):
                family.add_metric([called], *durations.buckets())
        tick = self._clock.monotonic_ms()
        for loop in self._loops:
            name = [loop.controller.name]
            before = self._retired.get(loop.controller.name, (0, 0))
            total_ms, longest_ms = loop.queue.unfinished_ms(tick)
            adds.add_metric(name, before[0] + loop.queue.adds)
            retries.add_metric(name, before[1] + loop.retries)
            depth.add_metric(name, len(loop.queue))
            unfinished.add_metric(name, total_ms / 1000)
            longest.add_metric(name, longest_ms / 1000)
        return (adds, retries, depth, unfinished, longest, waited, ran)


ATTEMPTS = Counter("scheduler_schedule_attempts_total", "Tries to place a pod", ["result", "profile"])
PASS_DURATION = Histogram(
    "scheduler_scheduling_algorithm_duration_seconds",
    "How long a pass decides, of all its pods together",
    buckets=exponential(0.001, 2, 15),
)
ATTEMPT_DURATION = Histogram(
    "scheduler_scheduling_attempt_duration_seconds",
    "From a pass's begin until its placements are written",
    ["result", "profile"],
    buckets=exponential(0.001, 2, 15),
)
POD_DURATION = Histogram(
    "scheduler_pod_scheduling_sli_duration_seconds",
    "From a pod's creation until it is bound",
    ["attempts"],
    buckets=exponential(0.01, 2, 20),
)
PENDING = Gauge("scheduler_pending_pods", "Pods that are not placed", ["queue"])
