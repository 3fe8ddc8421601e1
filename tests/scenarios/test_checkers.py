"""The checkers see what they are there to see: each is shown a world in which its invariant does not hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controlplane.plan.checkers import Broken
from controlplane.plan.script import Run
from mizzen.api import kinds
from mizzen.engine.writes import replacement


@pytest.fixture
def run() -> Run:
    """A world with a workload that runs."""
    made = Run(1)
    made.world.after(1_000, made._begin)
    made.world.run_until(20_000)
    return made


def rewrite(run: Run, obj: Any, **spec: Any) -> None:
    changed = msgspec.structs.replace(obj, spec=msgspec.structs.replace(obj.spec, **spec))
    run.store.commit((replacement(changed, int(obj.metadata.resource_version)),))


def test_a_healthy_world_passes(run: Run) -> None:
    run.checkers.always()
    run.checkers.at_rest()


def test_a_container_that_runs_twice(run: Run) -> None:
    runtime = run.nodes[0].runtime
    first = next(iter(runtime.containers.values()))
    runtime.containers["twin"] = replace(first, id="twin", attempt=9)
    runtime.changes += 1
    with pytest.raises(Broken, match="runs a container twice"):
        run.checkers.always()


def test_a_pod_that_moves(run: Run) -> None:
    pod = run.store.cache.list(kinds.POD)[0]
    rewrite(run, pod, node_name="node-3" if pod.spec.node_name != "node-3" else "node-2")
    with pytest.raises(Broken, match="moved from"):
        run.checkers.always()


def test_a_node_that_holds_too_much(run: Run) -> None:
    node = run.store.cache.list(kinds.NODE)[0]
    room = {"cpu": "100m", "memory": "1Gi", "pods": "30"}
    status = msgspec.structs.replace(node.status, allocatable=room)
    changed = msgspec.structs.replace(node, status=status)
    run.store.commit((replacement(changed, int(node.metadata.resource_version)),))
    with pytest.raises(Broken, match="overcommitted"):
        run.checkers.always()


def test_more_pods_than_surge_allows(run: Run) -> None:
    run.checkers.allow("web", 5)
    run.checkers._seen = -1
    with pytest.raises(Broken, match="may have 5"):
        run.checkers.always()


def test_fewer_available_pods_than_promised(run: Run) -> None:
    run.checkers.keep("web", 7)
    run.checkers._seen = -1
    with pytest.raises(Broken, match="must have 7"):
        run.checkers.always()


def test_a_deployment_that_lacks_pods(run: Run) -> None:
    deployment = run.store.cache.list(kinds.DEPLOYMENT)[0]
    rewrite(run, deployment, replicas=7)
    with pytest.raises(Broken, match="not as desired"):
        run.checkers.at_rest()
