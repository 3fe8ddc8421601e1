"""Clients in Python beside the official one, each in an environment of its own, doing what programs do with them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.stock_tools import ToolMissing, python_with

WORK_S = 90
WATCHED = ["ADDED w", "MODIFIED w", "DELETED w"]
CLIENTS: dict[tuple[str, ...], dict[str, Any]] = {
    ("kubernetes-asyncio==36.1.0",): {
        "managed": ["asyncio", "Apply"],
        "image": "web:2",
        "scaled": 3,
        "conflict": 409,
        "missing": 404,
        "labels": {"a": "b"},
        "watched": WATCHED,
        "log": "hello\n",
        "said": "from inside\n",
        "custom": 3,
        "refused": 422,
        "led": ["first", "second"],
    },
    ("kr8s==0.20.15",): {
        "scaled": 2,
        "patched": ["b", "c", 3],
        "pods": 2,
        "exists": False,
        "missing": True,
        "refused": [422, "Invalid"],
        "watched": WATCHED,
        "log": ["hello"],
        "said": ["from inside\n", 0],
        "failed": 3,
        "forwarded": "through the pod\n",
        "custom": [3],
        "kinds": True,
        "me": "kubernetes-admin",
        "cordoned": True,
    },
    ("lightkube==1.0.1", "jinja2==3.1.6"): {
        "managed": ["lightkube", "Apply"],
        "scaled": 3,
        "apart": 409,
        "forced": 1,
        "labels": None,
        "conflict": 409,
        "missing": 404,
        "pages": ["a", "b", "c"],
        "watched": ["MODIFIED a", ["DELETED a", "DELETED b", "DELETED c"]],
        "pods": [],
        "log": "hello\n",
        "said": ["from inside\n", 0],
        "failed": 3,
        "echoed": "in and out",
        "custom": {"size": 2},
        "customScale": 3,
    },
}

pytestmark = pytest.mark.etcd


@pytest.mark.timeout(500)
@pytest.mark.parametrize("packages", CLIENTS, ids=lambda packages: packages[0].partition("==")[0])
def test_everyday(packages: tuple[str, ...], cluster: Path) -> None:
    try:
        python = python_with(*packages)
    except ToolMissing as error:
        pytest.skip(str(error))
    name = packages[0].partition("==")[0].removeprefix("kubernetes-")
    program = Path(__file__).with_name(f"{name}_everyday.py")
    done = subprocess.run([python, program, cluster], capture_output=True, text=True, timeout=WORK_S, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == CLIENTS[packages]
