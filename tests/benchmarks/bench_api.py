"""Requests a second of a real server: `mizzen server` with its own etcd on loopback, beside one that only answers.

Run: python -m tests.benchmarks.bench_api. This module starts the server; `api_client`, a process of its own, asks and
prints. `plain_server` has the same listeners and gives the same bytes without doing anything for them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.servers import free_ports, running

CLIENT_S = 180


def main() -> None:
    """Start a server and let the client measure it."""
    report.section("API: pods through REST and gRPC, mutual TLS on loopback, durable in etcd")
    against("tests.benchmarks.api_client")


def against(module: str) -> None:
    """Start a server and let a client, a process of its own, measure it."""
    if shutil.which("etcd") is None:
        report.skip("API", "no etcd on this machine")
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as made:
        folder = Path(made)
        https, grpc, tokens = free_ports(3)
        argv = [
            "controlplane", "--data-dir", folder, "--log-level", "warning",
            "--advertise-address", "127.0.0.1", "--bind-address", "127.0.0.1",
            "--https-port", https, "--grpc-port", grpc, "--grpc-token-port", tokens,
        ]  # fmt: skip
        with running(argv, folder / "server.log", folder / "admin.kubeconfig") as pid:
            client = [sys.executable, "-m", module, str(folder), str(pid)]
            subprocess.run(client, check=True, timeout=CLIENT_S)


if __name__ == "__main__":
    report.part(main)
