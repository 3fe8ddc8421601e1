"""Events go an hour after they were written last."""

from __future__ import annotations

import pytest

from controlplane.reconcilers import eventexpiry
from mizzen.api import kinds, times
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.base.ids import SeededIds
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.effects import Decision, Delete
from mizzen.engine.entry import Entry
from mizzen.engine.values import Key

NOW = 1_700_000_000_000
KEY = Key("events", "default", "e")


def decide(event: core.Event | None) -> Decision:
    cache = Cache(indexes.ALL)
    if event is not None:
        raw = canonical.stamp(kinds.EVENT, canonical.rest(event), 1)
        cache.put(Entry(kinds.EVENT, "default", "e", 1, raw))
    return eventexpiry.reconcile(KEY, cache, NOW, SeededIds(1))


def event(created_ago_s: int, **fields: object) -> core.Event:
    created = times.render(NOW - created_ago_s * 1000)
    metadata = meta.ObjectMeta(name="e", namespace="default", uid="u", creation_timestamp=created)
    return core.Event(metadata=metadata, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "left_s"),
    [
        (event(600), 3000),
        (event(7200, last_timestamp=times.render(NOW - 1000)), 3599),
        (event(7200, event_time=times.render_micro(NOW - 2000)), 3598),
        (event(7200, series=core.EventSeries(last_observed_time=times.render_micro(NOW - 3000))), 3597),
    ],
)
def test_it_stays_until_it_is_an_hour_old(given: core.Event, left_s: int) -> None:
    assert decide(given) == Decision(wake_after_ms=left_s * 1000)


def test_then_it_goes() -> None:
    assert decide(event(3600)).effects == (Delete(KEY, "u"),)


def test_one_that_is_gone_asks_for_nothing() -> None:
    assert decide(None) == Decision()
