"""The agent's side of the network tests: a `NodeNetwork` in whatever network namespace this process was started in.

It reads one JSON command per line (`{"call": ..., "args": {...}}`) and writes one line per result, so that a test can
drive several nodes at once. It is not a test itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import structlog
import uvloop

from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import networking_v1 as networking
from nodeagent.network.node import NodeNetwork
from nodeagent.network.policies import policy_table
from nodeagent.network.port import NetworkConfig, NetworkError, NodeRoute
from nodeagent.network.services import HostPort, service_table
from nodeagent.network.zone import dns_zone


class Side:
    """One network and the commands for it."""

    def __init__(self) -> None:
        self.network = NodeNetwork()
        self.node = ""

    async def start(self, node: str, config: dict[str, Any]) -> None:
        """Start, remembering the node's name for local endpoints."""
        self.node = node
        await self.network.start(msgspec.convert(config, NetworkConfig))

    async def attach(self, pods: list[dict[str, str]]) -> object:
        """Attach several pods at once."""
        return await asyncio.gather(*(self.network.attach(**pod) for pod in pods))

    async def detach(self, uids: list[str]) -> None:
        """Detach several pods at once."""
        await asyncio.gather(*(self.network.detach(uid) for uid in uids))

    async def routes(self, nodes: list[dict[str, str]]) -> None:
        """Know the other nodes."""
        await self.network.sync_routes([NodeRoute(**node) for node in nodes])

    async def services(
        self,
        services: list[object],
        slices: list[object],
        host_ports: list[object],
        policies: Sequence[object] = (),
        guarded: Sequence[object] = (),
    ) -> None:
        """Serve exactly these, by forwarding and by name; let pass what the policies allow to pods with addresses."""
        known = msgspec.convert(services, list[core.Service])
        backends = msgspec.convert(slices, list[discovery.EndpointSlice])
        ports = msgspec.convert(host_ports, tuple[HostPort, ...])
        table = policy_table(
            msgspec.convert(policies, list[networking.NetworkPolicy]),
            msgspec.convert(guarded, list[tuple[core.Pod, str]]),
        )
        await self.network.sync_services(replace(service_table(known, backends, self.node, ports), policies=table))
        await self.network.sync_dns(dns_zone(known, backends))

    async def adopt(self) -> object:
        """What is attached."""
        return await self.network.adopt()

    async def stop(self, remove: bool) -> None:
        """Stop."""
        await self.network.stop(remove=remove)

    async def answer(self, line: bytes) -> bytes:
        """Do one command."""
        command = msgspec.json.decode(line)
        call: Callable[..., Awaitable[object]] = getattr(self, command["call"])
        try:
            result = {"result": await call(**command["args"])}
        except NetworkError as error:
            result = {"error": str(error), "kind": type(error).__name__}
        return msgspec.json.encode(result) + b"\n"


async def main() -> None:
    """Serve commands until the input ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    side = Side()
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        sys.stdout.buffer.write(await side.answer(line))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(main())
