"""Images built in memory, and the pause program in them."""

from __future__ import annotations

import io
import json
import os
import platform
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from deploy.shell import wait_for
from nodeagent.runtime import pause
from nodeagent.runtime.archive import Entry, File, Folder, ImageConfig, Link, build, pause_image

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a process namespace needs root")
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="runs the program for amd64")


def test_the_same_parts_give_the_same_bytes() -> None:
    entries: dict[str, Entry] = {"bin/tool": File(b"x", 0o755), "bin/alias": Link("tool"), "tmp": Folder(0o1777)}
    one = build("a:1", entries, ImageConfig(command=("tool",)), "amd64")
    two = build("a:1", dict(reversed(entries.items())), ImageConfig(command=("tool",)), "amd64")
    assert one == two
    assert build("a:1", entries, ImageConfig(command=("other",)), "amd64")[0] != one[0]


def test_the_parts_are_where_docker_looks_for_them() -> None:
    image_id, content = build("a:1", {"bin/tool": File(b"x", 0o755)}, ImageConfig(user="7"), "arm64")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        (manifest,) = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
        assert manifest["Config"] == image_id.removeprefix("sha256:") + ".json"
        config = json.loads(tar.extractfile(manifest["Config"]).read())  # type: ignore[union-attr]
        assert (config["architecture"], config["config"]["User"]) == ("arm64", "7")
        with tarfile.open(fileobj=tar.extractfile(manifest["Layers"][0])) as layer:
            assert layer.getnames() == ["bin", "bin/tool"]
            assert layer.getmember("bin/tool").mode == 0o755


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_pause_image_is_tiny(architecture: str) -> None:
    assert len(pause.executable(architecture)) < 300
    assert pause_image(architecture)[0] == pause_image(architecture)[0]


@needs_x86
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pause_ends_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    program = tmp_path / "pause"
    program.write_bytes(pause.executable("amd64"))
    program.chmod(0o755)
    with subprocess.Popen([program]) as process:
        try:
            wait_for("pause to wait for signals", lambda: _waiting(process.pid), 10)
            process.send_signal(number)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()


@needs_x86
@needs_root
def test_pause_collects_orphans_as_process_1(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(pause.executable("amd64"))
    program.chmod(0o755)
    command = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", str(program)]
    with subprocess.Popen(command) as outer:
        try:
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            inner = int(wait_for("the process", lambda: children.read_text().strip(), 10))
            wait_for("pause to wait for signals", lambda: _waiting(inner), 10)
            orphan = ["nsenter", "-t", str(inner), "-p", "sh", "-c", "sleep 0.1 & exec true"]
            subprocess.run(orphan, check=True, timeout=10)
            reaped = Path(f"/proc/{inner}/task/{inner}/children")
            wait_for("the orphan to be collected", lambda: not reaped.read_text().strip(), 10)
            os.kill(inner, signal.SIGTERM)
            assert outer.wait(timeout=10) == 0
        finally:
            outer.kill()


def _waiting(pid: int) -> bool:
    """Whether it is pause already and has nothing to do."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return facts["Name"] == "pause" and facts["State"].startswith("S")
