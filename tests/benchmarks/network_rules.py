"""How long the rules of services take to load and to follow one endpoint; prints, for `bench_network`.

Run in a network namespace of its own, as root: unshare -n .venv/bin/python -m tests.benchmarks.network_rules
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from nodeagent.network.port import NetworkConfig
from nodeagent.network.proxy import ServiceProxy
from nodeagent.network.services import Backend, PortRule, ServiceRule, ServiceTable
from tests.benchmarks import report

COUNTS, ENDPOINTS, CHANGES = (10, 1_000, 5_000), 4, 60
CONFIG = NetworkConfig(
    node_ip="192.0.2.1",
    pod_cidr="10.244.0.0/24",
    cluster_cidr="10.244.0.0/16",
    service_cidrs=("10.96.0.0/16",),
    cluster_dns="10.96.0.10",
)


def rule(number: int, turn: int = 0) -> ServiceRule:
    """A service with its endpoints, of which one is another in each turn."""
    hosts = [number * ENDPOINTS + place for place in range(ENDPOINTS)]
    ips = [f"10.244.{host // 250}.{host % 250 + 1}" for host in hosts[1:]]
    ips.append(f"10.245.{turn % 250}.{number % 250 + 1}")
    backends = tuple(sorted(Backend(ip, 8080) for ip in ips))
    port = PortRule("tcp", 80, 0, backends, backends[:1])
    address = f"10.96.{number // 250 + 1}.{number % 250 + 1}"
    return ServiceRule(f"default/s{number}", address, (), (port,), 0, internal_local=False, external_local=False)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def measure(count: int, threads: ThreadPoolExecutor) -> None:
    """Load so many services, and change one endpoint of one of them again and again."""
    proxy = ServiceProxy(CONFIG, threads)
    lines: list[int] = []
    load = proxy._nft.run

    def counted(script: str) -> str:
        lines.append(script.count("\n"))
        return load(script)

    proxy._nft.run = counted  # type: ignore[method-assign]
    await proxy.prepare()
    services = {one.key: one for one in map(rule, range(count))}
    began = time.perf_counter()
    await proxy.sync(ServiceTable(services))
    full_ms = (time.perf_counter() - began) * 1000
    took: list[float] = []
    used = time.process_time()
    for turn in range(1, CHANGES + 1):
        lines.clear()
        services = {**services, "default/s3": rule(3, turn)}
        began = time.perf_counter()
        await proxy.sync(ServiceTable(services))
        took.append((time.perf_counter() - began) * 1000)
    cpu_ms = (time.process_time() - used) * 1000 / CHANGES
    await proxy.close(remove=True)
    change = f"p50 {percentile(took, 0.5):.1f} ms, p99 {percentile(took, 0.99):.1f} ms"
    cost = f"CPU {cpu_ms:.1f} ms, {lines[-1]} lines"
    report.row(f"{count:,} services, {ENDPOINTS} endpoints each", f"all {full_ms:,.0f} ms", change, cost)


async def main() -> None:
    """Measure all sizes."""
    with ThreadPoolExecutor(1) as threads:
        for count in COUNTS:
            await measure(count, threads)


if __name__ == "__main__":
    asyncio.run(main())
