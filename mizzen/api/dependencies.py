"""What the pods of a workload wait for before they start: `deployment/db, statefulset/queue, job/migrate`."""

from __future__ import annotations

from typing import Any, NamedTuple

from mizzen.api import kinds
from mizzen.api.kinds import Kind

KINDS: dict[str, Kind[Any]] = {
    "deployment": kinds.DEPLOYMENT,
    "statefulset": kinds.STATEFUL_SET,
    "daemonset": kinds.DAEMON_SET,
    "job": kinds.JOB,
}
DEPENDENCIES_MAX = 20


class Dependency(NamedTuple):
    """A workload in the same namespace."""

    kind: str
    """A key of `KINDS`."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def parse(text: str) -> tuple[Dependency, ...]:
    """The dependencies in order. Raises ValueError, which says what to write instead."""
    found = tuple(_dependency(word.strip()) for word in text.split(","))
    if len(found) > DEPENDENCIES_MAX:
        raise ValueError(f"names {len(found)} workloads: name at most {DEPENDENCIES_MAX}")
    return found


def _dependency(word: str) -> Dependency:
    kind, slash, name = word.partition("/")
    if not (slash and name) or kind not in KINDS:
        raise ValueError(f"{word!r} names no workload: write {', '.join(f'{known}/NAME' for known in KINDS)}")
    return Dependency(kind, name)
