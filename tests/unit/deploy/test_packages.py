"""`packages.sh` installs what is missing and only that, starts nothing, and says what to do when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "deploy" / "packages.sh"
TOOLS = ("sh", "sort", "tr", "mktemp", "rm", "tail", "chmod", "cat", "env")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the script on a machine that has only a few tools, with an apt-get that notes how it was called."""
    stubs = tmp_path / "bin"
    stubs.mkdir()
    for tool in TOOLS:
        (stubs / tool).symlink_to(str(shutil.which(tool)))

    def call(uid: int = 0, apt: str = "") -> subprocess.CompletedProcess[str]:
        stub(stubs / "id", f"echo {uid}")
        if apt:
            stub(stubs / "apt-get", f'echo "$*" >>{tmp_path}/calls\n{apt}')
        script = (
            SCRIPT.read_text()
            .replace("PATH=$PATH:/usr/sbin:/sbin", "")
            .replace("/usr/sbin/policy", f"{tmp_path}/policy")
        )
        return subprocess.run(
            ["sh", "-s", "run"],
            input=script,
            env={"PATH": str(stubs), "PYTHON": sys.executable, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    return call


def stub(path: Path, body: str) -> None:
    """A program that does `body`."""
    path.write_text(f"#!{shutil.which('sh')}\n{body}\n")
    path.chmod(0o755)


def test_missing_packages_are_installed_without_starting_services(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """During the installation a policy forbids services to start; afterwards it is gone."""
    done = run(apt=f"cat {tmp_path}/policy-rc.d >{tmp_path}/policy-seen")
    assert done.returncode == 0, done.stderr
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert "install -y --no-install-recommends" in call
    assert {"docker.io", "etcd-server", "nftables", "busybox-static"} <= set(call.split())
    assert "exit 101" in (tmp_path / "policy-seen").read_text()
    assert not (tmp_path / "policy-rc.d").exists()


def test_an_index_that_is_missing_is_fetched(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A first failure is answered by an update and a second try."""
    done = run(apt=f"[ -e {tmp_path}/updated ] || {{ [ $1 = update ] && echo >{tmp_path}/updated; }}")
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [("update" in call, "install" in call) for call in calls] == [(False, True), (True, False), (False, True)]


def test_offline_says_so(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """What apt-get said, and the likely reason."""
    done = run(apt="echo could not resolve; exit 100")
    assert done.returncode == 1
    assert "is this machine online?" in done.stderr
    assert "could not resolve" in done.stderr


def test_not_root_says_what_root_should_type(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Nothing is tried."""
    done = run(uid=1000, apt="exit 1")
    assert done.returncode == 1
    assert "As root:  apt-get install" in done.stderr
    assert "docker.io" in done.stderr


def test_other_systems_get_the_list(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Without apt-get only the names can be given."""
    done = run()
    assert done.returncode == 1
    assert "apt-get is not there" in done.stderr


def test_nothing_missing_is_silent() -> None:
    """On a machine that has all it takes no time and no word."""
    if any(shutil.which(tool) is None for tool in ("etcd", "dockerd", "nft", "conntrack", "busybox", "kubectl")):
        pytest.skip("this machine has not all tools; make test installs them")
    done = subprocess.run(
        ["sh", SCRIPT, "run"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
