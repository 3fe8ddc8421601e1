"""The API server's metrics, under the names that Kubernetes' dashboards and alerts read.

A long-running request (watch, follow, exec) counts towards `apiserver_longrunning_requests` while it lasts; others
count as in flight and have their duration measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from cryptography import x509
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from controlplane.server.paths import Place

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


@dataclass(frozen=True, slots=True)
class Measured:
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
    shown = verb.upper() if verb not in _METHODS else _METHODS[verb]
    if place is None:
        return Measured(shown)
    kind = place.kind
    return Measured(
        shown, kind.group, kind.version, kind.plural, place.subresource, place.scope, "All" if dry_run else ""
    )


CANCELLED = 499
"""What a request is counted as whose client left before the answer."""
_METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


class Metrics:
    """The metrics of one server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self.registry = registry
        labels = ("dry_run", *_TARGET)
        self._requests = Counter(
            "apiserver_request_total", "Requests, by what they asked for and how they ended.", (*labels, "code"),
            registry=registry,
        )  # fmt: skip
        self._duration = Histogram(
            "apiserver_request_duration_seconds", "How long requests took.", labels, buckets=_SECONDS, registry=registry
        )
        self._sli = Histogram(
            "apiserver_request_sli_duration_seconds", "How long requests took, without what others are to blame for.",
            _TARGET, buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._inflight = Gauge(
            "apiserver_current_inflight_requests", "Requests being served.", ("request_kind",), registry=registry
        )
        self._longrunning = Gauge(
            "apiserver_longrunning_requests", "Watches and streams that are open.", _TARGET, registry=registry
        )
        self._terminations = Counter(
            "apiserver_request_terminations_total", "Requests that were broken off in self-defence.",
            (*_TARGET, "code"), registry=registry,
        )  # fmt: skip
        self._certificates = Histogram(
            "apiserver_client_certificate_expiration_seconds", "How long the certificates that clients show are good.",
            buckets=_CERTIFICATE_SECONDS, registry=registry,
        )  # fmt: skip
        self._reading = self._inflight.labels("readOnly")
        self._mutating = self._inflight.labels("mutating")
        self._children: dict[tuple[Measured, int], tuple[Counter, Histogram, Histogram]] = {}

    @contextmanager
    def in_flight(self, what: Measured) -> Iterator[None]:
        """Count a request as being served."""
        gauge = self._reading if what.verb in _READING else self._mutating
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

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
        children = self._children.get((what, code))
        if children is None:
            children = (
                self._requests.labels(what.dry_run, *what.target, str(code)),
                self._duration.labels(what.dry_run, *what.target),
                self._sli.labels(*what.target),
            )
            self._children[what, code] = children
        total, duration, sli = children
        total.inc()
        if seconds is not None:
            duration.observe(seconds)
            sli.observe(seconds)

    def terminated(self, what: Measured, code: int) -> None:
        """Count a request that was broken off because the server would otherwise be harmed."""
        self._terminations.labels(*what.target, str(code)).inc()

    def certificate_shown(self, certificate: bytes, now_s: float) -> None:
        """Note how long the certificate (DER) of a request's client is good from `now_s`, seconds since the epoch."""
        self._certificates.observe(_ends_s(certificate) - now_s)


@lru_cache(maxsize=4096)
def _ends_s(certificate: bytes) -> float:
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
