"""What all tests share: skips with a reason on machines that lack a tool, upstream's fixtures, and labs."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.lab import Lab, LabError
from deploy.lab.lab import require_root_and_tools

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Say that there is no event loop outside async tests: asking for one would make one that nobody closes."""
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests whose marker asks for something that this machine has not."""
    lacking = {"etcd": _lacks_etcd(), "docker": _lacks_lab(), "lab": _lacks_lab()}
    for item in items:
        for marker, reason in lacking.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def upstream() -> Path:
    """The folder with Kubernetes' own tables and fixtures: MIZZEN_SHARED, or `shared` beside the repository."""
    folder = Path(os.environ.get("MIZZEN_SHARED", ROOT.parent / "shared")) / "kubernetes"
    if not folder.is_dir():
        pytest.skip(f"no upstream fixtures at {folder}; MIZZEN_SHARED names their folder")
    return folder


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Make labs (`new_lab(nodes=2)`, arguments as of `Lab.up`) that are taken down after the test."""
    labs: list[Lab] = []

    def make(**options: object) -> Lab:
        labs.append(Lab(tmp_path / f"lab-{len(labs)}"))
        return labs[-1].up(**options)  # type: ignore[arg-type]  # the options are those of `up`

    yield make
    for lab in labs:
        lab.down()


def _lacks_etcd() -> str:
    return "" if shutil.which("etcd") else "no etcd: apt-get install etcd-server"


def _lacks_lab() -> str:
    try:
        require_root_and_tools()
    except LabError as error:
        return str(error)
    return ""
