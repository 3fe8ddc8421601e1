"""The audit log's file: what is written, when it is put aside, and what becomes of what does not fit."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from controlplane.server import audit_log
from controlplane.server.audit_log import AuditFile, AuditLog


def written(folder: Path) -> list[str]:
    """The lines of the file."""
    return (folder / "audit.log").read_text().splitlines()


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "new" / "audit.log"
    for word in (b"one", b"two"):
        log = AuditLog(AuditFile(str(path)), CollectorRegistry())
        log.write(lambda word=word: word)  # type: ignore[misc]
        log.close()
    assert written(path.parent) == ["one", "two"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_full_files_are_put_aside(tmp_path: Path) -> None:
    for name in ("audit-2020-01-31T10-20-30.000.log", "audit-2020-01-31T10-20-31.000.log", "audit-other.log"):
        (tmp_path / name).write_text("")
    log = AuditLog(AuditFile(str(tmp_path / "audit.log"), size_mib=1, backups=2), CollectorRegistry())
    for letter in b"abc":
        log.write(lambda letter=letter: bytes((letter,)) * 600_000)  # type: ignore[misc]
    log.close()
    assert [line[0] for line in written(tmp_path)] == ["c"]
    aside = sorted(one for one in tmp_path.iterdir() if one.name not in ("audit.log", "audit-other.log"))
    assert [one.read_bytes()[:1] for one in aside] == [b"a", b"b"], "the older ones are gone"
    assert (tmp_path / "audit-other.log").exists()


def test_old_files_are_forgotten(tmp_path: Path) -> None:
    old = tmp_path / "audit-2020-01-31T10-20-30.000.log"
    old.write_text("")
    log = AuditLog(AuditFile(str(tmp_path / "audit.log"), size_mib=1, age_days=7), CollectorRegistry())
    for _ in range(2):
        log.write(lambda: b"a" * 600_000)
    log.close()
    assert not old.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_what_does_not_fit_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "QUEUE_MAX", 2)
    registry = CollectorRegistry()
    log = AuditLog(AuditFile(str(tmp_path / "audit.log")), registry)
    writing, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        writing.set()
        go_on.wait(10)
        return b"slow"

    log.write(slow)
    assert writing.wait(10)
    for _ in range(3):
        log.write(lambda: b"more")
    assert registry.get_sample_value("apiserver_audit_error_total", {"plugin": "log"}) == 1
    go_on.set()
    log.close()
    assert written(tmp_path) == ["slow", "more", "more"]


def test_one_event_that_is_wrong(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    log = AuditLog(AuditFile(str(tmp_path / "audit.log")), registry)

    def wrong() -> bytes:
        raise ValueError("it can't be written")

    log.write(wrong)
    log.write(lambda: b"fine")
    log.close()
    assert written(tmp_path) == ["fine"]
    assert registry.get_sample_value("apiserver_audit_event_total") == 1
