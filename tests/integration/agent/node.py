"""A node in this process: the real agent and session over a machine in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from mizzen.base.clocks import SystemClock
from nodeagent.drive.agent import Agent, Parts
from nodeagent.drive.credentials import Credentials
from nodeagent.drive.settings import AgentSettings
from nodeagent.network.fake import FakeNetwork
from nodeagent.runtime.fake import FakeRuntime
from nodeagent.volumes.fake import FakeVolumes


class Machine:
    """What outlives an agent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = FakeNetwork()
        self.volumes = FakeVolumes()
        self.clock = SystemClock()
        self.runtime = FakeRuntime(self.clock)
        self.runtime.add_remote_image("shop:1")

    @asynccontextmanager
    async def agent(self, credentials: Credentials) -> AsyncIterator[Agent]:
        """An agent at work; stopped at the end as by SIGTERM."""
        settings = AgentSettings(
            data_dir=self.folder, node_name="n1", node_ip="192.0.2.1", metrics_host="127.0.0.1", metrics_port=0
        )
        parts = Parts(runtime=self.runtime, network=self.network, volumes=self.volumes, clock=self.clock, rng=Random(3))
        await self.runtime.pull_image("shop:1")
        agent = Agent(settings, parts, credentials, await self.runtime.version())
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]
