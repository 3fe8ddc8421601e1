"""Running other programs and waiting for conditions, with deadlines and messages a person can act on.

It exists so that no caller hangs on a command that never returns, and so that a failed command says what it was and
what it printed. Not for daemons: see `deploy.processes`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.03


class CommandFailed(RuntimeError):
    """A program ended with another exit code than 0 or did not end in time; the text holds its last output."""


class TimedOut(TimeoutError):
    """A condition did not come true before its deadline."""


def sh(
    *argv: str | Path,
    timeout_s: float = 60,
    check: bool = True,
    stdin: str | bytes = b"",
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return it with its output as text; raises CommandFailed unless `check` is off.

    `env` adds to the environment.
    """
    words = [str(word) for word in argv]
    full_env = None if env is None else {**os.environ, **env}
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(words, input=data, capture_output=True, timeout=timeout_s, env=full_env, check=False)
    except FileNotFoundError as error:
        raise CommandFailed(
            f"{words[0]} is not installed; `make up` and `make test` install what is missing"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"`{' '.join(words)}` did not end within {timeout_s:g} s") from error
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        said = (err.strip() or out.strip() or "nothing was printed")[-2000:]
        raise CommandFailed(f"`{' '.join(words)}` ended with code {done.returncode}: {said}")
    return subprocess.CompletedProcess(words, done.returncode, out, err)


def wait_for(what: str, condition: Callable[[], T | None], timeout_s: float) -> T:
    """Ask `condition` until it answers something true and return that; raises TimedOut naming `what`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimedOut(f"waited {timeout_s:g} s for {what}")
        time.sleep(POLL_S)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log for an error message; a missing file reads as such."""
    if not path.exists():
        return f"({path} does not exist)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
