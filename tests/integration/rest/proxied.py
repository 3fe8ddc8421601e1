"""Objects that a proxy leads to."""

from __future__ import annotations

from typing import Any

from tests.integration.rest.conftest import Client

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


async def pod(client: Client, name: str, port: int, node: str = "n1") -> None:
    """A pod that runs on a node, and says that it listens on a port."""
    containers = [{"name": "c", "image": "i", "ports": [{"containerPort": port}]}]
    body = {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": containers, "nodeName": node}}
    pod = await client.made(PODS, body)
    pod["status"] = {"phase": "Running", "podIP": "10.0.0.9"}
    code, answer = await client.ask("PUT", f"{PODS}/{name}/status", pod)
    assert code == 200, answer


async def service(client: Client, name: str, port: int, pods: dict[str, bool], own: int = 80) -> None:
    """A service without an address whose `own` port leads to pods, some of them ready."""
    ports = [{"name": "web", "port": own, "targetPort": port}]
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


async def node(client: Client, name: str) -> None:
    """A node with an address."""
    node = await client.made("/api/v1/nodes", {"metadata": {"name": name}})
    node["status"] = {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}
    await client.ask("PUT", f"/api/v1/nodes/{name}/status", node)
