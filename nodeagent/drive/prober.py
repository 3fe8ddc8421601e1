"""Runs the probes that pods ask for, and hooks that are made the same way; what results mean is decided elsewhere.

Every probe is a task that sleeps until it is due. At most so many run at once, a run is bounded by its timeout, and
probes that would begin together (after the agent's restart) are spread over their period. Probes go from the node to
the pod's address.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import aiohttp
import grpc
import structlog
from grpc_health.v1 import health_pb2

from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Clock
from nodeagent.drive.metrics import Metrics
from nodeagent.lifecycle.containers import find
from nodeagent.lifecycle.observation import ProbeKind, Verdict
from nodeagent.lifecycle.probes import (
    Outcome,
    ProbeJob,
    ProbeState,
    after,
    begin,
    period_ms,
    port_of,
    timeout_ms,
)
from nodeagent.runtime.errors import Deadline, RuntimeFailure
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import PodRef

PROBES_AT_ONCE = 32
BODY_MAX_BYTES = 10 * 1024
USER_AGENT = "kube-probe/1.36"

Key = tuple[str, ProbeKind]
Answer = tuple[Outcome, str]

_LOG = structlog.get_logger(__name__)


@dataclass(slots=True)
class Target:
    """A pod that is probed."""

    pod: core.Pod
    ip: str


class Prober:
    """All probes of all pods; `changed` is called with a pod's uid when one of its verdicts is news."""

    def __init__(self, runtime: Runtime, clock: Clock, rng: Random, metrics: Metrics) -> None:
        self._runtime = runtime
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._slots = asyncio.Semaphore(PROBES_AT_ONCE)
        self._tasks: dict[str, dict[Key, asyncio.Task[None]]] = {}
        self._verdicts: dict[str, dict[Key, Verdict]] = {}
        self._targets: dict[str, Target] = {}
        self._began_ms = clock.now()
        self.changed: Callable[[str], None] = lambda _: None
        self.group: asyncio.TaskGroup | None = None
        """Where probes run; set before the first `sync`."""

    def verdicts(self, uid: str) -> dict[Key, Verdict]:
        """What the probes of a pod have found so far."""
        return self._verdicts.get(uid, {})

    def sync(self, pod: core.Pod, ip: str, jobs: tuple[ProbeJob, ...], ages_ms: dict[str, int]) -> None:
        """Run exactly these probes of a pod; `ages_ms` says for how long each container has been running."""
        uid = pod.metadata.uid
        running = self._tasks.get(uid)
        if not jobs and running is None:
            return
        running = self._tasks.setdefault(uid, {})
        self._targets[uid] = Target(pod, ip)
        wanted = {job.key: job for job in jobs}
        for key in [key for key in running if key not in wanted]:
            running.pop(key).cancel()
            self._verdicts.get(uid, {}).pop(key, None)
        assert self.group is not None, "the prober has not been started"
        for key, job in wanted.items():
            if key not in running:
                state = self._begin(job, ages_ms.get(job.container_id, 0))
                running[key] = self.group.create_task(self._run(uid, job, state))
        if not running:
            self.forget(uid)

    def forget(self, uid: str) -> None:
        """Probe a pod no more."""
        for task in self._tasks.pop(uid, {}).values():
            task.cancel()
        self._verdicts.pop(uid, None)
        self._targets.pop(uid, None)
        self._metrics.unprobed(uid)

    def _begin(self, job: ProbeJob, age_ms: int) -> ProbeState:
        # A container that is older than this agent was adopted, perhaps with a hundred others.
        adopted = age_ms > self._clock.now() - self._began_ms
        jitter_ms = self._rng.randrange(period_ms(job.probe)) if adopted else 0
        return begin(job.probe, age_ms, self._clock.monotonic_ms(), jitter_ms)

    async def _run(self, uid: str, job: ProbeJob, state: ProbeState) -> None:
        while True:
            await asyncio.sleep(max(state.due_ms - self._clock.monotonic_ms(), 0) / 1000)
            async with self._slots:
                outcome, message = await self._probe_safely(self._targets[uid], job)
            self._count(uid, job, outcome)
            before, state = state, after(job.probe, state, outcome, message, self._clock.monotonic_ms())
            if state.verdict != before.verdict:
                self._verdicts.setdefault(uid, {})[job.key] = state.verdict
                self.changed(uid)

    def _count(self, uid: str, job: ProbeJob, outcome: Outcome) -> None:
        meta = self._targets[uid].pod.metadata
        result = {Outcome.SUCCESS: "successful", Outcome.FAILURE: "failed", Outcome.ERROR: "unknown"}[outcome]
        pod = PodRef(uid=uid, namespace=meta.namespace, name=meta.name)
        self._metrics.probed(pod, job.container, job.kind.capitalize(), result)

    async def _probe_safely(self, target: Target, job: ProbeJob) -> Answer:
        try:
            return await self._probe(target, job)
        except Exception as error:
            # One pod's probe must not end all others; the mistake is in the log and in the pod's events.
            _LOG.exception("probe_broken", pod=target.pod.metadata.name, container=job.container, kind=job.kind)
            return Outcome.ERROR, f"{type(error).__name__}: {error}"

    async def _probe(self, target: Target, job: ProbeJob) -> Answer:
        probe, limit_s = job.probe, timeout_ms(job.probe) / 1000
        container = find(target.pod.spec, job.container)
        if container is None:
            return Outcome.ERROR, f"no container {job.container}"
        if probe.exec is not None:
            return await self._exec(job.container_id, probe.exec, limit_s)
        if probe.http_get is not None:
            return await http_get(probe.http_get, container, target.ip, limit_s)
        if probe.tcp_socket is not None:
            port = port_of(container, probe.tcp_socket.port)
            return await tcp_connect(probe.tcp_socket.host or target.ip, port, limit_s)
        if probe.grpc is not None:
            return await grpc_check(probe.grpc, target.ip, limit_s)
        return Outcome.ERROR, f"missing probe handler for {target.pod.metadata.name}:{job.container}"

    async def _exec(self, container_id: str, action: core.ExecAction, limit_s: float) -> Answer:
        try:
            with self._metrics.operation("exec_sync"):
                result = await self._runtime.exec_sync(container_id, action.command, limit_s)
        except Deadline:
            shown = " ".join(action.command)
            return Outcome.FAILURE, f'command timed out: "{shown}" timed out after {limit_s:g}s'
        except RuntimeFailure as error:
            return Outcome.ERROR, str(error)
        text = result.output.decode(errors="replace")
        return (Outcome.SUCCESS if result.exit_code == 0 else Outcome.FAILURE), text


def _unverified() -> ssl.SSLContext:
    """Kubernetes' HTTPS probes accept any certificate: they ask whether somebody answers, not who."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def http_get(action: core.HTTPGetAction, container: core.Container, ip: str, limit_s: float) -> Answer:
    """A request that any answer from 200 to 399 satisfies."""
    port = port_of(container, action.port)
    if not port:
        return Outcome.ERROR, f"unable to find port {action.port!r} of container {container.name}"
    scheme = (action.scheme or "HTTP").lower()
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    host = action.host or ip
    url = f"{scheme}://{host}:{port}{path}"
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*", **{item.name: item.value for item in action.http_headers}}
    context = _unverified() if scheme == "https" else False
    try:
        async with (
            asyncio.timeout(limit_s),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.get(url, headers=headers, ssl=context, allow_redirects=False) as response,
        ):
            await response.content.read(BODY_MAX_BYTES)
            if 200 <= response.status < 400:
                return Outcome.SUCCESS, ""
            return Outcome.FAILURE, f"HTTP probe failed with statuscode: {response.status}"
    except TimeoutError:
        return (
            Outcome.FAILURE,
            f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
        )
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Outcome.FAILURE, f'Get "{url}": {_words(error, host, port)}'


async def tcp_connect(host: str, port: int, limit_s: float) -> Answer:
    """A connection that only has to be accepted."""
    if not port:
        return Outcome.ERROR, "unable to find the probed port"
    try:
        async with asyncio.timeout(limit_s):
            _, writer = await asyncio.open_connection(host, port)
        writer.transport.abort()
    except TimeoutError:
        return Outcome.FAILURE, f"dial tcp {host}:{port}: i/o timeout"
    except OSError as error:
        return Outcome.FAILURE, _words(error, host, port)
    return Outcome.SUCCESS, ""


async def grpc_check(action: core.GRPCAction, ip: str, limit_s: float) -> Answer:
    """The standard health service has to answer SERVING."""
    target = f"{ip}:{action.port}"
    async with grpc.aio.insecure_channel(target) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(service=action.service or ""), timeout=limit_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Outcome.FAILURE, f'timeout: health rpc did not complete within {limit_s:g}s: "{target}"'
            return Outcome.FAILURE, f"error: health rpc probe failed: {error.details()}"
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if status == "SERVING":
        return Outcome.SUCCESS, ""
    return Outcome.FAILURE, f'service unhealthy (responded with "{status}")'


def _words(error: Exception, host: str, port: int) -> str:
    """A refused or lost connection in the words that people know from kubelet."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error)
