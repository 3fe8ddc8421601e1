"""The lab as a command: `python -m deploy.lab up --nodes 3`, and `mizzen lab`, which hands its arguments to `main`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.commands import DaemonFailed
from deploy.images import demo
from deploy.lab import cluster
from deploy.lab.lab import Lab
from deploy.lab.state import LabError
from deploy.shell import CommandFailed, TimedOut, sh

ON_ONE = {
    "power-off": "pull a machine's plug",
    "boot": "switch a machine on",
    "cut": "pull a machine's network cable",
    "heal": "plug the network cable in again",
    "freeze": "stop all processes of a machine",
    "thaw": "let a machine's processes go on",
    "fill": "fill a machine's disk (needs up --disk-mb)",
    "unfill": "free a machine's disk",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one lab command; returns the exit code."""
    args = _parser().parse_args(argv)
    lab = Lab(args.dir)
    try:
        if args.command == "up":
            _up(lab, args)
        elif args.command == "down":
            lab.down()
            print("the lab is gone")
        elif args.command == "status":
            _status(lab)
        elif args.command == "run":
            return _run(lab, args)
        else:
            getattr(lab, args.command.replace("-", "_"))(_machine(args.machine))
            print(f"{args.command} {args.machine}: done")
    except (LabError, DaemonFailed, CommandFailed, TimedOut) as error:
        print(f"mizzen lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmizzen lab: stopped half-way; `mizzen lab down` cleans up", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mizzen lab", description="Several machines on one Linux box.")
    parser.add_argument("--dir", type=Path, default=Path(".run/lab"), help="where the lab lives (default: .run/lab)")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="make the machines and start Mizzen on them")
    up.add_argument("--nodes", type=int, default=3, help="machines beside the control plane's (default: 3)")
    up.add_argument("--far", type=int, nargs="*", default=[], metavar="N", help="numbers of machines behind a router")
    up.add_argument("--disk-mb", type=int, default=0, help="give each machine a disk of this size, to fill it")
    up.add_argument("--machines-only", action="store_true", help="leave Mizzen out")
    commands.add_parser("down", help="take everything away")
    commands.add_parser("status", help="list the machines and their services")
    run = commands.add_parser("run", help="run a program on a machine: run node-1 -- ip addr")
    run.add_argument("machine")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    for name, text in ON_ONE.items():
        commands.add_parser(name, help=text).add_argument("machine", help="server, node-1, node-2, ... or a number")
    return parser


def _up(lab: Lab, args: argparse.Namespace) -> None:
    began = time.monotonic()
    lab.up(nodes=args.nodes, far=args.far, disk_mb=args.disk_mb)
    print(f"{len(lab.machines)} machines run after {time.monotonic() - began:.1f} s")
    if args.machines_only:
        return
    for version in ("v1", "v2"):
        lab.load_image(demo.build(lab.folder / "images", version))
    kubeconfig = cluster.start(lab)
    print(
        f"{args.nodes} nodes are Ready after {time.monotonic() - began:.1f} s; images demo:v1 and demo:v2 are on them"
    )
    print(f"logs: {lab.folder}/*/*.log\n")
    print(f"  export KUBECONFIG={kubeconfig}\n  kubectl get nodes -o wide\n  mizzen lab power-off node-1")


def _status(lab: Lab) -> None:
    for machine in lab.machines:
        services = ", ".join(f"{name} {machine.pid(name) or 'not running'}" for name in machine.services)
        print(f"{machine.name:10} {machine.address:12} {'on' if machine.running else 'off':4} {services}")


def _run(lab: Lab, args: argparse.Namespace) -> int:
    words = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not words:
        raise LabError("nothing to run; write: run node-1 -- ip addr")
    done = sh(*lab.machine(_machine(args.machine)).entering(), *words, check=False, timeout_s=600)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def _machine(word: str) -> int | str:
    return int(word) if word.isdigit() else word


if __name__ == "__main__":
    sys.exit(main())
