"""`make bench`: every part in a process of its own, and at the end which targets are met and what was not measured.

A part that is interrupted or takes too long is asked to clean up after itself; what it leaves all the same (a lab, a
server, files) is taken away here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from deploy.lab import Lab
from tests.benchmarks import report

PARTS = {
    "store": 60,
    "api": 90,
    "lists": 90,
    "scheduler": 80,
    "controllers": 110,
    "agent": 30,
    "network": 150,
    "starts": 240,
    "pods": 330,
}
"""What is measured (`bench_<name>`), and how long it may take in seconds."""
TOTAL_S = 1000
"""How long all parts together may take in seconds."""
CLEAN_UP_S = 60
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Targets:
    """The lines that say whether a target is met."""

    def __init__(self) -> None:
        self.met = 0
        self.missed: list[str] = []

    def read(self, line: str) -> None:
        """Count what one printed line says."""
        said = line.rstrip()
        if "target " in said and said.endswith(f": {report.MET}"):
            self.met += 1
        elif "target " in said and said.endswith(f": {report.MISSED}"):
            self.missed.append(" ".join(said.split()))


def main() -> int:
    """Run all parts; returns how many of them could not be measured."""
    for number in SIGNALS:  # also where a shell that runs us in the background had them ignored
        signal.signal(number, signal.default_int_handler)
    targets, end = Targets(), time.monotonic() + TOTAL_S
    not_measured = {}
    for part, limit_s in PARTS.items():
        with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder:
            try:
                reason = run(part, min(limit_s, end - time.monotonic()), Path(folder), targets)
            except KeyboardInterrupt:
                print("\ninterrupted; nothing is left behind", file=sys.stderr)
                return report.INTERRUPTED
        if reason:
            not_measured[part] = reason
    print(f"\ntargets: {targets.met} met, {len(targets.missed)} {report.MISSED}")
    for line in targets.missed:
        print(f"  {line}")
    for part, reason in not_measured.items():
        print(f"not measured: {part}, {reason}", file=sys.stderr)
    return len(not_measured)


def run(part: str, limit_s: float, folder: Path, targets: Targets) -> str:
    """Run one part with `folder` for its files; returns why it was not measured, if it was not."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.benchmarks.bench_{part}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,  # so that a ctrl-C reaches it once and by us, and not while it cleans up
    )
    watchdog = Watchdog(process, limit_s)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            targets.read(line)
        process.wait(CLEAN_UP_S)
    finally:
        watchdog.cancel()
        _end(process, folder)
    if watchdog.barked:
        return f"it took longer than {limit_s:.0f} s"
    return {0: "", report.SKIPPED: "it says why above"}.get(process.returncode, f"it ended with {process.returncode}")


class Watchdog(threading.Timer):
    """Interrupts a part that takes too long, and kills it when it does not end after that either."""

    def __init__(self, process: subprocess.Popen[str], limit_s: float) -> None:
        super().__init__(limit_s, self._bark)
        self.barked = False
        self._process = process
        self.start()

    def _bark(self) -> None:
        self.barked = True
        self._process.send_signal(signal.SIGINT)
        if not self.finished.wait(CLEAN_UP_S):
            self._process.kill()


def _end(process: subprocess.Popen[str], folder: Path) -> None:
    """End what still runs of a part, and take its lab away if it could not."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(CLEAN_UP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for record in folder.glob("*/lab.json"):
        Lab(record.parent).down()
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
