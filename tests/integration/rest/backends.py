"""Pods that run on nodes, and services that lead to them, as far as the server has to know of them."""

from __future__ import annotations

from typing import Any

from tests.integration.rest.conftest import Client

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


async def pod_on_node(client: Client, name: str, port: int, node: str = "n1") -> None:
    """A running pod."""
    containers = [{"name": "c", "image": "i", "ports": [{"containerPort": port}]}]
    body = {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": containers, "nodeName": node}}
    pod = await client.made(PODS, body)
    pod["status"] = {"phase": "Running", "podIP": "10.0.0.9"}
    code, answer = await client.ask("PUT", f"{PODS}/{name}/status", pod)
    assert code == 200, answer


async def service_of(client: Client, name: str, port: int, pods: dict[str, bool], number: int = 80) -> None:
    """A service whose port `number` leads to pods, which are ready or not."""
    ports = [{"name": "web", "port": number, "targetPort": port}]
    await client.made(SERVICES, {"metadata": {"name": name}, "spec": {"ports": ports, "clusterIP": "None"}})
    endpoints = [
        {"addresses": ["10.0.0.9"], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod}}
        for pod, ready in pods.items()
    ]
    piece: dict[str, Any] = {
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "web", "port": port}],
    }  # fmt: skip
    await client.made("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", piece)
