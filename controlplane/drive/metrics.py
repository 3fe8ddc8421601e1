"""The metrics of the drivers, under Kubernetes' names."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mizzen.base.telemetry import Tally, exponential
from mizzen.engine.loop import ControlLoop
from mizzen.engine.values import Clock

_BUCKETS_S = exponential(10e-9, 10, 10)


class WorkqueueCollector(Collector):
    """Reads the queues of the running control loops when Prometheus asks, so that counting costs nothing."""

    def __init__(self, clock: Clock) -> None:
        """Begin with no loops."""
        self._clock = clock
        self._retired: dict[str, tuple[int, int]] = {}  # adds and retries of loops that ended
        self._durations: dict[str, tuple[Tally, Tally]] = {}
        self._loops: tuple[ControlLoop, ...] = ()

    def durations(self, name: str) -> tuple[Tally, Tally]:
        """Where a loop of that name counts how long keys wait, and how long they run, in seconds."""
        return self._durations.setdefault(name, (Tally(_BUCKETS_S), Tally(_BUCKETS_S)))

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
            for family, tally in zip((waited, ran), both, strict=True):
                family.add_metric([called], *tally.buckets())
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
