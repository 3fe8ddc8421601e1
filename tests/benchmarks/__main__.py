"""`make bench`: every benchmark, one after the other, with the machine's load beside the figures."""

from __future__ import annotations

import os
import subprocess
import sys

PARTS = ("bench_store", "bench_scheduler", "bench_agent")


def main() -> int:
    """Run all parts; the exit code says whether each could be measured."""
    failed = []
    for part in PARTS:
        load = os.getloadavg()[0]
        print(f"\n== {part}, load {load:.1f} on {os.cpu_count()} cores", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.benchmarks.{part}"], timeout=600, check=False).returncode:
            failed.append(part)
    if failed:
        print(f"\nnot measured: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
