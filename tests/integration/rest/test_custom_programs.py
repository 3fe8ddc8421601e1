"""Operators in Python: the `kubernetes` client's custom objects and dynamic client, and kopf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import kopf
import kubernetes
import pytest
from kubernetes.dynamic import DynamicClient

from controlplane.store.memory import MemoryBackend, MemoryStore
from tests.fixtures.api_server import ApiServer, api_server
from tests.fixtures.deciders import deciding
from tests.integration.rest.widgets import DEFINITION, definition, widget

GROUP = ("example.com", "v1", "default", "widgets")
WAIT_S = 30.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """A server whose controllers run."""
    store = MemoryStore(MemoryBackend())
    async with api_server(tmp_path, store=store) as server, deciding(store, server.registry):
        yield server


def api_of(server: ApiServer) -> kubernetes.client.ApiClient:
    """The client of an administrator."""
    return kubernetes.config.new_client_from_config(str(server.kubeconfig))


async def until(holds: Callable[[], Any]) -> Any:
    """What `holds` gives once it gives something, asked beside the event loop."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if found := await asyncio.to_thread(holds):
                return found
            await asyncio.sleep(0.05)


def established(api: kubernetes.client.ApiClient) -> bool:
    """Whether widgets are served."""
    found = kubernetes.client.ApiextensionsV1Api(api).read_custom_resource_definition(DEFINITION)
    return any(one.type == "Established" and one.status == "True" for one in found.status.conditions or ())


async def define(api: kubernetes.client.ApiClient) -> None:
    """Define widgets and wait until they are served."""
    definitions = kubernetes.client.ApiextensionsV1Api(api)
    await asyncio.to_thread(definitions.create_custom_resource_definition, definition())
    await until(lambda: established(api))


async def test_custom_objects_of_the_python_client(server: ApiServer) -> None:
    with api_of(server) as api:
        await define(api)
        custom = kubernetes.client.CustomObjectsApi(api)

        def work() -> list[Any]:
            custom.create_namespaced_custom_object(*GROUP, widget("a"))
            custom.patch_namespaced_custom_object(*GROUP, "a", {"spec": {"replicas": 4}})
            custom.patch_namespaced_custom_object_status(*GROUP, "a", {"status": {"replicas": 4}})
            scale = custom.get_namespaced_custom_object_scale(*GROUP, "a")
            listed = custom.list_namespaced_custom_object(*GROUP, label_selector="!missing")
            custom.delete_namespaced_custom_object(*GROUP, "a")
            return [scale["spec"], scale["status"], [item["spec"] for item in listed["items"]]]

        assert await asyncio.to_thread(work) == [
            {"replicas": 4}, {"replicas": 4}, [{"replicas": 4, "size": "small"}],
        ]  # fmt: skip


async def test_the_dynamic_client_finds_and_watches_widgets(server: ApiServer) -> None:
    with api_of(server) as api:
        await define(api)

        def work() -> list[str]:
            dynamic = DynamicClient(api)
            widgets = dynamic.resources.get(api_version="example.com/v1", kind="Widget")
            widgets.create(body=widget("a"), namespace="default")
            events = widgets.watch(namespace="default", timeout=1)
            return [event["object"].metadata.name for event in events]

        assert await asyncio.to_thread(work) == ["a"]


def operator(api: kubernetes.client.ApiClient) -> kopf.OperatorRegistry:
    """Keeps a ConfigMap for every widget that says how big it is."""
    registry = kopf.OperatorRegistry()
    maps = kubernetes.client.CoreV1Api(api)

    @kopf.on.create(*GROUP[:2], GROUP[3], id="made", registry=registry)
    def made(spec: Any, name: str, namespace: str, **_: Any) -> dict[str, str]:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"size": spec["size"]}}
        kopf.adopt(body)
        maps.create_namespaced_config_map(namespace, body)
        return {"configMap": name}

    @kopf.on.update(*GROUP[:2], GROUP[3], field="spec.size", registry=registry)
    def resized(new: str, name: str, namespace: str, **_: Any) -> None:
        maps.patch_namespaced_config_map(name, namespace, {"data": {"size": new}})

    @kopf.on.delete(*GROUP[:2], GROUP[3], registry=registry)
    def gone(name: str, namespace: str, **_: Any) -> None:
        maps.create_namespaced_config_map(namespace, {"metadata": {"name": f"{name}-was-here"}})

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        settings = api.configuration
        return kopf.ConnectionInfo(
            server=settings.host,
            ca_path=settings.ssl_ca_cert,
            certificate_path=settings.cert_file,
            private_key_path=settings.key_file,
        )

    return registry


async def test_an_operator_does_its_work(server: ApiServer) -> None:
    with api_of(server) as api:
        await define(api)
        custom, maps = kubernetes.client.CustomObjectsApi(api), kubernetes.client.CoreV1Api(api)
        stop = asyncio.Event()
        settings = kopf.OperatorSettings()
        running = asyncio.create_task(
            kopf.operator(
                registry=operator(api), settings=settings, namespaces=["default"], standalone=True, stop_flag=stop
            )
        )

        def sizes() -> dict[str, Any]:
            return {one.metadata.name: one.data for one in maps.list_namespaced_config_map("default").items}

        def status() -> Any:
            return custom.get_namespaced_custom_object(*GROUP, "a").get("status", {}).get("made")

        try:
            await asyncio.to_thread(custom.create_namespaced_custom_object, *GROUP, widget("a"))
            assert await until(status) == {"configMap": "a"}
            assert (await asyncio.to_thread(sizes))["a"] == {"size": "small"}
            await asyncio.to_thread(custom.patch_namespaced_custom_object, *GROUP, "a", {"spec": {"size": "large"}})
            await until(lambda: sizes()["a"] == {"size": "large"})
            await asyncio.to_thread(custom.delete_namespaced_custom_object, *GROUP, "a")
            await until(lambda: set(sizes()) == {"a-was-here"})
        finally:
            stop.set()
            async with asyncio.timeout(WAIT_S):
                await running
