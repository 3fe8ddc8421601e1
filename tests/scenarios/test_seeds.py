"""The simulator over many seeds: every invariant after every event, everything as desired at the end.

A seed that fails is reproduced alone with `pytest tests/scenarios -k 'seed-N'`; its trace is in the failure.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from controlplane.plan.script import Run

SEEDS = int(os.environ.get("MIZZEN_SEEDS", "200"))
FINGERPRINTS = """
from controlplane.plan.script import Run
print([Run(seed).play().world.digest() for seed in (7, 20)])
"""


@pytest.mark.parametrize("seed", range(SEEDS), ids=lambda seed: f"seed-{seed}")
def test_the_cluster_comes_to_rest_as_desired(seed: int) -> None:
    run = Run(seed).play()
    rolled = [line for line in run.world.trace if "user: rolls" in line]
    assert len(rolled) == 3


def test_the_same_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    def fingerprints(hash_seed: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", FINGERPRINTS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        return done.stdout

    assert fingerprints("0") == fingerprints("1") == fingerprints("4242")
