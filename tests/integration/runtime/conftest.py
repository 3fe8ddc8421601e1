"""Docker in a private machine, for what only a real engine can show."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nodeagent.runtime.docker import DockerRuntime
from nodeagent.runtime.docker_engine import DockerSettings
from tests.conformance.runtime.rig import IMAGE, Rig
from tests.fixtures.docker_machine import DockerMachine, docker_machine, running_machine
from tests.fixtures.images import busybox_image

__all__ = ["docker_machine"]

_ROOT = Path(__file__).resolve().parents[3]
_pods = itertools.count()


async def _runtime(machine: DockerMachine) -> AsyncIterator[DockerRuntime]:
    runtime = DockerRuntime(DockerSettings(socket=machine.socket))
    if await runtime.image_status(IMAGE) is None:
        await runtime.load_image(busybox_image(IMAGE)[1])
    yield runtime
    left = await runtime.list()
    for container in left.containers:
        await runtime.remove_container(container.id, force=True)
    for sandbox in left.sandboxes:
        await runtime.remove_sandbox(sandbox.id)
    await runtime.close()


@pytest.fixture
async def runtime(docker_machine: DockerMachine) -> AsyncIterator[DockerRuntime]:
    """The runtime over the session's engine; whatever a test leaves behind is removed."""
    async for runtime in _runtime(docker_machine):
        yield runtime


@pytest.fixture
def own_machine() -> Iterator[DockerMachine]:
    """A machine that the test may break."""
    with running_machine() as machine:
        yield machine


@pytest.fixture
async def rig(runtime: DockerRuntime) -> Rig:
    """The runtime with short ways to make pods."""
    return Rig(runtime, f"pod{next(_pods)}")


@pytest.fixture
def registry(docker_machine: DockerMachine, tmp_path: Path) -> Iterator[str]:
    """The address of a registry that the engine can reach."""
    yield from _registry(docker_machine, tmp_path)


@pytest.fixture
def closed_registry(docker_machine: DockerMachine, tmp_path: Path) -> Iterator[str]:
    """The address of one that wants credentials."""
    yield from _registry(docker_machine, tmp_path, "closed")


def _registry(docker_machine: DockerMachine, tmp_path: Path, *options: str) -> Iterator[str]:
    archive = tmp_path / "image.tar"
    archive.write_bytes(busybox_image("served:1", user="web")[1])
    program = [sys.executable, "-m", "tests.fixtures.registry", str(archive), *options]
    command = docker_machine.inside("env", f"--chdir={_ROOT}", *program)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port, pid = process.stdout.readline().split()
        yield f"127.0.0.1:{port}"
        subprocess.run(docker_machine.inside("kill", pid), check=True, timeout=10)
