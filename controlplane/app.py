"""The control plane put together: store, registry, servers, and the deciders while this process leads.

The only module that knows every part. Everything is started in the order in which it is needed and ended in the
reverse one; whatever part breaks ends the process with its reason, so that a supervisor starts it whole again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import prometheus_client
import structlog

from controlplane import bootstrap, bootstrap_extensions, settings_oidc
from controlplane.access.values import ACCOUNTS, AUTHENTICATED, UserInfo, account_user
from controlplane.admission.effects import write_of
from controlplane.admission.request import Settings as AdmissionSettings
from controlplane.bootstrap_roles import ensure_roles
from controlplane.drive.availability import Availability
from controlplane.drive.controllers import Controllers
from controlplane.drive.events import Recorder
from controlplane.drive.leader import lead
from controlplane.drive.metrics import WorkqueueCollector
from controlplane.drive.metrics_feed import MetricsFeed
from controlplane.drive.perform import Performer
from controlplane.drive.scheduler import SchedulerDriver
from controlplane.drive.sign import issued, signed
from controlplane.plan.whatif import Snapshot, planned, planner
from controlplane.reconcilers import every_controller
from controlplane.reconcilers.scalingmetrics import Sources
from controlplane.scheduling import moving
from controlplane.server import pki, why
from controlplane.server.aggregation.aggregator import Aggregator
from controlplane.server.aggregation.backends import FrontProxy
from controlplane.server.audit import Auditor
from controlplane.server.audit_log import AuditLog
from controlplane.server.authn import VerifyToken, either
from controlplane.server.components import LEADER
from controlplane.server.grpc_api import ClusterService, Planner
from controlplane.server.grpc_server import Listen, grpc_server
from controlplane.server.image_loads import ImageLoads
from controlplane.server.join_api import JoinApi
from controlplane.server.logins import Logins
from controlplane.server.metric_apis.values import MetricValues
from controlplane.server.metrics import Metrics
from controlplane.server.node_gateway import ClusterFacts, NodeGateway
from controlplane.server.node_reports import Reports
from controlplane.server.outward.dial import Dialer
from controlplane.server.presence import Presence, check_authority
from controlplane.server.rest_api import Deps, RestApi
from controlplane.server.rest_audited import AuditedRestApi
from controlplane.server.rest_listen import listen
from controlplane.server.rest_site import SiteInfo
from controlplane.server.serving import ServingCertificate
from controlplane.server.tokens import Tokens
from controlplane.server.verbs import Verbs
from controlplane.settings import ServerSettings
from controlplane.store.compactor import run_compactor
from controlplane.store.crypt import load_or_create
from controlplane.store.embedded import EmbeddedEtcd
from controlplane.store.etcd import EtcdStore
from controlplane.store.etcd_client import TlsFiles
from controlplane.store.registry import Registry
from controlplane.store.values import Require
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import RandomIds
from mizzen.client import config as kubeconfig
from mizzen.engine.effects import Issue, Sign
from mizzen.engine.plans import Plan, Question

_LOG = structlog.get_logger(__name__)

AUTOSCALER = UserInfo(
    account_user("kube-system", "horizontal-pod-autoscaler"), (ACCOUNTS, f"{ACCOUNTS}:kube-system", AUTHENTICATED)
)
"""Who asks extension servers for metrics."""
CONTROLLERS = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
"""Whom tools know as managers of the fields that controllers and the scheduler set."""


@dataclass(frozen=True, slots=True)
class _Core:
    """What the servers and the deciders share."""

    store: EtcdStore
    registry: Registry
    verbs: Verbs
    dialer: Dialer
    authority: pki.Pki
    tokens: Tokens
    logins: Logins
    """Of other issuers, whose tokens are believed, too."""
    auditor: Auditor | None
    """Who writes down what is asked; None where nothing is written."""
    admission: AdmissionSettings
    clock: SystemClock
    ids: RandomIds

    @property
    def verify_token(self) -> VerifyToken:
        """Whom tokens stand for."""
        return either(self.tokens.user_of, self.logins.user_of)


async def serve(settings: ServerSettings, ready: Callable[[], None]) -> None:
    """Runs a control plane until it breaks or is cancelled; calls `ready` once it serves.

    Raises StoreError or OSError (possibly in a group) for what an operator can mend.
    """
    async with AsyncExitStack() as stack:
        core = await _core(settings, stack)
        aggregator = await _aggregator(core)
        stack.push_async_callback(aggregator.close)
        feed = _feed(core, aggregator)
        controllers, recorder = _deciders(settings, core, feed)
        gateway = _gateway(settings, core)
        core.dialer.carry(gateway.streams)
        metrics = Metrics(prometheus_client.REGISTRY)
        cluster = _cluster(settings, core, gateway, controllers, metrics)
        where = Listen(settings.bind_address, settings.grpc_port, settings.grpc_token_port)
        serving = ServingCertificate(partial(_server_pair, settings, core), core.authority.folder)
        await stack.enter_async_context(
            grpc_server(where, lambda: serving.pair, core.authority.ca_pem, cluster, gateway)
        )
        await stack.enter_async_context(_rest_server(settings, core, gateway, metrics, aggregator, serving.tls))
        await bootstrap.first_token(core.verbs, core.authority, settings, core.clock.now(), core.ids)
        _write_kubeconfig(settings, core)

        async def decide(fence: Require) -> None:
            scheduling = partial(_write_of, core, SCHEDULER)
            performing = Performer(core.registry, scheduling, recorder.record, core.clock, core.ids)
            scheduler = SchedulerDriver(core.registry, performing, scheduling, recorder.record, core.clock, core.ids)
            availability = Availability(core.registry, performing, aggregator.probe, core.clock)
            async with asyncio.TaskGroup() as group:
                group.create_task(recorder.run(fence), name="events")
                group.create_task(availability.run(fence), name="availability")
                group.create_task(controllers.run(fence), name="controllers")
                group.create_task(scheduler.run(fence), name="scheduler")

        identity = f"{settings.advertise_address}_{core.ids.uid('leader')}"
        async with asyncio.TaskGroup() as group:
            group.create_task(lead(core.store, LEADER, identity, settings.leader_ttl_s, decide), name="leader")
            group.create_task(run_compactor(core.store), name="compactor")
            group.create_task(core.registry.ended(), name="registry")
            group.create_task(aggregator.run(), name="aggregator")
            group.create_task(feed.run(), name="metrics-feed")
            group.create_task(serving.run(), name="certificate")
            group.create_task(core.logins.run(), name="logins")
            if bootstrap.is_reached(settings):
                presence = Presence(
                    core.registry, settings.advertise_address, core.authority.ca_hash, core.clock, core.ids
                )
                group.create_task(presence.run(), name="presence")
            ready()


async def _core(settings: ServerSettings, stack: AsyncExitStack) -> _Core:
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    clock, ids = SystemClock(), RandomIds()
    endpoints, tls = settings.etcd, _etcd_tls(settings)
    if not endpoints:
        _LOG.info("starting etcd", folder=str(settings.data_dir / "etcd"))
        etcd = await stack.enter_async_context(EmbeddedEtcd(settings.data_dir / "etcd"))
        endpoints = etcd.endpoints
    sealer = load_or_create(settings.data_dir / "secrets.key")
    store = await EtcdStore.open(endpoints, tls=tls, sealer=sealer, deadline_s=30)
    stack.push_async_callback(store.close)
    registry = Registry(store)
    await registry.start()
    stack.push_async_callback(registry.close)
    admission = AdmissionSettings(
        service_cidr=settings.service_cidr, external_ips=settings.allow_external_ips, service_accounts=True
    )
    dialer = Dialer()
    stack.push_async_callback(dialer.close)
    verbs = Verbs.over(registry, clock, ids, admission, dialer)
    stack.push_async_callback(verbs.close)
    await bootstrap.ensure_basics(verbs, settings)
    await ensure_roles(verbs)
    authority = pki.Pki.open(settings.data_dir / "pki", clock.now())
    check_authority(registry.view, settings.advertise_address, authority, clock.now())
    tokens = Tokens(authority.account_key(), settings.issuer, registry, clock, ids)
    await bootstrap.note_account_key(verbs, tokens.key_id)
    reread = partial(settings_oidc.of_file, settings.issuer)
    logins = Logins(settings.authentication, clock, settings.authentication_file, reread)
    auditor = None
    if settings.audit is not None:
        log = AuditLog(settings.audit.file, prometheus_client.REGISTRY)
        stack.callback(log.close)
        auditor = Auditor(settings.audit.policy, log)
    return _Core(store, registry, verbs, dialer, authority, tokens, logins, auditor, admission, clock, ids)


def _etcd_tls(settings: ServerSettings) -> TlsFiles | None:
    if settings.etcd_ca is None:
        return None
    return TlsFiles(settings.etcd_ca, settings.etcd_certificate, settings.etcd_key)


def _write_of(core: _Core, manager: str, effect: Any, view: Any, now: Any, ids: Any) -> Any:
    if isinstance(effect, Sign):
        effect = signed(core.authority, effect, now)
    elif isinstance(effect, Issue):
        effect = issued(core.tokens, effect, core.authority.ca_pem)
    return write_of(effect, view, now, ids, core.admission, manager)


def _feed(core: _Core, aggregator: Aggregator) -> MetricsFeed:
    values = MetricValues(lambda: core.registry.view, core.verbs.usages)
    return MetricsFeed(values, aggregator.claims, partial(aggregator.ask, user=AUTOSCALER), core.clock)


def _deciders(settings: ServerSettings, core: _Core, feed: MetricsFeed) -> tuple[Controllers, Recorder]:
    recorder = Recorder(core.registry, core.clock, core.ids)
    controlling = partial(_write_of, core, CONTROLLERS)
    outside = partial(core.verbs.admission.write_of, CONTROLLERS)
    performer = Performer(core.registry, controlling, recorder.record, core.clock, core.ids, outside)
    collector = WorkqueueCollector(core.clock)
    prometheus_client.REGISTRY.register(collector)
    every = partial(
        every_controller,
        node_grace_ms=settings.node_grace_ms,
        cluster_cidr=settings.cluster_cidr,
        node_prefix=settings.node_prefix,
        ca_pem=core.authority.ca_pem.decode(),
        sources=Sources(core.verbs.usages.pod, feed.metrics),
        find_better=moving.better,
        event_ttl_ms=settings.event_ttl_ms,
        balancer_pool=settings.balancer_pool,
    )
    controllers = Controllers(every, core.registry, performer, core.clock, core.ids, collector)
    return controllers, recorder


def _cluster(
    settings: ServerSettings, core: _Core, gateway: NodeGateway, controllers: Controllers, metrics: Metrics
) -> ClusterService:
    return ClusterService(
        core.verbs,
        gateway.streams,
        _planner(settings, core),
        partial(why.reasons, controllers.stories),
        metrics,
        core.tokens,
        core.verify_token,
        ImageLoads(gateway.streams, core.registry.view),
        core.logins.hears_nobody,
        core.auditor,
    )


def _planner(settings: ServerSettings, core: _Core) -> Planner:
    def snapshot() -> Snapshot:
        registry = core.registry
        entries = (entry for kind in planned(registry.catalog) for entry in registry.entries(kind))
        return Snapshot([entry.object() for entry in entries], registry.revision, registry.catalog)

    prepare = planner(snapshot, core.clock.now, heartbeat_ms=settings.heartbeat_ms, grace_ms=settings.node_grace_ms)

    async def plan(question: Question) -> Plan:
        # Seconds of arithmetic: beside the event loop, which goes on meanwhile.
        return await asyncio.to_thread(prepare(question))

    return plan


def _gateway(settings: ServerSettings, core: _Core) -> NodeGateway:
    facts = ClusterFacts(
        epoch=bootstrap.epoch(core.verbs),
        cluster_cidr=settings.cluster_cidr,
        service_cidr=settings.service_cidr,
        cluster_dns=settings.cluster_dns,
        cluster_domain=settings.cluster_domain,
        heartbeat_interval_ms=settings.heartbeat_ms,
    )
    reports = Reports(core.registry, core.clock, core.ids)
    return NodeGateway(
        core.registry, core.authority, reports, facts, core.clock, core.ids, core.tokens, core.verbs.usages
    )


def _server_pair(settings: ServerSettings, core: _Core) -> pki.KeyPair:
    api = bootstrap.API_SERVICE
    names = (
        settings.advertise_address, "127.0.0.1", "localhost", bootstrap.api_address(settings.service_cidr),
        api, f"{api}.default", f"{api}.default.svc", f"{api}.default.svc.{settings.cluster_domain}",
    )  # fmt: skip
    subject = pki.Subject("mizzen-server", names=tuple(dict.fromkeys(names)), server=True, client=False)
    return core.authority.pair("server", subject, core.clock.now())


async def _aggregator(core: _Core) -> Aggregator:
    folder, now = core.authority.folder / "front-proxy", core.clock.now()
    front = pki.Pki.open(folder, now, "mizzen-front-proxy-ca")
    front.pair("client", pki.Subject(bootstrap_extensions.FRONT_PROXY), now)
    await bootstrap_extensions.ensure(core.verbs, core.authority.ca_pem.decode(), front.ca_pem.decode())
    return Aggregator(core.registry, core.dialer, FrontProxy(folder / "client.crt", folder / "client.key"))


@asynccontextmanager
async def _rest_server(
    settings: ServerSettings,
    core: _Core,
    gateway: NodeGateway,
    metrics: Metrics,
    aggregator: Aggregator,
    tls: ssl.SSLContext,
) -> AsyncIterator[None]:
    joining = JoinApi(core.registry, core.authority, core.clock, settings.grpc_port, gateway.connected)
    address = f"{settings.advertise_address}:{settings.https_port}"
    deps = Deps(
        verbs=core.verbs,
        streams=gateway.streams,
        dialer=core.dialer,
        site=SiteInfo(address=address, documents=core.tokens.documents(address)),
        metrics=metrics,
        aggregator=aggregator,
        verify_token=core.verify_token,
        hears_nobody=core.logins.hears_nobody,
        tokens=core.tokens,
        routes=joining.routes(),
    )
    api = RestApi(deps) if core.auditor is None else AuditedRestApi(deps, core.auditor)
    async with listen(api, settings.bind_address, settings.https_port, tls):
        yield


def _write_kubeconfig(settings: ServerSettings, core: _Core) -> None:
    subject = pki.Subject(pki.ADMIN_USER, (pki.ADMIN_GROUP,), rsa=True)
    pair = core.authority.pair("admin", subject, core.clock.now())
    config = kubeconfig.ClusterConfig(
        server=f"https://{settings.advertise_address}:{settings.https_port}",
        grpc=f"{settings.advertise_address}:{settings.grpc_port}",
        grpc_tokens=f"{settings.advertise_address}:{settings.grpc_token_port}",
        ca_pem=core.authority.ca_pem,
        certificate_pem=pair.certificate_pem,
        key_pem=pair.key_pem,
    )
    _write_private(settings.kubeconfig, kubeconfig.render("mizzen", config, pki.ADMIN_USER))


def _write_private(path: Path, text: str) -> None:
    scratch = path.with_suffix(".new")
    scratch.touch(mode=0o600)
    scratch.write_text(text)
    scratch.replace(path)
