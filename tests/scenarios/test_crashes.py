"""A control plane that dies after any write of a rollout: the next one ends where an undisturbed one does.

On the way the deployment's bounds hold after every event, whoever leads.
"""

from __future__ import annotations

import pytest

from controlplane.plan.script import Run
from mizzen.api import kinds
from tests.fixtures.likeness import likeness

REPLICAS = 20
MOST, LEAST = 25, 15
"""A quarter more and a quarter less than desired: the bounds of a Deployment that sets none."""
ROLL_MS = 60_000
"""Virtual time in which a rollout is over, with a new leader on the way."""
WRITES = 40
STORIES = 4
IMAGES = ("web:v2", "web:v1")


class Story:
    """Rollouts to and fro in one world."""

    def __init__(self) -> None:
        self.run = Run(5, replicas=REPLICAS)
        self.run.world.after(1_000, self.run._begin)
        self.run.world.after(5_000, self.run._watch_leader)
        self._until_ms = ROLL_MS
        self.run.world.run_until(self._until_ms)
        self.run.checkers.allow("web", MOST)
        self.run.checkers.keep("web", LEAST)

    def roll(self, image: str, writes: int | None) -> list[str]:
        """One rollout whose leader dies after so many writes, None: lives; gives what the cluster is like then."""
        self.run._next_brain(0 if writes is None else writes + 1)
        leader = self.run.brain
        self.run._roll(image)
        self._until_ms += ROLL_MS
        self.run.world.run_until(self._until_ms)
        assert leader.alive is (writes is None)
        self.run.checkers.at_rest()
        return likeness(self.run.store.cache)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[str]]:
    """What the cluster is like after a rollout in which nobody dies, by image."""
    story = Story()
    before = {pod.metadata.uid for pod in story.run.store.cache.list(kinds.POD)}
    found = {image: story.roll(image, None) for image in IMAGES}
    after = {pod.metadata.uid for pod in story.run.store.cache.list(kinds.POD)}
    assert (len(after), before & after) == (REPLICAS, set())
    return found


@pytest.mark.parametrize("first", range(1, STORIES + 1))
def test_a_rollout_ends_the_same_whenever_its_leader_dies(undisturbed: dict[str, list[str]], first: int) -> None:
    story = Story()
    for place, writes in enumerate(range(first, WRITES + 1, STORIES)):
        image = IMAGES[place % len(IMAGES)]
        assert story.roll(image, writes) == undisturbed[image], f"died after write {writes}"
