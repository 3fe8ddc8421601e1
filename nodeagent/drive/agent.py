"""The agent, put together: who tells whom, in which order things begin, and what outlives what.

    session --objects--> pods, services           pods --status, events--> outbox --> session
    watcher, prober, results --> pods --step--> performer --> runtime, network, volumes

Everything runs in one task group: the end of one task is the end of all, and containers outlive them. The agent
begins with its checkpoint and does not wait for the control plane; it removes nothing that it does not know before
the control plane has told everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import structlog

from mizzen.api import kinds
from mizzen.api.references import TokenWish
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Clock, Key
from nodeagent.csi.registrations import Registrations
from nodeagent.csi.volumes import CsiVolumes
from nodeagent.drive import machine
from nodeagent.drive.addresses import Addresses
from nodeagent.drive.attend import SERVICE, Attendance, Nobody, control_planes
from nodeagent.drive.cgroups import Cgroups
from nodeagent.drive.checkpoint import Checkpoint, CheckpointFile, ClusterFacts
from nodeagent.drive.context import NodeContext
from nodeagent.drive.credentials import Credentials, CredentialsStore
from nodeagent.drive.departures import Departures
from nodeagent.drive.drivers import Drivers
from nodeagent.drive.engine import own_version
from nodeagent.drive.hooks import Hooks
from nodeagent.drive.image_loads import ImageLoads
from nodeagent.drive.images import Images
from nodeagent.drive.ingress import IngressSync
from nodeagent.drive.keeper import Keeper
from nodeagent.drive.last_words import LastWords
from nodeagent.drive.metrics import Metrics
from nodeagent.drive.mirrors import Mirrors
from nodeagent.drive.node_status import NodeStatus
from nodeagent.drive.objects import Objects, Told
from nodeagent.drive.observe import Watcher
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.page import MetricsPage
from nodeagent.drive.perform import Performer, Slots
from nodeagent.drive.pods import Pods
from nodeagent.drive.prober import Prober
from nodeagent.drive.reach import Reach
from nodeagent.drive.reclaim import Reclaimer
from nodeagent.drive.renew import Renewer
from nodeagent.drive.scrape import Scraper, addressed
from nodeagent.drive.services import ServiceSync
from nodeagent.drive.session import Place, Session
from nodeagent.drive.settings import AgentSettings
from nodeagent.drive.shutdown import ShutDown
from nodeagent.drive.static_pods import MirrorKeeper, StaticPods
from nodeagent.drive.streams import Streams
from nodeagent.drive.sweep import Sweep
from nodeagent.drive.tokens import Issued, Tokens
from nodeagent.drive.upkeep import Around, Upkeep
from nodeagent.drive.usage import Meter
from nodeagent.network.port import Network, NetworkConfig, NetworkError
from nodeagent.network.resolv import parse as parse_resolv
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import RuntimeInfo, Status
from nodeagent.volumes.images import ImageVolumes
from nodeagent.volumes.nfs import Nfs
from nodeagent.volumes.port import Volumes

CONFIGS = tuple(kind.resource for kind in (kinds.CONFIG_MAP, kinds.SECRET, kinds.PERSISTENT_VOLUME_CLAIM))
NETWORK_RETRY_S = 2.0

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the agent works with; exchanged in tests."""

    runtime: Runtime
    network: Network
    volumes: Volumes
    clock: Clock
    rng: Random
    nfs: Nfs = field(default_factory=Nfs)
    mirrors: MirrorKeeper | None = None
    """None: over the session's endpoint, with the node's certificate."""


class Agent:
    """One node's agent."""

    def __init__(self, settings: AgentSettings, parts: Parts, credentials: Credentials, info: RuntimeInfo) -> None:
        self._settings, self._parts = settings, parts
        self._network_config: NetworkConfig | None = None
        self._network_wanted = asyncio.Event()
        runtime, clock = parts.runtime, parts.clock
        self.metrics = Metrics(credentials.node)
        self.objects = Objects()
        self.node = NodeContext(name=credentials.node, ip=settings.node_ip, objects=self.objects)
        self.node.resolver = parse_resolv(machine.text("/etc/resolv.conf"))
        self.node.hosts = machine.text("/etc/hosts")
        self.outbox = Outbox(credentials.node)
        self.watcher = Watcher(runtime, clock, self.metrics, settings.relist_s)
        self._scraper = Scraper(self._addressed, self.outbox, clock)
        self._meter = Meter(self.watcher, clock, Cgroups(), self._scraper.found)
        self._registrations = Registrations(settings.kubelet_dir / "plugins_registry")
        self._volumes = self._make_volumes()
        self._reclaimer = Reclaimer(
            node=self.node.name, folder=settings.local_folder, nfs=parts.nfs, objects=self.objects,
            outbox=self.outbox, clock=clock,
        )  # fmt: skip
        self._addresses, self._reach = Addresses(), Reach()
        self._departures = Departures(self.objects, self._reach)
        self._ingress = IngressSync(self.node.name, self.objects, settings.data_dir, self.outbox.teller(clock))
        self._services = ServiceSync(parts.network, self.node, self._addresses, self._reach, self.outbox.teller(clock))
        self._prober = Prober(runtime, clock, parts.rng, self.metrics)
        self._last_words = LastWords(runtime, self._volumes)
        self._tokens = Tokens(self._ask_token, clock)
        self._images = Images(runtime, clock, self.metrics, settings.pulls_at_once)
        self.pods = self._make_pods()
        self._tokens.changed = self.pods.set_up_again
        self.pods.placed = lambda: self._services.pods_changed(slot.pod for slot in self.pods.slots())
        self._status = self._make_status(info)
        self._drivers = Drivers(
            self._registrations, self._volumes, self.node, self.pods, self.outbox, self._status.tell, self.metrics
        )
        self._streams = Streams(
            runtime=runtime, pods=self.pods, watcher=self.watcher, node=self.node, clock=clock,
            page=lambda: self.page.address, image_loads=ImageLoads(runtime, self._images_loaded),
        )  # fmt: skip
        self._sweep = Sweep(self.watcher, self.pods, self._addresses, parts.network, self._volumes)
        self._upkeep = Upkeep(settings, self._around(info))
        self._keeper = Keeper(CheckpointFile(settings.data_dir / "checkpoint.json"), self._checkpoint, self._is_dirty)
        self.session = self._make_session()
        self._attendance = Attendance(self._others, self._session_with)
        self._renewer = Renewer(
            credentials,
            CredentialsStore(settings.data_dir),
            clock,
            parts.rng,
            self.metrics,
            endpoint=lambda: self.session.endpoint,
            renewed=self.session.reconnect,
        )
        self._static = self._make_static()
        self.page = MetricsPage(self.metrics, self._meter, lambda: ", ".join(self._problems()), self._measure)
        self._objects_dirty = False

    def _make_volumes(self) -> CsiVolumes:
        data, kubelet = self._settings.data_dir, self._settings.kubelet_dir
        others = ImageVolumes(self._parts.volumes, self._parts.runtime, data / "image-volumes")
        return CsiVolumes(others, self._registrations, kubelet, data / "csi", machine.boot_id())

    def _make_status(self, info: RuntimeInfo) -> NodeStatus:
        return NodeStatus(
            settings=self._settings,
            node=self.node,
            runtime=self._parts.runtime,
            info=info,
            outbox=self.outbox,
            clock=self._parts.clock,
            problems=self._problems,
            nfs=self._parts.nfs,
            volumes_in_use=self._volumes.in_use,
        )

    def _make_pods(self) -> Pods:
        parts, settings = self._parts, self._settings
        performer = Performer(
            runtime=parts.runtime,
            network=parts.network,
            guard=self._services.guard,
            volumes=self._volumes,
            watcher=self.watcher,
            images=self._images,
            addresses=self._addresses,
            hooks=Hooks(parts.runtime, self.metrics),
            tokens=self._tokens,
            node=self.node,
            clock=parts.clock,
            metrics=self.metrics,
            slots=Slots(asyncio.Semaphore(settings.starts_at_once), asyncio.Semaphore(settings.stops_at_once)),
        )
        return Pods(
            node=self.node,
            watcher=self.watcher,
            performer=performer,
            prober=self._prober,
            addresses=self._addresses,
            last_words=self._last_words,
            departures=self._departures,
            outbox=self.outbox,
            clock=parts.clock,
            metrics=self.metrics,
        )

    def _make_static(self) -> StaticPods:
        return StaticPods(
            folder=self._settings.static_folder,
            node=self.node,
            pods=self.pods,
            outbox=self.outbox,
            clock=self._parts.clock,
            mirrors=self._parts.mirrors or Mirrors(lambda: self._renewer.credentials, lambda: self.session.endpoint),
        )

    def _around(self, info: RuntimeInfo) -> Around:
        return Around(
            runtime=self._parts.runtime,
            clock=self._parts.clock,
            info=info,
            node=self.node,
            outbox=self.outbox,
            watcher=self.watcher,
            meter=self._meter,
            pods=self.pods,
            images=self._images,
            status=self._status,
        )

    def _make_session(self) -> Session:
        return Session(
            credentials=lambda: self._renewer.credentials,
            endpoints=self._endpoints,
            receiver=self,
            outbox=self.outbox,
            open_stream=self._streams.open,
            clock=self._parts.clock,
            rng=self._parts.rng,
            changed=self._session_changed,
            agent_version=own_version(),
            boot_id=machine.boot_id(),
            meter=self._meter,
            reach=self._reach,
        )

    def _session_with(self, endpoint: str) -> Session:
        return Session(
            credentials=lambda: self._renewer.credentials,
            endpoints=lambda: (endpoint,),
            receiver=Nobody(self.node.name),
            outbox=Outbox(self.node.name),
            open_stream=self._streams.open,
            clock=self._parts.clock,
            rng=self._parts.rng,
            changed=lambda: None,
            agent_version=own_version(),
            boot_id=machine.boot_id(),
            meter=self._meter,
            reach=self._reach,
            streams_only=True,
        )

    def _session_changed(self) -> None:
        self.metrics.session_connected.set(int(self.session.connected))
        self._attendance.changed()

    def _images_loaded(self) -> None:
        self._images.forget()
        self.pods.images_changed()

    # --------------------------------------------------------------------------------------------- control planes

    def _control_planes(self) -> list[str]:
        _, _, port = self._renewer.credentials.endpoint.rpartition(":")
        return control_planes(self.objects.cache, port)

    def _endpoints(self) -> list[str]:
        """Where the session may be: where the node has joined, and where the cluster says."""
        first = self._renewer.credentials.endpoint
        return [first, *(endpoint for endpoint in self._control_planes() if endpoint != first)]

    def _others(self) -> list[str]:
        """The control planes to attend; a single one is where the session is, by whatever name it was reached."""
        known = self._control_planes()
        return [endpoint for endpoint in known if endpoint != self.session.endpoint] if len(known) > 1 else []

    # ------------------------------------------------------------------------------------------------ life

    async def run(self) -> None:
        """Serve the node until cancelled or `power_fails`; containers, addresses and rules stay as they are then."""
        await self.prepare()
        try:
            async with asyncio.TaskGroup() as group:
                self.begin(group)
                group.create_task(self.session.run(), name="session")
                group.create_task(self._attendance.run(), name="attendance")
                group.create_task(self._meter.run(), name="usage")
                group.create_task(self._renewer.run(), name="renew")
        except* ShutDown:
            _LOG.info("node_shut_down")
        finally:
            await self.finish()

    def power_fails(self) -> None:
        """The machine is going down: end the pods in order, and then the agent."""
        self._upkeep.shutdown.begun.set()

    async def prepare(self) -> None:
        """Take over what is there: the checkpoint, attached pods; open the metrics' port. Raises OSError."""
        self._restore(await asyncio.to_thread(self._keeper.file.load))
        self._addresses.adopt(await self._parts.network.adopt())
        if self._settings.metrics_port >= 0:
            await self.page.start(self._settings.metrics_host, self._settings.metrics_port)

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Begin everything that goes on without the control plane."""
        self._prober.group = self._last_words.group = self._streams.group = group
        for name, body in (
            ("watcher", self.watcher.run()),
            ("network", self._keep_network()),
            ("pods", self.pods.run()),
            ("services", self._services.run()),
            ("ingress", self._ingress.run()),
            ("node-status", self._status.run()),
            ("tokens", self._tokens.run()),
            ("sweep", self._sweep.run()),
            ("reclaim", self._reclaimer.run()),
            ("drivers", self._drivers.run()),
            ("static-pods", self._static.run()),
            ("checkpoint", self._keeper.run()),
            ("scraper", self._scraper.run()),
            *((name, run()) for name, run in self._upkeep.tasks()),
        ):
            group.create_task(body, name=name)

    async def finish(self) -> None:
        """Write the last checkpoint and let go; containers, addresses and rules stay as they are."""
        await self._keeper.save()
        await self.page.stop()
        await self._parts.network.stop(remove=False)

    def _restore(self, kept: Checkpoint) -> None:
        """Go on where the last agent on this machine ended."""
        told = [Told(Key(o.resource, o.namespace, o.name), o.version, bytes(o.raw)) for o in kept.objects]
        self.objects.restore(kept.epoch, kept.position, told)
        self.node.facts = kept.facts
        self._static.load(kept.pods)
        for pod in self.objects.pods():
            if not self._static.told(pod.metadata.namespace, pod.metadata.name, pod):
                self.pods.update(pod, kept.pods.get(pod.metadata.uid))
        self._services.restart()
        self._network_wanted.set()
        _LOG.info("restored", objects=len(told), pods=len(kept.pods))

    def _problems(self) -> tuple[str, ...]:
        """Why the node can't run pods now."""
        found = ["node is shutting down"] if self.node.shutting_down else []
        if self.watcher.failure:
            found.append(f"container runtime is down: {self.watcher.failure}")
        if not self.node.network_ready:
            found.append("container runtime network not ready: the node has no pod CIDR yet")
        return tuple(found)

    # -------------------------------------------------------------------------------------- told by the session

    def hello(self) -> tuple[core.Node, Place]:
        """See `session.Receiver`."""
        return self._status.object(), Place(self.objects.epoch, self.objects.version)

    def welcomed(self, facts: ClusterFacts, epoch: str, *, resumed: bool) -> None:
        """See `session.Receiver`."""
        if epoch != self.objects.epoch:
            self._reach.begin_history()
        self.objects.begin_round(epoch, resumed=resumed)
        self._take_facts(facts)
        self._tokens.connected()
        self._status.tell(always=True)
        self._drivers.welcomed()

    def wanted(self, metrics: Mapping[str, frozenset[str]]) -> None:
        """See `session.Receiver`."""
        self._scraper.want(metrics)

    def _addressed(self) -> list[tuple[core.Pod, str]]:
        return addressed(self.pods.slots(), self.node, self._addresses)

    def parted(self) -> None:
        """See `session.Receiver`."""
        self._tokens.disconnected()

    async def _ask_token(self, pod: core.Pod, wish: TokenWish) -> Issued:
        return await self.session.token(pod, wish)

    def told(self, items: list[Told], version: int, *, synced: bool) -> None:
        """See `session.Receiver`."""
        changed = self.objects.apply(items, version, synced=synced)
        self._objects_dirty = True
        configs = [key for key in changed if key.resource in CONFIGS]
        if configs:
            self.pods.configs_changed(configs)
        if synced or any(key.resource == kinds.PERSISTENT_VOLUME.resource for key in changed):
            self._reclaimer.changed()
        for key in changed:
            if key.resource == kinds.POD.resource:
                self._pod_changed(key)
            elif key.resource == kinds.NODE.resource and key.name == self.node.name:
                self._take_facts(self.node.facts)
            elif key.resource == kinds.SERVICE_CIDR.resource:
                self._network_wanted.set()
            elif (key.namespace, key.name) == SERVICE:
                self._attendance.changed()
        self._services.changed(changed, synced=synced)
        self._drivers.changed(changed)
        self._departures.objects_changed(changed)
        self._ingress.changed(changed)
        if synced:
            self._sweep.round_done.set()

    def _pod_changed(self, key: Key) -> None:
        pod = self.objects.cache.get(kinds.POD, key.namespace, key.name)
        if self._static.told(key.namespace, key.name, pod):
            return
        if pod is None:
            self.pods.remove(key.namespace, key.name)
        else:
            self.pods.update(pod)

    def _take_facts(self, facts: ClusterFacts) -> None:
        """The cluster's facts; the node's own share of addresses may come later than the rest, with its object."""
        own = self.objects.cache.get(kinds.NODE, "", self.node.name)
        cidr = facts.pod_cidr or (own.spec.pod_cidr if own is not None else "")
        self.node.facts = ClusterFacts(
            pod_cidr=cidr or self.node.facts.pod_cidr,
            cluster_cidr=facts.cluster_cidr,
            service_cidr=facts.service_cidr,
            cluster_dns=facts.cluster_dns,
            cluster_domain=facts.cluster_domain,
        )
        self._network_wanted.set()

    # ------------------------------------------------------------------------------------------------- network

    async def _keep_network(self) -> None:
        """Start the network as soon as its facts are known, and again when they change."""
        while True:
            await self._network_wanted.wait()
            self._network_wanted.clear()
            config = self._config()
            if config is None or config == self._network_config:
                continue
            try:
                if self._network_config is not None:
                    await self._parts.network.stop(remove=False)
                await self._parts.network.start(config)
            except NetworkError as error:
                _LOG.error("network_not_started", error=str(error), retry_s=NETWORK_RETRY_S)
                await asyncio.sleep(NETWORK_RETRY_S)
                self._network_wanted.set()
                continue
            _LOG.info("network_started", pod_cidr=config.pod_cidr)
            self._network_config = config
            self.node.network_ready = True
            self._services.restart()
            self._status.tell()
            for slot in self.pods.slots():
                self.pods.poke(slot.pod.metadata.uid)

    def _config(self) -> NetworkConfig | None:
        facts = self.node.facts
        if not facts.pod_cidr or not facts.service_cidr:
            return None
        resolver = self.node.resolver
        return NetworkConfig(
            node_ip=self.node.ip,
            pod_cidr=facts.pod_cidr,
            cluster_cidr=facts.cluster_cidr,
            service_cidrs=self.node.service_ranges(),
            cluster_dns=facts.cluster_dns,
            cluster_domain=facts.cluster_domain,
            overlay=self._settings.overlay,
            upstreams=tuple(server for server in resolver.nameservers if server != facts.cluster_dns),
        )

    # ---------------------------------------------------------------------------------------- checkpoint, metrics

    def _is_dirty(self) -> bool:
        dirty = self.pods.dirty or self._objects_dirty
        self.pods.dirty = self._objects_dirty = False
        return dirty

    def _checkpoint(self) -> Checkpoint:
        return self._keeper.checkpoint(self.objects, self.node.facts, self.pods.memories())

    def _measure(self) -> None:
        """What is only counted when somebody asks."""
        states = [state for seen in self.watcher.everything() for state in seen.containers]
        for status in Status:
            count = sum(1 for state in states if state.status is status)
            self.metrics.running_containers.labels(str(status)).set(count)
        sandboxes = (sandbox for seen in self.watcher.everything() for sandbox in seen.sandboxes)
        self.metrics.running_pods.set(len({s.pod.uid for s in sandboxes if s.status is Status.RUNNING}))
        self.metrics.events_dropped.set(self.outbox.dropped)
