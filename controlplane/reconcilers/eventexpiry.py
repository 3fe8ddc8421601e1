"""Removes events that nobody has counted on for some days, or for an hour where a namespace has too many of them.

Kubernetes keeps them for an hour; what went wrong on Friday is asked for on Monday. Events of the same are counted and
not stored again, so a quiet namespace has few.
"""

from __future__ import annotations

from functools import partial

from mizzen.api import kinds, times
from mizzen.api.types import core_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Decision, Delete
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

TTL_MS = 259_200_000
"""How long an event is kept after it was written last, when nobody says: three days."""
CROWDED_MS = 3_600_000
"""The same where there are too many."""
CROWD = 2_000
"""More events in one namespace than this are too many."""


def reconcile(ttl_ms: int, key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One event: gone when it is old."""
    del ids
    event = view.get(kinds.EVENT, key.namespace, key.name)
    if event is None:
        return Decision()
    age_ms = now - _last_ms(event, now)
    young_ms = min(CROWDED_MS, ttl_ms) - age_ms
    if young_ms > 0:
        return Decision(wake_after_ms=young_ms)
    if age_ms >= ttl_ms or view.count(indexes.EVENTS_BY_NAMESPACE, key.namespace) > CROWD:
        return Decision((Delete(key, event.metadata.uid),))
    return Decision(wake_after_ms=min(CROWDED_MS, ttl_ms - age_ms))


def _last_ms(event: core_v1.Event, now: Instant) -> Instant:
    """When the event was written last, as far as it says so."""
    series = event.series.last_observed_time if event.series is not None else ""
    told = (event.metadata.creation_timestamp, event.last_timestamp, event.event_time, series)
    return max((times.parse(text) for text in told if text), default=now)


def controller(ttl_ms: int) -> Controller:
    """The controller; it keeps events for so long."""
    return Controller("event_expiry", kinds.EVENT, partial(reconcile, ttl_ms))
