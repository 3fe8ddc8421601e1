"""What the store measures, under the names that Kubernetes' API server uses."""

from __future__ import annotations

from prometheus_client import Histogram

_BUCKETS_S = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)

REQUEST_SECONDS = Histogram(
    "etcd_request_duration_seconds",
    "Seconds that one request to etcd took, answered or not. A txn carries many writes.",
    ("operation", "type"),
    buckets=_BUCKETS_S,
)
