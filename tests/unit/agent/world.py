"""An agent over a machine in memory, in virtual time: for tests that play the control plane themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Key
from nodeagent.drive.agent import Agent, Parts
from nodeagent.drive.checkpoint import ClusterFacts
from nodeagent.drive.credentials import Credentials
from nodeagent.drive.objects import Told
from nodeagent.drive.outbox import EVENT, GONE, STATUS, Item
from nodeagent.drive.settings import AgentSettings
from nodeagent.network.fake import FakeNetwork
from nodeagent.runtime.fake import FakeRuntime
from nodeagent.runtime.values import ContainerState
from nodeagent.volumes.fake import FakeVolumes

EPOCH_MS = 1_700_000_000_000
NODE = "n1"
NODE_IP = "192.0.2.1"
FACTS = ClusterFacts(
    pod_cidr="10.1.0.0/24", cluster_cidr="10.1.0.0/16", service_cidr="10.96.0.0/16", cluster_dns="10.96.0.10"
)


class LoopClock:
    """Both clocks follow the event loop's, so that virtual time moves everything."""

    def now(self) -> int:
        """The wall clock."""
        return EPOCH_MS + self.monotonic_ms()

    def monotonic_ms(self) -> int:
        """The loop's clock."""
        return int(asyncio.get_running_loop().time() * 1000)


CREDENTIALS = Credentials(
    node=NODE,
    server="192.0.2.9:6443",
    endpoint="192.0.2.9:6440",
    key_pem=b"",
    certificate_pem=b"",
    ca_pem=b"",
    valid_from_ms=EPOCH_MS,
    valid_until_ms=EPOCH_MS + 365 * 86_400_000,
)


def pod(name: str = "web", *containers: core.Container, uid: str = "", **spec: Any) -> core.Pod:
    """A pod assigned to the node; its container sleeps unless told otherwise."""
    wanted = {"restart_policy": "Always", "termination_grace_period_seconds": 5, "node_name": NODE, **spec}
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default", uid=uid or f"uid-{name}", generation=1),
        spec=core.PodSpec(containers=containers or (container(),), **wanted),
        status=core.PodStatus(phase="Pending", qos_class="BestEffort"),
    )


def container(name: str = "app", **fields: Any) -> core.Container:
    """A container of an image that the machine has."""
    given = {"image": "shop:1", "image_pull_policy": "IfNotPresent", "command": ("sleep", "1000000"), **fields}
    return core.Container(name=name, **given)


@dataclass
class World:
    """One machine, and the control plane's side of the conversation."""

    folder: Path
    clock: LoopClock = field(default_factory=LoopClock)
    network: FakeNetwork = field(default_factory=FakeNetwork)
    volumes: FakeVolumes = field(default_factory=FakeVolumes)
    objects: dict[Key, Any] = field(default_factory=dict)
    version: int = 0
    stored: list[Item] = field(default_factory=list)
    """What the control plane was told and has stored."""
    agent: Agent | None = None
    mirrors: Any = None
    """Who keeps mirrors of static pods."""

    def __post_init__(self) -> None:
        self.runtime = FakeRuntime(self.clock)
        self.runtime.add_remote_image("shop:1")

    @asynccontextmanager
    async def running(self, *, connected: bool = True, killed: bool = False, **settings: Any) -> AsyncIterator[Agent]:
        """An agent at work; at the end it is stopped as by SIGTERM, or `killed`: it writes and tells nothing more."""
        given = AgentSettings(
            data_dir=self.folder, kubelet_dir=self.folder / "kubelet", node_name=NODE, node_ip=NODE_IP,
            metrics_port=-1, **settings
        )  # fmt: skip
        parts = Parts(runtime=self.runtime, network=self.network, volumes=self.volumes, clock=self.clock, rng=Random(7),
                      mirrors=self.mirrors)  # fmt: skip
        await self.runtime.pull_image("shop:1")
        agent = self.agent = Agent(given, parts, CREDENTIALS, await self.runtime.version())
        await agent.prepare()
        async with asyncio.TaskGroup() as group:
            agent.begin(group)
            control = group.create_task(self._store())
            if connected:
                self.connect()
            try:
                yield agent
            finally:
                control.cancel()
                for task in list(group._tasks):
                    task.cancel()
        if not killed:
            await agent.finish()
        agent.outbox.lost()

    def learn_facts(self) -> None:
        """The node has its addresses from before."""
        assert self.agent is not None
        self.agent._take_facts(FACTS)

    def connect(self) -> None:
        """A session begins with a whole round."""
        assert self.agent is not None
        self.agent.welcomed(FACTS, "epoch-1", resumed=False)
        told = [Told(key, 1, msgspec.json.encode(value)) for key, value in self.objects.items()]
        self.agent.told(told, self.version, synced=True)

    def put(self, value: Any) -> None:
        """The control plane has a new or changed object."""
        kind = kinds.kind_of(value)
        key = Key(kind.resource, value.metadata.namespace, value.metadata.name)
        self.version += 1
        self.objects[key] = value
        assert self.agent is not None
        self.agent.told([Told(key, self.version, msgspec.json.encode(value))], self.version, synced=False)

    def delete(self, value: Any) -> None:
        """The control plane no longer has an object."""
        kind = kinds.kind_of(value)
        key = Key(kind.resource, value.metadata.namespace, value.metadata.name)
        self.version += 1
        self.objects.pop(key, None)
        assert self.agent is not None
        self.agent.told([Told(key, self.version, b"")], self.version, synced=False)

    async def _store(self) -> None:
        """Store what the agent reports, and send it back as the control plane does."""
        assert self.agent is not None
        outbox = self.agent.outbox
        while True:
            await outbox.filled.wait()
            items = outbox.take()
            self.stored += items
            outbox.stored()
            for item in items:
                key = Key("pods", item.namespace, item.name)
                have = self.objects.get(key)
                if have is None or have.metadata.uid != item.uid:
                    continue
                if item.kind == STATUS:
                    self.put(msgspec.structs.replace(have, status=item.value))
                elif item.kind == GONE and have.metadata.deletion_timestamp is not None:
                    self.delete(have)
            await asyncio.sleep(0)

    # asking

    def status(self, name: str = "web") -> core.PodStatus | None:
        """The status that the control plane has stored last."""
        found = [i.value for i in self.stored if i.kind == STATUS and i.name == name]
        value = found[-1] if found else None
        assert value is None or isinstance(value, core.PodStatus)
        return value

    def ready(self, name: str = "web") -> bool:
        """Whether the pod is Ready."""
        status = self.status(name)
        return status is not None and any(c.type == "Ready" and c.status == "True" for c in status.conditions)

    def restarts(self, name: str = "web") -> int:
        """The restart count of the pod's first container."""
        status = self.status(name)
        return status.container_statuses[0].restart_count if status is not None else 0

    def events(self, reason: str) -> list[str]:
        """The messages of stored events."""
        found = [item.value for item in self.stored if item.kind == EVENT]
        return [e.message for e in found if isinstance(e, core.Event) and e.reason == reason]

    async def containers(self) -> tuple[ContainerState, ...]:
        """What is on the machine."""
        return (await self.runtime.list()).containers

    async def agent_is_quiet(self, seconds: float) -> None:
        """Let virtual time pass; whatever the agent wants to do it has done then."""
        await asyncio.sleep(seconds)

    async def until_empty(self, limit_s: float = 60) -> None:
        """Wait until nothing is on the machine."""
        async with asyncio.timeout(limit_s):
            while not await self.empty():  # noqa: ASYNC110  # a test waits on what it sees
                await asyncio.sleep(0.05)

    async def empty(self) -> bool:
        """Whether nothing is on the machine."""
        snapshot = await self.runtime.list()
        return not (snapshot.containers or snapshot.sandboxes or self.network.attached or self.volumes.files)


async def until(condition: Callable[[], Any], limit_s: float = 600) -> None:
    """Wait, in virtual time, until something is true."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.05)


def deleted(value: core.Pod, grace_s: int = 5) -> core.Pod:
    """The pod once somebody has deleted it."""
    metadata = msgspec.structs.replace(
        value.metadata, deletion_timestamp="2023-11-14T22:13:50Z", deletion_grace_period_seconds=grace_s
    )
    return msgspec.structs.replace(value, metadata=metadata)
