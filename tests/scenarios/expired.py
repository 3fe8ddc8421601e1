"""Events that are there from the beginning, and grow old."""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.reconcilers import eventexpiry
from mizzen.api import kinds, times
from mizzen.api.types import core_v1
from mizzen.engine.writes import creation, replacement
from tests.scenarios.test_controllers import Story, named


def expiring(story: Story) -> float:
    """Events go when they are old; one that is counted on stays."""
    now, metadata = story.run.world.now, named("e")
    old = times.render(now - eventexpiry.TTL_MS + 60_000)
    for number in range(12):
        own = replace(metadata, name=f"e-{number}", uid=f"uid-{number}", creation_timestamp=old)
        story.run.store.commit((creation(core_v1.Event(metadata=own, count=1)),))

    def counted() -> None:
        event = story.get(kinds.EVENT, "e-7")
        again = replace(event, count=2, last_timestamp=times.render(story.run.world.now))
        story.run.store.commit((replacement(again, int(event.metadata.resource_version)),))

    def nothing_early() -> None:
        if story.now < 60_000:
            assert len(story.list(kinds.EVENT)) == 12

    story.run.world.checks.append(nothing_early)
    story.at(30, counted)
    return 120


def ended_expiring(story: Story) -> None:
    (left,) = story.list(kinds.EVENT)
    assert (left.metadata.name, left.count) == ("e-7", 2)
