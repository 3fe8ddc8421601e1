"""`make up` on a bare machine: a page through a Service, the same again, and after `make down` nothing is left.

The bare machine is one of the lab's, without Docker, so that nothing of the box is found or touched.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.lab import Lab, Machine
from deploy.processes import Process
from deploy.shell import TimedOut, tail, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

RUN = "/var/lib/mizzen/run"
UP = (sys.executable, "-m", "deploy.up", "--run-dir", RUN)


@pytest.fixture
def machine(new_lab: Callable[..., Lab]) -> Machine:
    """A bare machine."""
    return new_lab(nodes=0).server


def traces(machine: Machine) -> dict[str, str]:
    """All that a cluster could leave on a machine."""
    commands = {
        "processes": "cat /proc/[0-9]*/comm | grep -v -x -e sh -e cat -e grep -e sort | sort",
        "links": "ip -o link | cut -d: -f2",
        "addresses": "ip -4 -o addr | cut -d' ' -f2-7",
        "routes": "ip -4 route show table all",
        "packet rules": "nft list ruleset",
        "mounts": "cut -d' ' -f5 /proc/self/mountinfo",
        "groups": "find /sys/fs/cgroup -type d | sort",
        "sockets": "ls -A /run /var/run/netns 2>/dev/null; ss -lntu | sort",
        "files": f"ls -A /etc/docker; find {RUN} -type f ! -name lock 2>/dev/null; true",
        "forwarding": "cat /proc/sys/net/ipv4/ip_forward",
    }
    return {name: machine.run("sh", "-c", command, check=False) for name, command in commands.items()}


def test_up_twice_and_down(machine: Machine) -> None:
    """The whole story of the quick start."""
    before = traces(machine)

    first = machine.run(*UP, "up", timeout_s=200)
    assert "answers 'demo v1 on demo-" in first, first
    nodes = machine.run("kubectl", "--kubeconfig", f"{RUN}/kubeconfig", "get", "nodes")
    assert " Ready " in nodes
    started = machine.run("pgrep", "-f", "--", "-m (controlplane|nodeagent)")

    again = machine.run(*UP, "up", timeout_s=100)
    assert again.count("running already") == 3, again
    assert machine.run("pgrep", "-f", "--", "-m (controlplane|nodeagent)") == started

    machine.run(*UP, "down", timeout_s=100)
    assert_as_before(machine, before)
    assert "nothing" in machine.run(*UP, "down")


@pytest.mark.parametrize("step", ["engine", "control plane", "node"])
def test_interrupted_up_is_cleaned_up(machine: Machine, tmp_path: Path, step: str) -> None:
    """ctrl-C right after any step; `down` clears what stands, also when an `up` has completed it before."""
    before = traces(machine)
    log = tmp_path / "up.log"
    up = machine.popen([*UP, "up"], log)
    wait_for(f"the step {step}", lambda: f"  {step} " in tail(log, 50) or not up.alive(), 120)
    interrupt(up)
    wait_for("up to stop", lambda: not up.alive(), 30)
    assert "cleans up" in tail(log), tail(log)

    if step == "node":
        again = machine.run(*UP, "up", timeout_s=200)
        assert "answers 'demo v1 on demo-" in again, again
    machine.run(*UP, "down", timeout_s=100)
    assert_as_before(machine, before)


def assert_as_before(machine: Machine, before: dict[str, str]) -> None:
    """Nothing is left; the kernel drops links and namespaces only some time after they are let go."""
    with suppress(TimedOut):
        wait_for("nothing to be left", lambda: traces(machine) == before, 10)
    after = traces(machine)
    for name, text in before.items():
        assert after[name].splitlines() == text.splitlines(), name


def interrupt(process: Process) -> None:
    """What the terminal does on ctrl-C."""
    assert process.alive()
    process.send(signal.SIGINT)
