"""Reads the metrics of pods that ask for it, and no more of them than autoscalers want.

A pod asks by the annotations that Prometheus' own examples use: `prometheus.io/scrape: "true"`, and `port`, `path` and
`scheme` where they are not its first port, `/metrics` and `http`. Pages are read from the pod's own address and from
nowhere else: redirects are not followed. Which metrics are wanted the control plane says, by namespace; where nobody
wants any, nobody is asked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp
import structlog

from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Clock
from nodeagent.drive.addresses import Addresses
from nodeagent.drive.context import NodeContext
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.pods import Slot
from nodeagent.drive.samples import Rates, Sample, Unreadable, read
from nodeagent.lifecycle.actions import Record

INTERVAL_S = 10.0
"""As often as usage is measured."""
DEADLINE_S = 5.0
"""How long a pod may take to answer."""
AT_ONCE = 16
PAGE_MAX_BYTES = 4 << 20
PODS_MAX = 500
"""Pods of a node that are read."""
NODE_SERIES_MAX = 5_000
"""Series of all pods of a node."""
GOOD_MS = 30_000
"""For so long what a pod has said counts while it does not answer."""
TOLD_AFTER = 3
"""A pod that has not answered so often has an event: one that starts or ends does not answer either."""
PREFIX = "prometheus.io/"
FAILED = "FailedScrape"
_PORT_MAX = 65535
_ACCEPT = "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.1"
_OPEN_METRICS = "application/openmetrics-text"
_OK = 200

_LOG = structlog.get_logger(__name__)

Targets = Callable[[], Iterable[tuple[core.Pod, str]]]
"""The node's pods and their addresses, empty where they have none yet."""


@dataclass(frozen=True, slots=True)
class Scraped:
    """What one pod says of itself."""

    uid: str
    age_ms: int
    samples: tuple[Sample, ...]


@dataclass(slots=True)
class _Known:
    """What is known of one pod."""

    rates: Rates = field(default_factory=Rates)
    samples: tuple[Sample, ...] = ()
    at_ms: int = 0
    failures: int = 0


class Scraper:
    """Reads in rounds, and keeps what the last ones have found."""

    def __init__(self, targets: Targets, outbox: Outbox, clock: Clock) -> None:
        """Of these pods; what goes wrong is told by their events."""
        self._targets = targets
        self._outbox = outbox
        self._clock = clock
        self._wanted: Mapping[str, frozenset[str]] = {}
        self._known: dict[str, _Known] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._unverified = ssl.create_default_context()
        self._unverified.check_hostname, self._unverified.verify_mode = False, ssl.CERT_NONE

    def want(self, wanted: Mapping[str, frozenset[str]]) -> None:
        """From now on these metrics are wanted, by namespace."""
        self._wanted = wanted

    def found(self) -> tuple[Scraped, ...]:
        """What pods have said lately, as far as it is within the bounds of a node."""
        now_ms, left, found = self._clock.monotonic_ms(), NODE_SERIES_MAX, []
        for uid, known in self._known.items():
            age_ms = now_ms - known.at_ms
            if known.samples and age_ms <= GOOD_MS and len(known.samples) <= left:
                left -= len(known.samples)
                found.append(Scraped(uid, age_ms, known.samples))
        return tuple(found)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.round()
            await asyncio.sleep(INTERVAL_S)

    async def round(self) -> None:
        """Read every pod once that asks for it and has something that is wanted."""
        due = [
            (pod, ip)
            for pod, ip in self._targets()
            if ip and pod.metadata.namespace in self._wanted and asks(pod)
        ]  # fmt: skip
        if len(due) > PODS_MAX:
            _LOG.warning("scrapes_left_out", pods=len(due) - PODS_MAX, most=PODS_MAX)
        due = due[:PODS_MAX]
        self._known = {pod.metadata.uid: self._known.get(pod.metadata.uid, _Known()) for pod, _ in due}
        if not due:
            return
        connector = aiohttp.TCPConnector(force_close=True, limit=AT_ONCE)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            await asyncio.gather(*(self._one(session, pod, ip) for pod, ip in due))
        left = NODE_SERIES_MAX - sum(len(known.samples) for known in self._known.values())
        if left < 0:
            _LOG.warning("series_left_out", series=-left, most=NODE_SERIES_MAX)

    async def _one(self, session: aiohttp.ClientSession, pod: core.Pod, ip: str) -> None:
        known = self._known[pod.metadata.uid]
        try:
            async with self._slots:
                text, is_open_metrics = await self._page(session, url_of(pod, ip))
            wanted = self._wanted.get(pod.metadata.namespace, frozenset())
            # Beside the event loop: a page may be large.
            reading = await asyncio.to_thread(read, text, wanted, is_open_metrics=is_open_metrics)
        except Unreadable as error:
            known.failures += 1
            if known.failures == TOLD_AFTER:
                self._outbox.event(pod, Record("Warning", FAILED, f"metrics are not read: {error}"), self._clock.now())
            return
        known.failures = 0
        known.at_ms = self._clock.monotonic_ms()
        known.samples = known.rates.take(reading, known.at_ms)

    async def _page(self, session: aiohttp.ClientSession, url: str) -> tuple[str, bool]:
        """A page and whether it is in the format of OpenMetrics. Raises Unreadable."""
        try:
            async with (
                asyncio.timeout(DEADLINE_S),
                session.get(
                    url, headers={"Accept": _ACCEPT}, ssl=self._unverified, allow_redirects=False
                ) as answer,
            ):  # fmt: skip
                if answer.status != _OK:
                    raise Unreadable(f"{url} answers with {answer.status}")
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > PAGE_MAX_BYTES:
                        raise Unreadable(f"{url} has more than {PAGE_MAX_BYTES} bytes")
                kind = answer.headers.get("Content-Type", "")
        except TimeoutError as error:
            raise Unreadable(f"{url} has not answered within {DEADLINE_S:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreadable(f"{url} cannot be read: {error}") from error
        return body.decode(errors="replace"), kind.startswith(_OPEN_METRICS)


def addressed(slots: Iterable[Slot], node: NodeContext, addresses: Addresses) -> list[tuple[core.Pod, str]]:
    """The node's pods with the addresses at which they can be reached; those without one have an empty one."""
    pods = [slot.pod for slot in slots]
    return [(pod, node.ip if pod.spec.host_network else addresses.of(pod.metadata.uid)) for pod in pods]


def asks(pod: core.Pod) -> bool:
    """Whether a pod wants its metrics to be read."""
    return pod.metadata.annotations.get(f"{PREFIX}scrape") == "true"


def url_of(pod: core.Pod, ip: str) -> str:
    """Where a pod's metrics are. Raises Unreadable for annotations that cannot be followed."""
    notes = pod.metadata.annotations
    scheme = notes.get(f"{PREFIX}scheme") or "http"
    if scheme not in ("http", "https"):
        raise Unreadable(f'{PREFIX}scheme is {scheme!r}; write "http" or "https"')
    path = notes.get(f"{PREFIX}path") or "/metrics"
    path = path if path.startswith("/") else f"/{path}"
    return f"{scheme}://{f'[{ip}]' if ':' in ip else ip}:{_port(pod)}{path}"


def _port(pod: core.Pod) -> int:
    text = pod.metadata.annotations.get(f"{PREFIX}port", "")
    if text:
        if text.isascii() and text.isdigit() and 0 < int(text) <= _PORT_MAX:
            return int(text)
        raise Unreadable(f"{PREFIX}port is {text!r}; write a number from 1 to {_PORT_MAX}")
    for container in pod.spec.containers:
        for port in container.ports:
            if (port.protocol or "TCP") == "TCP":
                return port.container_port
    raise Unreadable(f"no container has a port; write {PREFIX}port")
