"""A real control plane that is killed in the middle of rollouts, over a real etcd and real agents.

The end is the one of a rollout in which nobody is killed, and on the way a deployment's bounds hold, as etcd tells it.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import podstate
from controlplane.store.crypt import load_or_create
from controlplane.store.etcd import EtcdStore
from controlplane.store.registry import Registry
from deploy.shell import tail
from mizzen.api import kinds
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.client import Client
from mizzen.client.config import load
from mizzen.engine.entry import Change
from nodeagent.drive import session
from nodeagent.drive.join import join
from tests.benchmarks.servers import free_ports
from tests.conformance.store.harness import EtcdMember
from tests.fixtures.likeness import likeness
from tests.fixtures.memory_node import Machine

pytestmark = [pytest.mark.etcd, pytest.mark.timeout(240)]

REPLICAS = 20
MOST, LEAST = 25, 15
"""A quarter more and a quarter less than desired: the bounds of a Deployment that sets none."""
IMAGES = ("web:1", "web:2")
NODES = {"n1": "192.0.2.1", "n2": "192.0.2.2"}
KILLED_AFTER = ((1, 12, 40), (2, 20, 60), (4, 30), (7, 80))
"""Each row is a rollout: after so many of its deciders' writes the control plane is killed, and started again."""
LIMIT_S = 60.0


class Process:
    """The control plane's process; while one runs, the next one imports what it needs and waits."""

    def __init__(self, folder: Path, etcd: str) -> None:
        self._folder = folder
        https, grpc, token_grpc = free_ports(3)
        self.server = f"127.0.0.1:{https}"
        self.argv = (
            f"--data-dir={folder} --etcd={etcd} --advertise-address=127.0.0.1 --bind-address=127.0.0.1 --leader-ttl=1s"
            f" --https-port={https} --grpc-port={grpc} --grpc-token-port={token_grpc}"
        ).split()
        self._log = (folder / "log").open("wb")
        self._running: subprocess.Popen[bytes] | None = None
        self._next = self._prepared()

    def _prepared(self) -> subprocess.Popen[bytes]:
        run = "import sys; from controlplane.__main__ import main; sys.stdin.read(1) and sys.exit(main(sys.argv[1:]))"
        command = (sys.executable, "-c", run, *self.argv)
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)

    async def start(self) -> None:
        """Start it; returns once it serves."""
        assert self._next.stdin is not None
        assert self._next.stdout is not None
        self._running = self._next
        self._next.stdin.write(b"\n")
        self._next.stdin.close()
        async with asyncio.timeout(LIMIT_S):
            while line := await asyncio.to_thread(self._next.stdout.readline):
                if line.startswith(b"The control plane serves"):
                    break
            else:
                raise RuntimeError(f"the control plane did not start:\n{tail(self._folder / 'log')}")
        self._next = self._prepared()

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        assert self._running is not None
        assert self._running.poll() is None, tail(self._folder / "log")
        self._end(self._running)
        self._running = None

    def close(self) -> None:
        """End what is left."""
        for process in (self._running, self._next):
            if process is not None:
                self._end(process)
        self._log.close()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


class Observer:
    """Sees every write in etcd's log, in order: counts those of deciders and holds a deployment to its bounds."""

    def __init__(self, registry: Registry) -> None:
        self.view = registry.view
        self.writes = 0
        self.broken: list[str] = []
        self._bounded = False
        self._pods: dict[str, core_v1.Pod] = {}
        self._changed = asyncio.Event()
        registry.subscribe(self._told)

    def hold(self) -> None:
        """From now on the bounds hold."""
        self._pods = {pod.metadata.name: pod for pod in self.view.list(kinds.POD)}
        self._bounded = True

    def _told(self, changes: Sequence[Change], _: int) -> None:
        for change in changes:
            self.writes += _decided(change)
            if change.entry.kind is kinds.POD:
                pod = change.entry.object()
                self._pods[pod.metadata.name] = pod
                if change.type == "DELETED":
                    del self._pods[pod.metadata.name]
                self._judge()
        self._changed.set()

    def _judge(self) -> None:
        active = sum(podstate.is_active(pod) for pod in self._pods.values())
        available = sum(podstate.is_ready(pod) for pod in self._pods.values() if not pod.metadata.deletion_timestamp)
        if self._bounded and not (active <= MOST and available >= LEAST):
            self.broken.append(f"{active} active and {available} available pods after {self.writes} writes")

    async def wrote(self, count: int) -> None:
        """Wait until deciders have written so often."""
        async with asyncio.timeout(LIMIT_S):
            while self.writes < count:
                await self._next()

    async def rolled_to(self, image: str) -> None:
        """Wait until a rollout is over and its old pods are gone."""
        async with asyncio.timeout(LIMIT_S):
            while not self.is_over(image):
                await self._next()

    def is_over(self, image: str) -> bool:
        """Whether a rollout is over."""
        web = self.view.get(kinds.DEPLOYMENT, "default", "web")
        if web is None or web.status.observed_generation != web.metadata.generation:
            return False
        status, pods = web.status, self.view.list(kinds.POD)
        counts = (status.replicas, status.updated_replicas, status.available_replicas)
        progressing = next((c.reason for c in status.conditions if c.type == "Progressing"), "")
        slices = [s for s in self.view.list(kinds.ENDPOINT_SLICE, "default") if s.metadata.generate_name == "web-"]
        return (
            counts == (REPLICAS,) * 3
            and not any(one.status.terminating_replicas for one in (web, *self.view.list(kinds.REPLICA_SET)))
            and progressing == "NewReplicaSetAvailable"
            and {pod.spec.containers[0].image for pod in pods} == {image}
            and len(pods) == REPLICAS
            and sum(one.conditions.ready is True for s in slices for one in s.endpoints) == REPLICAS
            and sum(len(s.endpoints) for s in slices) == REPLICAS
        )

    async def _next(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _decided(change: Change) -> bool:
    """Whether a change is a step of a rollout; what nodes report and users ask for is none."""
    if change.entry.kind is kinds.REPLICA_SET:
        return True
    if change.entry.kind is not kinds.POD:
        return False
    after = change.entry.object()
    before = change.previous.object() if change.previous is not None else None
    if before is None:
        return True
    bound = after.spec.node_name != before.spec.node_name
    return bound or after.metadata.deletion_timestamp != before.metadata.deletion_timestamp


class Cluster:
    """A cluster whose control plane can be killed."""

    def __init__(self, process: Process, folder: Path, observer: Observer) -> None:
        self.process = process
        self._kubeconfig = folder / "admin.kubeconfig"
        self.observer = observer

    async def deploy(self) -> None:
        """Run a service of twenty pods."""
        labels = {"app": "web"}
        container = core_v1.Container(name="web", image=IMAGES[0], image_pull_policy="IfNotPresent")
        template = core_v1.PodTemplateSpec(
            metadata=meta_v1.ObjectMeta(labels=labels), spec=core_v1.PodSpec(containers=(container,))
        )
        selector = meta_v1.LabelSelector(match_labels=labels)
        metadata = meta_v1.ObjectMeta(name="web", namespace="default")
        service = core_v1.ServiceSpec(selector=labels, ports=(core_v1.ServicePort(port=80),))
        async with Client(load(self._kubeconfig)) as client:
            spec = apps_v1.DeploymentSpec(replicas=REPLICAS, selector=selector, template=template)
            await client.create(apps_v1.Deployment(metadata=metadata, spec=spec))
            await client.create(core_v1.Service(metadata=metadata, spec=service))
        await self.observer.rolled_to(IMAGES[0])

    async def roll(self, image: str, killed_after: Sequence[int]) -> list[str]:
        """Roll to an image, and kill the control plane on the way; gives what the cluster is like then."""
        observer = self.observer
        before, pods = observer.writes, {pod.metadata.uid for pod in observer.view.list(kinds.POD)}
        async with Client(load(self._kubeconfig)) as client:
            web = await client.get(kinds.DEPLOYMENT, "default", "web")
            container = replace(web.spec.template.spec.containers[0], image=image)
            template = replace(web.spec.template, spec=replace(web.spec.template.spec, containers=(container,)))
            await client.update(replace(web, spec=replace(web.spec, template=template)))
        for writes in killed_after:
            await observer.wrote(before + writes)
            self.process.kill()
            assert not observer.is_over(image), f"over before {writes} writes"
            await self.process.start()
        await observer.rolled_to(image)
        assert not pods & {pod.metadata.uid for pod in observer.view.list(kinds.POD)}
        assert not observer.broken
        return likeness(observer.view)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A temporary folder whose path is short enough for sockets."""
    if shutil.which("etcd") is None:
        pytest.skip("no etcd: apt-get install etcd-server")
    with tempfile.TemporaryDirectory(prefix="mizzen-") as folder:
        yield Path(folder)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Cluster]:
    """A cluster of two nodes, whose machines are in memory."""
    member = EtcdMember(folder)
    member.start()
    async with AsyncExitStack() as stack:
        stack.callback(member.kill)
        server = folder / "server"
        server.mkdir()
        process = stack.enter_context(closing(Process(server, member.endpoint)))
        await process.start()
        for name, address in NODES.items():
            machine = Machine(folder / name, name, address, IMAGES)
            machine.folder.mkdir()
            joined = await join(process.server, (server / "join-token").read_text().strip(), name)
            await stack.enter_async_context(machine.agent(joined))
        store = await EtcdStore.open((member.endpoint,), sealer=load_or_create(server / "secrets.key"))
        stack.push_async_callback(store.close)
        registry = Registry(store)
        await registry.start()
        stack.push_async_callback(registry.close)
        yield Cluster(process, server, Observer(registry))


async def test_a_rollout_ends_the_same_however_often_the_control_plane_is_killed(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Agents wait the longer for a control plane, the oftener it went away in half a minute: here, not so long.
    monkeypatch.setattr(session, "PAUSE_MAX_S", 0.4)
    async with running(short_folder) as cluster:
        await cluster.deploy()
        cluster.observer.hold()
        undisturbed = {image: await cluster.roll(image, ()) for image in reversed(IMAGES)}
        for place, killed_after in enumerate(KILLED_AFTER):
            image = IMAGES[(place + 1) % len(IMAGES)]
            assert await cluster.roll(image, killed_after) == undisturbed[image], f"killed after {killed_after}"
