"""The API as plain HTTP shows it: codes, headers, versions, pages."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.server import rest_api
from controlplane.server.rest_pieces import PIECE_BYTES
from controlplane.store.memory import MemoryBackend, MemoryStore
from tests.fixtures.api_server import ApiServer, api_server
from tests.integration.rest.conftest import Client, tls_of

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
METADATA = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"}


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "img:1"}], **spec}}


async def test_an_object_from_beginning_to_end(client: Client) -> None:
    made = await client.made(CONFIG_MAPS, config_map("a", k="1"))
    assert made["apiVersion"] == "v1"
    assert made["kind"] == "ConfigMap"
    assert made["metadata"]["uid"]
    code, got = await client.ask("GET", f"{CONFIG_MAPS}/a")
    assert (code, got) == (200, made)
    made["data"] = {"k": "2"}
    code, updated = await client.ask("PUT", f"{CONFIG_MAPS}/a", made)
    assert code == 200
    assert updated["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    code, conflict = await client.ask("PUT", f"{CONFIG_MAPS}/a", {**made, "data": {"k": "3"}})
    assert (code, conflict["reason"]) == (409, "Conflict")
    assert "the object has been modified" in conflict["message"]
    code, same = await client.ask("PUT", f"{CONFIG_MAPS}/a", updated)
    assert (code, same) == (200, updated), "what changes nothing is not written"
    code, gone = await client.ask("DELETE", f"{CONFIG_MAPS}/a")
    assert (code, gone["status"], gone["details"]["uid"]) == (200, "Success", made["metadata"]["uid"])
    code, missing = await client.ask("GET", f"{CONFIG_MAPS}/a")
    assert (code, missing["reason"], missing["message"]) == (404, "NotFound", 'configmaps "a" not found')


async def test_answers_have_exactly_the_content_type(client: Client) -> None:
    async with client.session.get(f"{client.server.url}{CONFIG_MAPS}") as answer:
        assert answer.headers["Content-Type"] == "application/json"
    async with client.session.get(f"{client.server.url}/api/v1/nonsense") as answer:
        assert answer.status == 404
        assert answer.headers["Content-Type"] == "application/json"
        assert (await answer.json())["details"] == {}


async def test_a_body_without_a_type_is_json_and_others_are_refused(client: Client) -> None:
    body = json.dumps(config_map("plain")).encode()
    async with client.session.post(
        f"{client.server.url}{CONFIG_MAPS}", data=body, skip_auto_headers=["Content-Type"]
    ) as answer:
        assert answer.status == 201
    code, refused = await client.ask("POST", CONFIG_MAPS, config_map("x"), headers={"Content-Type": "text/plain"})
    assert (code, refused["reason"]) == (415, "UnsupportedMediaType")
    code, refused = await client.ask("GET", CONFIG_MAPS, headers={"Accept": "text/html"})
    assert (code, refused["reason"]) == (406, "NotAcceptable")
    code, refused = await client.ask(
        "PATCH", f"{CONFIG_MAPS}/plain", {}, headers={"Content-Type": "application/apply-patch+cbor"}
    )
    assert code == 415
    code, refused = await client.ask("POST", CONFIG_MAPS, io.BytesIO(b"{" + b" " * (4 << 20)))
    assert (code, refused["reason"]) == (413, "RequestEntityTooLarge")


async def test_paths_and_methods_that_do_not_exist(client: Client) -> None:
    for path in ("/nothing", "/apis/none.example/v1", f"{PODS}/a/proxy", "/api/v1/pods/x"):
        code, answer = await client.ask("GET", path)
        assert (code, answer["reason"]) == (404, "NotFound"), path
    for method, path in (("PUT", CONFIG_MAPS), ("POST", f"{CONFIG_MAPS}/a"), ("DELETE", f"{PODS}/a/log")):
        code, answer = await client.ask(method, path, {})
        assert (code, answer["reason"]) == (405, "MethodNotAllowed"), (method, path)


async def test_unknown_fields_are_named(client: Client) -> None:
    wrong = {**config_map("typo"), "dat": {}}
    code, answer = await client.ask("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", wrong)
    assert code == 400
    assert 'unknown field "dat"' in answer["message"]
    async with client.session.post(f"{client.server.url}{CONFIG_MAPS}", json=wrong) as warned:
        assert warned.status == 201
        assert warned.headers["Warning"] == '299 - "unknown field \\"dat\\""'
    code, _ = await client.ask("POST", f"{CONFIG_MAPS}?fieldValidation=Never", wrong)
    assert code == 422


async def test_who_is_refused_is_warned_all_the_same(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a"))
    merge = {"Content-Type": "application/merge-patch+json"}
    apply = {"Content-Type": "application/apply-patch+yaml"}
    refused = config_map("a") | {"dat": {}, "data": {"No/key": ""}}
    twice = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {"No/key": "", "No/key": ""}\n'
    for method, path, body, headers, said in (
        ("POST", CONFIG_MAPS, json.dumps(refused), {}, "unknown field"),
        ("PUT", f"{CONFIG_MAPS}/a", json.dumps(refused), {}, "unknown field"),
        ("PATCH", f"{CONFIG_MAPS}/a", json.dumps({"dat": {}, "data": {"No/key": ""}}), merge, "unknown field"),
        ("PATCH", f"{CONFIG_MAPS}/a?fieldManager=m", twice, apply, "already set in map"),
    ):
        headers = {"Content-Type": "application/json"} | headers
        async with client.session.request(method, client.server.url + path, data=body, headers=headers) as answer:
            assert answer.status == 422, (method, await answer.text())
            assert [one for one in answer.headers.getall("Warning", []) if said in one], (method, said)


async def test_an_invalid_object_names_its_fields(client: Client) -> None:
    code, answer = await client.ask("POST", PODS, {"metadata": {"name": "Bad_Name"}, "spec": {"containers": []}})
    assert (code, answer["reason"]) == (422, "Invalid")
    fields = [cause["field"] for cause in answer["details"]["causes"]]
    assert "metadata.name" in fields
    assert "spec.containers" in fields


async def test_nothing_is_stored_in_a_dry_run(client: Client) -> None:
    code, answer = await client.ask("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("dry"))
    assert (code, answer["metadata"]["name"]) == (201, "dry")
    assert (await client.ask("GET", f"{CONFIG_MAPS}/dry"))[0] == 404
    made = await client.made(CONFIG_MAPS, config_map("wet"))
    code, _ = await client.ask("DELETE", f"{CONFIG_MAPS}/wet", {"dryRun": ["All"]})
    assert code == 200
    assert (await client.ask("GET", f"{CONFIG_MAPS}/wet"))[1] == made
    assert (await client.ask("POST", f"{CONFIG_MAPS}?dryRun=Some", config_map("x")))[0] == 422


async def test_the_three_patches(client: Client) -> None:
    await client.made("/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT)
    path = "/apis/apps/v1/namespaces/default/deployments/web"

    async def patched(kind: str, body: Any) -> Any:
        code, answer = await client.ask("PATCH", path, body, headers={"Content-Type": f"application/{kind}+json"})
        assert code == 200, answer
        return answer

    assert (await patched("merge-patch", {"spec": {"replicas": 3}}))["metadata"]["generation"] == 2
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}}
    made = await patched("strategic-merge-patch", strategic)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["command"]) == ("img:2", ["serve"])
    made = await patched("json-patch", [{"op": "replace", "path": "/spec/replicas", "value": 1}])
    assert made["spec"]["replicas"] == 1
    code, answer = await client.ask(
        "PATCH", path, [{"op": "test", "path": "/spec/replicas", "value": 9}],
        headers={"Content-Type": "application/json-patch+json"},
    )  # fmt: skip
    assert (code, answer["reason"]) == (422, "Invalid")


DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "img:1", "command": ["serve"]}]},
        },
    },
}


async def test_patches_of_many_clients_all_count(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("shared"))
    merge = {"Content-Type": "application/merge-patch+json"}

    async def one(number: int) -> int:
        body = {"data": {f"k{number}": "v"}}
        return (await client.ask("PATCH", f"{CONFIG_MAPS}/shared", body, headers=merge))[0]

    codes = await asyncio.gather(*(one(number) for number in range(12)))
    assert set(codes) <= {200, 409}
    _, made = await client.ask("GET", f"{CONFIG_MAPS}/shared")
    assert len(made["data"]) == codes.count(200)


async def test_scale_and_status(client: Client) -> None:
    await client.made("/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT)
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    code, scale = await client.ask("GET", f"{path}/scale")
    assert (code, scale["kind"], scale["spec"], scale["status"]["selector"]) == (200, "Scale", {"replicas": 1}, "a=b")
    scale["spec"]["replicas"] = 4
    assert (await client.ask("PUT", f"{path}/scale", scale))[1]["spec"]["replicas"] == 4
    assert (await client.ask("PUT", f"{path}/scale", scale))[0] == 409, "the version is a precondition here too"
    _, deployment = await client.ask("GET", path)
    assert (deployment["spec"]["replicas"], deployment["metadata"]["generation"]) == (4, 2)
    deployment["status"] = {"replicas": 4, "observedGeneration": 2}
    deployment["spec"]["replicas"] = 9
    code, answer = await client.ask("PUT", f"{path}/status", deployment)
    assert (code, answer["status"]["replicas"], answer["spec"]["replicas"]) == (200, 4, 4)


async def test_binding_a_pod(client: Client) -> None:
    await client.made(PODS, pod("p"))
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    code, answer = await client.ask("POST", f"{PODS}/p/binding", binding)
    assert (code, answer["status"]) == (201, "Success")
    assert (await client.ask("GET", f"{PODS}/p"))[1]["spec"]["nodeName"] == "n1"
    assert (await client.ask("POST", f"{PODS}/p/binding", binding))[0] == 409


async def test_deleting_a_bound_pod_takes_two_steps(client: Client) -> None:
    await client.made(PODS, pod("p", nodeName="n1", terminationGracePeriodSeconds=7))
    code, answer = await client.ask("DELETE", f"{PODS}/p")
    assert (code, answer["metadata"]["deletionGracePeriodSeconds"]) == (200, 7)
    assert (await client.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0}))[0] == 200
    assert (await client.ask("GET", f"{PODS}/p"))[0] == 404


async def test_preconditions_and_finalizers(client: Client) -> None:
    held = config_map("held")
    held["metadata"]["finalizers"] = ["a.example/wait"]
    made = await client.made(CONFIG_MAPS, held)
    code, answer = await client.ask("DELETE", f"{CONFIG_MAPS}/held", {"preconditions": {"uid": "other"}})
    assert (code, answer["reason"]) == (409, "Conflict")
    code, answer = await client.ask(
        "DELETE", f"{CONFIG_MAPS}/held", {"preconditions": {"uid": made["metadata"]["uid"]}}
    )
    assert (code, bool(answer["metadata"]["deletionTimestamp"])) == (200, True)
    code, again = await client.ask("POST", CONFIG_MAPS, config_map("held"))
    assert (code, again["message"]) == (409, 'object is being deleted: configmaps "held" already exists')
    code, _ = await client.ask(
        "PATCH", f"{CONFIG_MAPS}/held", {"metadata": {"finalizers": None}},
        headers={"Content-Type": "application/merge-patch+json"},
    )  # fmt: skip
    assert code == 200
    assert (await client.ask("GET", f"{CONFIG_MAPS}/held"))[0] == 404


async def test_foreground_deletion_is_accepted(client: Client) -> None:
    await client.made("/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT)
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    code, answer = await client.ask("DELETE", path, {"propagationPolicy": "Foreground"})
    assert (code, answer["metadata"]["finalizers"]) == (202, ["foregroundDeletion"])
    assert (await client.ask("DELETE", path, {"propagationPolicy": "Sideways"}))[0] == 422


async def test_deleting_a_collection(client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.made(CONFIG_MAPS, config_map(name, {"keep": "yes" if name == "b" else "no"}))
    code, answer = await client.ask("DELETE", f"{CONFIG_MAPS}?labelSelector=keep=no")
    assert (code, [item["metadata"]["name"] for item in answer["items"]]) == (200, ["a", "c"])
    _, left = await client.ask("GET", CONFIG_MAPS)
    assert [item["metadata"]["name"] for item in left["items"]] == ["b"]


async def test_pages_show_one_moment(client: Client) -> None:
    for number in range(7):
        await client.made(CONFIG_MAPS, config_map(f"c{number}", {"odd": str(number % 2)}))
    code, page = await client.ask("GET", f"{CONFIG_MAPS}?limit=3")
    assert (code, page["metadata"]["remainingItemCount"]) == (200, 4)
    await client.made(CONFIG_MAPS, config_map("c9"))
    await client.ask("DELETE", f"{CONFIG_MAPS}/c5")
    names, versions = [item["metadata"]["name"] for item in page["items"]], {page["metadata"]["resourceVersion"]}
    while token := page["metadata"].get("continue"):
        _, page = await client.ask("GET", CONFIG_MAPS, params={"limit": "3", "continue": token})
        names += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
    assert names == [f"c{number}" for number in range(7)]
    assert len(versions) == 1
    _, chosen = await client.ask("GET", f"{CONFIG_MAPS}?limit=2&labelSelector=odd=0")
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["c0", "c2"]
    assert "remainingItemCount" not in chosen["metadata"]
    _, rest = await client.ask(
        "GET", CONFIG_MAPS, params={"limit": "9", "labelSelector": "odd=0", "continue": chosen["metadata"]["continue"]}
    )
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c4", "c6"]
    code, broken = await client.ask("GET", f"{CONFIG_MAPS}?continue=nonsense")
    assert (code, broken["reason"]) == (400, "BadRequest")


async def test_lists_at_versions(client: Client) -> None:
    first = (await client.made(CONFIG_MAPS, config_map("a")))["metadata"]["resourceVersion"]
    await client.made(CONFIG_MAPS, config_map("b"))

    async def names(query: str) -> list[str]:
        code, answer = await client.ask("GET", f"{CONFIG_MAPS}?{query}")
        assert code == 200, answer
        return [item["metadata"]["name"] for item in answer["items"]]

    assert await names(f"resourceVersion={first}&resourceVersionMatch=Exact") == ["a"]
    assert await names(f"resourceVersion={first}&resourceVersionMatch=NotOlderThan") == ["a", "b"]
    assert await names("resourceVersion=0") == ["a", "b"]
    for query in (
        "resourceVersionMatch=Exact", "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersion=1&resourceVersionMatch=Roughly",
    ):  # fmt: skip
        assert (await client.ask("GET", f"{CONFIG_MAPS}?{query}"))[0] == 422, query


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("fieldSelector=metadata.name=a", ["a"]),
        ("fieldSelector=metadata.name!=a", ["b"]),
        ("labelSelector=x in (1,2)", ["a"]),
        ("labelSelector=!x", ["b"]),
    ],
)
async def test_selectors(client: Client, query: str, names: list[str]) -> None:
    await client.made(CONFIG_MAPS, config_map("a", {"x": "1"}))
    await client.made(CONFIG_MAPS, config_map("b"))
    _, answer = await client.ask("GET", f"{CONFIG_MAPS}?{query}")
    assert [item["metadata"]["name"] for item in answer["items"]] == names
    for bad in ("labelSelector=a in", "fieldSelector=spec.color=red"):
        assert (await client.ask("GET", f"{CONFIG_MAPS}?{bad}"))[0] == 400


async def test_tables_and_metadata(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a", {"x": "1"}, k="v"))
    _, table = await client.ask("GET", CONFIG_MAPS, headers=TABLE)
    assert (table["kind"], table["rows"][0]["cells"][:2]) == ("Table", ["a", 1])
    assert table["metadata"]["resourceVersion"]
    _, one = await client.ask("GET", f"{CONFIG_MAPS}/a", headers=TABLE)
    assert (one["kind"], len(one["rows"])) == ("Table", 1)
    _, partial = await client.ask("GET", CONFIG_MAPS, headers=METADATA)
    assert partial["kind"] == "PartialObjectMetadataList"
    (item,) = partial["items"]
    assert item.keys() == {"kind", "apiVersion", "metadata"}
    assert item["metadata"]["labels"] == {"x": "1"}


async def test_events_are_one_thing_in_two_groups(client: Client) -> None:
    about = {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u"}
    old = {"metadata": {"name": "e1"}, "involvedObject": about, "reason": "Old", "message": "m", "count": 2}
    await client.made("/api/v1/namespaces/default/events", old)
    new = {
        "metadata": {"name": "e2"}, "regarding": about, "reason": "New", "note": "n", "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "a.example/b", "action": "Act",
        "reportingInstance": "b-1",
    }  # fmt: skip
    made = await client.made("/apis/events.k8s.io/v1/namespaces/default/events", new)
    assert (made["apiVersion"], made["note"]) == ("events.k8s.io/v1", "n")
    _, seen = await client.ask("GET", "/apis/events.k8s.io/v1/events?fieldSelector=regarding.name=p")
    assert [(e["reason"], e.get("deprecatedCount")) for e in seen["items"]] == [("Old", 2), ("New", None)]
    assert seen["kind"] == "EventList"
    _, seen = await client.ask("GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=p")
    assert [(e["reason"], e["message"]) for e in seen["items"]] == [("Old", "m"), ("New", "n")]
    assert (await client.ask("GET", "/apis/events.k8s.io/v1/events", headers=TABLE))[1]["rows"][0]["cells"][2] == "Old"


async def test_who_may_do_what(client: Client, server: ApiServer) -> None:
    async def code(path: str, certificate: tuple[Any, Any] = (None, None), **headers: str) -> tuple[int, str]:
        connector = aiohttp.TCPConnector(ssl=tls_of(server, *certificate))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(server.url + path, headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await code(path))[0] == 200
    refused, text = await code(PODS)
    assert refused == 403
    message = (
        'pods is forbidden: User \\"system:anonymous\\" cannot list resource \\"pods\\" in API group \\"\\" '
        'in the namespace \\"default\\"'
    )
    assert message in text
    assert (await code("/api"))[0] == 403
    assert (await code(PODS, Authorization="Bearer nonsense"))[0] == 401
    node = server.certificate_for("system:node:n1", ("system:nodes",))
    assert (await code("/api", node))[0] == 200
    assert (await code("/api/v1/nodes/n1", node))[0] == 404
    refused, text = await code("/api/v1/nodes/n2", node)
    assert refused == 403
    assert 'nodes \\"n2\\" is forbidden: User \\"system:node:n1\\" cannot get resource' in text
    assert "at the cluster scope" in text


async def test_a_scraper_may_read_the_metrics_and_nothing_else(server: ApiServer) -> None:
    certificate = server.certificate_for("prometheus", ("system:monitoring",))
    connector = aiohttp.TCPConnector(ssl=tls_of(server, *certificate))
    async with aiohttp.ClientSession(connector=connector) as session:
        for path, code in (("/metrics", 200), (PODS, 403)):
            async with session.get(server.url + path) as answer:
                assert answer.status == code


async def test_a_store_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # More than a health check takes to give up, less than the store's own patience.
    monkeypatch.setattr(rest_api, "REQUEST_S", 3.0)
    backend = MemoryBackend()
    store = MemoryStore(backend)
    async with api_server(tmp_path, store=store) as server:
        tls = tls_of(server, server.client_certificate, server.client_key)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
            client = Client(server, session)
            assert (await client.ask("GET", "/readyz?verbose"))[1].splitlines()[1] == "[+]etcd ok"
            backend.freeze()
            code, text = await client.ask("GET", "/readyz")
            assert (code, "[-]etcd failed" in text) == (500, True)
            assert (await client.ask("GET", "/livez"))[0] == 200
            assert (await client.ask("GET", f"{PODS}?resourceVersion=0"))[0] == 200, "what is known can be read"
            code, answer = await client.ask("GET", PODS)
            assert (code, answer["reason"]) == (504, "Timeout")
            backend.thaw()
            assert (await client.ask("GET", PODS))[0] == 200
    await store.close()


async def test_discovery_is_not_sent_twice(client: Client) -> None:
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}
    async with client.session.get(f"{client.server.url}/apis", headers=accept) as answer:
        assert answer.headers["Content-Type"].endswith("as=APIGroupDiscoveryList")
        etag = answer.headers["ETag"]
    async with client.session.get(f"{client.server.url}/apis", headers={**accept, "If-None-Match": etag}) as answer:
        assert answer.status == 304
    for path in ("/api", "/apis/", "/apis/apps/", "/apis/apps/v1", "/version/", "/"):
        assert (await client.ask("GET", path))[0] == 200, path


async def test_metrics_count_requests(client: Client) -> None:
    await client.ask("GET", CONFIG_MAPS)
    code, text = await client.ask("GET", "/metrics")
    assert code == 200
    line = next(
        line
        for line in text.splitlines()
        if line.startswith("apiserver_request_total{") and 'resource="configmaps"' in line and 'code="200"' in line
    )
    assert 'verb="LIST"' in line
    assert 'scope="namespace"' in line
    assert "apiserver_request_duration_seconds_bucket{" in text
    assert "apiserver_current_inflight_requests{" in text


async def test_a_body_that_waits_to_be_asked_for(client: Client) -> None:
    url, body = f"{client.server.url}{CONFIG_MAPS}", config_map("patient", None, k="v")
    # Without the word from the server the client would wait until its time is over.
    async with client.session.post(url, json=body, expect100=True, timeout=aiohttp.ClientTimeout(10)) as answer:
        assert answer.status == 201
    async with client.session.get(url, headers={"Expect": "a-wonder"}) as answer:
        assert answer.status == 417
    assert (await client.ask("GET", f"{CONFIG_MAPS}/patient"))[0] == 200


async def test_large_answers_are_compressed(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("big", None, k="x" * 200_000))
    async with client.session.get(f"{client.server.url}{CONFIG_MAPS}", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len((await answer.json())["items"]) == 1


async def test_large_answers_come_whole_and_are_sent_in_pieces(client: Client) -> None:
    for name in ("a", "b"):
        await client.made(CONFIG_MAPS, config_map(name, None, k=name * PIECE_BYTES))
    as_they_are = {"Accept-Encoding": "identity"}
    _, answer = await client.ask("GET", CONFIG_MAPS, headers=as_they_are)
    assert [item["data"]["k"] for item in answer["items"]] == ["a" * PIECE_BYTES, "b" * PIECE_BYTES]
    assert (await client.ask("GET", f"{CONFIG_MAPS}/a"))[0] == 200


async def test_some_deletions_answer_with_the_object(client: Client) -> None:
    """As OpenAPI says, from which clients with types are made."""
    _, document = await client.ask("GET", "/openapi/v3/api/v1")
    deletions = {path: item["delete"] for path, item in document["paths"].items() if "delete" in item}
    quotas = "/api/v1/namespaces/{namespace}/resourcequotas"
    for path, kind in (
        (f"{quotas}/{{name}}", "ResourceQuota"),
        (quotas, "Status"),
        (f"{CONFIG_MAPS}/{{name}}", "Status"),
    ):
        path = path.replace("/default/", "/{namespace}/")
        shown = deletions[path]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        assert shown.rpartition(".")[2] == kind, path
    made = await client.made("/api/v1/namespaces/default/resourcequotas", {"metadata": {"name": "q"}})
    code, answer = await client.ask("DELETE", "/api/v1/namespaces/default/resourcequotas/q")
    assert (code, answer["kind"], answer["metadata"]["uid"]) == (200, "ResourceQuota", made["metadata"]["uid"])
