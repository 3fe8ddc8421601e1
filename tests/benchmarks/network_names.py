"""A node's name server for `bench_network`: it serves the names of some services until it is ended.

Run: .venv/bin/python -m tests.benchmarks.network_names PORT SERVICES
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from nodeagent.network.dns import DnsServer
from nodeagent.network.port import NetworkConfig
from nodeagent.network.zone import DnsZone, ServiceNames

HOST = "127.0.0.1"


def zone(count: int) -> DnsZone:
    """Services `s0`, `s1` and so on, with an address each."""
    named = (
        ServiceNames(namespace="default", name=f"s{number}", cluster_ip=f"10.96.{number // 250}.{number % 250 + 1}")
        for number in range(count)
    )
    return DnsZone({f"{one.namespace}/{one.name}": one for one in named})


async def serve(port: int, count: int) -> None:
    """Serve until cancelled; says so when it does."""
    config = NetworkConfig(
        node_ip=HOST,
        pod_cidr="10.244.0.0/24",
        cluster_cidr="10.244.0.0/16",
        service_cidrs=("10.96.0.0/16",),
        cluster_dns=HOST,
    )
    server = DnsServer(config, port)
    await server.start()
    server.set_zone(zone(count))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
