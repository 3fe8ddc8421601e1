"""Ranges of cluster IPs on a running server: added, used, taken away when nobody needs them; addresses are repaired."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.fixtures.api_server import ApiServer
from tests.fixtures.deciders import deciding
from tests.integration.rest.conftest import Client

NETWORKING = "/apis/networking.k8s.io/v1"
RANGES, ADDRESSES = f"{NETWORKING}/servicecidrs", f"{NETWORKING}/ipaddresses"
SERVICES = "/api/v1/namespaces/default/services"
EVENTS = "/api/v1/namespaces/default/events"
SETTLES_S = 25.0
"""A range stays for ten seconds after its last address."""


@pytest.fixture
async def decided(server: ApiServer) -> AsyncIterator[ApiServer]:
    """The server, with controllers that decide."""
    async with deciding(server.registry._store, server.registry):
        yield server


def service(name: str, ip: str = "", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "clusterIP": ip, **spec}}


async def until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    try:
        async with asyncio.timeout(SETTLES_S):
            while not await holds():  # noqa: ASYNC110  # a test waits on what it sees
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"waited for {what}")


async def condition(client: Client, name: str) -> str:
    code, answer = await client.ask("GET", f"{RANGES}/{name}")
    if code == 404:
        return "gone"
    found = {one["type"]: one["status"] for one in answer.get("status", {}).get("conditions", [])}
    return str(found.get("Ready", ""))


async def has(client: Client, path: str) -> bool:
    return (await client.ask("GET", path))[0] == 200


async def test_a_range_from_its_first_to_its_last_address(client: Client, decided: ApiServer) -> None:
    assert (await client.ask("POST", SERVICES, service("early", "10.99.0.5")))[0] == 422
    await client.made(RANGES, {"metadata": {"name": "extra"}, "spec": {"cidrs": ["10.99.0.0/28"]}})

    async def ready() -> bool:
        return await condition(client, "extra") == "True"

    await until("the range to be ready", ready)
    asked = await asyncio.gather(*(client.ask("POST", SERVICES, service(f"s{n}", "10.99.0.5")) for n in range(8)))
    assert Counter(code for code, _ in asked) == {201: 1, 422: 7}
    winner = next(answer["metadata"]["name"] for code, answer in asked if code == 201)
    _, address = await client.ask("GET", f"{ADDRESSES}/10.99.0.5")
    assert address["spec"]["parentRef"] == {"resource": "services", "namespace": "default", "name": winner}
    assert address["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"] == "ipallocator.k8s.io"

    assert (await client.ask("DELETE", f"{RANGES}/extra"))[0] == 200

    async def held() -> bool:
        return await condition(client, "extra") == "False"

    await until("the range to say that it is still used", held)
    assert (await client.ask("DELETE", f"{SERVICES}/{winner}"))[0] == 200

    async def gone() -> bool:
        return await condition(client, "extra") == "gone"

    await until("the range to go", gone)
    assert not await has(client, f"{ADDRESSES}/10.99.0.5")


async def test_an_address_that_somebody_deletes_comes_back(client: Client, decided: ApiServer) -> None:
    _, made = await client.ask("POST", SERVICES, service("web"))
    ip = made["spec"]["clusterIP"]
    assert await has(client, f"{ADDRESSES}/{ip}")
    await client.ask("DELETE", f"{ADDRESSES}/{ip}")
    await until("the address to come back", lambda: has(client, f"{ADDRESSES}/{ip}"))

    async def told() -> bool:
        _, events = await client.ask("GET", EVENTS)
        return any(event["reason"] == "ClusterIPNotAllocated" for event in events["items"])

    await until("the event", told)
    external = service("web", type="ExternalName", externalName="example.org")
    assert (await client.ask("PUT", f"{SERVICES}/web", external))[0] == 200

    async def released() -> bool:
        return not await has(client, f"{ADDRESSES}/{ip}")

    await until("the address to be released", released)
