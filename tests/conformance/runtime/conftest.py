"""The runtimes under test: the in-memory one always, Docker in a private machine where that is possible."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator

import pytest

from nodeagent.runtime.docker import DockerRuntime
from nodeagent.runtime.docker_engine import DockerSettings
from nodeagent.runtime.fake import FakeRuntime
from nodeagent.runtime.port import Runtime
from tests.conformance.runtime.rig import IMAGE, Rig
from tests.fixtures.docker_machine import DockerMachine, docker_machine
from tests.fixtures.images import busybox_image

__all__ = ["docker_machine"]

_pods = itertools.count()


class _Clock:
    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[Runtime]:
    """A runtime with the test image on its node; whatever a test leaves behind is removed."""
    found: Runtime
    if request.param == "fake":
        found = FakeRuntime(_Clock())
    else:
        machine: DockerMachine = request.getfixturevalue("docker_machine")
        found = DockerRuntime(DockerSettings(socket=machine.socket))
    if await found.image_status(IMAGE) is None:
        await found.load_image(busybox_image(IMAGE)[1])
    yield found
    left = await found.list()
    for container in left.containers:
        await found.remove_container(container.id, force=True)
    for sandbox in left.sandboxes:
        await found.remove_sandbox(sandbox.id)
    await found.close()


@pytest.fixture
async def rig(runtime: Runtime) -> Rig:
    """The runtime with short ways to make pods."""
    return Rig(runtime, f"pod{next(_pods)}")
