"""An extension server behind an APIService: reached in its users' names, shown in discovery, away and back."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from controlplane.admission.effects import write_of
from controlplane.admission.request import Settings
from controlplane.app import AUTOSCALER
from controlplane.drive.availability import Availability
from controlplane.drive.controllers import Controllers
from controlplane.drive.metrics import WorkqueueCollector
from controlplane.drive.metrics_feed import MetricsFeed
from controlplane.drive.perform import Performer
from controlplane.reconcilers import apiservices
from controlplane.reconcilers.scalingmetrics import NotYet
from controlplane.reconcilers.usageratios import NoMetric
from controlplane.server import pki
from controlplane.server.metric_apis.values import MetricValues
from controlplane.store.values import Require
from mizzen.api.metric_values import Asked, Value
from mizzen.base.clocks import SystemClock
from mizzen.base.ids import RandomIds
from tests.fixtures.api_server import ApiServer, api_server
from tests.fixtures.loopback_streams import LoopbackStreams
from tests.integration.rest.conftest import Client, Kubectl, tls_of

GROUP = "ships.example.com"
ROOT = f"/apis/{GROUP}/v1"
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
METRICS = "/apis/custom.metrics.k8s.io/v1beta1"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/harbour/endpointslices"
WAIT_S = 20.0


@dataclass
class Extension:
    """A server of boats that believes the front proxy alone."""

    port: int
    ca_pem: bytes
    seen: list[dict[str, list[str]]] = field(default_factory=list)
    """The headers of requests, in small letters."""
    more: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets a watch go on."""

    def boat(self, name: str) -> dict[str, Any]:
        """One boat."""
        metadata = {"name": name, "namespace": "harbour", "resourceVersion": "7", "creationTimestamp": None}
        return {"apiVersion": f"{GROUP}/v1", "kind": "Boat", "metadata": metadata}


def _peer(request: web.Request) -> str:
    assert request.transport is not None
    subject = request.transport.get_extra_info("peercert")["subject"]
    return dict(pair for part in subject for pair in part)["commonName"]


async def _socket(request: web.Request) -> web.StreamResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        await connection.send_str(message.data.upper())
    return connection


async def _away(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "https://elsewhere.example.com/"})


async def _index(request: web.Request) -> web.Response:
    url = f"/openapi/v3{ROOT}?hash=1"
    return web.json_response({"paths": {f"apis/{GROUP}/v1": {"serverRelativeURL": url}}})


async def _description(request: web.Request) -> web.Response:
    return web.json_response({"openapi": "3.0.0", "info": {"title": "boats", "version": "v1"}, "paths": {}})


async def _swagger(request: web.Request) -> web.Response:
    """As small as it can be; the parameter is one that only newer documents have."""
    gvk = {"group": GROUP, "version": "v1", "kind": "Boat"}
    boat = {
        "type": "object",
        "description": "Boat floats.",
        "properties": {
            "metadata": {"$ref": f"#/definitions/{META}"},
            "length": {"type": "integer", "description": "m"},
        },
        "x-kubernetes-group-version-kind": [gvk],
    }
    answer = {"200": {"description": "OK", "schema": {"$ref": "#/definitions/boats.v1.Boat"}}}
    get = {"operationId": "readBoat", "responses": answer, "x-kubernetes-group-version-kind": gvk}
    item = {"get": get, "parameters": [{"$ref": "#/parameters/pretty"}]}
    definitions = {"boats.v1.Boat": boat, META: {"type": "object", "description": "Their own."}}
    paths = {f"{ROOT}/namespaces/{{namespace}}/boats/{{name}}": item, "/apis/apps/v1/stolen": item}
    return web.json_response({"swagger": "2.0", "info": {}, "paths": paths, "definitions": definitions})


def _app(extension: Extension) -> web.Application:
    async def discovery(request: web.Request) -> web.Response:
        verbs = ["get", "list", "watch"]
        boats = {"name": "boats", "singularName": "boat", "namespaced": True, "kind": "Boat", "verbs": verbs}
        resources = [{**boats, "shortNames": ["bt"]}, {**boats, "name": "boats/status", "verbs": ["get"]}]
        return web.json_response(
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1", "resources": resources}
        )

    async def boats(request: web.Request) -> web.StreamResponse:
        headers: dict[str, list[str]] = {"peer": [_peer(request)]}
        for name, value in request.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        extension.seen.append(headers)
        if "watch" not in request.query:
            items = [extension.boat("tender")]
            return web.json_response(
                {"kind": "BoatList", "apiVersion": f"{GROUP}/v1", "metadata": {"resourceVersion": "7"}, "items": items}
            )
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        for name in ("tender", "dinghy"):
            event = {"type": "ADDED", "object": extension.boat(name)}
            await answer.write(json.dumps(event).encode() + b"\n")
            await extension.more.wait()
        return answer

    async def hits(request: web.Request) -> web.Response:
        extension.seen.append({"x-remote-user": [request.headers["X-Remote-User"]]})
        value = {"describedObject": {"kind": "Pod", "name": "boats"}, "metricName": "hits", "value": "7500m"}
        return web.json_response({"kind": "MetricValueList", "items": [value]})

    async def nothing(request: web.Request) -> web.Response:
        return web.json_response({"resources": []})

    app = web.Application()
    app.router.add_get(METRICS, nothing)
    app.router.add_get(f"{METRICS}/namespaces/harbour/pods/*/hits", hits)
    app.router.add_get(ROOT, discovery)
    app.router.add_get(f"{ROOT}/namespaces/harbour/boats", boats)
    app.router.add_get(f"{ROOT}/namespaces/harbour/boats/tender/socket", _socket)
    app.router.add_get(f"{ROOT}/away", _away)
    app.router.add_get("/openapi/v2", _swagger)
    app.router.add_get("/openapi/v3", _index)
    app.router.add_get(f"/openapi/v3{ROOT}", _description)
    return app


@asynccontextmanager
async def extension_server(folder: Path) -> AsyncIterator[Extension]:
    """Serve on loopback with TLS; only who shows a certificate of the front proxy's authority is heard."""
    now = time.time_ns() // 1_000_000
    authority = pki.Pki.open(folder / "extension", now, "extension-ca")
    authority.pair("server", pki.Subject("boats", names=("boats.harbour.svc",), server=True, client=False), now)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "front-proxy" / "ca.crt"))
    tls.load_cert_chain(authority.folder / "server.crt", authority.folder / "server.key")
    tls.verify_mode = ssl.CERT_REQUIRED
    extension = Extension(0, authority.ca_pem)
    runner = web.AppRunner(_app(extension), handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    extension.port = runner.addresses[0][1]
    try:
        yield extension
    finally:
        await runner.cleanup()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """A server that asks its extensions and keeps the objects of its groups and versions."""
    async with api_server(tmp_path, streams=LoopbackStreams()) as running:
        registry, clock, ids, settings = running.registry, SystemClock(), RandomIds(), Settings()

        def write(effect: Any, view: Any, now: Any, ids: Any) -> Any:
            return write_of(effect, view, now, ids, settings, "kube-controller-manager")

        performer = Performer(registry, write, lambda _: None, clock, ids)
        fence = Require("/mizzen/nobody", 0)
        availability = Availability(registry, performer, running.aggregator.probe, clock)
        controllers = Controllers(
            lambda _: (apiservices.CONTROLLER,), registry, performer, clock, ids, WorkqueueCollector(clock)
        )
        tasks = [
            asyncio.create_task(running.aggregator.run()),
            asyncio.create_task(availability.run(fence)),
            asyncio.create_task(controllers.run(fence)),
        ]
        yield running
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


@pytest.fixture
async def extension(server: ApiServer, client: Client, tmp_path: Path) -> AsyncIterator[Extension]:
    """An extension server that is not registered yet."""
    async with extension_server(tmp_path) as running:
        yield running


async def _registered(client: Client, extension: Extension, **spec: Any) -> None:
    await client.made("/api/v1/namespaces", {"metadata": {"name": "harbour"}})
    ports = [{"name": "https", "port": 443, "targetPort": extension.port}]
    service = {"metadata": {"name": "boats"}, "spec": {"ports": ports, "clusterIP": "None"}}
    await client.made("/api/v1/namespaces/harbour/services", service)
    containers = [{"name": "boats", "image": "boats"}]
    pod = {"metadata": {"name": "boats"}, "spec": {"nodeName": "n1", "containers": containers}}
    await client.made("/api/v1/namespaces/harbour/pods", pod)
    await client.made(SLICES, _slice(extension, ready=True))
    trust = {"caBundle": base64.b64encode(extension.ca_pem).decode()}
    body = {
        "metadata": {"name": f"v1.{GROUP}"},
        "spec": {
            "group": GROUP, "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 10,
            "service": {"namespace": "harbour", "name": "boats"}, **(spec or trust),
        },
    }  # fmt: skip
    await client.made(SERVICES, body)


def _slice(extension: Extension, *, ready: bool) -> dict[str, Any]:
    return {
        "metadata": {"name": "boats-1", "labels": {"kubernetes.io/service-name": "boats"}}, "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.0.0.9"], "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": "boats", "namespace": "harbour"},
            }
        ],
        "ports": [{"name": "https", "port": extension.port}],
    }  # fmt: skip


async def _condition(client: Client, reason: str, name: str = f"v1.{GROUP}") -> dict[str, Any]:
    """The condition, once it has a reason."""
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                _, obj = await client.ask("GET", f"{SERVICES}/{name}")
                found = obj.get("status", {}).get("conditions", [])
                if found and found[0]["reason"] == reason:
                    return found[0]
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"no {reason}: {found}")


async def _discovered(client: Client, freshness: str) -> dict[str, Any]:
    """The group in aggregated discovery, once its version is as fresh as that."""
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    async with asyncio.timeout(WAIT_S):
        while True:
            url = f"{client.server.url}/apis"
            async with client.session.get(url, headers=accept) as answer:
                items = json.loads(await answer.text())["items"]
            found = next((item for item in items if item["metadata"]["name"] == GROUP), None)
            if found is not None and found["versions"][0]["freshness"] == freshness:
                return found
            await asyncio.sleep(0.02)


async def test_requests_go_to_the_extension_server_in_the_name_of_who_sent_them(
    client: Client, extension: Extension
) -> None:
    await _registered(client, extension)
    assert (await _condition(client, "Passed"))["message"] == "all checks passed"
    sent = {"X-Remote-User": "root", "X-Remote-Extra-Scope": "all", "X-Own": "1"}
    code, boats = await client.ask("GET", f"{ROOT}/namespaces/harbour/boats?limit=5", headers=sent)
    assert (code, boats["items"][0]["metadata"]["name"]) == (200, "tender")
    headers = extension.seen[-1]
    assert headers["peer"] == ["front-proxy-client"]
    assert headers["x-remote-user"] == ["admin"]
    assert headers["x-remote-group"] == ["system:masters", "system:authenticated"]
    assert headers["x-own"] == ["1"]
    assert headers["host"] == ["boats.harbour.svc"]
    assert "x-remote-extra-scope" not in headers
    code, text = await client.ask("GET", f"{ROOT}/away", allow_redirects=False)
    assert (code, text) == (502, "the backend attempted to redirect this request, which is not permitted")


async def test_watches_and_other_protocols_go_through(client: Client, extension: Extension) -> None:
    await _registered(client, extension)
    await _condition(client, "Passed")
    url = f"{client.server.url}{ROOT}/namespaces/harbour/boats"
    async with client.session.get(f"{url}?watch=true") as watch:
        first = json.loads(await watch.content.readline())
        assert first["object"]["metadata"]["name"] == "tender"
        extension.more.set()
        second = json.loads(await watch.content.readline())
        assert second["object"]["metadata"]["name"] == "dinghy"
    async with client.session.ws_connect(f"{url}/tender/socket") as socket:
        await socket.send_str("ahoy")
        assert await socket.receive_str(timeout=10) == "AHOY"


async def test_our_roles_decide_first_and_tokens_end_here(client: Client, extension: Extension) -> None:
    await _registered(client, extension)
    await _condition(client, "Passed")
    certificate, key = client.server.certificate_for("jane", ("sailors",))
    connector = aiohttp.TCPConnector(ssl=tls_of(client.server, certificate, key))
    async with aiohttp.ClientSession(connector=connector) as session:
        jane = Client(client.server, session)
        code, status = await jane.ask("GET", f"{ROOT}/namespaces/harbour/boats")
        want = 'User "jane" cannot list resource "boats" in API group "ships.example.com" in the namespace "harbour"'
        assert (code, want in status["message"], extension.seen) == (403, True, [])
        rules = [{"apiGroups": [GROUP], "resources": ["boats"], "verbs": ["list"]}]
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/harbour"
        await client.made(f"{rbac}/roles", {"metadata": {"name": "see"}, "rules": rules})
        subject = {"kind": "Group", "name": "sailors", "apiGroup": "rbac.authorization.k8s.io"}
        role = {"kind": "Role", "name": "see", "apiGroup": "rbac.authorization.k8s.io"}
        body = {"metadata": {"name": "see"}, "subjects": [subject], "roleRef": role}
        await client.made(f"{rbac}/rolebindings", body)
        assert (await jane.ask("GET", f"{ROOT}/namespaces/harbour/boats"))[0] == 200
        assert (await jane.ask("GET", f"{ROOT}/namespaces/harbour/boats?watch=1"))[0] == 403
        assert (await jane.ask("DELETE", f"{ROOT}/namespaces/harbour/boats/tender"))[0] == 403
        assert extension.seen[-1]["x-remote-user"] == ["jane"]
    account = {"metadata": {"name": "bosun"}}
    await client.made("/api/v1/namespaces/harbour/serviceaccounts", account)
    asked = {"spec": {"expirationSeconds": 600}}
    token = await client.made("/api/v1/namespaces/harbour/serviceaccounts/bosun/token", asked)
    subject = {"kind": "ServiceAccount", "name": "bosun", "namespace": "harbour"}
    await client.made(f"{rbac}/rolebindings", body | {"metadata": {"name": "bosun"}, "subjects": [subject]})
    connector = aiohttp.TCPConnector(ssl=tls_of(client.server, None, None))
    async with aiohttp.ClientSession(connector=connector) as session:
        bosun = Client(client.server, session)
        bearer = {"Authorization": f"Bearer {token['status']['token']}"}
        assert (await bosun.ask("GET", f"{ROOT}/namespaces/harbour/boats", headers=bearer))[0] == 200
    assert "authorization" not in extension.seen[-1]
    assert extension.seen[-1]["x-remote-user"] == ["system:serviceaccount:harbour:bosun"]
    assert extension.seen[-1]["x-remote-uid"]


async def test_discovery_and_descriptions_are_merged(client: Client, extension: Extension, kubectl: Kubectl) -> None:
    await _registered(client, extension)
    found = await _discovered(client, "Current")
    (boats,) = found["versions"][0]["resources"]
    assert (boats["resource"], boats["shortNames"], boats["scope"]) == ("boats", ["bt"], "Namespaced")
    assert [one["subresource"] for one in boats["subresources"]] == ["status"]
    _, groups = await client.ask("GET", "/apis")
    names = [group["name"] for group in groups["groups"]]
    assert names[-1] == GROUP
    _, own = await client.ask("GET", f"/apis/{GROUP}")
    assert own["preferredVersion"] == {"groupVersion": f"{GROUP}/v1", "version": "v1"}
    _, index = await client.ask("GET", "/openapi/v3")
    url = index["paths"][f"apis/{GROUP}/v1"]["serverRelativeURL"]
    assert (await client.ask("GET", url))[1]["info"]["title"] == "boats"
    assert "api/v1" in index["paths"]
    assert await kubectl("get", "bt", "-n", "harbour", "-o", "name") == f"boat.{GROUP}/tender\n"
    assert "boats" in await kubectl("api-resources", f"--api-group={GROUP}")


async def test_older_clients_read_the_descriptions_too(client: Client, extension: Extension, kubectl: Kubectl) -> None:
    await _registered(client, extension)
    await _discovered(client, "Current")
    _, swagger = await client.ask("GET", "/openapi/v2")
    definitions = swagger["definitions"]
    assert definitions["boats.v1.Boat"]["properties"]["metadata"]["$ref"] == f"#/definitions/{META}_v2"
    assert (definitions[f"{META}_v2"]["description"], len(definitions[META]["properties"]) > 5) == ("Their own.", True)
    assert f"{ROOT}/namespaces/{{namespace}}/boats/{{name}}" in swagger["paths"]
    assert "/apis/apps/v1/stolen" not in swagger["paths"]
    explained = await kubectl("explain", "boats", "--output=plaintext-openapiv2")
    assert "Boat floats." in explained
    assert "length\t<integer>" in explained


async def test_who_is_away_is_unavailable_until_they_are_back(
    client: Client, extension: Extension, kubectl: Kubectl
) -> None:
    await _registered(client, extension)
    await _discovered(client, "Current")
    boats = f"{ROOT}/namespaces/harbour/boats"
    assert (await client.ask("GET", boats))[0] == 200
    await client.ask("PUT", f"{SLICES}/boats-1", _slice(extension, ready=False))
    said = await _condition(client, "MissingEndpoints")
    want = 'endpointslices for service/boats in "harbour" have no addresses with port name "https"'
    assert (said["status"], said["message"]) == ("False", want)
    assert await client.ask("GET", boats) == (503, "service unavailable\n")
    await _discovered(client, "Stale")
    assert await kubectl("get", "services", "-n", "harbour", "-o", "name") == "service/boats\n"
    assert "boats" not in await kubectl("api-resources")
    await client.ask("DELETE", "/api/v1/namespaces/harbour/services/boats")
    said = await _condition(client, "ServiceNotFound")
    assert said["message"] == 'service/boats in "harbour" is not present'
    ports = [{"name": "https", "port": 443, "targetPort": extension.port}]
    service = {"metadata": {"name": "boats"}, "spec": {"ports": ports, "clusterIP": "None"}}
    await client.made("/api/v1/namespaces/harbour/services", service)
    await client.ask("PUT", f"{SLICES}/boats-1", _slice(extension, ready=True))
    await _condition(client, "Passed")
    await _discovered(client, "Current")
    assert (await client.ask("GET", boats))[0] == 200


async def test_who_cannot_prove_to_be_the_service_is_not_asked_unless_that_does_not_matter(
    client: Client, extension: Extension
) -> None:
    await _registered(client, extension, caBundle=base64.b64encode(client.server.ca.read_bytes()).decode())
    said = await _condition(client, "FailedDiscoveryCheck")
    assert said["message"].startswith(f"failing or missing response from https://boats.harbour.svc{ROOT}: ")
    assert "failed to verify certificate" in said["message"]
    patch = {"spec": {"caBundle": None, "insecureSkipTLSVerify": True}}
    headers = {"Content-Type": "application/merge-patch+json"}
    code, _ = await client.ask("PATCH", f"{SERVICES}/v1.{GROUP}", patch, headers=headers)
    assert code == 200
    await _condition(client, "Passed")
    assert (await client.ask("GET", f"{ROOT}/namespaces/harbour/boats"))[0] == 200


async def test_what_is_served_here_has_objects_that_say_so(
    client: Client, extension: Extension, kubectl: Kubectl
) -> None:
    await _condition(client, "Local", "v1.apps")
    await _condition(client, "Local", "v1.")
    lines = (await kubectl("get", "apiservices", "--no-headers")).splitlines()
    shown = {line.split()[0]: line.split()[1:3] for line in lines}
    assert shown["v2.autoscaling"] == ["Local", "True"]
    await client.ask("DELETE", f"{SERVICES}/v1.apps")
    await _condition(client, "Local", "v1.apps")


async def test_an_adapter_of_metrics_takes_the_place_of_ours(
    client: Client, extension: Extension, server: ApiServer
) -> None:
    values = MetricValues(lambda: server.registry.view, server.verbs.usages)
    ask = partial(server.aggregator.ask, user=AUTOSCALER)
    feed = MetricsFeed(values, server.aggregator.claims, ask, SystemClock())
    asked = Asked("harbour", "hits", "", "pods", "*")
    with pytest.raises(NoMetric, match="the server could not find the metric hits for pods"):
        feed.metrics(asked)
    await _registered(client, extension)
    spec = {
        "group": "custom.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
        "service": {"namespace": "harbour", "name": "boats"},
        "caBundle": base64.b64encode(extension.ca_pem).decode(),
    }  # fmt: skip
    name = "v1beta1.custom.metrics.k8s.io"
    await client.made(SERVICES, {"metadata": {"name": name}, "spec": spec})
    await _condition(client, "Passed", name)
    code, found = await client.ask("GET", f"{METRICS}/namespaces/harbour/pods/*/hits")
    assert (code, found["items"][0]["value"]) == (200, "7500m")
    assert (await client.ask("GET", METRICS.replace("v1beta1", "v1beta2")))[0] == 404
    _, groups = await client.ask("GET", "/apis")
    versions = {one["name"]: [version["version"] for version in one["versions"]] for one in groups["groups"]}
    assert versions["custom.metrics.k8s.io"] == ["v1beta1"]
    fetching = asyncio.create_task(feed.run())
    try:
        assert await _told(feed, asked) == [Value("boats", 7500)]
        assert extension.seen[-1] == {"x-remote-user": ["system:serviceaccount:kube-system:horizontal-pod-autoscaler"]}
        assert (await client.ask("DELETE", f"{SERVICES}/{name}"))[0] == 200
        assert (await client.ask("GET", METRICS.replace("v1beta1", "v1beta2")))[0] == 200
        with pytest.raises(NoMetric):
            feed.metrics(asked)
    finally:
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)


async def _told(feed: MetricsFeed, asked: Asked) -> Sequence[Value]:
    """The first answer."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                return feed.metrics(asked)
            except NotYet:
                await asyncio.sleep(0.02)
