"""Disks for the tests of storage drivers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeagent.volumes import mounts


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder with a short name, because those of sockets are bounded; what a test leaves mounted is taken away."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder = Path(tempfile.mkdtemp(prefix="csi-"))
    yield folder
    for point in mounts.mounted_under(str(folder)):
        mounts.unmount(point)
    shutil.rmtree(folder)
