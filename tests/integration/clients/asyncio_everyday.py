"""What a program does with kubernetes_asyncio; prints what it found as JSON.

python asyncio_everyday.py KUBECONFIG
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.dynamic import DynamicClient
from kubernetes_asyncio.leaderelection.electionconfig import Config
from kubernetes_asyncio.leaderelection.leaderelection import LeaderElection
from kubernetes_asyncio.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes_asyncio.stream import WsApiClient

SPACE = "asyncio"
WAIT_S = 30
APPLY = "application/apply-patch+yaml"
GROUP = "asyncio.example.com"
found: dict[str, Any] = {}


async def until(holds: Callable[[], Awaitable[Any]]) -> Any:
    """What `holds` gives once it gives something."""
    async with asyncio.timeout(WAIT_S):
        while not (given := await holds()):  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.05)
        return given


async def code_of(call: Awaitable[Any]) -> int:
    """The code that a call, which must fail, fails with."""
    try:
        await call
    except ApiException as error:
        return int(error.status)
    raise AssertionError("it should fail")


def shop(image: str = "web:1", replicas: int = 2) -> dict[str, Any]:
    """A deployment."""
    labels = {"app": "shop"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": spec}


async def writes(api: client.ApiClient) -> None:
    """Every way to write."""
    apps, core = client.AppsV1Api(api), client.CoreV1Api(api)
    applied = await apps.patch_namespaced_deployment(
        "shop", SPACE, shop(), field_manager="asyncio", force=True, _content_type=APPLY
    )
    found["managed"] = next((one.manager, one.operation) for one in applied.metadata.managed_fields)

    async def all_run() -> bool:
        return (await apps.read_namespaced_deployment_status("shop", SPACE)).status.ready_replicas == 2

    await until(all_run)
    steps = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:2"}]
    stepped = await apps.patch_namespaced_deployment("shop", SPACE, steps, _content_type="application/json-patch+json")
    found["image"] = stepped.spec.template.spec.containers[0].image
    scaled = await apps.patch_namespaced_deployment_scale("shop", SPACE, {"spec": {"replicas": 3}})
    found["scaled"] = scaled.spec.replicas
    found["conflict"] = await code_of(apps.replace_namespaced_deployment("shop", SPACE, applied))
    found["missing"] = await code_of(core.read_namespaced_pod("nobody", SPACE))
    merged = await apps.patch_namespaced_deployment(
        "shop", SPACE, {"metadata": {"labels": {"a": "b"}}}, _content_type="application/strategic-merge-patch+json"
    )
    found["labels"] = merged.metadata.labels
    await apps.delete_namespaced_deployment("shop", SPACE, propagation_policy="Foreground")

    async def gone() -> bool:
        return not (await core.list_namespaced_pod(SPACE, label_selector="app=shop")).items

    await until(gone)


async def watches(api: client.ApiClient) -> None:
    """A watch that tells what happens after a list."""
    core = client.CoreV1Api(api)
    listed = await core.list_namespaced_config_map(SPACE)
    told: list[str] = []

    async def follow() -> None:
        since = listed.metadata.resource_version
        async with watch.Watch().stream(
            core.list_namespaced_config_map, SPACE, resource_version=since, label_selector="seen"
        ) as events:
            async for event in events:
                told.append(f"{event['type']} {event['object'].metadata.name}")
                if event["type"] == "DELETED":
                    return

    following = asyncio.create_task(follow())
    await core.create_namespaced_config_map(SPACE, {"metadata": {"name": "w", "labels": {"seen": "1"}}})
    await core.patch_namespaced_config_map("w", SPACE, {"data": {"a": "b"}})
    await core.delete_namespaced_config_map("w", SPACE)
    await asyncio.wait_for(following, WAIT_S)
    found["watched"] = told


async def containers(api: client.ApiClient, kubeconfig: str) -> None:
    """Logs and exec."""
    core = client.CoreV1Api(api)
    command = ["sh", "-c", "echo hello; sleep 1000000"]
    spec = {"containers": [{"name": "main", "image": "web:1", "command": command}], "terminationGracePeriodSeconds": 1}
    await core.create_namespaced_pod(SPACE, {"metadata": {"name": "talker"}, "spec": spec})

    async def runs() -> bool:
        return (await core.read_namespaced_pod("talker", SPACE)).status.phase == "Running"

    await until(runs)
    found["log"] = await until(lambda: core.read_namespaced_pod_log("talker", SPACE))
    settings = client.Configuration()
    await config.load_kube_config(kubeconfig, client_configuration=settings)
    async with WsApiClient(settings) as sockets:
        found["said"] = await client.CoreV1Api(sockets).connect_get_namespaced_pod_exec(
            "talker", SPACE, command=["echo", "from", "inside"], stdout=True, stderr=True
        )


async def customs(api: client.ApiClient) -> None:
    """A kind of our own by the dynamic client."""
    spec = {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "widgets", "kind": "Widget"}
    body = {"metadata": {"name": f"widgets.{GROUP}"}}
    body["spec"] = {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]}
    definitions = client.ApiextensionsV1Api(api)
    await definitions.create_custom_resource_definition(body)

    async def established() -> bool:
        read = await definitions.read_custom_resource_definition(f"widgets.{GROUP}")
        return any(one.type == "Established" for one in read.status.conditions or ())

    await until(established)
    widgets = await (await DynamicClient(api)).resources.get(api_version=f"{GROUP}/v1", kind="Widget")
    one = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
    found["custom"] = (await widgets.create(body=one, namespace=SPACE)).spec.size
    wrong = {**one, "metadata": {"name": "x"}, "spec": {"size": 0}}
    found["refused"] = await code_of(
        client.CustomObjectsApi(api).create_namespaced_custom_object(GROUP, "v1", SPACE, "widgets", wrong)
    )
    await definitions.delete_custom_resource_definition(f"widgets.{GROUP}")


async def elects(api: client.ApiClient) -> None:
    """Two candidates for one lease."""
    led: list[str] = []
    leads = asyncio.Event()

    def candidate(name: str) -> LeaderElection:
        async def start() -> None:
            led.append(name)
            leads.set()

        async def stop() -> None:
            led.append(f"no longer {name}")

        lock = LeaseLock("leader", SPACE, name, api)
        return LeaderElection(Config(lock, 4, 3, 1, start, stop))

    running = asyncio.create_task(candidate("first").run())
    await asyncio.wait_for(leads.wait(), WAIT_S)
    leads.clear()
    second = asyncio.create_task(candidate("second").run())
    leases = client.CoordinationV1Api(api)
    held = await leases.read_namespaced_lease("leader", SPACE)
    renewed = held.spec.renew_time

    async def renewed_again() -> bool:
        return (await leases.read_namespaced_lease("leader", SPACE)).spec.renew_time > renewed

    await until(renewed_again)
    assert led == ["first"]
    running.cancel()
    await asyncio.wait_for(leads.wait(), WAIT_S)
    second.cancel()
    found["led"] = led
    await asyncio.gather(running, second, return_exceptions=True)


async def main(kubeconfig: str) -> None:
    """All of it, in a namespace of its own."""
    settings = client.Configuration()
    await config.load_kube_config(kubeconfig, client_configuration=settings)
    async with client.ApiClient(settings) as api:
        core = client.CoreV1Api(api)
        await core.create_namespace({"metadata": {"name": SPACE}})
        await writes(api)
        await watches(api)
        await containers(api, kubeconfig)
        await customs(api)
        await elects(api)
        await core.delete_namespace(SPACE)
    sys.stdout.write(json.dumps(found))


asyncio.run(main(sys.argv[1]))
