"""Stock kubectl as the tests use it: a program, a kubeconfig and a namespace."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from deploy.shell import sh

OLDEST = 29
TIMEOUT_S = 60


@dataclass(frozen=True)
class Kubectl:
    """One kubectl, for one namespace of one cluster."""

    program: Path
    kubeconfig: Path
    namespace: str

    @property
    def minor(self) -> int:
        """The second part of its version."""
        said = json.loads(self("version", "--client", "-o", "json"))["clientVersion"]["gitVersion"]
        return int(said.split(".")[1])

    def __call__(self, *argv: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> str:
        """What a command prints; raises CommandFailed with what it complained of."""
        return sh(*self.words(argv), stdin=stdin, timeout_s=timeout_s).stdout

    def fails(self, *argv: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> str:
        """What a command that has to fail complains of."""
        done = self.tries(*argv, stdin=stdin, timeout_s=timeout_s)
        assert done.returncode != 0, f"{argv} did not fail: {done.stdout}"
        return done.stderr

    def tries(self, *argv: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """A command that may end as it likes."""
        return sh(*self.words(argv), stdin=stdin, timeout_s=timeout_s, check=False)

    def get(self, *argv: str) -> Any:
        """An object or a list of objects."""
        return json.loads(self("get", *argv, "-o", "json"))

    def items(self, *argv: str) -> list[Any]:
        """The objects of a kind."""
        found = self.get(*argv)["items"]
        assert isinstance(found, list)
        return found

    def apply(self, *objects: dict[str, Any]) -> str:
        """Applies objects."""
        return self("apply", "-f", "-", stdin=document(objects))

    @contextmanager
    def going(self, *argv: str) -> Iterator[Path]:
        """A command that goes on while the block runs; gives the file that its output goes to."""
        with NamedTemporaryFile() as out, subprocess.Popen(self.words(argv), stdout=out, stderr=out) as process:
            try:
                yield Path(out.name)
            finally:
                process.terminate()

    def words(self, argv: Sequence[str]) -> list[str]:
        """The whole command line."""
        options = ["--kubeconfig", str(self.kubeconfig), "--cache-dir", f"{self.kubeconfig}.cache"]
        return [str(self.program), *options, "-n", self.namespace, *argv]

    def within(self, namespace: str) -> Kubectl:
        """The same for another namespace."""
        return replace(self, namespace=namespace)


def document(objects: Sequence[dict[str, Any]]) -> str:
    """Objects as every kubectl reads them from a file."""
    return "\n".join(json.dumps(obj) for obj in objects)


def programs() -> list[Path]:
    """Every kubectl on this machine that is new enough, oldest first; at least the one on the path, if any."""
    recent = [program for program in all_programs() if program.suffix >= f".{OLDEST}"]
    return recent or all_programs()


def all_programs() -> list[Path]:
    """Every kubectl on this machine, oldest first; at least the one on the path, if any."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    folder = Path(found).resolve().parent
    versions = {int(path.name.rpartition(".")[2]): path for path in folder.glob("kubectl.1.*")}
    return [versions[minor] for minor in sorted(versions)] or [Path(found)]


class Terminal:
    """A command at a terminal of its own: what is typed, and what appears."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self.process = process
        self._ours = ours
        self._shown = b""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def wait_for(self, text: str, timeout_s: float = 20) -> str:
        """Return all that was shown as soon as it holds `text`."""
        deadline = time.monotonic() + timeout_s
        while text.encode() not in self._shown:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not appear: {self._shown!r}"
            self._shown += os.read(self._ours, 4096)
        return self._shown.decode()


@contextmanager
def at_terminal(words: Sequence[str], rows: int = 30, columns: int = 100) -> Iterator[Terminal]:
    """Run a command with a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    # Tests that run in the background may have been told to ignore ctrl-C, and would hand that on.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def use_a_shell(kubectl: Kubectl, pod: str) -> None:
    """A shell in a container, at a terminal: it has the terminal's size, answers, and its exit code comes back."""
    with at_terminal(kubectl.words(["exec", "-it", pod, "--", "sh"]), rows=33, columns=99) as screen:
        screen.wait_for("# ")
        screen.type("stty size; echo $((40 + 2))\n")
        screen.wait_for("\r\n33 99\r\n42\r\n")
        screen.type("exit 5\n")
        assert screen.process.wait(20) == 5
