"""The `kubernetes` package, over each store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from kubernetes import client as k8s
from kubernetes import config, watch
from kubernetes.client.rest import ApiException

from tests.fixtures.api_server import ApiServer

T = TypeVar("T")


def _everyday(kubeconfig: str) -> list[tuple[str, str]]:
    """Creates, lists, patches, watches and deletes; gives what the watch saw."""
    api_client = config.new_client_from_config(kubeconfig)
    try:
        core, apps = k8s.CoreV1Api(api_client), k8s.AppsV1Api(api_client)
        container = k8s.V1Container(name="c", image="img:1")
        template = k8s.V1PodTemplateSpec(
            metadata=k8s.V1ObjectMeta(labels={"a": "b"}), spec=k8s.V1PodSpec(containers=[container])
        )
        spec = k8s.V1DeploymentSpec(selector=k8s.V1LabelSelector(match_labels={"a": "b"}), template=template)
        made = apps.create_namespaced_deployment(
            "default", k8s.V1Deployment(metadata=k8s.V1ObjectMeta(name="web"), spec=spec)
        )
        assert made.spec.strategy.type == "RollingUpdate"
        apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 3}})
        assert apps.read_namespaced_deployment_scale("web", "default").spec.replicas == 3
        _conflict(apps, made)
        start = core.list_namespaced_config_map("default").metadata.resource_version
        config_map = k8s.V1ConfigMap(metadata=k8s.V1ObjectMeta(name="cm"), data={"k": "v"})
        core.create_namespaced_config_map("default", config_map)
        core.patch_namespaced_config_map("cm", "default", {"data": {"k": "w"}})
        core.delete_namespaced_config_map("cm", "default")
        events = watch.Watch().stream(
            core.list_namespaced_config_map, "default", resource_version=start, timeout_seconds=2
        )
        return [(event["type"], event["object"].metadata.name) for event in events]
    finally:
        api_client.close()


def _conflict(apps: Any, made: Any) -> None:
    try:
        apps.replace_namespaced_deployment("web", "default", made)
    except ApiException as error:
        assert error.status == 409
    else:
        raise AssertionError("an old version must not replace a newer one")


async def _in_thread(function: Callable[[str], T], argument: str) -> T:
    return await asyncio.to_thread(function, argument)


async def test_everyday(any_server: ApiServer) -> None:
    seen = await _in_thread(_everyday, str(any_server.kubeconfig))
    assert seen == [("ADDED", "cm"), ("MODIFIED", "cm"), ("DELETED", "cm")]
