"""Labs for the network tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.network.netlab import NetLab


@pytest.fixture(scope="module")
def lab() -> Iterator[NetLab]:
    """Three machines with their networks started, shared by the tests of one module."""
    made = NetLab()
    try:
        made.up(3)
        made.start()
        yield made
    finally:
        made.down()


@pytest.fixture
def fresh() -> Iterator[Callable[[int], NetLab]]:
    """Make labs of some machines, not started, for one test alone."""
    made: list[NetLab] = []

    def make(machines: int) -> NetLab:
        made.append(NetLab())
        made[-1].up(machines)
        return made[-1]

    yield make
    for one in made:
        one.down()
