"""The API server's metrics, under the names that Kubernetes' dashboards and alerts read.

A long-running request (watch, follow, exec) counts towards `apiserver_longrunning_requests` while it lasts; others
count as in flight and have their duration measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from cryptography import x509
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.server.paths import Place
from mizzen.api.kinds import Kind
from mizzen.base.telemetry import Tally

_SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
)  # fmt: skip
_HOUR, _DAY = 3600, 86_400
_CERTIFICATE_SECONDS = (
    0, _HOUR // 2, _HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY,
    180 * _DAY, 360 * _DAY,
)  # fmt: skip
_TARGET = ("verb", "group", "version", "resource", "subresource", "scope", "component")
_READING = ("GET", "LIST", "WATCH")
_COMPONENT = "apiserver"
Labels: TypeAlias = tuple[str, ...]


class Measured(msgspec.Struct, frozen=True):
    """What a request is counted as; the fields of `_TARGET` but the last, and whether nothing was stored."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    scope: str = ""
    dry_run: str = ""

    @property
    def target(self) -> Labels:
        """The values of the labels that every metric has."""
        return (self.verb, self.group, self.version, self.resource, self.subresource, self.scope, _COMPONENT)


def measured(verb: str, place: Place | None, dry_run: bool) -> Measured:
    """The labels for a request."""
    if place is None:
        return Measured(_shown(verb))
    return _measured(verb, place.kind, place.subresource, place.scope, dry_run)


@lru_cache(maxsize=1024)
def _measured(verb: str, kind: Kind[Any], subresource: str, scope: str, dry_run: bool) -> Measured:
    return Measured(_shown(verb), kind.group, kind.version, kind.plural, subresource, scope, "All" if dry_run else "")


def _shown(verb: str) -> str:
    return _METHODS.get(verb) or verb.upper()


CANCELLED = 499
"""What a request is counted as whose client left before the answer."""
_METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


class Served:
    """How often something was asked for and how it ended, by code, and how long that took in seconds."""

    __slots__ = ("codes", "took")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.codes: dict[int, int] = {}
        self.took = Tally(_SECONDS)

    def count(self, code: int, seconds: float | None) -> None:
        """Count one that has ended."""
        self.codes[code] = self.codes.get(code, 0) + 1
        if seconds is not None:
            self.took.observe(seconds)


class Metrics(Collector):
    """The metrics of one server. What every request counts is counted without locks, on the loop, and read here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self.registry = registry
        self._longrunning = Gauge(
            "apiserver_longrunning_requests", "Watches and streams that are open.", _TARGET, registry=registry
        )
        self._terminations = Counter(
            "apiserver_request_terminations_total", "Requests that were broken off in self-defence.",
            (*_TARGET, "code"), registry=registry,
        )  # fmt: skip
        self._certificates = Tally(_CERTIFICATE_SECONDS)
        self._served: dict[Measured, Served] = {}
        self._reading = self._mutating = 0
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return what has been counted so far."""
        labels = ("dry_run", *_TARGET)
        requests = CounterMetricFamily(
            "apiserver_request", "Requests, by what they asked for and how they ended.", labels=(*labels, "code")
        )
        durations = HistogramMetricFamily(
            "apiserver_request_duration_seconds", "How long requests took.", labels=labels
        )
        targets: dict[Labels, Tally] = {}
        for what, served in self._served.items():
            for code, count in served.codes.items():
                requests.add_metric((what.dry_run, *what.target, str(code)), count)
            durations.add_metric((what.dry_run, *what.target), *served.took.buckets())
            targets.setdefault(what.target, Tally(_SECONDS)).include(served.took)
        slis = HistogramMetricFamily(
            "apiserver_request_sli_duration_seconds", "How long requests took, without what others are to blame for.",
            labels=_TARGET,
        )  # fmt: skip
        for target, took in targets.items():
            slis.add_metric(target, *took.buckets())
        inflight = GaugeMetricFamily(
            "apiserver_current_inflight_requests", "Requests being served.", labels=("request_kind",)
        )
        inflight.add_metric(("readOnly",), self._reading)
        inflight.add_metric(("mutating",), self._mutating)
        certificates = HistogramMetricFamily(
            "apiserver_client_certificate_expiration_seconds", "How long the certificates that clients show are good."
        )
        certificates.add_metric((), *self._certificates.buckets())
        return requests, durations, slis, inflight, certificates

    def begin(self, what: Measured) -> None:
        """Count a short request as being served, until `end`."""
        if what.verb in _READING:
            self._reading += 1
        else:
            self._mutating += 1

    def end(self, what: Measured) -> None:
        """It is served no more."""
        if what.verb in _READING:
            self._reading -= 1
        else:
            self._mutating -= 1

    @contextmanager
    def long_running(self, what: Measured) -> Iterator[None]:
        """Count a watch or stream as open."""
        gauge = self._longrunning.labels(*what.target)
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def served(self, what: Measured, code: int, seconds: float | None) -> None:
        """Count a request that has ended; without `seconds` its duration says nothing."""
        found = self._served.get(what)
        if found is None:
            found = self._served[what] = Served()
        found.count(code, seconds)

    def terminated(self, what: Measured, code: int) -> None:
        """Count a request that was broken off because the server would otherwise be harmed."""
        self._terminations.labels(*what.target, str(code)).inc()

    def certificate_shown(self, certificate: bytes, now_s: float) -> None:
        """Note how long the certificate (DER) of a request's client is good from `now_s`, seconds since the epoch."""
        self._certificates.observe(_ends_s(certificate) - now_s)


@lru_cache(maxsize=4096)
def _ends_s(certificate: bytes) -> float:
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
