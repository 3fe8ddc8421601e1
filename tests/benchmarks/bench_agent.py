"""What the agent itself costs: microseconds of CPU for one pod from its object to a stored Ready status.

The engine is in memory and everything else is real but the connection, so this is the agent's own share and the
in-memory engine's. Run: python -m tests.benchmarks.bench_agent
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from random import Random

import msgspec
import structlog
import uvloop

from mizzen.api import kinds
from mizzen.base.clocks import SystemClock
from mizzen.engine.values import Key
from nodeagent.drive.agent import Agent, Parts
from nodeagent.drive.objects import Told
from nodeagent.drive.settings import AgentSettings
from nodeagent.network.fake import FakeNetwork
from nodeagent.runtime.fake import FakeRuntime
from nodeagent.volumes.fake import FakeVolumes
from tests.benchmarks import report
from tests.unit.agent.world import CREDENTIALS, FACTS, NODE, NODE_IP, pod

PODS, ROUNDS = 60, 3
COST_US = 2_000
"""Far below what an engine needs to create and start a container: 85 ms at the least."""


async def bench(count: int, folder: Path) -> float:
    """Microseconds of this process's CPU per pod."""
    clock = SystemClock()
    runtime = FakeRuntime(clock)
    runtime.add_remote_image("shop:1")
    await runtime.pull_image("shop:1")
    settings = AgentSettings(
        data_dir=folder,
        kubelet_dir=folder / "kubelet",
        node_name=NODE,
        node_ip=NODE_IP,
        metrics_port=-1,
        pods_max=10_000,
    )
    parts = Parts(runtime=runtime, network=FakeNetwork(), volumes=FakeVolumes(), clock=clock, rng=Random(1))
    agent = Agent(settings, parts, CREDENTIALS, await runtime.version())
    await agent.prepare()
    told = [
        Told(Key(kinds.POD.resource, "default", f"p{number}"), number + 1, msgspec.json.encode(pod(f"p{number}")))
        for number in range(count)
    ]
    ready: set[str] = set()
    done = asyncio.Event()

    async def store() -> None:
        while True:
            await agent.outbox.filled.wait()
            for item in agent.outbox.take():
                item.json()
                value = item.value
                conditions = getattr(value, "conditions", ()) if item.kind == "status" else ()
                if any(c.type == "Ready" and c.status == "True" for c in conditions):
                    ready.add(item.name)
            agent.outbox.stored()
            if len(ready) == count:
                done.set()
            await asyncio.sleep(0.002)

    async with asyncio.TaskGroup() as group:
        agent.begin(group)
        storing = group.create_task(store())
        agent.welcomed(FACTS, "epoch", resumed=False)
        agent.told([], 1, synced=True)
        await asyncio.sleep(0.2)
        began = time.process_time()
        agent.told(told, count, synced=False)
        await done.wait()
        used = time.process_time() - began
        storing.cancel()
        for task in list(group._tasks):
            task.cancel()
    return used / count * 1e6


def main() -> None:
    """Print the figure."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    report.section("Agent: its own share of a pod, with an engine in memory")
    costs = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder:
            costs.append(uvloop.run(bench(PODS, Path(folder))))
    report.row(
        f"a pod from its object to a stored Ready, {PODS} at once",
        f"{min(costs):8,.0f} us CPU",
        report.spread(costs),
        report.target(min(costs) <= COST_US, f"<= {COST_US:,} us"),
    )


if __name__ == "__main__":
    report.part(main)
