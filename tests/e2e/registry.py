"""An image registry on a machine of the lab, for as long as a test needs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.images import demo
from deploy.lab import Machine
from deploy.shell import wait_for
from tests.conftest import ROOT


@contextmanager
def registry(machine: Machine, folder: Path) -> Iterator[str]:
    """An image registry on a machine: the address, while it runs."""
    log = folder / "registry.log"
    argv = [sys.executable, "-m", "tests.fixtures.registry", demo.build(folder)]
    process = machine.popen(argv, log, env={"PYTHONPATH": str(ROOT)})
    try:
        yield f"127.0.0.1:{wait_for('the registry', log.read_text, 20).split()[0]}"
    finally:
        process.stop()
