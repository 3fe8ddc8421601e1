"""Virtual time and a machine in memory for the tests of the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.agent.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A machine in memory."""
    return World(tmp_path)
