"""The same life for an object of every kind: made, found, changed in every way, watched and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mizzen.api import codec, kinds
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import node_pb2
from tests.fixtures.api_server import ApiServer, api_server
from tests.fixtures.cells import Exercised, every_cell
from tests.fixtures.examples import EXAMPLES, KEPT, Example, example
from tests.fixtures.loopback_streams import LoopbackStreams
from tests.integration.rest import proxied
from tests.integration.rest.conftest import Client, Kubectl, tls_of
from tests.integration.rest.test_http import TABLE
from tests.integration.rest.test_spdy import connected
from tests.integration.rest.test_watch import watching
from tests.integration.rest.workloads import run_pod

PATCHES = {"merge": "application/merge-patch+json", "strategic": "application/strategic-merge-patch+json"}
WITHOUT_AGE = (
    kinds.EVENT, kinds.EVENTS_EVENT, kinds.POD_TEMPLATE, kinds.LIMIT_RANGE, kinds.IP_ADDRESS,
    kinds.CSI_STORAGE_CAPACITY, kinds.ROLE, kinds.CLUSTER_ROLE, kinds.CUSTOM_RESOURCE_DEFINITION,
)  # fmt: skip
PROTOBUF = "application/vnd.kubernetes.protobuf"

LIVES = "test_life"
WAIT_S = 10.0

each_kind = pytest.mark.parametrize("kind", KEPT, ids=lambda kind: f"{kind.resource}-{kind.version}")


def collection(kind: kinds.Kind[Any]) -> str:
    """The path of a kind's objects in the namespace `default`."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{root}/namespaces/default/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"


def holds(found: Any, wanted: Any) -> bool:
    """Whether everything that is wanted is there; objects may have more fields."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(holds(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(holds, found, wanted))
    return bool(found == wanted)


@pytest.fixture(scope="module")
def exercised() -> Exercised:
    """The cells of the API's table that the tests of this module have been in."""
    return Exercised()


@pytest.fixture
async def client(server: ApiServer, exercised: Exercised) -> AsyncIterator[Client]:
    """An administrator whose requests count."""
    tls = tls_of(server, server.client_certificate, server.client_key)
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[exercised.trace()]) as session:
        yield Client(server, session)


@each_kind
async def test_life(kind: kinds.Kind[Any], client: Client) -> None:
    wanted, path = EXAMPLES[kind], collection(kind)
    one = f"{path}/{wanted.name}"
    start = (await client.ask("GET", path))[1]["metadata"]["resourceVersion"]
    async with watching(client, f"{path}?watch=1&resourceVersion={start}") as lines:
        made = await client.made(path, example(kind))
        assert made["metadata"]["uid"]
        assert made["metadata"]["creationTimestamp"]
        assert await client.ask("GET", one) == (200, made)
        _, listed = await client.ask("GET", path)
        assert made["metadata"]["name"] in [item["metadata"]["name"] for item in listed["items"]]
        assert (await client.ask("POST", path, example(kind)))[0] == 409
        await changes(client, one, wanted, made)
        await in_protobuf(client, one, kind)
        if "status" in kind.subresources:
            await status(client, one, wanted)
        if "scale" in kind.subresources:
            await scale(client, one)
        code, _ = await client.ask("DELETE", f"{one}?gracePeriodSeconds=0")
        assert code == 200
        if kind is kinds.NAMESPACE:
            _, ending = await client.ask("GET", one)
            code, _ = await client.ask("PUT", f"{one}/finalize", {**ending, "spec": {"finalizers": []}})
            assert code == 200
        if kind in HELD:
            let_go = {"metadata": {"finalizers": None}}
            assert (await client.ask("PATCH", one, let_go, headers={"Content-Type": PATCHES["merge"]}))[0] == 200
        assert (await client.ask("GET", one))[0] == 404
        await seen(lines, made["metadata"]["uid"])
    if "deletecollection" in kind.verbs:
        body = example(kind)
        await client.made(path, {**body, "metadata": {**body["metadata"], "labels": {"all": "gone"}}})
        code, gone = await client.ask("DELETE", f"{path}?labelSelector=all=gone&gracePeriodSeconds=0")
        assert code == 200, gone
        assert [item["metadata"]["name"] for item in gone["items"]] == [wanted.name]


async def changes(client: Client, one: str, wanted: Example, made: dict[str, Any]) -> None:
    """Change it by patches and as a whole; the generation goes up for what is wanted and not for labels."""
    generation = made["metadata"].get("generation")
    if wanted.change:
        code, changed = await client.ask("PATCH", one, wanted.change, headers={"Content-Type": PATCHES["merge"]})
        assert code == 200, changed
        assert holds(changed, wanted.change)
        assert changed["metadata"].get("generation") in ((generation or 0) + 1, generation)
        if generation:
            assert changed["metadata"]["generation"] == generation + 1
    for name, media_type in PATCHES.items():
        body = {"metadata": {"labels": {name: "yes"}}}
        code, patched = await client.ask("PATCH", one, body, headers={"Content-Type": media_type})
        assert code == 200, patched
        assert patched["metadata"]["labels"][name] == "yes"
    patched["metadata"]["annotations"] = {"example.com/whole": "yes"}
    code, updated = await client.ask("PUT", one, patched)
    assert code == 200, updated
    assert updated["metadata"]["annotations"]["example.com/whole"] == "yes"
    counted = patched["metadata"].get("generation")
    # Annotations of a Deployment belong to what is desired: they are handed on to its ReplicaSets.
    assert updated["metadata"].get("generation") == (counted + 1 if updated["kind"] == "Deployment" else counted)
    code, refused = await client.ask("PUT", one, made | {"metadata": patched["metadata"]})
    assert (code, refused["reason"]) == (409, "Conflict")


async def in_protobuf(client: Client, one: str, kind: kinds.Kind[Any]) -> None:
    """Written as clients in Go write it, and shown as a table."""
    _, found = await client.ask("GET", one)
    obj, _ = codec.decode_dict(found, kind)
    code, same = await client.ask(
        "PUT", f"{one}?dryRun=All", convert.encode_envelope(obj), headers={"Content-Type": PROTOBUF}
    )
    assert code == 200, same
    assert same == found
    for path in (one, one.rpartition("/")[0]):
        _, table = await client.ask("GET", path, headers=TABLE)
        assert table["kind"] == "Table"
        for row in table["rows"]:
            assert len(row["cells"]) == len(table["columnDefinitions"])


async def status(client: Client, one: str, wanted: Example) -> None:
    """A status is written by itself; an update of the whole leaves it alone."""
    assert (await client.ask("GET", f"{one}/status"))[0] == 200
    body = {"status": wanted.status, "metadata": {"annotations": {"example.com/seen": "yes"}}}
    code, written = await client.ask("PATCH", f"{one}/status", body, headers={"Content-Type": PATCHES["merge"]})
    assert code == 200, written
    assert wanted.status
    assert holds(written["status"], wanted.status)
    _, found = await client.ask("GET", one)
    assert found["status"] == written["status"]
    code, updated = await client.ask("PUT", one, {key: value for key, value in found.items() if key != "status"})
    assert code == 200, updated
    assert updated["status"] == written["status"]
    code, again = await client.ask("PUT", f"{one}/status", {**updated, "spec": {}})
    assert code == 200, again
    assert again.get("spec") == updated.get("spec")


async def scale(client: Client, one: str) -> None:
    """The number of replicas is seen and set through the subresource."""
    _, before = await client.ask("GET", f"{one}/scale")
    assert before["status"]["selector"] == "app=web"
    body = {"spec": {"replicas": 7}}
    code, after = await client.ask("PATCH", f"{one}/scale", body, headers={"Content-Type": PATCHES["merge"]})
    assert (code, after["spec"]) == (200, {"replicas": 7})
    assert (await client.ask("GET", one))[1]["spec"]["replicas"] == 7
    code, whole = await client.ask("PUT", f"{one}/scale", {**after, "spec": {"replicas": 6}})
    assert (code, whole["spec"]) == (200, {"replicas": 6})


async def seen(lines: Any, uid: str) -> None:
    """The watch tells of the object's whole life, in order."""
    types = []
    while types[-1:] != ["DELETED"]:
        event = await lines.next()
        assert event["object"]["metadata"]["uid"] == uid
        types.append(event["type"])
    assert types[0] == "ADDED"
    assert types[1:-1] == ["MODIFIED"] * (len(types) - 2)
    assert len(types) > 3


QUESTIONS: dict[kinds.Kind[Any], dict[str, Any]] = {
    kinds.TOKEN_REVIEW: {"token": "nonsense"},
    kinds.SELF_SUBJECT_REVIEW: {},
    kinds.SUBJECT_ACCESS_REVIEW: {"user": "ann", "resourceAttributes": {"verb": "get", "resource": "pods"}},
    kinds.SELF_SUBJECT_ACCESS_REVIEW: {"resourceAttributes": {"verb": "get", "resource": "pods"}},
    kinds.LOCAL_SUBJECT_ACCESS_REVIEW: {
        "user": "ann", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"},
    },
    kinds.SELF_SUBJECT_RULES_REVIEW: {"namespace": "default"},
}  # fmt: skip


@pytest.mark.parametrize("kind", QUESTIONS, ids=lambda kind: kind.plural)
async def test_a_question_is_answered(kind: kinds.Kind[Any], client: Client) -> None:
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "spec": QUESTIONS[kind]}
    answer = await client.made(collection(kind), body)
    assert answer["status"], "answered at once"
    assert "uid" not in answer["metadata"], "nothing is stored"


async def test_what_is_done_with_pods(client: Client) -> None:
    """Bound, asked for a log, entered by WebSocket and by SPDY, evicted."""
    pods = collection(kinds.POD)
    await client.made(pods, example(kinds.POD))
    one = f"{pods}/{EXAMPLES[kinds.POD].name}"
    target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "x"}, "target": {"kind": "Node", "name": "n"}}
    target["metadata"] = {"name": EXAMPLES[kinds.POD].name}
    await client.made(f"{one}/binding", target)
    assert (await client.ask("GET", one))[1]["spec"]["nodeName"] == "n"
    running = {"status": {"phase": "Running", "containerStatuses": [RUNNING]}}
    code, shown = await client.ask("PATCH", f"{one}/status", running, headers={"Content-Type": PATCHES["merge"]})
    assert code == 200, shown
    assert (await client.ask("GET", f"{one}/log"))[0] == 200
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": EXAMPLES[kinds.POD].name}}
    await client.made(f"{one}/eviction?dryRun=All", eviction)


async def test_a_pod_is_bound_in_the_old_way(client: Client) -> None:
    pods, bindings = collection(kinds.POD), collection(kinds.BINDING)
    await client.made(pods, {"metadata": {"name": "p"}, "spec": EXAMPLES[kinds.POD].body["spec"]})
    target = {"target": {"kind": "Node", "name": "n"}}
    for metadata, code, words in (
        ({}, 400, "Name parameter required."),
        ({"name": "p", "namespace": "other"}, 400, "the namespace of the provided object does not match"),
        ({"name": "none"}, 404, 'pods "none" not found'),
    ):
        refused, answer = await client.ask("POST", bindings, {"metadata": metadata, **target})
        assert (refused, answer["message"][: len(words)]) == (code, words)
    answer = await client.made(bindings, {"metadata": {"name": "p", "namespace": "default"}, **target})
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert (await client.ask("GET", f"{pods}/p"))[1]["spec"]["nodeName"] == "n"
    assert (await client.ask("POST", bindings, {"metadata": {"name": "p"}, **target}))[0] == 409
    assert (await client.ask("GET", bindings))[0] == 405, "nothing is stored"


async def test_a_pod_is_looked_into_and_resized(client: Client) -> None:
    container = {"name": "c", "image": "img:1", "resources": {"requests": {"cpu": "10m"}}}
    one = f"{collection(kinds.POD)}/p"
    await client.made(collection(kinds.POD), {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    await run_pod(client.server, "p")
    added = {"spec": {"ephemeralContainers": [{"name": "look", "image": "img:1"}]}}
    larger = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "20m"}}}]}}
    for sub, change in (("ephemeralcontainers", added), ("resize", larger)):
        code, changed = await client.ask(
            "PATCH", f"{one}/{sub}", change, headers={"Content-Type": PATCHES["strategic"]}
        )
        assert code == 200, changed
        assert await client.ask("GET", f"{one}/{sub}") == (200, changed)
        assert (await client.ask("PUT", f"{one}/{sub}", changed))[0] == 200
    assert changed["spec"]["ephemeralContainers"][0]["name"] == "look"
    assert changed["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "20m"}


RUNNING = {
    "name": "c", "image": "img:1", "imageID": "", "ready": True, "restartCount": 0, "containerID": "docker://1",
    "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("way", "protocols"),
    [
        ("exec?command=cat&stdin=1&stdout=1&stderr=1", ("v5.channel.k8s.io", "v4.channel.k8s.io")),
        ("attach?stdin=1&stdout=1&stderr=1", ("v5.channel.k8s.io", "v4.channel.k8s.io")),
        ("portforward?ports=80", ("v4.channel.k8s.io", "portforward.k8s.io")),
    ],
    ids=["exec", "attach", "portforward"],
)
async def test_ways_into_pods(way: str, protocols: tuple[str, str], client: Client, exercised: Exercised) -> None:
    """A stream is opened by WebSocket with GET, and by SPDY with POST."""
    await client.made(collection(kinds.POD), {"metadata": {"name": "p"}, "spec": EXAMPLES[kinds.POD].body["spec"]})
    await run_pod(client.server, "p")
    path = f"{collection(kinds.POD)}/p/{way}"
    async with client.session.ws_connect(client.server.url + path, protocols=[protocols[0]]) as socket:
        assert socket.protocol == protocols[0]
    exercised.note("GET", path.partition("?")[0])
    async with connected(client.server, path, protocols[1]) as raw:
        assert raw.head.startswith(b"HTTP/1.1 101 "), raw.head
    exercised.note("POST", path.partition("?")[0])


async def test_proxies(tmp_path: Path, exercised: Exercised) -> None:
    """A pod, a service and a node that are this machine, asked in every way."""

    async def fine(_: web.Request) -> web.Response:
        return web.Response(text="fine")

    behind = web.Application()
    behind.router.add_route("*", "/{rest:.*}", fine)
    streams = LoopbackStreams()
    async with TestServer(behind) as site, api_server(tmp_path, streams=streams) as server:
        assert site.port is not None
        tls, trace = tls_of(server, server.client_certificate, server.client_key), [exercised.trace()]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls), trace_configs=trace) as session:
            client = Client(server, session)
            await proxied.pod(client, "web", site.port)
            await proxied.service(client, "web", site.port, {"web": True})
            await proxied.node(client, "n1")
            for kind, name in (
                (kinds.POD, f"web:{site.port}"), (kinds.SERVICE, "web:80"), (kinds.NODE, f"n1:{site.port}"),
            ):  # fmt: skip
                for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                    body = None if method == "GET" else "text"
                    assert await client.ask(method, f"{collection(kind)}/{name}/proxy/x", body) == (200, "fine")


async def test_tokens_and_approvals(client: Client) -> None:
    accounts, requests = collection(kinds.SERVICE_ACCOUNT), collection(kinds.CERTIFICATE_SIGNING_REQUEST)
    await client.made(accounts, {"metadata": {"name": "robot"}})
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    assert (await client.made(f"{accounts}/robot/token", token))["status"]["token"].count(".") == 2
    made = await client.made(requests, example(kinds.CERTIFICATE_SIGNING_REQUEST))
    approval = f"{requests}/{made['metadata']['name']}/approval"
    assert (await client.ask("GET", approval))[0] == 200
    made["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Test", "message": "fine"}]}
    code, approved = await client.ask("PUT", approval, made)
    assert (code, approved["status"]["conditions"][0]["type"]) == (200, "Approved")
    body = {"metadata": {"labels": {"seen": "yes"}}}
    assert (await client.ask("PATCH", approval, body, headers={"Content-Type": PATCHES["merge"]}))[0] == 200


async def test_what_is_measured_is_read(client: Client, server: ApiServer) -> None:
    await client.made("/api/v1/nodes", {"metadata": {"name": "n1"}})
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "img:1"}]}
    pod = await client.made("/api/v1/namespaces/default/pods", {"metadata": {"name": "web"}, "spec": spec})
    used = node_pb2.PodUsage(uid=pod["metadata"]["uid"], containers={"c": node_pb2.Used(cpu_nano=1_000_000)})
    server.verbs.usages.told("n1", node_pb2.Usage(window_ms=1000, node=node_pb2.Used(), pods=[used]))
    for kind, name in ((kinds.NODE_METRICS, "n1"), (kinds.POD_METRICS, "web")):
        code, listed = await client.ask("GET", collection(kind))
        assert (code, [item["metadata"]["name"] for item in listed["items"]]) == (200, [name])
        code, one = await client.ask("GET", f"{collection(kind)}/{name}")
        assert (code, one["kind"]) == (200, kind.kind)


async def test_how_the_control_plane_feels(client: Client, server: ApiServer) -> None:
    path = collection(kinds.COMPONENT_STATUS)
    async with client.session.get(server.url + path) as answer:
        assert answer.headers["Warning"] == '299 - "v1 ComponentStatus is deprecated in v1.19+"'
        listed = await answer.json()
    assert [item["metadata"]["name"] for item in listed["items"]] == ["controller-manager", "etcd-0", "scheduler"]
    code, store = await client.ask("GET", f"{path}/etcd-0")
    assert (code, store["kind"]) == (200, "ComponentStatus")
    assert store["conditions"] == [{"type": "Healthy", "status": "True", "message": "ok"}]
    _, table = await client.ask("GET", f"{path}/scheduler", headers=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Status", "Message", "Error"]
    assert table["rows"][0]["cells"] == ["scheduler", "Unhealthy", "", "no control plane leads"]


def test_every_cell_has_been_exercised(exercised: Exercised, request: pytest.FixtureRequest) -> None:
    """What docs/api.md promises has been asked for with success by the tests above, and nothing else exists."""
    lives = sum(item.name.startswith(LIVES) for item in request.session.items)
    if lives < len(KEPT):
        pytest.skip(f"needs all {len(KEPT)} lives, of which {lives} were asked for")
    assert exercised.cells == every_cell()


async def test_kubectl_knows_every_kind(server: ApiServer, kubectl: Kubectl, tmp_path: Path) -> None:
    """Created from a file, shown, described, explained and deleted by its short name."""
    limit = asyncio.Semaphore(2)

    async def one(kind: kinds.Kind[Any]) -> None:
        name = EXAMPLES[kind].name
        manifest = tmp_path / f"{kind.resource}-{kind.version}.json"
        manifest.write_bytes(codec.encode_json(codec.decode_dict(example(kind), kind)[0]))
        full = f"{kind.plural}.{kind.version}.{kind.group}"
        short = kind.short_names[0] if kind.short_names and kind.stored else full
        async with limit:
            assert "created" in await kubectl("create", "-f", str(manifest))
            assert name in await kubectl("get", short, name, "-o", "name")
            assert "AGE" in (await kubectl("get", short, name)) or kind in WITHOUT_AGE
            if kind is not kinds.VOLUME_ATTRIBUTES_CLASS:  # this kubectl describes only its beta version
                assert "Name:" in await kubectl("describe", full, name)
            told = await kubectl("explain", kind.plural, f"--api-version={kind.api_version}")
            assert f"KIND:       {kind.kind}" in told
            assert "DESCRIPTION" in told
            applied = await kubectl("apply", "-f", str(manifest))
            assert applied.split()[-1] in ("configured", "unchanged")
            if kind is not kinds.NAMESPACE:
                await kubectl("delete", full, name, "--now", "--wait=false")

    results = await asyncio.gather(*map(one, KEPT), return_exceptions=True)
    problems = [f"{kind.resource}: {found!r}" for kind, found in zip(KEPT, results, strict=True) if found]
    assert problems == [], "\n".join(problems)


MADE = [
    ("create job once --image=img:1 -- true", "job.batch/once"),
    ("create cronjob often --image=img:1 --schedule=*/5_*_*_*_* -- true", "cronjob.batch/often"),
    ("create job by-hand --from=cronjob/often", "job.batch/by-hand"),
    ("create quota small --hard=pods=5,requests.cpu=2", "resourcequota/small"),
    ("create poddisruptionbudget keep --selector=app=web --min-available=50%", "poddisruptionbudget.policy/keep"),
    ("create priorityclass high --value=1000 --description=first", "priorityclass.scheduling.k8s.io/high"),
    ("create ingress way --rule=www.example.com/*=web:80,tls=cert", "ingress.networking.k8s.io/way"),
    ("create deployment web --image=img:1", "deployment.apps/web"),
    ("autoscale deployment web --max=5 --cpu-percent=70", "horizontalpodautoscaler.autoscaling/web"),
]
"""Commands that send what kubectl makes itself, in its own encoding; `_` stands for a space within a word."""


async def test_what_kubectl_makes_itself(kubectl: Kubectl) -> None:
    for command, made in MADE:
        said = await kubectl(*(word.replace("_", " ") for word in command.split()))
        assert said.startswith(made), command
    text = await kubectl("get", "hpa", "web")
    assert text.split()[-6:-1] == ["cpu:", "<unknown>/70%", "1", "5", "0"]
    old = await kubectl(
        "get", "horizontalpodautoscalers.v1.autoscaling", "web", "-o", "jsonpath={.spec.targetCPUUtilizationPercentage}"
    )
    assert old == "70"
    described = await kubectl("describe", "job", "once")
    assert "batch.kubernetes.io/controller-uid=" in described
    assert "suspend" in await kubectl("patch", "job", "once", "-p", '{"spec":{"suspend":true}}', "-o", "yaml")


async def test_what_kubectl_is_refused(kubectl: Kubectl) -> None:
    """The words of a refusal reach the person who has to mend it."""
    await kubectl("create", "job", "once", "--image=img:1", "--", "true")
    code, _ = await kubectl.ends("patch", "job", "once", "--type=merge", "-p", '{"spec":{"completions":3}}')
    assert code == 1
    assert 'The Job "once" is invalid: spec.completions: Invalid value: 3: field is immutable' in kubectl.said
    code, _ = await kubectl.ends("create", "cronjob", "bad", "--image=img:1", "--schedule=61 * * * *")
    assert 'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61' in kubectl.said


HELD = (kinds.CUSTOM_RESOURCE_DEFINITION, kinds.PERSISTENT_VOLUME, kinds.PERSISTENT_VOLUME_CLAIM)
"""What is deleted when a controller lets it go, and there is none here."""


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds.KINDS if "scale" in kind.subresources], ids=lambda kind: kind.plural
)
async def test_kubectl_scales(kind: kinds.Kind[Any], client: Client, kubectl: Kubectl) -> None:
    await client.made(collection(kind), example(kind))
    for args in (("--replicas=3",), ("--replicas=4", "--current-replicas=3")):
        assert "scaled" in await kubectl("scale", f"{kind.resource}/{EXAMPLES[kind].name}", *args)
    _, found = await client.ask("GET", f"{collection(kind)}/{EXAMPLES[kind].name}")
    assert found["spec"]["replicas"] == 4
