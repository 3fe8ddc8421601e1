"""The record of `up`: what is on it survives, interrupts wait for it, and two commands do not work at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from deploy.processes import Process
from deploy.up.state import Run, UpError, UpState, uninterrupted


def test_the_record_survives(tmp_path: Path) -> None:
    """Another process reads what this one wrote; forgetting leaves no file."""
    run = Run(tmp_path / ".run")
    run.state.processes["server"] = Process(os.getpid(), 1)
    run.state.docker_socket = "/run/docker.sock"
    run.save()
    again = Run(tmp_path / ".run")
    assert again.state == run.state
    assert not again.alive("server"), "the start time differs, so this is not the process on record"
    again.forget()
    assert Run(tmp_path / ".run").state == UpState()


def test_one_command_at_a_time(tmp_path: Path) -> None:
    """The second is told to wait."""
    with Run(tmp_path).exclusively(), pytest.raises(UpError, match="another"), Run(tmp_path).exclusively():
        pass
    with Run(tmp_path).exclusively():
        pass


def test_interrupts_wait_until_the_record_is_written(tmp_path: Path) -> None:
    """ctrl-C in the middle acts at the end."""
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("recorded")
    assert done == ["recorded"]


def test_socket_paths_are_short(tmp_path: Path) -> None:
    """However deep the checkout lies; two checkouts do not meet."""
    deep = Run(tmp_path / ("x" * 100) / ".run")
    assert len(str(deep.sockets / "exec/containerd/containerd-debug.sock")) < 100
    assert deep.sockets != Run(tmp_path / ".run").sockets
