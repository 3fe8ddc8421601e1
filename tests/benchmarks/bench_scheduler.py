"""Decisions of the scheduler a second, on simulated nodes: `python -m tests.benchmarks.bench_scheduler`."""

from __future__ import annotations

import time

from controlplane.scheduling.passes import PassLimits, Scheduler
from mizzen.api.types import core_v1, meta_v1

ROOM = {"cpu": "8", "memory": "32Gi", "pods": "110"}
WANTED = core_v1.ResourceRequirements(requests={"cpu": "100m", "memory": "128Mi"})
ALL = PassLimits(pods_max=1_000_000)


def pods(count: int, owners: int) -> list[core_v1.Pod]:
    """Pods of so many owners, in runs, as replica sets create them."""
    spec = core_v1.PodSpec(containers=(core_v1.Container(name="c", resources=WANTED),))
    found = []
    for number in range(count):
        owner = meta_v1.OwnerReference(uid=f"owner-{number * owners // count}", controller=True)
        metadata = meta_v1.ObjectMeta(
            name=f"pod-{number:06}", namespace="default", uid=str(number), owner_references=(owner,)
        )
        found.append(core_v1.Pod(metadata=metadata, spec=spec))
    return found


def main() -> None:
    """Print the rates."""
    for nodes, count in ((1_000, 10_000), (5_000, 20_000)):
        scheduler = Scheduler()
        for number in range(nodes):
            node = core_v1.Node(
                metadata=meta_v1.ObjectMeta(name=f"node-{number:05}"), status=core_v1.NodeStatus(allocatable=ROOM)
            )
            scheduler.cluster.set_node(node)
        waiting = pods(count, 20)
        began = time.perf_counter()
        result = scheduler.run_pass(waiting, ALL)
        took = time.perf_counter() - began
        print(
            f"scheduler, {nodes:>5} nodes, {len(result.bindings)} pods of 20 owners: {count / took:8,.0f} decisions/s"
        )


if __name__ == "__main__":
    main()
