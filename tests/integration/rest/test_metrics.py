"""What nodes tell of themselves, read as `metrics.k8s.io` by every client."""

from __future__ import annotations

import pytest

from controlplane.server.usage import PODS_MAX
from mizzen.api import kinds
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import node_pb2
from tests.fixtures.api_server import ApiServer
from tests.integration.rest.conftest import Client, Kubectl

METRICS = "/apis/metrics.k8s.io/v1beta1"
POD = {
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "img:1"}]},
}


@pytest.fixture
async def uid(server: ApiServer, client: Client) -> str:
    """Of a pod on a node, both measured, and of another on another node that says it uses much."""
    await client.made("/api/v1/nodes", {"metadata": {"name": "n1", "labels": {"zone": "a"}}})
    await client.made("/api/v1/nodes", {"metadata": {"name": "n2"}})
    pod = await client.made("/api/v1/namespaces/default/pods", POD)
    found: str = pod["metadata"]["uid"]
    node = node_pb2.Used(cpu_nano=1_500_000_000, memory_bytes=1 << 30)
    used = {"c": node_pb2.Used(cpu_nano=250_000_001, memory_bytes=3 << 20)}
    pods = [node_pb2.PodUsage(namespace="default", name="web", uid=found, containers=used)]
    server.verbs.usages.told("n1", node_pb2.Usage(window_ms=10_020, node=node, pods=pods))
    return found


async def test_pods_and_nodes(client: Client, uid: str) -> None:
    code, pod = await client.ask("GET", f"{METRICS}/namespaces/default/pods/web")
    assert (code, pod["kind"], pod["window"]) == (200, "PodMetrics", "10.02s")
    assert pod["containers"] == [{"name": "c", "usage": {"cpu": "250000001n", "memory": "3Mi"}}]
    assert pod["metadata"]["labels"] == {"app": "web"}
    code, node = await client.ask("GET", f"{METRICS}/nodes/n1")
    assert (code, node["usage"]) == (200, {"cpu": "1500m", "memory": "1Gi"})
    for path, count in (
        ("pods", 1), ("namespaces/default/pods", 1), ("namespaces/other/pods", 0), ("pods?labelSelector=app%3Dx", 0),
        ("pods?labelSelector=app%3Dweb", 1), ("nodes", 1), ("nodes?labelSelector=zone%3Db", 0),
    ):  # fmt: skip
        code, listed = await client.ask("GET", f"{METRICS}/{path}")
        assert (code, len(listed["items"])) == (200, count), path


async def test_what_is_not_known(client: Client, uid: str, server: ApiServer) -> None:
    code, status = await client.ask("GET", f"{METRICS}/nodes/n2")
    assert (code, status["message"]) == (404, 'nodemetrics.metrics.k8s.io "n2" not found')
    code, status = await client.ask("GET", f"{METRICS}/namespaces/default/pods/x")
    assert (code, status["message"]) == (404, 'podmetrics.metrics.k8s.io "default/x" not found')
    for method, path in (("POST", "nodes"), ("DELETE", "nodes/n1"), ("PATCH", "nodes/n1"), ("GET", "nodes?watch=1")):
        code, _ = await client.ask(method, f"{METRICS}/{path}", {} if method != "GET" else None)
        assert code == 405, (method, path)
    # Another node's word about the pod counts for nothing, and too many words for nothing at all.
    foreign = node_pb2.PodUsage(namespace="default", name="web", uid=uid, containers={"c": node_pb2.Used(cpu_nano=9)})
    server.verbs.usages.told("n2", node_pb2.Usage(window_ms=1, node=node_pb2.Used(), pods=[foreign]))
    _, pod = await client.ask("GET", f"{METRICS}/namespaces/default/pods/web")
    assert pod["containers"][0]["usage"]["cpu"] == "250000001n"
    server.verbs.usages.told("n1", node_pb2.Usage(window_ms=1, pods=[node_pb2.PodUsage()] * (PODS_MAX + 1)))
    _, node = await client.ask("GET", f"{METRICS}/nodes/n1")
    assert node["window"] == "10.02s"


async def test_other_forms(client: Client, uid: str) -> None:
    accept = {"Accept": "application/vnd.kubernetes.protobuf"}
    async with client.session.get(f"{client.server.url}{METRICS}/nodes/n1", headers=accept) as answer:
        node = convert.decode_envelope(await answer.read(), kinds.NODE_METRICS.type)
    assert node.usage["cpu"] == "1500m"
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    _, table = await client.ask("GET", f"{METRICS}/pods", headers=accept)
    assert table["rows"][0]["cells"] == ["web", "250000001n", "3Mi", "10.02s"]


async def test_kubectl_top(every_kubectl: Kubectl, client: Client, uid: str, server: ApiServer) -> None:
    kubectl = every_kubectl
    offered = {"status": {"allocatable": {"cpu": "3", "memory": "2Gi"}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    await client.ask("PATCH", "/api/v1/nodes/n1/status", offered, headers=headers)
    assert (await kubectl("top", "pods", "--no-headers")).split() == ["web", "251m", "3Mi"]
    assert (await kubectl("top", "pods", "--containers", "--no-headers")).split() == ["web", "c", "251m", "3Mi"]
    assert "251m" in (await kubectl("top", "pods", "--sum")).splitlines()[-1]
    assert (await kubectl("top", "node", "n1", "--no-headers")).split() == ["n1", "1500m", "50%", "1024Mi", "50%"]
    assert "n1" in await kubectl("top", "nodes")


async def test_a_view_of_a_namespace_sees_its_pods(client: Client) -> None:
    _, role = await client.ask(
        "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregated-metrics-reader"
    )
    assert role["rules"] == [
        {"apiGroups": ["metrics.k8s.io"], "resources": ["nodes", "pods"], "verbs": ["get", "list", "watch"]}
    ]
    _, view = await client.ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view")
    assert any("metrics.k8s.io" in rule["apiGroups"] for rule in view["rules"])
