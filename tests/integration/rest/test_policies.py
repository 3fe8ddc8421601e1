"""The policies of a namespace on a running server: quotas, ranges of limits, pod security, protection of storage."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.store.embedded import EmbeddedEtcd
from controlplane.store.etcd import EtcdStore
from controlplane.store.memory import MemoryBackend, MemoryStore
from controlplane.store.port import Store
from tests.fixtures.api_server import ApiServer, api_server
from tests.fixtures.deciders import deciding
from tests.integration.rest.conftest import Client, Kubectl, tls_of
from tests.integration.rest.widgets import definition, widget

NAMESPACE = "/api/v1/namespaces/default"
QUOTAS, PODS = f"{NAMESPACE}/resourcequotas", f"{NAMESPACE}/pods"
SETTLES_S = 15.0


def pod(name: str, **container: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", **container}]}}


def quota(**hard: str) -> dict[str, Any]:
    names = {name.replace("__", "/").replace("_", "."): amount for name, amount in hard.items()}
    return {"metadata": {"name": "q"}, "spec": {"hard": names}}


async def used(client: Client, **wanted: str) -> None:
    """Wait until the quota says that this is used."""
    expected = {name.replace("__", "/").replace("_", "."): amount for name, amount in wanted.items()}
    found: Any = None
    try:
        async with asyncio.timeout(SETTLES_S):
            while found != expected:
                _, answer = await client.ask("GET", f"{QUOTAS}/q")
                found = answer["status"].get("used")
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"{found} is used, not {expected}")


@pytest.fixture(params=["memory", pytest.param("etcd", marks=pytest.mark.etcd)])
async def two_servers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Client]]:
    """Two control planes on one store, one of which decides, and a client of each."""
    async with AsyncExitStack() as stack:
        stores: list[Store]
        if request.param == "memory":
            backend = MemoryBackend()
            stores = [MemoryStore(backend), MemoryStore(backend)]
        else:
            etcd = await stack.enter_async_context(EmbeddedEtcd(tmp_path / "etcd"))
            opened = [await EtcdStore.open(etcd.endpoints) for _ in range(2)]
            for one in opened:
                stack.push_async_callback(one.close)
            stores = list(opened)
        clients = []
        for number, store in enumerate(stores):
            folder = tmp_path / str(number)
            folder.mkdir()
            server = await stack.enter_async_context(api_server(folder, store=store))
            tls = tls_of(server, server.client_certificate, server.client_key)
            connector = aiohttp.TCPConnector(ssl=tls)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            clients.append(Client(server, session))
        await stack.enter_async_context(deciding(stores[0], clients[0].server.registry))
        yield clients


async def test_fifty_at_once_on_two_servers_get_exactly_what_there_is(two_servers: list[Client]) -> None:
    first, second = two_servers
    await first.made(QUOTAS, quota(pods="20"))
    await used(second, pods="0")
    answers = await asyncio.gather(*(two_servers[n % 2].ask("POST", PODS, pod(f"p{n}")) for n in range(50)))
    assert Counter(code for code, _ in answers) == {201: 20, 403: 30}
    refused = next(answer for code, answer in answers if code == 403)
    assert refused["message"].endswith(
        "is forbidden: exceeded quota: q, requested: pods=1, used: pods=20, limited: pods=20"
    )
    await used(first, pods="20")
    _, listed = await second.ask("GET", PODS)
    assert len(listed["items"]) == 20
    gone = [item["metadata"]["name"] for item in listed["items"][:3]]
    for name in gone:
        assert (await first.ask("DELETE", f"{PODS}/{name}"))[0] == 200
    await used(second, pods="17")
    assert (await second.ask("POST", PODS, pod("again")))[0] == 201


@pytest.fixture
async def decided(server: ApiServer) -> AsyncIterator[ApiServer]:
    """The server, with controllers that decide."""
    async with deciding(server.registry._store, server.registry):
        yield server


async def test_controllers_are_held_and_say_so(client: Client, decided: ApiServer, kubectl: Kubectl) -> None:
    await kubectl("create", "quota", "q", "--hard=pods=2,count/deployments.apps=1")
    await used(client, pods="0", count__deployments_apps="0")
    await kubectl("create", "deployment", "web", "--image=web", "--replicas=5")
    await used(client, pods="2", count__deployments_apps="1")
    told = "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    await kubectl("wait", "deployment/web", "--for=condition=ReplicaFailure", "--timeout=10s")
    (replica_set,) = json.loads(await kubectl("get", "rs", "-o", "json"))["items"]
    name = replica_set["metadata"]["name"]
    (condition,) = replica_set["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("ReplicaFailure", "True", "FailedCreate")
    assert condition["message"].endswith(f"is forbidden: {told}")
    await kubectl("wait", "rs", name, "--for=jsonpath={.status.replicas}=2", "--timeout=10s")
    failed = await kubectl("events", "--for", f"rs/{name}", "--types=Warning")
    assert f"FailedCreate   ReplicaSet/{name}   " in failed
    assert 'Error creating: pods "web-' in failed
    assert told in await kubectl.fails("run", "one-more", "--image=i")
    assert "exceeded quota: q" in await kubectl.fails("create", "deployment", "other", "--image=i")
    await kubectl("patch", "quota", "q", "-p", '{"spec":{"hard":{"pods":"9"}}}')
    await used(client, pods="5", count__deployments_apps="1")
    await kubectl("wait", "deployment/web", "--for=jsonpath={.status.replicas}=5", "--timeout=10s")
    assert (await kubectl("describe", "quota", "q")).splitlines()[-1].split() == ["pods", "5", "9"]


async def test_a_quota_of_limits_makes_containers_say_them(
    client: Client, decided: ApiServer, kubectl: Kubectl
) -> None:
    await kubectl("create", "quota", "q", "--hard=limits.cpu=1")
    await used(client, limits_cpu="0")
    assert "failed quota: q: must specify limits.cpu for: a" in await kubectl.fails("run", "a", "--image=i")
    ranges = {"type": "Container", "default": {"cpu": "600m"}, "max": {"cpu": "800m"}}
    limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [ranges]}}
    await kubectl("create", "-f", "-", stdin=json.dumps(limits))
    assert kubectl.said == "", "nobody warns of what acts"
    await kubectl("run", "a", "--image=i")
    made = json.loads(await kubectl("get", "pod", "a", "-o", "json"))
    assert made["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "600m"}, "requests": {"cpu": "600m"}}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container a; cpu limit for container a"
    )
    assert "exceeded quota: q, requested: limits.cpu=600m, used: limits.cpu=600m" in await kubectl.fails(
        "run", "b", "--image=i"
    )
    greedy = pod("c", resources={"limits": {"cpu": "2"}})
    code, answer = await client.ask("POST", PODS, greedy)
    assert (code, answer["message"]) == (
        403, 'pods "c" is forbidden: maximum cpu usage per Container is 800m, but limit is 2'
    )  # fmt: skip


async def test_what_a_dry_run_would_use_is_not_charged(client: Client, decided: ApiServer) -> None:
    await client.made(QUOTAS, quota(configmaps="1", services_nodeports="1", services="5"))
    await used(client, configmaps="0", services_nodeports="0", services="0")
    config_map, maps = {"metadata": {"name": "a"}}, f"{NAMESPACE}/configmaps"
    assert (await client.ask("POST", f"{maps}?dryRun=All", config_map))[0] == 201
    await used(client, configmaps="0", services_nodeports="0", services="0")
    await client.made(maps, config_map)
    for query in ("", "?dryRun=All"):
        code, answer = await client.ask("POST", maps + query, {"metadata": {"name": "b"}})
        assert (code, answer["reason"]) == (403, "Forbidden")
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    await client.made(f"{NAMESPACE}/services", service)
    merge = {"Content-Type": "application/merge-patch+json"}
    turned = {"spec": {"type": "NodePort"}}
    assert (await client.ask("PATCH", f"{NAMESPACE}/services/s", turned, headers=merge))[0] == 200
    await used(client, configmaps="1", services_nodeports="1", services="1")
    more = {"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}}
    code, answer = await client.ask("PATCH", f"{NAMESPACE}/services/s", more, headers=merge)
    assert (code, "requested: services.nodeports=1" in answer["message"]) == (403, True), answer
    assert (await client.ask("PATCH", f"{NAMESPACE}/services/s", {"spec": {"type": "ClusterIP"}}, headers=merge))[
        0
    ] == 200
    await used(client, configmaps="1", services_nodeports="0", services="1")


async def test_pod_security_with_kubectl(kubectl: Kubectl) -> None:
    label = ("label", "ns", "default", "--overwrite")
    await kubectl("run", "early", "--image=i", "--privileged")
    await kubectl(*label, "pod-security.kubernetes.io/enforce=baseline")
    assert kubectl.said == (
        'Warning: existing pods in namespace "default" violate the new PodSecurity enforce level "baseline:latest"\n'
        "Warning: early: privileged\n"
    )
    assert (
        'pods "late" is forbidden: violates PodSecurity "baseline:latest": privileged '
        '(container "late" must not set securityContext.privileged=true)'
    ) in await kubectl.fails("run", "late", "--image=i", "--privileged")
    await kubectl(*label, "pod-security.kubernetes.io/warn=restricted")
    await kubectl("create", "deployment", "web", "--image=i")
    assert kubectl.said.startswith(
        'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation !='
    )
    refused = await kubectl.fails(*label, "pod-security.kubernetes.io/enforce=strict")
    assert 'Invalid value: "strict": must be one of privileged, baseline, restricted' in refused


async def test_a_claim_in_use_is_deleted_when_its_pod_is_gone(
    client: Client, decided: ApiServer, kubectl: Kubectl
) -> None:
    claims = f"{NAMESPACE}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = await client.made(claims, {"metadata": {"name": "data"}, "spec": spec})
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    user = pod("user")
    user["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    await client.made(PODS, user)
    await client.made(f"{PODS}/user/binding", {"metadata": {"name": "user"}, "target": {"kind": "Node", "name": "n"}})
    await kubectl("delete", "pvc", "data", "--wait=false")
    assert (await client.ask("GET", f"{claims}/data"))[1]["metadata"]["deletionTimestamp"]
    await kubectl("delete", "pod", "user", "--grace-period=0", "--force")
    await kubectl("wait", "pvc/data", "--for=delete", "--timeout=10s")


async def test_users_kinds_are_counted_too(client: Client, decided: ApiServer, kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=json.dumps(definition()))
    await kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=10s")
    await kubectl("create", "quota", "q", "--hard=count/widgets.example.com=1")
    await used(client, count__widgets_example_com="0")
    await kubectl("create", "-f", "-", stdin=json.dumps(widget("a")))
    refused = await kubectl.fails("create", "-f", "-", stdin=json.dumps(widget("b")))
    told = "exceeded quota: q, requested: count/widgets.example.com=1, used: count/widgets.example.com=1, limited: "
    assert told in refused
    await kubectl("delete", "widgets", "a")
    await used(client, count__widgets_example_com="0")
