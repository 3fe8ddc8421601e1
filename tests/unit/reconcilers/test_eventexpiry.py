"""Events go some days after they were written last, or earlier where there are too many."""

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


def decide(event: core.Event | None, others: int = 0) -> Decision:
    cache = Cache(indexes.ALL)
    names = [f"other-{number}" for number in range(others)]
    for name in (*names, "e") if event is not None else ():
        raw = canonical.stamp(kinds.EVENT, canonical.rest(event), 1)
        cache.put(Entry(kinds.EVENT, "default", name, 1, raw))
    return eventexpiry.controller(eventexpiry.TTL_MS).reconcile(KEY, cache, NOW, SeededIds(1))


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
def test_it_is_looked_at_when_it_is_an_hour_old(given: core.Event, left_s: int) -> None:
    assert decide(given, eventexpiry.CROWD) == Decision(wake_after_ms=left_s * 1000)


DAY_S = 86_400


@pytest.mark.parametrize(
    ("age_s", "others", "wake_s"),
    [
        (3600, eventexpiry.CROWD - 1, 3600),
        (3600, eventexpiry.CROWD, None),
        (3 * DAY_S - 5, 0, 5),
        (3 * DAY_S, 0, None),
    ],
    ids=["few stay", "too many go", "nearly three days", "three days"],
)
def test_then_it_goes_or_is_looked_at_again(age_s: int, others: int, wake_s: int | None) -> None:
    wanted = Decision((Delete(KEY, "u"),)) if wake_s is None else Decision(wake_after_ms=wake_s * 1000)
    assert decide(event(age_s), others) == wanted


def test_one_that_is_gone_asks_for_nothing() -> None:
    assert decide(None) == Decision()
