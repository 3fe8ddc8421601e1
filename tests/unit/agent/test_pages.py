"""The agent's pages of metrics, to the letter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from nodeagent.drive.cgroups import Cgroups, Counted, Flow, Traffic, Unreadable, traffic
from nodeagent.drive.metrics import Metrics
from nodeagent.drive.observe import Watcher
from nodeagent.drive.page import MetricsPage
from nodeagent.drive.resource_metrics import ResourcePages, cadvisor, resource, text
from nodeagent.drive.usage import COUNTS_MS, Counts, Ended, Meter
from nodeagent.runtime.fake import FakeRuntime
from nodeagent.runtime.values import ContainerState, PodRef, SandboxState, Status
from tests.unit.agent.world import LoopClock

WEB = PodRef(uid="u1", namespace="shop", name="web-0")
NET_DEV = """\
Inter-|   Receive   |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0
  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
"""
ETH0 = Traffic(Flow(1000, 10, 1, 2), Flow(2000, 20, 3, 4))


def container(name: str, attempt: int = 0) -> ContainerState:
    """A running container of the pod."""
    return ContainerState(
        id=f"{name}{attempt}", pod=WEB, name=name, attempt=attempt, status=Status.RUNNING, image="web:1", pid=7,
        started_at_ms=1_700_000_000_500,
    )  # fmt: skip


COUNTS = Counts(
    at_ms=1_700_000_010_000,
    node=Counted(10_000_000_000, 1000, 1500),
    containers=(
        (container("app"), Counted(1_500_000_000, 100, 150, "/docker/app0")),
        (container("log"), Counted(250_000_000, 20, 20, "/docker/log0")),
    ),
    pods_ns={WEB: 2_750_000_000},
    networks=((SandboxState(id="box", pod=WEB, attempt=0, status=Status.RUNNING, pid=6), {"eth0": ETH0}),),
)
RESOURCE = """\
# HELP node_cpu_usage_seconds_total Processor time that the node has used
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 10.0 1700000010000
# HELP node_memory_working_set_bytes Working set of the node
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 1000.0 1700000010000
# HELP container_start_time_seconds When the container began
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="app",namespace="shop",pod="web-0"} 1.7000000005e+09
container_start_time_seconds{container="log",namespace="shop",pod="web-0"} 1.7000000005e+09
# HELP container_cpu_usage_seconds_total Processor time of the container
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="app",namespace="shop",pod="web-0"} 1.5 1700000010000
container_cpu_usage_seconds_total{container="log",namespace="shop",pod="web-0"} 0.25 1700000010000
# HELP container_memory_working_set_bytes Working set of the container
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="app",namespace="shop",pod="web-0"} 100.0 1700000010000
container_memory_working_set_bytes{container="log",namespace="shop",pod="web-0"} 20.0 1700000010000
# HELP pod_cpu_usage_seconds_total Processor time of the pod's containers
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web-0"} 2.75 1700000010000
# HELP pod_memory_working_set_bytes Working set of the pod's containers
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="shop",pod="web-0"} 120.0 1700000010000
"""
APP = 'container="app",id="/docker/app0",image="web:1",name="app0",namespace="shop",pod="web-0"'
TOTAL = ',cpu="total",id='
BOX = 'container="",id="",image="",interface="eth0",name="box",namespace="shop",pod="web-0"'
CADVISOR = (
    'container_cpu_usage_seconds_total{container="",cpu="total",id="/",image="",name="",namespace="",pod=""} 10.0',
    f"container_cpu_usage_seconds_total{{{APP.replace(',id=', TOTAL)}}} 1.5",
    f"container_memory_working_set_bytes{{{APP}}} 100.0",
    f"container_memory_usage_bytes{{{APP}}} 150.0",
    f"container_start_time_seconds{{{APP}}} 1.7000000005e+09",
    f"container_network_receive_bytes_total{{{BOX}}} 1000.0",
    f"container_network_receive_packets_total{{{BOX}}} 10.0",
    f"container_network_receive_errors_total{{{BOX}}} 1.0",
    f"container_network_receive_packets_dropped_total{{{BOX}}} 2.0",
    f"container_network_transmit_bytes_total{{{BOX}}} 2000.0",
    f"container_network_transmit_packets_total{{{BOX}}} 20.0",
    f"container_network_transmit_errors_total{{{BOX}}} 3.0",
    f"container_network_transmit_packets_dropped_total{{{BOX}}} 4.0",
)
APP_PROBE = 'prober_probe_total{container="app",namespace="shop",pod="web-0",pod_uid="u1",probe_type='
PROBES = f"""\
# HELP prober_probe_total Probes by result
# TYPE prober_probe_total counter
{APP_PROBE}"Liveness",result="successful"}} 2.0
{APP_PROBE}"Readiness",result="failed"}} 1.0
"""


def test_resources_as_the_kubelet_tells_them() -> None:
    assert text(resource(COUNTS)).decode() == RESOURCE


def test_resources_as_cadvisor_tells_them() -> None:
    lines = text(cadvisor(COUNTS)).decode().splitlines()
    assert set(CADVISOR) <= {line.removesuffix(" 1700000010000") for line in lines}
    assert all(line.endswith(" 1700000010000") for line in lines if not line.startswith("#"))


def test_traffic_without_the_loopback() -> None:
    assert traffic(NET_DEV) == {"eth0": ETH0}


def test_a_pods_time_does_not_fall_when_a_container_restarts() -> None:
    ended = Ended()

    def look(*used: tuple[str, int, int]) -> dict[PodRef, int]:
        found = [(container(name, attempt), Counted(cpu, 0, 0)) for name, attempt, cpu in used]
        return ended.take(found, {WEB.uid})

    assert look(("app", 0, 1000), ("log", 0, 10)) == {WEB: 1010}
    assert look(("app", 0, 1000)) == {WEB: 1010}
    assert look(("app", 0, 1001), ("log", 1, 5)) == {WEB: 1016}
    assert ended.take([], ()) == {}
    assert look(("app", 1, 7)) == {WEB: 7}, "the pod was gone in between"


def test_probes_are_counted_until_the_pod_is_probed_no_more() -> None:
    metrics = Metrics("n1")
    empty = metrics.probe_page()
    for kind, result in (("Liveness", "successful"), ("Readiness", "failed"), ("Liveness", "successful")):
        metrics.probed(WEB, "app", kind, result)
    lines = metrics.probe_page().decode().splitlines(keepends=True)
    assert "".join(line for line in lines if "_created" not in line) == PROBES
    assert b"prober_probe" not in metrics.page()
    metrics.unprobed(WEB.uid)
    assert metrics.probe_page() == empty


class Files(Cgroups):
    """Of a machine that has used ten seconds, or cannot tell."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.broken = False

    def machine(self) -> Counted:
        """What was used, and that it was asked for."""
        self.looks += 1
        if self.broken:
            raise Unreadable("no /proc/stat")
        return Counted(10_000_000_000, 1000, 1500)


class HandClock(LoopClock):
    """Stands still until it is set."""

    ms = 0

    def monotonic_ms(self) -> int:
        """What it was set to."""
        return self.ms


@pytest.mark.asyncio
async def test_a_page_looks_once_a_second_at_most_and_tells_when_it_cannot() -> None:
    clock, files = HandClock(), Files()
    pages = ResourcePages(Meter(Watcher(FakeRuntime(clock), clock, Metrics("n1"), 10), clock, files))
    first, second = await asyncio.gather(pages.resource(), pages.resource())
    assert first == second
    assert b"\nresource_scrape_error 0.0\n" in first
    assert files.looks == 1
    files.broken = True
    clock.ms += COUNTS_MS
    broken = (await pages.resource()).decode()
    assert [line for line in broken.splitlines() if not line.startswith("#")] == ["resource_scrape_error 1.0"]
    assert "\ncontainer_scrape_error 1.0\n" in (await pages.cadvisor()).decode()


@pytest.mark.asyncio
async def test_the_paths(tmp_path: Path) -> None:
    clock, metrics = LoopClock(), Metrics("n1")
    meter = Meter(Watcher(FakeRuntime(clock), clock, metrics, 10), clock, Files())
    page = MetricsPage(metrics, meter, lambda: "", lambda: None)
    await page.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{page.port}") as session:
            for path, word in (
                ("/metrics", 'kubelet_node_name{node="n1"} 1.0'),
                ("/metrics/probes", "prober_probe_total counter"),
                ("/metrics/resource", "node_cpu_usage_seconds_total 10.0 "),
                ("/metrics/cadvisor", "container_memory_usage_bytes{"),
                ("/healthz", "ok"),
            ):
                async with session.get(path) as answer:
                    assert answer.status == 200
                    assert word in await answer.text()
    finally:
        await page.stop()
