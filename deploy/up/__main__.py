"""`python -m deploy.up up|down`, which `make up` and `mizzen up` call."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.commands import DaemonFailed
from deploy.images.demo import ImageError
from deploy.shell import CommandFailed, TimedOut
from deploy.up import cluster
from deploy.up.state import Run, UpError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="mizzen", description="A cluster of one node on this machine.")
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--run-dir", type=Path, default=Path(".run"), help="where its state lives (default: .run)")
    args = parser.parse_args(argv)
    run = Run(args.run_dir)
    try:
        with run.exclusively():
            (cluster.up if args.command == "up" else cluster.down)(run, _say)
    except (UpError, DaemonFailed, ImageError, CommandFailed, TimedOut) as error:
        print(f"\nmizzen {args.command}: {error}", file=sys.stderr)
        if args.command == "up":
            print("`make down` (or `mizzen down`) cleans up what was started.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nmizzen {args.command}: stopped half-way; `make down` (or `mizzen down`) cleans up", file=sys.stderr)
        return 130
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
