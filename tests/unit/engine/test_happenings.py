"""Events: repeats are counted, floods are combined, and what is stored already is remembered by the view alone."""

from __future__ import annotations

from mizzen.api.types import core_v1 as core
from mizzen.base.ids import SeededIds
from mizzen.engine import indexes
from mizzen.engine.cache import Cache
from mizzen.engine.canonical import at_version
from mizzen.engine.effects import Emit
from mizzen.engine.happenings import COMBINED, Happening, writes_of
from tests.unit.engine.objects import entry, pod

MINUTE_MS = 60_000
ABOUT = pod("a", uid="u1", version=7)


class Recorded:
    """Performs the writes on a cache, as the registry would."""

    def __init__(self) -> None:
        self.cache = Cache(indexes.ALL)
        self.version = 0
        self.ids = SeededIds(1)

    def happen(self, *messages: str, at: int = 0, reason: str = "Failed") -> list[core.Event]:
        happenings = [Happening(Emit(ABOUT, "Warning", reason, message, "test"), 1, at) for message in messages]
        stored = []
        for write in writes_of(happenings, self.cache, self.ids):
            self.version += 1
            stored.append(at_version(write.object, self.version))
            self.cache.put(entry(write.object, self.version))
        return stored

    def all(self) -> list[tuple[str, int]]:
        return sorted((event.message, event.count) for event in self.cache.select(indexes.EVENTS_BY_REGARDING, "u1"))


def test_an_event_says_what_happened_to_which_object() -> None:
    (event,) = Recorded().happen("no room", at=5000)
    assert event.involved_object == core.ObjectReference(
        api_version="v1", kind="Pod", namespace="default", name="a", uid="u1", resource_version="7"
    )
    assert event.metadata.name.startswith("a.")
    assert event.metadata.namespace == "default"
    assert (event.count, event.first_timestamp, event.last_timestamp) == (
        1,
        "1970-01-01T00:00:05Z",
        "1970-01-01T00:00:05Z",
    )
    assert (event.source.component, event.reporting_component) == ("test", "test")


def test_the_same_again_is_counted() -> None:
    recorded = Recorded()
    recorded.happen("no room")
    (event,) = recorded.happen("no room", at=9 * MINUTE_MS)
    assert (event.count, event.first_timestamp, event.last_timestamp) == (
        2,
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:09:00Z",
    )
    assert recorded.all() == [("no room", 2)]


def test_the_same_about_two_parts_is_counted_for_each() -> None:
    recorded = Recorded()
    for part in ("spec.containers{a}", "spec.containers{b}", "spec.containers{a}"):
        for write in writes_of(
            [Happening(Emit(ABOUT, "Normal", "Started", "Container started", "kubelet", part), 1, 0)],
            recorded.cache,
            recorded.ids,
        ):
            recorded.version += 1
            recorded.cache.put(entry(write.object, recorded.version))
    events = recorded.cache.select(indexes.EVENTS_BY_REGARDING, "u1")
    assert sorted((event.involved_object.field_path, event.count) for event in events) == [
        ("spec.containers{a}", 2), ("spec.containers{b}", 1),
    ]  # fmt: skip


def test_after_ten_minutes_it_is_a_new_event() -> None:
    recorded = Recorded()
    recorded.happen("no room")
    recorded.happen("no room", at=10 * MINUTE_MS)
    assert recorded.all() == [("no room", 1), ("no room", 1)]


def test_another_reason_is_another_event() -> None:
    recorded = Recorded()
    recorded.happen("no room")
    recorded.happen("no room", reason="Other")
    assert recorded.all() == [("no room", 1), ("no room", 1)]


def test_more_than_ten_messages_with_one_reason_are_combined() -> None:
    recorded = Recorded()
    recorded.happen(*(f"pod {number:02}" for number in range(8)))
    recorded.happen(*(f"pod {number:02}" for number in range(8, 20)))
    combined = (COMBINED + "pod 19", 10)
    assert recorded.all() == [combined, *((f"pod {number:02}", 1) for number in range(10))]
    recorded.happen("pod 03", "pod 99")
    assert dict(recorded.all())["pod 03"] == 2
    assert dict(recorded.all())[COMBINED + "pod 99"] == 11
