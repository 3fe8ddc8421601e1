"""What a node is told of its cluster, against the agent's own cache of what it was told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controlplane.server import node_feed
from controlplane.server.node_feed import NodeFeed
from controlplane.store import history
from mizzen.api import ingress, kinds
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import networking_v1 as networking
from tests.unit.server.feed_cluster import (
    NODE,
    claim,
    claiming,
    cluster,
    config,
    node,
    pod,
    published,
    secret,
    service,
    volume,
)


async def test_a_node_has_the_claims_of_its_pods_their_volumes_and_its_own() -> None:
    async with cluster() as c:
        await c.connect()
        for made in (volume("mine", NODE), volume("theirs", "n2"), volume("shared"), claim("data"), claim("other")):
            await c.put(made)
        await c.put(claiming("a", "data"))
        await c.send()
        c.check_all()
        assert [one.metadata.name for one in c.agent.cache.list(kinds.PERSISTENT_VOLUME)] == ["mine"]
        for name in ("shared", "mine"):
            await c.put(
                replace(
                    c.registry.view.get(kinds.PERSISTENT_VOLUME_CLAIM, "default", "data"), spec=claim("", name).spec
                )
            )
            await c.send()
            c.check_all()
            assert name in [one.metadata.name for one in c.agent.cache.list(kinds.PERSISTENT_VOLUME)]
        await c.connect()
        await c.send()
        await c.drop(kinds.POD, "a")
        await c.send()
        c.check_all()
        await c.drop(kinds.PERSISTENT_VOLUME, "mine")
        await c.send()
        c.check_all()


async def test_a_node_is_told_what_concerns_it_and_nothing_else() -> None:
    async with cluster() as c:
        for obj in (
            config("named"), config("other"), secret("s-named"), secret("s-other"),
            pod("mine", "named", "s-named"), pod("theirs", "other", "s-other", node="n2"), pod("nobodys", node=""),
            service("web"), node("n1", "10.1.0.0/24"), node("n2", "10.1.1.0/24"),
            discovery.EndpointSlice(metadata=meta.ObjectMeta(name="web-1", namespace="default")),
        ):  # fmt: skip
            await c.put(obj)
        await c.connect()
        said = await c.send()
        assert [name for name, _ in said] == ["named", "s-named", "web", "web-1", "n1", "n2", "mine"]
        c.check_all()


async def test_what_changes_is_told_and_what_does_not_concern_the_node_is_not() -> None:
    async with cluster() as c:
        await c.put(pod("mine", "named"))
        await c.put(config("named"))
        await c.connect()
        await c.send()
        await c.put(config("named", "2"))
        await c.put(config("other", "2"))
        await c.put(pod("theirs", "other", node="n2"))
        await c.put(pod("coming", "other", node=""))
        assert await c.send() == [("named", "+")]
        await c.put(pod("coming", "other", phase="Running"))
        assert await c.send() == [("other", "+"), ("coming", "+")], "it was bound to this node"
        c.check_all()


async def test_a_nodes_health_is_not_told_but_its_addresses_are() -> None:
    async with cluster() as c:
        await c.connect()
        await c.put(node("n2", "10.1.1.0/24"))
        assert await c.send() == [("n2", "+")]
        await c.put(node("n2", "10.1.1.0/24", ready="Unknown"))
        assert await c.send() == []
        await c.put(node("n2", "10.1.2.0/24"))
        assert await c.send() == [("n2", "+")]
        await c.drop(kinds.NODE, "n2")
        assert await c.send() == [("n2", "-")]
        await c.put(node("n2", "10.1.2.0/24"))
        assert await c.send() == [("n2", "+")], "it came back as it was"
        c.check_all()


async def test_when_a_pod_leaves_so_does_what_only_it_named() -> None:
    async with cluster() as c:
        for obj in (config("shared"), config("own"), pod("a", "shared", "own"), pod("b", "shared")):
            await c.put(obj)
        await c.connect()
        await c.send()
        await c.drop(kinds.POD, "a")
        assert await c.send() == [("a", "-"), ("own", "-")]
        await c.put(config("own", "2"))
        assert await c.send() == []
        await c.put(pod("b", "shared", node="n2"))  # nobody moves pods; it must hold all the same
        assert await c.send() == [("b", "-"), ("shared", "-")]
        c.check_all()


async def test_certificates_of_ingresses_are_for_nodes_that_serve_them() -> None:
    async with cluster() as c:
        for obj in (node("n1"), secret("s1"), secret("s2"), published("i", "s1"), pod("a", "s2")):
            await c.put(obj)
        await c.connect()
        await c.send()
        c.check_all()
        serving = node("n1")
        serving = replace(serving, metadata=replace(serving.metadata, labels={ingress.ROLE: "true"}))
        await c.put(serving)
        assert await c.send() == [("s1", "+"), ("n1", "+")]
        await c.put(published("i", "s2"))
        assert await c.send() == [("i", "+"), ("s1", "-")]
        await c.put(published("i", "s1", "s2"))
        await c.send()
        await c.put(node("n1"))
        assert await c.send() == [("n1", "+"), ("s1", "-")], "a pod still needs the other"
        c.check_all()


async def test_a_config_that_comes_late_is_told() -> None:
    async with cluster() as c:
        await c.put(pod("a", "late"))
        await c.connect()
        assert await c.send() == [("a", "+")]
        await c.put(config("late"))
        assert await c.send() == [("late", "+")]
        await c.drop(kinds.CONFIG_MAP, "late")
        assert await c.send() == [("late", "-")]
        c.check_all()


async def test_a_policy_that_goes_and_comes_again_at_once_is_there() -> None:
    policy = networking.NetworkPolicy(metadata=meta.ObjectMeta(name="closed", namespace="default"))
    async with cluster() as c:
        await c.put(policy)
        await c.connect()
        assert await c.send() == [("closed", "+")]
        feed, c.feed = c.feed, NodeFeed(NODE, c.registry, c.policies)
        watcher = c.registry.watch(kinds.NETWORK_POLICY, "", c.registry.revision)
        await c.drop(kinds.NETWORK_POLICY, "closed")
        await c.put(policy)
        await c.registry.fresh()
        assert feed.follow(watcher.ready().changes, c.registry.revision, c.policies.all())
        c.feed = feed
        assert c.carry() == [("closed", "+")]
        assert c.agent.cache.get(kinds.NETWORK_POLICY, "default", "closed") is not None


# ----------------------------------------------------------------------------------------------- order and bounds


async def test_changes_are_coalesced_and_configs_stay_before_their_pods() -> None:
    async with cluster() as c:
        await c.connect()
        await c.send()
        await c.put(config("named"))
        await c.put(pod("a", "named"))
        for value in "23456":
            await c.put(config("named", value))
            await c.put(pod("a", "named", phase=f"p{value}"))
            await c.put(service("web"))
        assert await c.send() == [("named", "+"), ("a", "+"), ("web", "+")]
        c.check_all()


async def test_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_feed, "BATCH_ITEMS", 10)
    monkeypatch.setattr(node_feed, "BATCH_BYTES", 5000)
    async with cluster() as c:
        for number in range(25):
            await c.put(service(f"s{number:02}"))
        await c.put(config("big", "x" * 6000))
        await c.put(pod("a", "big"))
        await c.connect()
        messages = c.feed.take()
        assert [len(message.items) for message in messages] == [1, 10, 10, 6]
        assert [message.synced for message in messages] == [False, False, False, True]
        assert [message.version for message in messages] == [0, 0, 0, c.registry.revision]
        assert all(not message.items and not message.synced for message in c.feed.take())


# ------------------------------------------------------------------------------------------------------- resuming


async def test_resuming_tells_only_what_has_changed() -> None:
    async with cluster() as c:
        for obj in (config("old"), config("mine"), pod("a", "mine"), service("web"), node("n1", "10.1.0.0/24")):
            await c.put(obj)
        await c.connect()
        await c.send()
        await c.put(service("api"))
        await c.drop(kinds.SERVICE, "web")
        await c.put(pod("b", "old"))
        await c.connect()
        assert c.resumed
        said = await c.send()
        assert said == [("old", "+"), ("api", "+"), ("web", "-"), ("b", "+")], "a new pod may name an old config"
        c.check_all()


async def test_what_left_while_the_agent_was_away_leaves_nothing_behind() -> None:
    async with cluster() as c:
        for obj in (secret("s-own"), config("shared"), pod("a", "s-own", "shared"), pod("b", "shared")):
            await c.put(obj)
        await c.connect()
        await c.send()
        await c.drop(kinds.POD, "a")
        await c.connect()
        assert c.resumed
        assert await c.send() == [("a", "-"), ("s-own", "-")]
        await c.drop(kinds.POD, "b")
        await c.put(pod("b", "s-own"))
        await c.connect()
        await c.send()
        c.check_all()


async def test_what_can_not_be_resumed_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "WINDOW_CHANGES", 3)
    async with cluster() as c:
        await c.put(service("gone"))
        await c.connect()
        await c.send()
        await c.drop(kinds.SERVICE, "gone")
        for number in range(5):
            await c.put(service(f"s{number}"))
        await c.connect()
        assert c.resumed is False
        await c.send()
        c.check_all()
