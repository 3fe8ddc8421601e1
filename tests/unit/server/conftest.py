"""Shared by the tests of the API server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]


@pytest.fixture
def shared_facts() -> Path:
    """The folder of facts about the API; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("MIZZEN_SHARED", _ROOT.parent / "shared")) / "kubernetes"
    if not folder.is_dir():
        pytest.skip(f"no facts at {folder}; set MIZZEN_SHARED")
    return folder
