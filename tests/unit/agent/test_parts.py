"""The drivers' plain parts: outbox, objects, addresses, services, settings, images, streams of changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import msgspec
import pytest
from grpc.aio import AioRpcError, Metadata

from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import networking_v1 as networking
from mizzen.base.settings import SettingsError
from mizzen.engine.values import Key
from nodeagent.drive import machine
from nodeagent.drive.addresses import Addresses
from nodeagent.drive.context import NodeContext
from nodeagent.drive.lost import lost
from nodeagent.drive.objects import Objects, Told
from nodeagent.drive.outbox import EVENTS_MAX, Outbox
from nodeagent.drive.reach import Reach
from nodeagent.drive.services import ServiceSync
from nodeagent.drive.settings import parse
from nodeagent.lifecycle.actions import Record
from nodeagent.lifecycle.thresholds import Threshold
from nodeagent.network.fake import FakeNetwork
from nodeagent.network.port import AttachedPod, NetworkError
from nodeagent.network.services import ServiceTable
from tests.unit.agent.world import CREDENTIALS, EPOCH_MS, container, pod, until

STARTED = Record("Normal", "Started", "Container started", "spec.containers{app}")


# ------------------------------------------------------------------------------------------------------ outbox


def test_a_newer_status_takes_the_place_of_an_older() -> None:
    box = Outbox("n1")
    box.status(pod("a"), core.PodStatus(phase="Pending"))
    box.status(pod("b"), core.PodStatus(phase="Pending"))
    box.status(pod("a"), core.PodStatus(phase="Running"))
    assert [(i.name, i.value.phase) for i in box.take() if isinstance(i.value, core.PodStatus)] == [
        ("b", "Pending"),
        ("a", "Running"),
    ]


def test_what_was_lost_is_sent_again_unless_it_is_old() -> None:
    box = Outbox("n1")
    box.status(pod("a"), core.PodStatus(phase="Pending"))
    box.status(pod("b"), core.PodStatus(phase="Pending"))
    box.take()
    box.status(pod("a"), core.PodStatus(phase="Running"))
    box.lost()
    assert box.filled.is_set()
    assert [(i.name, i.value.phase) for i in box.take() if isinstance(i.value, core.PodStatus)] == [
        ("b", "Pending"),
        ("a", "Running"),
    ]
    box.stored()
    assert box.idle


def test_the_end_of_a_pod_comes_after_its_last_status() -> None:
    box = Outbox("n1")
    box.status(pod("a"), core.PodStatus(phase="Failed"))
    box.gone(pod("a"))
    assert [item.kind for item in box.take()] == ["status", "gone"]


def test_repeated_events_are_counted_and_only_the_latest_are_kept() -> None:
    box = Outbox("n1")
    for second in range(3):
        box.event(pod("a"), STARTED, second * 1000)
    (item,) = box.take()
    assert isinstance(item.value, core.Event)
    assert (item.value.count, item.value.first_timestamp, item.value.last_timestamp) == (
        3,
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:02Z",
    )
    assert item.value.involved_object.field_path == "spec.containers{app}"
    box.stored()
    for number in range(EVENTS_MAX + 5):
        box.event(pod("a"), Record("Normal", "Noise", f"number {number}"), 0)
    assert box.dropped == 5
    first = box.take()[0].value
    assert isinstance(first, core.Event)
    assert first.message == "number 5"


def test_of_a_pod_that_is_gone_nothing_is_told() -> None:
    box = Outbox("n1")
    box.status(pod("a"), core.PodStatus())
    box.event(pod("a"), STARTED, 0)
    box.status(pod("b"), core.PodStatus())
    assert box.has_status("uid-a")
    box.forget("uid-a")
    assert not box.has_status("uid-a")
    assert [item.name for item in box.waiting()] == ["b"]


# ----------------------------------------------------------------------------------------------------- objects


def told(name: str, version: int = 1, *, gone: bool = False, color: str = "red") -> Told:
    """A config map as the control plane sends it."""
    key = Key("configmaps", "default", name)
    value = core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), data={"color": color})
    return Told(key, version, b"" if gone else msgspec.json.encode(value))


def names(objects: Objects) -> list[str]:
    """What there is."""
    return [key.name for key in objects.known()]


def test_a_whole_round_drops_what_was_not_sent() -> None:
    objects = Objects()
    objects.restore("e1", 5, [told("a"), told("b"), told("c")])
    assert not objects.synced
    objects.begin_round("e1", resumed=False)
    assert objects.apply([told("a")], 0, synced=False) == []
    assert names(objects) == ["a", "b", "c"], "nothing is dropped before the round is complete"
    changed = objects.apply([told("b", 9, color="blue")], 9, synced=True)
    assert [key.name for key in changed] == ["b", "c"]
    assert (names(objects), objects.version, objects.synced) == (["a", "b"], 9, True)


def test_a_resumed_round_drops_only_what_it_is_told() -> None:
    objects = Objects()
    objects.restore("e1", 5, [told("a"), told("b")])
    objects.begin_round("e1", resumed=True)
    changed = objects.apply([told("b", 7, gone=True)], 7, synced=True)
    assert [key.name for key in changed] == ["b"]
    assert (names(objects), objects.version) == (["a"], 7)


def test_an_interrupted_round_can_not_be_resumed() -> None:
    objects = Objects()
    objects.restore("e1", 5, [told("a")])
    objects.begin_round("e2", resumed=False)
    objects.apply([told("b")], 0, synced=False)
    assert (objects.epoch, objects.version) == ("e2", 0)


def test_a_kind_from_the_future_is_passed_over() -> None:
    objects = Objects()
    objects.begin_round("e1", resumed=False)
    assert objects.apply([Told(Key("widgets.example.com", "", "w"), 1, b"{}")], 1, synced=True) == []


# --------------------------------------------------------------------------------------------------- addresses


def test_addresses_are_kept_given_back_and_not_reused_at_once() -> None:
    addresses = Addresses()
    addresses.adopt({"old": AttachedPod("old", "10.1.0.1", "mz1")})
    assert (addresses.of("old"), addresses.choose("a", "10.1.0.0/29")) == ("10.1.0.1", "10.1.0.2")
    assert addresses.of("a") == "", "chosen is not attached"
    addresses.attached("a", "10.1.0.2", "s1")
    addresses.detached("a")
    assert addresses.choose("a", "10.1.0.0/29") == "10.1.0.2", "kept for its next sandbox"
    addresses.release("a")
    assert addresses.choose("b", "10.1.0.0/29") == "10.1.0.3"


# ---------------------------------------------------------------------------------------------------- services


def service(name: str, ip: str) -> core.Service:
    """A service with one port."""
    return core.Service(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=core.ServiceSpec(cluster_ip=ip, ports=(core.ServicePort(port=80),)),
    )


def endpoints(of: str, *ips: str) -> discovery.EndpointSlice:
    """Where a service's connections end."""
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name=f"{of}-1", namespace="default", labels={"kubernetes.io/service-name": of}
        ),
        address_type="IPv4",
        ports=(discovery.EndpointPort(port=8080, name=""),),
        endpoints=tuple(discovery.Endpoint(addresses=(ip,)) for ip in ips),
    )  # fmt: skip


def node(name: str, ip: str, cidr: str) -> core.Node:
    """Another node."""
    return core.Node(
        metadata=meta.ObjectMeta(name=name),
        spec=core.NodeSpec(pod_cidr=cidr),
        status=core.NodeStatus(addresses=(core.NodeAddress(type="InternalIP", address=ip),)),
    )


class Cluster:
    """Objects that change, and a network that hears of it."""

    def __init__(self) -> None:
        self.objects = Objects()
        self.objects.begin_round("e1", resumed=True)
        self.network = FakeNetwork()
        self.addresses = Addresses()
        self.node = NodeContext(name="n1", ip="192.0.2.1", objects=self.objects)
        self.node.network_ready = True
        self.told: list[Record] = []
        self.sync = ServiceSync(self.network, self.node, self.addresses, Reach(), self.told.append)
        self.version = 0

    def put(self, *values: object, gone: bool = False) -> None:
        """Objects as the control plane sends them."""
        items = []
        for value in values:
            kind = kinds.kind_of(value)  # type: ignore[type-var]
            metadata = value.metadata  # type: ignore[attr-defined]
            self.version += 1
            raw = b"" if gone else msgspec.json.encode(value)
            items.append(Told(Key(kind.resource, metadata.namespace, metadata.name), self.version, raw))
        self.sync.changed(self.objects.apply(items, self.version, synced=False))

    def backends(self, name: str) -> list[str]:
        """Where a service's connections end, as the network knows."""
        rule = self.network.services.services.get(f"default/{name}")
        return [backend.ip for backend in rule.ports[0].backends] if rule is not None else []


@pytest.mark.looptime
@pytest.mark.asyncio
async def test_services_follow_their_objects() -> None:
    cluster = Cluster()
    task = asyncio.create_task(cluster.sync.run())
    cluster.put(service("a", "10.96.0.1"), service("b", "10.96.0.2"), endpoints("a", "10.1.0.1", "10.1.0.2"))
    await until(lambda: cluster.backends("a") == ["10.1.0.1", "10.1.0.2"])
    assert set(cluster.network.zone.services) == {"default/a", "default/b"}
    kept = cluster.network.services.services["default/b"]
    cluster.put(endpoints("a", "10.1.0.2"))
    await until(lambda: cluster.backends("a") == ["10.1.0.2"])
    assert cluster.network.services.services["default/b"] is kept, "what did not change stays the same value"
    cluster.put(endpoints("a", "10.1.0.2"), gone=True)
    await until(lambda: cluster.backends("a") == [])
    cluster.put(service("a", "10.96.0.1"), gone=True)
    await until(lambda: set(cluster.network.zone.services) == {"default/b"})
    cluster.put(node("n2", "192.0.2.2", "10.1.1.0/24"), node("n3", "192.0.2.3", ""))
    await until(lambda: [n.name for n in cluster.network.nodes] == ["n2"])
    task.cancel()


@pytest.mark.looptime
@pytest.mark.asyncio
async def test_a_burst_of_changes_costs_few_rounds() -> None:
    cluster = Cluster()
    rounds = 0
    real = cluster.network.sync_services

    async def counted(rules: ServiceTable) -> None:
        nonlocal rounds
        rounds += 1
        await real(rules)

    cluster.network.sync_services = counted  # type: ignore[method-assign]
    task = asyncio.create_task(cluster.sync.run())
    cluster.put(service("a", "10.96.0.1"))
    for number in range(100):
        cluster.put(endpoints("a", *(f"10.1.0.{n}" for n in range(1, number + 2))))
        await asyncio.sleep(0.01)
    await until(lambda: len(cluster.backends("a")) == 100)
    assert rounds <= 12
    task.cancel()


def closed(name: str = "closed") -> networking.NetworkPolicy:
    """A policy that lets nobody in."""
    return networking.NetworkPolicy(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=networking.NetworkPolicySpec(policy_types=("Ingress",)),
    )


@pytest.mark.looptime
@pytest.mark.asyncio
async def test_a_pod_is_guarded_before_it_is_attached() -> None:
    cluster = Cluster()
    web = pod("web", container())
    uid = web.metadata.uid
    cluster.put(service("a", "10.96.0.1"), closed(), web)
    ip = cluster.addresses.choose(uid, "10.1.0.0/24")
    await cluster.sync.guard(uid)
    assert set(cluster.network.services.policies.guards) == {ip}
    assert set(cluster.network.services.services) == {"default/a"}, "what the round would have told is not lost"
    told = cluster.network.services
    await cluster.sync.guard(uid)
    assert cluster.network.services is told, "it is not told again"
    task = asyncio.create_task(cluster.sync.run())
    cluster.put(closed(), gone=True)
    await until(lambda: not cluster.network.services.policies.guards)
    cluster.put(closed("another"))
    await until(lambda: set(cluster.network.services.policies.guards) == {ip})
    task.cancel()


@pytest.mark.looptime
@pytest.mark.asyncio
async def test_a_pod_whose_policies_do_not_hold_is_not_attached() -> None:
    cluster = Cluster()

    async def failing(rules: ServiceTable) -> None:
        raise NetworkError("no rules today")

    web = pod("web", container())
    cluster.put(closed(), web)
    cluster.addresses.choose(web.metadata.uid, "10.1.0.0/24")
    real, cluster.network.sync_services = cluster.network.sync_services, failing  # type: ignore[method-assign]
    with pytest.raises(NetworkError, match="no rules today"):
        await cluster.sync.guard(web.metadata.uid)
    cluster.network.sync_services = real  # type: ignore[method-assign]
    await cluster.sync.guard(web.metadata.uid)
    assert cluster.network.services.policies.guards


@pytest.mark.looptime
@pytest.mark.asyncio
async def test_host_ports_lead_to_the_pod_as_long_as_it_has_an_address() -> None:
    cluster = Cluster()
    task = asyncio.create_task(cluster.sync.run())
    web = pod("web", container(ports=(core.ContainerPort(container_port=8080, host_port=80, host_ip="0.0.0.0"),)))
    cluster.sync.pods_changed([web])
    cluster.addresses.attached("uid-web", "10.1.0.5", "s")
    cluster.sync.pods_changed([web])
    await until(lambda: len(cluster.network.services.host_ports) == 1)
    (port,) = cluster.network.services.host_ports
    assert (port.pod, port.port, port.target.ip, port.target.port, port.host_ip) == (
        "default/web", 80, "10.1.0.5", 8080, "",
    )  # fmt: skip
    cluster.sync.pods_changed([])
    await until(lambda: cluster.network.services.host_ports == ())
    task.cancel()


# ---------------------------------------------------------------------------------------------------- settings


def test_settings_are_read_and_have_defaults() -> None:
    found = parse(
        ["--server", "10.0.0.1", "--token", "t", "--node-name", "w1", "--labels", "zone=a,disk=ssd",
         "--taints", "gpu=yes:NoSchedule", "--data-dir", "relative"]
    )  # fmt: skip
    assert (found.server, found.node_name) == ("10.0.0.1:6443", "w1")
    assert found.labels == {"zone": "a", "disk": "ssd"}
    assert found.taints == (("gpu", "yes", "NoSchedule"),)
    assert found.data_dir == Path.cwd() / "relative"


def test_thresholds_are_read_with_how_long_they_are_borne() -> None:
    found = parse(["--eviction-soft", "memory.available<1Gi", "--eviction-soft-grace-period", "memory.available=1m30s"])
    assert found.eviction_soft == (Threshold("memory.available", amount=1 << 30, patience_ms=90_000),)
    assert [one.signal for one in found.eviction_hard][:1] == ["memory.available"]


def test_wrong_upkeep_is_told() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(["--eviction-soft", "memory.available<1Gi", "--eviction-hard", "x<1", "--image-gc-low-threshold", "90",
               "--shutdown-grace-period", "1"])  # fmt: skip
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "--eviction-hard", "--eviction-soft", "--image-gc-low-threshold", "--shutdown-grace-period-critical-pods",
    ]  # fmt: skip


def test_the_token_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIZZEN_TOKEN", "hidden")
    assert parse(["--server", "10.0.0.1"]).token == "hidden"
    assert parse(["--server", "10.0.0.1", "--token", "shown"]).token == "shown"


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(["--token", "t", "--node-name", "Not_A_Name", "--labels", "x", "--taints", "y", "--node-ip", "z"])
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["--node-name", "--node-ip", "--labels", "--taints", "--server"]


# ------------------------------------------------------------------------------------------------------ session


@pytest.mark.parametrize(
    ("details", "after_days", "said"),
    [
        ("Socket closed", 1, "192.0.2.9:6440: UNAVAILABLE Socket closed"),
        ("certificate verify failed", 1, "if the cluster was made anew, start the agent once with a new --token"),
        ("Socket closed", 366, "expired at 2024-11-13T22:13:20Z; start the agent once with a new --token"),
    ],
)
def test_a_lost_session_says_what_to_do(details: str, after_days: int, said: str) -> None:
    error = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), details, None)
    assert str(lost(error, CREDENTIALS, EPOCH_MS + after_days * 86_400_000)).endswith(said)


@pytest.mark.looptime
@pytest.mark.asyncio
@pytest.mark.parametrize(("protocol", "follows", "said"), [("SCTP", False, 1), ("SCTP", True, 0), ("TCP", False, 0)])
async def test_a_node_says_once_that_its_kernel_has_no_sctp(
    monkeypatch: pytest.MonkeyPatch, protocol: str, follows: bool, said: int
) -> None:
    monkeypatch.setattr(machine, "follows_sctp", lambda: follows)
    cluster = Cluster()
    task = asyncio.create_task(cluster.sync.run())
    for name in ("a", "b"):
        spec = core.ServiceSpec(cluster_ip="10.96.0.20", ports=(core.ServicePort(port=80, protocol=protocol),))
        cluster.put(core.Service(metadata=meta.ObjectMeta(name=name, namespace="default"), spec=spec))
        await until(lambda key=f"default/{name}": key in cluster.network.services.services)
        await asyncio.sleep(1)
    assert [record.reason for record in cluster.told] == ["SCTPNotSupported"] * said
    task.cancel()
