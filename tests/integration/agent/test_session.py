"""Agent and control plane over real gRPC with TLS: join, session, reports, streams, reconnection, renewal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import msgspec
import pytest

from controlplane.server.outward.dial import Dialer, hang_up
from controlplane.server.outward.targets import Target
from controlplane.server.streams import Channel, Piece
from mizzen.api import errors, kinds
from mizzen.api.references import TokenWish
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.values import Key
from mizzen.wire.gen.mizzen.v1 import node_pb2_grpc
from nodeagent.drive.agent import Agent
from nodeagent.drive.credentials import CredentialsStore
from nodeagent.drive.join import JoinRefused, JoinUnreachable, join
from nodeagent.drive.session import token_over
from nodeagent.drive.tokens import Away
from tests.fixtures.memory_node import Machine
from tests.integration.agent.plane import Plane, plane, pod, stored, until


def ready(control: Plane, name: str = "web") -> bool:
    """Whether a stored pod is Ready."""
    found = control.pod(name)
    return found is not None and any(c.type == "Ready" and c.status == "True" for c in found.status.conditions)


def node_ready(control: Plane) -> bool:
    """Whether the stored node is Ready."""
    node = control.node()
    return node is not None and any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)


def pods_of(control: Plane) -> list[str]:
    """The names of the stored pods."""
    return [found.metadata.name for found in control.registry.view.list(kinds.POD)]


async def test_a_node_joins_runs_a_pod_and_lets_it_go(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        joined = await join(control.server, await control.token(), "n1")
        machine = Machine(tmp_path)
        async with machine.agent(joined):
            await until(lambda: control.node() is not None)
            assert not node_ready(control), "no addresses for pods yet"
            await control.give_addresses()
            await until(lambda: node_ready(control))
            await control.create(pod())
            await until(lambda: ready(control))
            found = control.pod()
            assert found is not None
            assert (found.status.phase, found.status.pod_ip) == ("Running", "10.1.0.1")
            await until(lambda: len(control.registry.view.list(kinds.EVENT)) >= 3)
            await control.change(kinds.POD, "default", "web", _deleted)
            await until(lambda: pods_of(control) == [])
            assert machine.network.attached == {}


def _deleted(have: core.Pod) -> core.Pod:
    stamp = "2023-11-14T22:13:50Z"
    metadata = msgspec.structs.replace(have.metadata, deletion_timestamp=stamp, deletion_grace_period_seconds=2)
    return msgspec.structs.replace(have, metadata=metadata)


async def test_the_node_tells_what_it_is(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        joined = await join(control.server, await control.token(), "n1")
        async with Machine(tmp_path).agent(joined) as agent:
            await control.give_addresses()
            await until(lambda: node_ready(control))
            node = control.node()
            assert node is not None
            status = node.status
            assert (status.capacity["cpu"], status.allocatable["cpu"], status.capacity["pods"]) == ("4", "3900m", "110")
            assert status.node_info.container_runtime_version == "fake://1"
            assert status.node_info.kubelet_version.startswith("v1.36")
            assert {a.type: a.address for a in status.addresses} == {"InternalIP": "192.0.2.1", "Hostname": "n1"}
            assert node.metadata.labels["kubernetes.io/hostname"] == "n1"
            async with aiohttp.ClientSession() as session:
                page = await (await session.get(f"http://127.0.0.1:{agent.page.port}/metrics")).text()
                health = await session.get(f"http://127.0.0.1:{agent.page.port}/healthz")
                assert (health.status, await health.text()) == (200, "ok")
            for name in ("kubelet_running_pods", "kubelet_pleg_relist_duration_seconds_count", "kubelet_node_name"):
                assert name in page


async def test_the_control_plane_away_and_back(tmp_path: Path) -> None:
    async with stored() as registry:
        async with plane(tmp_path, registry) as control:
            ports = {"grpc_port": control.grpc_port, "https_port": control.https_port}
            joined = await join(control.server, await control.token(), "n1")
            machine = Machine(tmp_path)
            agent_context = machine.agent(joined)
            agent = await agent_context.__aenter__()
            await control.give_addresses()
            await control.create(pod())
            await until(lambda: ready(control))
        try:
            await until(lambda: not agent.session.connected)
            (state,) = (await machine.runtime.list()).containers
            await machine.runtime.kill_container(state.id)
            async with plane(tmp_path, registry, **ports) as control:
                await until(lambda: agent.session.connected)

                def restarted() -> bool:
                    found = control.pod()
                    return found is not None and found.status.container_statuses[0].restart_count == 1

                await until(restarted)
                await control.create(pod("second"))
                await until(lambda: ready(control, "second"))
                assert len((await machine.runtime.list()).containers) == 3, "old instance, new instance, second pod"
        finally:
            await agent_context.__aexit__(None, None, None)


async def test_a_new_agent_resumes(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        joined = await join(control.server, await control.token(), "n1")
        machine = Machine(tmp_path)
        async with machine.agent(joined):
            await control.give_addresses()
            await control.create(pod())
            await until(lambda: ready(control))
        before = [state.id for state in (await machine.runtime.list()).containers]
        await control.create(pod("second"))
        async with machine.agent(joined):
            await until(lambda: ready(control, "second"))
            states = (await machine.runtime.list()).containers
            assert [state.id for state in states if state.pod.name == "web"] == before
            found = control.pod()
            assert found is not None
            assert found.status.container_statuses[0].restart_count == 0


async def test_two_agents_with_one_name_do_not_both_stay(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        joined = await join(control.server, await control.token(), "n1")
        (tmp_path / "other").mkdir()
        async with Machine(tmp_path).agent(joined) as first:
            await until(lambda: first.session.connected)
            async with Machine(tmp_path / "other").agent(joined) as second:
                await until(lambda: second.session.connected)
                await until(lambda: not first.session.connected)


async def test_an_agent_is_at_every_control_plane_and_stays_with_the_one_that_lives(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry, host="127.0.0.2") as other:
        async with plane(tmp_path, registry, grpc_port=other.grpc_port) as control:
            joined = await join(control.server, await control.token(), "n1")
            machine = Machine(tmp_path)
            agent_context = machine.agent(joined)
            agent = await agent_context.__aenter__()
            await control.give_addresses()
            await control.create(endpoints("127.0.0.1", "127.0.0.2"))
            await control.create(pod(command=("sh", "-c", "echo hello; sleep 100000")))
            await until(lambda: ready(control))
            await until(lambda: other.gateway.connected() == ["n1"])
            assert agent.session.endpoint.startswith("127.0.0.1:")
            for asked in (control, other):
                assert await log_of(asked) == b"hello\n"
            heard = lease_of(control)
            await until(lambda: lease_of(control) != heard)
        try:
            await until(lambda: agent.session.endpoint.startswith("127.0.0.2:") and agent.session.connected)
            await other.create(pod("second"))
            await until(lambda: ready(other, "second"))
            assert await log_of(other) == b"hello\n"
            async with plane(tmp_path, registry, grpc_port=other.grpc_port) as control:
                await until(lambda: control.gateway.connected() == ["n1"])
                assert await log_of(control) == b"hello\n"
                await control.change(kinds.ENDPOINT_SLICE, "default", "kubernetes", _only("127.0.0.2"))
                await until(lambda: control.gateway.connected() == [])
                assert agent.session.endpoint.startswith("127.0.0.2:")
        finally:
            await agent_context.__aexit__(None, None, None)


def endpoints(*addresses: str) -> discovery_v1.EndpointSlice:
    """The control planes that there are."""
    metadata = meta.ObjectMeta(
        name="kubernetes", namespace="default", labels={"kubernetes.io/service-name": "kubernetes"}
    )
    return _only(*addresses)(discovery_v1.EndpointSlice(metadata=metadata, address_type="IPv4"))


def _only(*addresses: str) -> Callable[[discovery_v1.EndpointSlice], discovery_v1.EndpointSlice]:
    found = tuple(discovery_v1.Endpoint(addresses=(address,)) for address in addresses)
    return lambda have: msgspec.structs.replace(have, endpoints=found)


def lease_of(control: Plane) -> str:
    """When the node was heard of last."""
    lease = control.registry.view.get(kinds.LEASE, "kube-node-lease", "n1")
    return lease.spec.renew_time if lease is not None else ""


async def log_of(control: Plane) -> bytes:
    """The output of the pod, asked of one control plane."""
    found = control.pod()
    assert found is not None
    out, _, _ = await everything(await control.gateway.streams.open_log(found, core.PodLogOptions()))
    return out


# --------------------------------------------------------------------------------------------------------- streams


async def everything(session: object) -> tuple[bytes, bytes, meta.Status]:
    """All output of a stream and how it ended."""
    out, err = bytearray(), bytearray()
    async for piece in session.pieces():  # type: ignore[attr-defined]
        if piece.channel is Channel.STDOUT:
            out += piece.data
        elif piece.channel is Channel.STDERR:
            err += piece.data
        elif piece.channel is Channel.STATUS:
            return bytes(out), bytes(err), msgspec.json.decode(piece.data, type=meta.Status)
    raise AssertionError("the stream was lost")


async def test_streams(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        joined = await join(control.server, await control.token(), "n1")
        async with Machine(tmp_path).agent(joined):
            await control.give_addresses()
            await control.create(pod(command=("sh", "-c", "echo hello; echo oh >&2; sleep 100000")))
            await until(lambda: ready(control))
            found = control.pod()
            assert found is not None
            await _logs(control, found)
            await _exec(control, found)
            await _forward(control, found)


async def _logs(control: Plane, found: core.Pod) -> None:
    streams = control.gateway.streams
    out, err, status = await everything(await streams.open_log(found, core.PodLogOptions()))
    assert (out, err, status.status) == (b"hello\n", b"oh\n", "Success")
    for stream, expected in (("Stdout", (b"hello\n", b"")), ("Stderr", (b"", b"oh\n"))):
        out, err, _ = await everything(await streams.open_log(found, core.PodLogOptions(stream=stream)))
        assert (out, err) == expected
    out, _, status = await everything(await streams.open_log(found, core.PodLogOptions(limit_bytes=3)))
    assert (out, status.status) == (b"hel", "Success")
    following = await streams.open_log(found, core.PodLogOptions(follow=True))
    assert (await anext(following.pieces())).data
    await following.close()
    _, _, status = await everything(await streams.open_log(found, core.PodLogOptions(previous=True)))
    assert (status.code, status.message) == (400, 'previous terminated container "app" in pod "web" not found')
    _, _, status = await everything(await streams.open_log(found, core.PodLogOptions(container="nope")))
    assert (status.code, status.message) == (400, "container nope is not valid for pod web")


async def _exec(control: Plane, found: core.Pod) -> None:
    streams = control.gateway.streams
    session = await streams.open_exec(found, core.PodExecOptions(command=("cat",), stdin=True, stdout=True))
    await session.send(Piece(Channel.STDIN, b"some text"))
    await session.send(Piece(Channel.STDIN, b"", end=True))
    out, _, status = await everything(session)
    assert (out, status.status) == (b"some text", "Success")
    session = await streams.open_exec(found, core.PodExecOptions(command=("sh", "-c", "exit 7"), stdout=True))
    _, _, status = await everything(session)
    assert (status.status, status.reason) == ("Failure", "NonZeroExitCode")
    assert status.details is not None
    assert status.details.causes[0].message == "7"
    session = await streams.open_attach(found, core.PodAttachOptions(stdout=True))
    await session.close()


async def _forward(control: Plane, found: core.Pod) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await control.create(pod("onhost", host_network=True))
    await until(lambda: ready(control, "onhost"))
    onhost = control.pod("onhost")
    assert onhost is not None
    async with server:
        session = await control.gateway.streams.open_port(onhost, core.PodPortForwardOptions(ports=(port,)))
        await session.send(Piece(Channel.STDIN, b"knock"))
        await session.send(Piece(Channel.STDIN, b"", end=True))
        out, _, status = await everything(session)
        assert (out, status.status) == (b"KNOCK", "Success")
    session = await control.gateway.streams.open_port(onhost, core.PodPortForwardOptions(ports=(port,)))
    _, _, status = await everything(session)
    assert (status.code, "cannot reach port" in status.message) == (500, True)
    await _dial(control, port)


async def _dial(control: Plane, closed: int) -> None:
    """Connections that the node makes: to its agent's own page, to an address, and to where nobody listens."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline() * 50_000)
        writer.close()

    dialer = Dialer(control.gateway.streams)
    reader, writer = await dialer.dial(Target("", 0, "n1"))
    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.0 ")
    await hang_up(writer)
    server = await asyncio.start_server(page, "127.0.0.1", 0)
    async with server:
        reader, writer = await dialer.dial(Target("127.0.0.1", server.sockets[0].getsockname()[1], "n1"))
        writer.write(b"knock\n")
        assert await reader.read(-1) == b"knock\n" * 50_000
        await hang_up(writer)
    with pytest.raises(errors.ServiceUnavailable, match=f"dial tcp 127.0.0.1:{closed}: connect: connection refused"):
        await dialer.dial(Target("127.0.0.1", closed, "n1"))
    with pytest.raises(errors.ServiceUnavailable, match="not connected"):
        await dialer.dial(Target("127.0.0.1", closed, "elsewhere"))
    await dialer.close()


# --------------------------------------------------------------------------------------------------------- joining


async def test_joining_says_what_is_wrong(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        good = await control.token()
        parts = good.split(".")
        wrong_hash = ".".join((parts[0], "0" * 64, *parts[2:]))
        unknown = ".".join((*parts[:3], "wrong"))
        for token, server, words in (
            ("nonsense", control.server, "must look like mz1"),
            (wrong_hash, control.server, "is not the one that the token names"),
            (unknown, control.server, "is not known to this cluster"),
            (await control.token(lives_s=-10), control.server, "expired at"),
            (good, "nowhere", "must be the address and port"),
        ):
            with pytest.raises(JoinRefused, match=words):
                await join(server, token, "n1")
        with pytest.raises(JoinRefused, match="node name"):
            await join(control.server, good, "not_a_name")
        with pytest.raises(JoinUnreachable, match="can not be reached"):
            await join("127.0.0.1:1", good, "n1")


async def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        joined = await join(control.server, await control.token(), "n1")
        async with Machine(tmp_path).agent(joined) as agent:
            await until(lambda: agent.session.connected)
            with pytest.raises(JoinRefused, match="a node of this name is connected"):
                await join(control.server, await control.token(), "n1")


async def test_a_certificate_is_renewed_and_used(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        joined = await join(control.server, await control.token(), "n1")
        store = CredentialsStore(tmp_path)
        store.save(joined)
        assert store.load() == joined
        async with Machine(tmp_path).agent(joined) as agent:
            await until(lambda: agent.session.connected)
            await agent._renewer._renew()
            renewed = agent._renewer.credentials
            assert renewed.certificate_pem != joined.certificate_pem
            assert store.load() == renewed
            assert (tmp_path / "pki" / "node.pem").stat().st_mode & 0o777 == 0o600
            await until(lambda: not agent.session.connected)
            await until(lambda: agent.session.connected)


class Silent(node_pb2_grpc.NodeControlServicer):
    """A control plane that is asked for a token and never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def Token(self, request: Any, context: Any) -> Any:  # noqa: N802
        """See the class."""
        self.asked.set()
        await asyncio.Event().wait()


async def test_a_connection_that_ends_under_a_call_is_no_end_of_who_calls() -> None:
    silent, server = Silent(), grpc.aio.server()
    node_pb2_grpc.add_NodeControlServicer_to_server(silent, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = node_pb2_grpc.NodeControlStub(channel)  # type: ignore[no-untyped-call]
        tokens = [asyncio.create_task(token_over(stub, pod(), TokenWish("", 3600))) for _ in range(2)]
        await silent.asked.wait()
        tokens[1].cancel()
        await asyncio.wait(tokens[1:])
    with pytest.raises(Away):
        await tokens[0]
    assert tokens[1].cancelled()
    await server.stop(0)


async def test_all_ready_nodes_are_asked_before_a_pod_is_ended(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        (tmp_path / "n2").mkdir()
        first, second = Machine(tmp_path), Machine(tmp_path / "n2", "n2", "192.0.2.2")
        joined = [await join(control.server, await control.token(), name) for name in ("n1", "n2")]
        async with first.agent(joined[0]) as agent, second.agent(joined[1]) as other:
            await control.give_addresses()
            await control.give_addresses("n2", "10.1.1.0/24")
            await until(lambda: node_ready(control) and other.node.network_ready)
            await control.create(pod())
            await until(lambda: ready(control))
            service, piece = _served(control)
            await control.create(service)
            await control.create(piece)
            await until(lambda: _offered(agent))
            await control.change(kinds.POD, "default", "web", _deleted)
            await control.change(kinds.ENDPOINT_SLICE, "default", "web-1", _dropped)
            changed = control.registry.view.get(kinds.ENDPOINT_SLICE, "default", "web-1")
            assert changed is not None
            await until(lambda: agent._reach.reached >= int(changed.metadata.resource_version))
            await until(lambda: pods_of(control) == [])


def _offered(agent: Agent) -> bool:
    return agent.objects.get(Key(kinds.ENDPOINT_SLICE.resource, "default", "web-1")) is not None


def _served(control: Plane) -> tuple[core.Service, discovery_v1.EndpointSlice]:
    found = control.pod()
    assert found is not None
    endpoint = discovery_v1.Endpoint(
        addresses=(found.status.pod_ip,), target_ref=core.ObjectReference(kind="Pod", uid=found.metadata.uid)
    )
    service = core.Service(
        metadata=meta.ObjectMeta(name="web", namespace="default"),
        spec=core.ServiceSpec(cluster_ip="10.96.0.20", ports=(core.ServicePort(port=80),)),
    )
    piece = discovery_v1.EndpointSlice(
        metadata=meta.ObjectMeta(
            name="web-1", namespace="default", labels={"kubernetes.io/service-name": "web"}
        ),
        address_type="IPv4",
        endpoints=(endpoint,),
    )  # fmt: skip
    return service, piece


def _dropped(have: discovery_v1.EndpointSlice) -> discovery_v1.EndpointSlice:
    (endpoint,) = have.endpoints
    gone = msgspec.structs.replace(endpoint, conditions=discovery_v1.EndpointConditions(ready=False))
    return msgspec.structs.replace(have, endpoints=(gone,))
