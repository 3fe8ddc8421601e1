"""The paths that name no object, as clients and probes ask for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from mizzen.api import kinds
from mizzen.api.openapi_v2_binary import ASKED_FOR
from mizzen.wire.gen.mizzen.api.meta.v1 import meta_pb2
from tests.integration.rest.conftest import Client
from tests.integration.rest.test_representations import PROTOBUF, envelope, kind_of


async def get(client: Client, path: str, **headers: str) -> tuple[int, Any, bytes]:
    """Code, headers and body."""
    wanted = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.session.get(client.server.url + path, headers=wanted) as answer:
        return answer.status, answer.headers, await answer.read()


def aggregated(version: str) -> str:
    return f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
@pytest.mark.parametrize("path", ["/api", "/apis"])
async def test_aggregated_discovery_is_sent_once(client: Client, version: str, path: str) -> None:
    code, headers, body = await get(client, path, Accept=f"{aggregated(version)},application/json")
    assert (code, headers["Content-Type"], headers["Vary"]) == (200, aggregated(version), "Accept")
    found = json.loads(body)
    assert (found["kind"], found["apiVersion"]) == ("APIGroupDiscoveryList", f"apidiscovery.k8s.io/{version}")
    code, again, body = await get(client, path, Accept=aggregated(version), If_None_Match=headers["ETag"])
    assert (code, again["ETag"], body) == (304, headers["ETag"], b"")
    code, _, body = await get(client, path, Accept=aggregated(version), If_None_Match='"other"')
    assert (code, json.loads(body)) == (200, found)


async def test_aggregated_discovery_knows_what_the_classic_one_knows(client: Client) -> None:
    for root in ("/api", "/apis"):
        _, _, body = await get(client, root, Accept=aggregated("v2"))
        for group in json.loads(body)["items"]:
            for version in group["versions"]:
                name = group["metadata"].get("name", "")
                path = f"/apis/{name}/{version['version']}" if name else f"/api/{version['version']}"
                _, classic = await client.ask("GET", path)
                resources = [r["name"] for r in classic["resources"] if "/" not in r["name"]]
                assert [resource["resource"] for resource in version["resources"]] == resources


async def test_classic_discovery_in_every_form(client: Client) -> None:
    for path, kind in (
        ("/api", "APIVersions"), ("/apis", "APIGroupList"), ("/apis/apps", "APIGroup"), ("/api/v1", "APIResourceList"),
    ):  # fmt: skip
        _, _, body = await get(client, path)
        found = json.loads(body)
        assert found["kind"] == kind
        _, headers, text = await get(client, path, Accept="application/yaml")
        assert (headers["Content-Type"], yaml.safe_load(text)) == ("application/yaml", found)
        _, headers, binary = await get(client, path, Accept=f"{PROTOBUF},application/json")
        assert (headers["Content-Type"], kind_of(envelope(binary))) == (PROTOBUF, ("v1", kind))
        assert (await get(client, path, Accept="text/html"))[0] == 406
    assert (await get(client, "/", Accept=PROTOBUF))[0] == 406
    assert (await get(client, "/", Accept=f"{PROTOBUF},application/yaml"))[1]["Content-Type"] == "application/yaml"
    resources = meta_pb2.APIResourceList.FromString(envelope(binary).raw)
    pods = next(resource for resource in resources.resources if resource.name == "pods")
    assert (pods.kind, "watch" in pods.verbs.items, list(pods.short_names)) == ("Pod", True, ["po"])


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version", "/healthz"])
async def test_a_slash_at_the_end_changes_nothing(client: Client, path: str) -> None:
    plain = await get(client, path)
    slashed = await get(client, f"{path}/")
    assert (plain[0], plain[2]) == (slashed[0], slashed[2]) == (200, plain[2])


async def test_every_path_of_the_list_is_there(client: Client) -> None:
    _, answer = await client.ask("GET", "/")
    assert {"/api/v1", "/apis/apps/v1", "/healthz", "/livez", "/readyz", "/metrics", "/openapi/v2"} <= {
        *answer["paths"]
    }
    for path in answer["paths"]:
        assert (await get(client, path))[0] == 200, path


async def test_the_version(client: Client) -> None:
    _, answer = await client.ask("GET", "/version?timeout=32s")
    assert (answer["major"], answer["minor"], answer["gitVersion"]) == ("1", "36", "v1.36.0+test")
    assert answer["platform"].startswith("linux/")


@pytest.mark.parametrize(
    ("path", "code", "lines"),
    [
        ("/healthz", 200, ["ok"]),
        ("/readyz", 200, ["ok"]),
        ("/livez", 200, ["ok"]),
        ("/livez/ping", 200, ["ok"]),
        ("/readyz/etcd", 200, ["ok"]),
        ("/readyz/ping", 200, ["ok"]),
        ("/healthz/etcd", 200, ["ok"]),
        ("/readyz?verbose", 200, ["[+]ping ok", "[+]etcd ok", "readyz check passed"]),
        ("/livez?verbose=true", 200, ["[+]ping ok", "livez check passed"]),
        ("/healthz?verbose", 200, ["[+]ping ok", "[+]etcd ok", "healthz check passed"]),
        ("/readyz?verbose&exclude=etcd", 200, ["[+]ping ok", "[+]etcd excluded: ok", "readyz check passed"]),
        ("/readyz?verbose&exclude=disk", 200, [
            "[+]ping ok", "[+]etcd ok", '[warn] some health checks cannot be excluded: no matches for "disk"',
            "readyz check passed",
        ]),
    ],
)  # fmt: skip
async def test_health(client: Client, path: str, code: int, lines: list[str]) -> None:
    found, headers, body = await get(client, path)
    assert (found, body.decode().splitlines()) == (code, lines)
    assert (headers["Content-Type"], headers["X-Content-Type-Options"]) == ("text/plain; charset=utf-8", "nosniff")


@pytest.mark.parametrize("path", ["/readyz/disk", "/livez/etcd", "/readyz/etcd/more", "/healthzz", "/openapi/v4"])
async def test_what_is_not_there(client: Client, path: str) -> None:
    code, answer = await client.ask("GET", path)
    assert (code, answer["reason"], answer["details"]) == (404, "NotFound", {})


async def test_openapi_v3_is_kept_by_its_hash(client: Client) -> None:
    code, headers, body = await get(client, "/openapi/v3")
    paths = json.loads(body)["paths"]
    assert {f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}" for kind in kinds.KINDS} <= {*paths}
    assert (code, "ETag" in headers) == (200, True)
    assert (await get(client, "/openapi/v3", If_None_Match=headers["ETag"]))[0] == 304
    for path in paths.values():
        code, headers, body = await get(client, path["serverRelativeURL"])
        assert (code, headers["Cache-Control"]) == (200, "public, immutable")
        assert headers["ETag"] == f'"{path["serverRelativeURL"].partition("hash=")[2]}"'
        assert json.loads(body)["openapi"].startswith("3.")
        code, _, body = await get(client, path["serverRelativeURL"], If_None_Match=headers["ETag"])
        assert (code, body) == (304, b"")
    assert "Cache-Control" not in (await get(client, "/openapi/v3/api/v1"))[1]


async def test_a_hash_of_yesterday_leads_to_todays_document(client: Client) -> None:
    url = f"{client.server.url}/openapi/v3/api/v1?hash=YESTERDAY"
    async with client.session.get(url, allow_redirects=False) as answer:
        assert answer.status == 301
        target = answer.headers["Location"]
    assert target.startswith("/openapi/v3/api/v1?hash=")
    assert (await get(client, target))[1]["Cache-Control"] == "public, immutable"


async def test_openapi_v2_in_both_forms(client: Client) -> None:
    code, headers, body = await get(client, "/openapi/v2")
    assert (code, json.loads(body)["swagger"]) == (200, "2.0")
    assert (await get(client, "/openapi/v2", If_None_Match=headers["ETag"]))[0] == 304
    code, binary, body = await get(client, "/openapi/v2", Accept=ASKED_FOR)
    assert (code, "protobuf" in binary["Content-Type"], body[:1]) == (200, True, b"\n")
    assert binary["ETag"] != headers["ETag"]


async def test_metrics_of_rest(client: Client) -> None:
    await client.ask("GET", "/api/v1/pods")
    code, headers, body = await get(client, "/metrics")
    assert (code, headers["Content-Type"].startswith("text/plain; version=")) == (200, True)
    assert b'apiserver_request_total{code="200"' in body


async def test_what_checks_have_found(client: Client) -> None:
    for _ in range(2):
        await client.ask("GET", "/readyz")
    await client.ask("GET", "/livez")
    code, text = await client.ask("GET", "/metrics/slis")
    assert code == 200
    assert {
        'kubernetes_healthcheck{name="etcd",type="readyz"} 1.0',
        'kubernetes_healthchecks_total{name="etcd",status="success",type="readyz"} 2.0',
        'kubernetes_healthchecks_total{name="ping",status="success",type="livez"} 1.0',
    } <= set(text.splitlines())
