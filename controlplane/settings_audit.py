"""The settings of the audit log; they are named and mean what kube-apiserver's flags do."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from controlplane.access.audit_policy import AuditPolicy, BadPolicy, read_policy
from controlplane.server.audit_log import AuditFile
from mizzen.base.settings import Problems

_SIZE_MIB = 100


@dataclass(frozen=True, slots=True)
class Audit:
    """What is written down, and where."""

    policy: AuditPolicy
    file: AuditFile


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add = parser.add_argument
    add("--audit-policy-file", type=Path, help="file with an audit Policy: what of requests is written down")
    add("--audit-log-path", default="", help="the file that audit events are written to; - for the standard output")
    add("--audit-log-maxsize", default="", help=f"MiB after which the file is put aside (default: {_SIZE_MIB})")
    add("--audit-log-maxbackup", default="", help="how many that were put aside are kept (default: all)")
    add("--audit-log-maxage", default="", help="days that they are kept (default: for ever)")


def read(problems: Problems, args: argparse.Namespace) -> Audit | None:
    """What the flags say; None where nothing is written down. Notes what is wrong."""
    for one, other in (("audit_policy_file", "audit_log_path"), ("audit_log_path", "audit_policy_file")):
        if getattr(args, one) and not getattr(args, other):
            problems.add(f"--{other.replace('_', '-')}", f"is needed with --{one.replace('_', '-')}")
    size = problems.read("--audit-log-maxsize", args.audit_log_maxsize, _count, 0)
    backups = problems.read("--audit-log-maxbackup", args.audit_log_maxbackup, _count, 0)
    age = problems.read("--audit-log-maxage", args.audit_log_maxage, _count, 0)
    if args.audit_policy_file is None or not args.audit_log_path:
        return None
    policy = problems.read("--audit-policy-file", str(args.audit_policy_file), _policy)
    file = AuditFile(args.audit_log_path, size or _SIZE_MIB, backups or 0, age or 0)
    return None if policy is None else Audit(policy, file)


def _policy(path: str) -> AuditPolicy:
    try:
        return read_policy(Path(path).read_text())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    except BadPolicy as error:
        raise ValueError(f"{path}: {error}") from error


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a number")
    return int(text)
