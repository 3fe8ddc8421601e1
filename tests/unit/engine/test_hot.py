"""How many decoded objects a cache keeps: those in use, and few of those that are no longer current."""

from __future__ import annotations

import pytest

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine import canonical
from mizzen.engine.cache import RETIRED_MAX, Cache
from mizzen.engine.entry import Entry


def entry(name: str, version: int = 1) -> Entry:
    obj = core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"))
    raw = canonical.stamp(kinds.CONFIG_MAP, canonical.rest(obj), version)
    return Entry(kinds.CONFIG_MAP, "default", name, version, raw)


def decoded(entries: list[Entry]) -> int:
    return sum(one.decoded is not None for one in entries)


@pytest.mark.parametrize("removed", [False, True], ids=["replaced", "removed"])
def test_what_is_no_longer_current_is_let_go(removed: bool) -> None:
    cache = Cache(())
    made = [entry("same" if not removed else f"c{number}", number + 1) for number in range(RETIRED_MAX + 50)]
    for one in made:
        cache.put(one)
        if removed:
            cache.remove(one.kind, one.namespace, one.name)
    assert decoded(made) <= RETIRED_MAX + 1
    assert made[-2].decoded is not None


def test_what_was_read_stays_and_the_rest_cools() -> None:
    cache = Cache((), hot_max=4)
    made = [entry(f"c{number}") for number in range(4)]
    for one in made:
        cache.put(one)
    cache.get(kinds.CONFIG_MAP, "default", "c0")
    for number in range(4, 7):
        made.append(entry(f"c{number}"))
        cache.put(made[-1])
    assert decoded(made) == 4
    assert made[0].decoded is not None
    assert cache.get(kinds.CONFIG_MAP, "default", "c1") is not None
