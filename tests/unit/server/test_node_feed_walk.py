"""Whatever happens, an agent has what concerns its node: histories at random."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from controlplane.server import node_feed
from mizzen.api import ingress, kinds
from mizzen.api.types import core_v1 as core
from tests.unit.server.feed_cluster import Cluster, cluster, config, node, pod, published, secret, service

STEPS = 400
CONFIGS = ("c1", "s1")


class Walk:
    """Changes of a small cluster at random; each seed is one history."""

    def __init__(self, cluster_: Cluster, seed: int) -> None:
        self.c = cluster_
        self.rng = Random(seed)

    async def step(self) -> None:
        """Something happens."""
        steps = (self.put_config, self.put_pod, self.put_pod, self.drop_pod, self.others, self.drop_config, self.talk)
        await self.rng.choices(steps, weights=(6, 6, 2, 3, 2, 1, 3))[0]()

    async def put_config(self) -> None:
        name = self.rng.choice(CONFIGS)
        if name == "s1":
            await self.c.put(secret(name))
        else:
            await self.c.put(config(name, str(self.rng.randrange(9))))

    async def drop_config(self) -> None:
        await self.c.drop(*self.rng.choice(((kinds.CONFIG_MAP, "c1"), (kinds.SECRET, "s1"))))

    async def put_pod(self) -> None:
        name, where = self.rng.choice("ab"), self.rng.choice(("n1", "n1", "n2", ""))
        phase = str(self.rng.randrange(9))
        have = self.c.registry.view.get(kinds.POD, "default", name)
        if have is None:
            await self.c.put(pod(name, *self.rng.sample(CONFIGS, self.rng.randrange(3)), node=where, phase=phase))
        else:  # what a pod names does not change; that it gets a node and a status does
            spec = replace(have.spec, node_name=have.spec.node_name or where)
            await self.c.put(replace(have, spec=spec, status=core.PodStatus(phase=phase)))

    async def drop_pod(self) -> None:
        await self.c.drop(kinds.POD, self.rng.choice("ab"))

    async def others(self) -> None:
        match self.rng.randrange(6):
            case 0:
                made = node("n1", str(self.rng.randrange(2)))
                labels = {ingress.ROLE: "true"} if self.rng.randrange(2) else {}
                await self.c.put(replace(made, metadata=replace(made.metadata, labels=labels)))
            case 4:
                await self.c.put(published("i", "s1"))
            case 5:
                await self.c.drop(kinds.INGRESS, "i")
            case 1:
                await self.c.drop(kinds.NODE, "n1")
            case 2:
                await self.c.put(service("web"))
            case _:
                await self.c.drop(kinds.SERVICE, "web")

    async def talk(self) -> None:
        """The agent hears of it; or the connection breaks on the way, perhaps before the log tells of all writes."""
        if self.rng.random() < 0.5:
            await self.c.send()
        else:
            self.c.carry(self.rng.randrange(6))
            await self.c.connect()


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_the_agent_has_what_concerns_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_feed, "BATCH_ITEMS", 1)  # each object on its own, so that the order shows
    async with cluster() as c:
        walk = Walk(c, seed)
        await c.connect()
        for number in range(STEPS):
            await walk.step()
            if number % 20 == 0:
                await c.send()
                c.check_all()
