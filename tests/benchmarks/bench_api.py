"""Requests a second of a real server: `mizzen server` with its own etcd on loopback, and a client in another process.

Run: python -m tests.benchmarks.bench_api. This module starts the server; `api_client` asks and prints.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.shell import tail, wait_for
from tests.benchmarks import report

START_S = 30
CLIENT_S = 120


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """A control plane on free ports of the loopback; gives its pid."""
    https, grpc = _free_ports(2)
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "controlplane", "--data-dir", folder, "--log-level", "warning",
             "--advertise-address", "127.0.0.1", "--bind-address", "127.0.0.1",
             "--https-port", str(https), "--grpc-port", str(grpc)],
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        wait_for("the server", lambda: (folder / "join-token").exists() or process.poll() is not None, START_S)
        if process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{tail(log)}")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_S)


def main() -> None:
    """Start a server and let the client measure it."""
    report.section("API: pods through REST and gRPC, mutual TLS on loopback, durable in etcd")
    if shutil.which("etcd") is None:
        return report.skipped("API", "no etcd on this machine")
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder, server(Path(folder)) as pid:
        client = [sys.executable, "-m", "tests.benchmarks.api_client", f"{folder}/admin.kubeconfig", str(pid)]
        subprocess.run(client, check=True, timeout=CLIENT_S)
    return None


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    main()
