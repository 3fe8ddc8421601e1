"""`up` brings Docker Engine where there is none, finds it again, and takes it away without a trace.

Runs inside a machine of the lab that has no Docker, so that the box's own is neither found nor touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from deploy.lab import Lab, Machine
from deploy.shell import TimedOut, wait_for

pytestmark = pytest.mark.lab

RUN = "/var/lib/mizzen/run"
PRELUDE = f"""
from pathlib import Path
from deploy.up import cluster, engine
from deploy.up.state import Run
r = Run(Path({RUN!r}))
"""


@pytest.fixture
def machine(new_lab: Callable[..., Lab]) -> Machine:
    """A bare machine."""
    return new_lab(nodes=0).server


def python(machine: Machine, code: str) -> str:
    """Run a piece of `deploy.up` there."""
    return machine.run(sys.executable, "-c", PRELUDE + code, timeout_s=90)


def processes(machine: Machine) -> set[str]:
    """What runs on the machine."""
    return set(machine.run("ps", "-eo", "comm=").split()) - {"ps"}


def test_engine_comes_and_goes(machine: Machine) -> None:
    """Started, found by the next process, and gone with everything it made, though a container still ran."""
    before = processes(machine)
    assert "started for this cluster" in python(machine, "print(engine.ensure(r)); cluster._load_image(r)")
    python(machine, "engine.docker(r, 'run', '-d', '--network=none', '--label=mizzen.dev/type=x', 'demo:v1')")
    assert "running already" in python(machine, "print(engine.ensure(r))")
    assert "dockerd" in processes(machine)
    assert "docker0" not in machine.run("ip", "link")
    assert machine.run("nft", "list", "ruleset") == ""

    python(machine, "cluster.down(r, print)")

    assert_ended(machine, before)
    assert_no_trace(machine)


def test_engine_killed_meanwhile(machine: Machine) -> None:
    """What a killed Engine leaves behind - a running container, mounts, groups - goes too."""
    before = processes(machine)
    python(machine, "engine.ensure(r); cluster._load_image(r)")
    python(machine, "engine.docker(r, 'run', '-d', '--network=none', '--label=mizzen.dev/type=x', 'demo:v1')")
    machine.run("pkill", "-KILL", "-x", "dockerd")

    python(machine, "cluster.down(r, print)")

    assert_ended(machine, before)
    assert_no_trace(machine)


def test_a_second_engine_is_not_started(machine: Machine) -> None:
    """An Engine that runs there already is used, and stays after `down`."""
    machine.install("dockerd", ["dockerd", "--storage-driver=overlay2"])
    machine.wait_for_docker()
    assert "this machine's own" in python(machine, "print(engine.ensure(r))")
    python(machine, "cluster.down(r, print)")
    assert machine.pid("dockerd") is not None


def assert_ended(machine: Machine, before: set[str]) -> None:
    """Nothing runs that did not before; what starts a machine may still have run then, and no longer does."""
    with suppress(TimedOut):
        wait_for("the last processes to end", lambda: processes(machine) <= before, 10)
    assert processes(machine) - before == set()


def assert_no_trace(machine: Machine) -> None:
    """No file, mount, socket or control group of `up` is left."""
    assert machine.run("find", RUN, "-mindepth", "1") == ""
    assert machine.run("find", "/run", "-maxdepth", "1", "-name", "mizzen*") == ""
    assert RUN not in machine.run("cat", "/proc/self/mountinfo")
    assert machine.run("find", "/sys/fs/cgroup", "-name", "mizzen-*") == ""
    assert machine.run("ls", "/etc/docker") == ""
