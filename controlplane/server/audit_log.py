"""The file that audit events are written to: a line of JSON each, by a thread of its own.

No request waits for it. What does not fit into the queue, because the disk is too slow, is not written but counted.
A file that is full is put aside with the time in its name, as Kubernetes' log does:
`audit-2026-01-31T10-20-30.000.log`.
"""

from __future__ import annotations

import queue
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import structlog
from prometheus_client import CollectorRegistry, Counter

_LOG = structlog.get_logger(__name__)

QUEUE_MAX = 10_000
"""Events that wait to be written."""
STANDARD_OUTPUT = "-"
_END_S = 10.0
"""How long what waits is still written when the server stops, in seconds."""
_MIB = 1024 * 1024
_STAMP = "%Y-%m-%dT%H-%M-%S"

Line = Callable[[], bytes]
"""Makes the line of an event, without its end: encoding is work for the thread."""


@dataclass(frozen=True, slots=True)
class AuditFile:
    """Where events are written."""

    path: str
    """`-` stands for the standard output, which is never put aside."""
    size_mib: int = 100
    """How large a file becomes before it is put aside."""
    backups: int = 0
    """How many that were put aside are kept; 0: all."""
    age_days: int = 0
    """How long they are kept; 0: for ever."""


class AuditLog:
    """Writes events while it is open."""

    def __init__(self, file: AuditFile, registry: CollectorRegistry) -> None:
        """Begin a thread that appends to `file`. Raises OSError when it can't be written."""
        self._file = file
        self._events: queue.Queue[Line | None] = queue.Queue(QUEUE_MAX)
        self._written = Counter(
            "apiserver_audit_event", "Events that were written to the audit log.", registry=registry
        )
        self._lost = Counter(
            "apiserver_audit_error", "Events that could not be written.", ("plugin",), registry=registry
        ).labels("log")
        self._out = self._opened()
        self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()

    def write(self, line: Line) -> None:
        """Have an event written, if there is room."""
        try:
            self._events.put_nowait(line)
        except queue.Full:
            self._lost.inc()

    def close(self) -> None:
        """Write what waits, and end."""
        try:
            self._events.put(None, timeout=_END_S)
        except queue.Full:
            return
        self._thread.join(_END_S)

    def _write_all(self) -> None:
        while (line := self._events.get()) is not None:
            try:
                self._write(line() + b"\n")
                self._written.inc()
            except Exception as error:
                # Whatever is wrong with one event, or for a while with the disk, the next one is tried.
                self._lost.inc()
                _LOG.warning("audit_event_lost", error=str(error))
        if self._file.path != STANDARD_OUTPUT:
            self._out.close()

    def _write(self, line: bytes) -> None:
        if self._file.path != STANDARD_OUTPUT and self._out.tell() + len(line) > self._file.size_mib * _MIB:
            self._put_aside()
        self._out.write(line)
        if self._events.empty():
            self._out.flush()

    def _opened(self) -> IO[bytes]:
        if self._file.path == STANDARD_OUTPUT:
            return sys.stdout.buffer
        path = Path(self._file.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        return path.open("ab")

    def _put_aside(self) -> None:
        self._out.close()
        path = Path(self._file.path)
        now = datetime.now(UTC)
        path.rename(path.with_name(f"{path.stem}-{now.strftime(_STAMP)}.{now.microsecond // 1000:03}{path.suffix}"))
        self._out = self._opened()
        self._forget(path, now)

    def _forget(self, path: Path, now: datetime) -> None:
        """Remove what is too old, and too many."""
        named = re.compile(
            rf"{re.escape(path.stem)}-(\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d)\.\d{{3}}{re.escape(path.suffix)}"
        )
        aside = sorted((one for one in path.parent.iterdir() if named.fullmatch(one.name)), reverse=True)
        for place, one in enumerate(aside):
            found = named.fullmatch(one.name)
            assert found is not None
            since = now - datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC)
            too_old = self._file.age_days and since > timedelta(days=self._file.age_days)
            if too_old or (self._file.backups and place >= self._file.backups):
                one.unlink(missing_ok=True)
