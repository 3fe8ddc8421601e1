"""Clients that wheels carry, each in an environment of its own, doing what programs do with them.

Three are of Python, beside the official one. `kubernetes-lite` is client-go 0.32 (discovery and the dynamic client) in
a wheel. Informers of client-go run in Prometheus and in Helm 4, which have tests of their own.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.stock_tools import ToolMissing, python_with

WORK_S = 90
WATCHED = ["ADDED w", "MODIFIED w", "DELETED w"]
WHEELS = {
    "asyncio": ("kubernetes-asyncio==36.1.0",),
    "kr8s": ("kr8s==0.20.15",),
    "lightkube": ("lightkube==1.0.1", "jinja2==3.1.6"),
    "go": ("kubernetes-lite==0.1.0",),
}
FOUND: dict[str, dict[str, Any]] = {
    "asyncio": {
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
    "kr8s": {
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
    "lightkube": {
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
    "go": {
        "defaulted": "RollingUpdate",
        "scaled": ["Scale", 3],
        "image": "web:2",
        "labels": {"a": "b"},
        "errors": ["ConflictError", "AlreadyExistsError", "InvalidError", "NotFoundError"],
        "pods": [],
        "owner": "Apply",
        "apart": "ConflictError",
        "forced": {"colour": "blue"},
        "pages": [2, 1],
        "watched": ["ADDED a", "MODIFIED a", "ADDED b", "ADDED c"],
        "custom": {"size": 2},
        "refused": "InvalidError",
    },
}

pytestmark = pytest.mark.etcd


@pytest.mark.timeout(500)
@pytest.mark.parametrize("client", WHEELS)
def test_everyday(client: str, cluster: Path) -> None:
    try:
        python = python_with(*WHEELS[client])
    except ToolMissing as error:
        pytest.skip(str(error))
    program = Path(__file__).with_name(f"{client}_everyday.py")
    done = subprocess.run([python, program, cluster], capture_output=True, text=True, timeout=WORK_S, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == FOUND[client]
