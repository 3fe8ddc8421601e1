"""Disks for the tests of volumes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeagent.volumes import mounts


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in which may be mounted; whatever a test leaves mounted is taken away."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    yield tmp_path
    for point in mounts.mounted_under(str(tmp_path)):
        mounts.unmount(point)
