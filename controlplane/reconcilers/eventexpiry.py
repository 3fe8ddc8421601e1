"""Removes events that nobody has counted on for an hour, as Kubernetes' API server does."""

from __future__ import annotations

from mizzen.api import kinds, times
from mizzen.api.types import core_v1
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

KEPT_MS = 3_600_000
"""How long an event is kept after it was written last."""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One event: gone when it is old."""
    event = view.get(kinds.EVENT, key.namespace, key.name)
    if event is None:
        return Decision()
    left_ms = _last_ms(event, now) + KEPT_MS - now
    if left_ms > 0:
        return Decision(wake_after_ms=left_ms)
    return Decision((Delete(key, event.metadata.uid),))


def _last_ms(event: core_v1.Event, now: Instant) -> Instant:
    """When the event was written last, as far as it says so."""
    series = event.series.last_observed_time if event.series is not None else ""
    told = (event.metadata.creation_timestamp, event.last_timestamp, event.event_time, series)
    return max((times.parse(text) for text in told if text), default=now)


CONTROLLER = Controller("event_expiry", kinds.EVENT, reconcile)
