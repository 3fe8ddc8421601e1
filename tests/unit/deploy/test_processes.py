"""Daemons are known by pid and start time, started and stopped with deadlines, and explained when they fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.commands import DaemonFailed, wait_until_written
from deploy.processes import Process, child_of, identify, spawn
from deploy.shell import CommandFailed, TimedOut, sh, tail, wait_for


def test_a_spawned_process_outlives_the_call_and_stops_on_request(tmp_path: Path) -> None:
    """Alive until told otherwise, then gone, reaped, and safe to stop again."""
    process = spawn(["sleep", "60"], tmp_path / "log")
    assert process.alive()
    process.stop(grace_s=5)
    assert not process.alive()
    process.stop()


def test_a_deaf_process_is_killed(tmp_path: Path) -> None:
    """Who ignores the request does not survive the grace period."""
    process = spawn(["sh", "-c", 'trap "" TERM; echo deaf; while :; do sleep 60; done'], tmp_path / "log")
    wait_for("the trap", lambda: "deaf" in tail(tmp_path / "log"), 5)
    process.stop(grace_s=0.1)
    assert not process.alive()


def test_a_reused_pid_is_somebody_else(tmp_path: Path) -> None:
    """The same pid with another start time is not ours and is left alone."""
    process = spawn(["sleep", "60"], tmp_path / "log")
    stranger = Process(process.pid, process.started - 1)
    assert not stranger.alive()
    stranger.send(signal.SIGKILL)
    stranger.stop()
    assert process.alive()
    process.stop()


def test_identify_ourselves() -> None:
    """The test's own process runs; a pid that nobody has is an error."""
    assert identify(os.getpid()).alive()
    with pytest.raises(ProcessLookupError):
        identify(2**22 + 1)


def test_the_child_of_a_wrapper_is_found(tmp_path: Path) -> None:
    """The program behind a wrapper that stays; None when the wrapper ends without."""
    wrapper = spawn(["sh", "-c", "sleep 60; true"], tmp_path / "log")
    child = child_of(wrapper)
    assert child is not None
    program = Path(f"/proc/{child.pid}/comm")  # the wrapper's own at first, between fork and exec
    assert wait_for("the program", lambda: program.read_text().strip() == "sleep", 5)
    child.stop()
    assert child_of(spawn(["true"], tmp_path / "log")) is None


def test_failed_commands_say_what_and_why() -> None:
    """The command line, the code and the program's words; a missing program; one that hangs."""
    with pytest.raises(CommandFailed, match=r"`sh -c .*` ended with code 3: oh no"):
        sh("sh", "-c", "echo oh no >&2; exit 3")
    with pytest.raises(CommandFailed, match="not installed"):
        sh("no-such-program-anywhere")
    with pytest.raises(CommandFailed, match=r"within 0\.1 s"):
        sh("sleep", "60", timeout_s=0.1)
    assert sh("sh", "-c", "exit 3", check=False).returncode == 3
    assert sh("sh", "-c", "cat; echo $WORD", stdin="in ", env={"WORD": "env"}).stdout == "in env\n"


def test_waiting_has_a_deadline() -> None:
    """The answer as soon as it is there, an error that names the thing otherwise."""
    answers = iter(["", "", "yes"])
    assert wait_for("an answer", lambda: next(answers), 5) == "yes"
    with pytest.raises(TimedOut, match="a miracle"):
        wait_for("a miracle", lambda: False, 0.05)


def test_a_daemon_that_ends_early_is_quoted(tmp_path: Path) -> None:
    """Instead of the file it should have written, its last words are shown."""
    log = tmp_path / "log"
    log.write_text("reading settings\nport 6443 is taken\n")
    with pytest.raises(DaemonFailed, match="port 6443 is taken"):
        wait_until_written(lambda: tmp_path / "token", lambda: False, log)
    (tmp_path / "token").write_text("secret")
    assert wait_until_written(lambda: tmp_path / "token", lambda: True, log) == b"secret"


def test_output_goes_to_the_log(tmp_path: Path) -> None:
    """Standard output and error, appended."""
    for word in ("one", "two"):
        process = spawn(["sh", "-c", f"echo {word}; echo {word} >&2"], tmp_path / "logs" / "log")
        wait_for("the end", ended(process), 5)
    assert (tmp_path / "logs" / "log").read_text().split() == ["one", "one", "two", "two"]


def ended(process: Process) -> Callable[[], bool]:
    """The condition that it is over."""
    return lambda: not process.alive()
