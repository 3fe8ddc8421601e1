"""The official JavaScript client doing what programs do with it, in a real Node.js."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.stock_tools import ToolMissing, node_package

CLIENT = ("@kubernetes/client-node", "1.4.0")
PROGRAM = Path(__file__).with_name("everyday.mjs")
WORK_S = 60
REPLICAS = "spec.replicas: Invalid value: -1: must be greater than or equal to 0"

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def client() -> Path:
    """The folder in which the client is installed."""
    try:
        return node_package(*CLIENT)
    except ToolMissing as error:
        pytest.skip(str(error))


def test_everyday(client: Path, cluster: Path) -> None:
    program = client / PROGRAM.name  # beside node_modules, where its imports are looked for
    program.write_text(PROGRAM.read_text())
    done = subprocess.run(
        ["node", program.name, cluster], cwd=client, capture_output=True, text=True, timeout=WORK_S, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {
        "defaulted": "RollingUpdate",
        "refused": [422, f'Deployment.apps "shop" is invalid: {REPLICAS}'],
        "missing": 404,
        "conflict": 409,
        "merged": {"a": "1", "b": "2"},
        "jsonPatched": 2,
        "applied": {"colour": "red"},
        "owner": ["javascript", "Apply"],
        "watched": ["ADDED c", "MODIFIED c", "DELETED c"],
        "informed": ["add i", "update i", "delete i"],
        "log": "hello\n",
        "said": "from inside\n",
        "custom": {"size": 3},
        "kinds": ["ConfigMap", "Widget"],
        "pages": 3,
        "yaml": ["y1", "y2"],
    }  # fmt: skip
