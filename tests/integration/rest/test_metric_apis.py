"""What pods say of themselves, as `custom.metrics.k8s.io` and `external.metrics.k8s.io`, read by every client."""

from __future__ import annotations

import json

import aiohttp
import pytest

from mizzen.wire.gen.mizzen.v1 import node_pb2
from tests.fixtures.api_server import ApiServer
from tests.integration.rest.conftest import Client, Kubectl, tls_of

CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
SHOP = f"{CUSTOM}/namespaces/default"
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(autouse=True)
async def told(server: ApiServer, client: Client) -> None:
    """Two pods behind a Service say how many hits they have."""
    found = []
    for name, hits in (("web-1", 10), ("web-2", 2.5)):
        pod = {
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "img:1"}]},
        }
        made = await client.made("/api/v1/namespaces/default/pods", pod)
        series = [node_pb2.Series(metric="hits", value=hits, labels={"code": "200"}, window_ms=30_000)]
        found.append(node_pb2.ScrapedPod(uid=made["metadata"]["uid"], series=series))
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    await client.made("/api/v1/namespaces/default/services", {"metadata": {"name": "web"}, "spec": spec})
    server.verbs.usages.told("n1", node_pb2.Usage(window_ms=10_000, scraped=found))


async def test_values(client: Client) -> None:
    code, found = await client.ask("GET", f"{SHOP}/pods/*/hits?labelSelector=app%3Dweb")
    assert (code, found["kind"], found["apiVersion"]) == (200, "MetricValueList", "custom.metrics.k8s.io/v1beta2")
    assert {one["describedObject"]["name"]: one["value"] for one in found["items"]} == {"web-1": "10", "web-2": "2500m"}
    for path, values in (
        (f"{SHOP}/services/web/hits", ["12500m"]), (f"{SHOP}/metrics/hits", ["12500m"]),
        (f"{SHOP}/pods/web-1/hits?metricLabelSelector=code%3D200", ["10"]),
        (f"{SHOP}/pods/web-1/hits".replace("v1beta2", "v1beta1"), ["10"]),
        (f"{EXTERNAL}/namespaces/default/hits", ["10", "2500m"]),
        (f"{EXTERNAL}/namespaces/default/hits?labelSelector=pod%3Dweb-2", ["2500m"]),
        (f"{EXTERNAL}/namespaces/default/nothing", []),
    ):  # fmt: skip
        code, found = await client.ask("GET", path)
        assert (code, [one["value"] for one in found["items"]]) == (200, values), path


async def test_what_is_not_there(client: Client) -> None:
    code, status = await client.ask("GET", f"{SHOP}/pods/*/other")
    assert (code, status["reason"], status["message"]) == (
        404, "NotFound", "the server could not find the metric other for pods",
    )  # fmt: skip
    for method, path, expected in (
        ("GET", f"{SHOP}/services/gone/hits", 404), ("GET", f"{CUSTOM}/nodes/n1/hits", 404),
        ("GET", f"{SHOP}/pods/*/hits?labelSelector=a%20in", 400), ("POST", f"{SHOP}/pods/*/hits", 405),
        ("GET", f"{SHOP}/pods/*/hits?metricLabelSelector=code%3E1", 400),
        ("GET", "/apis/custom.metrics.k8s.io/v1/namespaces/default/pods/*/hits", 404),
    ):  # fmt: skip
        code, _ = await client.ask(method, path)
        assert code == expected, path
    code, _ = await client.ask("GET", f"{SHOP}/pods/*/hits", headers={"Accept": "text/plain"})
    assert code == 406


async def test_discovery(client: Client) -> None:
    _, groups = await client.ask("GET", "/apis")
    versions = {one["name"]: [version["version"] for version in one["versions"]] for one in groups["groups"]}
    assert versions["custom.metrics.k8s.io"] == ["v1beta2", "v1beta1"]
    assert versions["external.metrics.k8s.io"] == ["v1beta1"]
    _, listed = await client.ask("GET", CUSTOM)
    assert [(one["name"], one["namespaced"]) for one in listed["resources"]] == [
        ("pods/hits", True), ("services/hits", True), ("namespaces/hits", False),
    ]  # fmt: skip
    _, listed = await client.ask("GET", EXTERNAL)
    assert [(one["name"], one["kind"]) for one in listed["resources"]] == [("hits", "ExternalMetricValueList")]
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    async with client.session.get(f"{client.server.url}/apis", headers=accept) as answer:
        document = json.loads(await answer.read())
    (custom,) = [one for one in document["items"] if one["metadata"]["name"] == "custom.metrics.k8s.io"]
    resources = custom["versions"][0]["resources"]
    assert [one["resource"] for one in resources] == ["pods", "services", "namespaces"]
    assert resources[0]["subresources"][0]["subresource"] == "hits"


async def test_who_may_read_a_namespace_may_read_its_metrics(server: ApiServer, client: Client) -> None:
    binding = {
        "metadata": {"name": "ann"}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": "ann"}],
    }  # fmt: skip
    await client.made(f"/apis/{RBAC}/v1/namespaces/default/rolebindings", binding)
    tls = tls_of(server, *server.certificate_for("ann", ()))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        ann = Client(server, session)
        for path in (f"{SHOP}/pods/*/hits", f"{SHOP}/services/web/hits", f"{EXTERNAL}/namespaces/default/hits", CUSTOM):
            assert (await ann.ask("GET", path))[0] == 200, path
        for path in (f"{CUSTOM}/namespaces/other/pods/*/hits", f"{EXTERNAL}/namespaces/other/hits"):
            assert (await ann.ask("GET", path))[0] == 403, path


async def test_every_kubectl(every_kubectl: Kubectl) -> None:
    raw = json.loads(await every_kubectl("get", "--raw", f"{SHOP}/pods/*/hits"))
    assert [one["value"] for one in raw["items"]] == ["10", "2500m"]
    assert "custom.metrics.k8s.io/v1beta2" in await every_kubectl("api-versions")
    assert "pods" in await every_kubectl("api-resources")
    assert every_kubectl.said == ""
