"""The Java client that most programs use, fabric8's, doing what programs do with it.

Its jars come from a registry of their own, which not every machine reaches; PyPI's `pyspark` carries them among 450 MB.
So they are not fetched here: a variable names the folder where they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

JARS = "MIZZEN_JAVA_CLIENT"
PROGRAM = Path(__file__).with_name("Everyday.java")
WORK_S = 100

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def jars() -> Path:
    """The folder of the client and of what it needs."""
    if shutil.which("javac") is None:
        pytest.skip("no Java compiler: apt-get install openjdk-17-jdk-headless")
    folder = os.environ.get(JARS)
    if not folder:
        pytest.skip(
            f"{JARS} names no folder with the jars of kubernetes-client 7.4; pyspark 4.1.1 has them in deps/jars"
        )
    return Path(folder)


def test_everyday(jars: Path, cluster: Path) -> None:
    command = ["java", "-cp", f"{jars}/*", PROGRAM, cluster]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WORK_S, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "version": "36",
        "defaulted": "RollingUpdate",
        "scaled": 2,
        "patched": ["b", "c", 3],
        "conflict": 409,
        "missing": True,
        "refused": 422,
        "rolled": "web:2",
        "owner": ["java", "Apply"],
        "apart": 409,
        "forced": {"colour": "blue"},
        "dry": "dry",
        "watched": [["ADDED w", "add w"], ["MODIFIED w", "update w"], ["DELETED w", "delete w"]],
        "pages": 3,
        "left": 0,
        "log": "hello",
        "exit": 0,
        "said": "from inside\n",
        "failed": 3,
        "forwarded": "through the pod",
        "custom": [3, 7],
        "generic": 1,
        "wrong": 422,
        "led": ["first", "second"],
        "groups": True,
    }
