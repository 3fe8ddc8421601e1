"""Server-side apply as stock kubectl and plain HTTP use it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.fixtures.api_server import ApiServer
from tests.integration.rest import test_kubectl
from tests.integration.rest.conftest import Client, Kubectl, tls_of

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = {"Content-Type": "application/apply-patch+yaml"}
MANIFEST = test_kubectl.MANIFEST.partition("---")[0]
APPLIED = {
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:containers": {
                    'k:{"name":"c"}': {
                        ".": {}, "f:image": {}, "f:name": {},
                        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                    }
                }
            },
        },
    }
}  # fmt: skip


async def managers(kubectl: Kubectl, what: str) -> dict[tuple[str, str, str], Any]:
    """The fields of every manager of an object, as `kubectl get --show-managed-fields` has them."""
    got = json.loads(await kubectl("get", what, "-o", "json", "--show-managed-fields"))
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in got["metadata"].get("managedFields", ())
    }


async def test_kubectl_applies_on_the_server(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    apply = ("apply", "--server-side", "-f", "-")
    assert await kubectl(*apply, stdin=MANIFEST) == "deployment.apps/web serverside-applied\n"
    assert await managers(kubectl, "deployment/web") == {("kubectl", "Apply", ""): APPLIED}
    version = "jsonpath={.metadata.resourceVersion}"
    before = await kubectl("get", "deployment/web", "-o", version)
    await kubectl(*apply, stdin=MANIFEST)
    assert await kubectl("get", "deployment/web", "-o", version) == before
    assert "managedFields" not in await kubectl("get", "deployment/web", "-o", "yaml")

    differing = MANIFEST.replace("img:1", "img:2")
    code, out = await kubectl.ends("diff", "--server-side", "-f", "-", stdin=differing)
    assert (code, "+      - image: img:2" in out) == (1, True)
    assert await kubectl("diff", "--server-side", "-f", "-", stdin=MANIFEST) == ""
    # To scale it gives no name, and is known by that of its program.
    program = kubectl.binary.name
    await kubectl("scale", "deployment/web", "--replicas=4")
    await kubectl("label", "deployment/web", "tier=front")
    assert (await managers(kubectl, "deployment/web")).keys() == {
        ("kubectl", "Apply", ""), (program, "Update", "scale"), ("kubectl-label", "Update", ""),
    }  # fmt: skip
    refused = await kubectl.fails(*apply, stdin=MANIFEST)
    conflict = f'conflict with "{program}" with subresource "scale" using apps/v1: .spec.replicas'
    assert f"Apply failed with 1 conflict: {conflict}" in refused
    await kubectl(*apply, "--force-conflicts", stdin=MANIFEST)
    assert await kubectl("get", "deployment/web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert (await managers(kubectl, "deployment/web")).keys() == {
        ("kubectl", "Apply", ""), ("kubectl-label", "Update", ""),
    }  # fmt: skip
    await kubectl(*apply, "--field-manager=other", "--dry-run=server", stdin=MANIFEST)
    assert ("other", "Apply", "") not in await managers(kubectl, "deployment/web")


async def test_kubectl_goes_from_client_side_to_server_side(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert (await managers(kubectl, "deployment/web")).keys() == {("kubectl-client-side-apply", "Update", "")}
    await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST.replace("replicas: 2", "replicas: 3"))
    found = await managers(kubectl, "deployment/web")
    assert found[("kubectl", "Apply", "")] == APPLIED
    assert ("kubectl-client-side-apply", "Update", "") not in found
    annotation = r"jsonpath={.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}"
    last = json.loads(await kubectl("get", "deployment/web", "-o", annotation))
    assert last["spec"]["replicas"] == 3
    # And back again: what was applied on the server is what the client compares with.
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert await kubectl("get", "deployment/web", "-o", "jsonpath={.spec.replicas}") == "2"


async def test_commands_are_known_as_managers(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    await kubectl("create", "configmap", "c", "--from-literal=a=b")
    await kubectl("annotate", "configmap", "c", "x=y")
    await kubectl("patch", "configmap", "c", "-p", '{"data":{"a":"c"}}')
    assert await managers(kubectl, "configmap/c") == {
        ("kubectl-create", "Update", ""): {"f:data": {}},
        ("kubectl-annotate", "Update", ""): {"f:metadata": {"f:annotations": {".": {}, "f:x": {}}}},
        ("kubectl-patch", "Update", ""): {"f:data": {"f:a": {}}},
    }


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


async def apply(client: Client, path: str, body: Any, query: str = "fieldManager=m", **headers: str) -> tuple[int, Any]:
    """What a server says to an apply."""
    return await client.ask("PATCH", f"{path}?{query}", body, headers=APPLY | headers)


async def test_yaml_is_applied_as_well(client: Client) -> None:
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  day: 2024-01-01\n"
    code, made = await apply(client, f"{CONFIG_MAPS}/a", body)
    assert (code, made["data"]) == (201, {"day": "2024-01-01"})
    code, again = await apply(client, f"{CONFIG_MAPS}/a", body)
    assert (code, again) == (200, made)
    _, metrics = await client.ask("GET", "/metrics")
    (line,) = [
        line for line in metrics.splitlines() if 'verb="APPLY"' in line and "request_total" in line and '"200"' in line
    ]
    assert line.endswith(" 1.0")


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        (
            "", 422,
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        ),
        (f"fieldManager={'m' * 129}", 422, "fieldManager: Too long: may not be more than 128 bytes"),
        ("fieldManager=a%0Ab", 422, "should only contain printable characters"),
        ("fieldManager=m&force=maybe", 400, "force must be true or false"),
        ("fieldManager=m&dryRun=Some", 422, "dryRun"),
    ],
)  # fmt: skip
async def test_how_it_is_applied_is_checked(client: Client, query: str, code: int, message: str) -> None:
    got, answer = await apply(client, f"{CONFIG_MAPS}/a", config_map(a="1"), query)
    assert (got, answer["code"]) == (code, code)
    assert message in answer["message"]


async def test_force_is_for_applies_only(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map(a="1"))
    merge = {"Content-Type": "application/merge-patch+json"}
    code, answer = await client.ask("PATCH", f"{CONFIG_MAPS}/a?force=true", {}, headers=merge)
    assert (code, answer["reason"]) == (422, "Invalid")
    assert "force: Forbidden: may not be specified for non-apply patch" in answer["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a: [", "error converting YAML to JSON"),
        ({"kind": "ConfigMap"}, "invalid object type"),
        ({**config_map(), "metadata": {"name": "a", "managedFields": []}}, "metadata.managedFields must be nil"),
        ({**config_map(), "metadata": {"name": "b"}}, "the name of the object (b) does not match"),
        ({**config_map(), "foo": 1}, ".foo: field not declared in schema"),
        ({**config_map(), "immutable": "yes"}, "cannot unmarshal string"),
        (
            {**config_map(), "metadata": {"name": "a", "finalizers": ["x/a", "x/a"]}},
            'default/a; /v1, Kind=ConfigMap): .metadata.finalizers: duplicate entries for key [="x/a"]',
        ),
    ],
)  # fmt: skip
async def test_what_is_applied_is_checked(client: Client, body: Any, message: str) -> None:
    code, answer = await apply(client, f"{CONFIG_MAPS}/a", body)
    assert (code, answer["reason"]) == (400, "BadRequest")
    assert message in answer["message"]


async def test_repeated_keys_are_noticed(client: Client) -> None:
    body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1","a":"2"}}'
    code, answer = await apply(client, f"{CONFIG_MAPS}/a", body, "fieldManager=m&fieldValidation=Strict")
    assert (code, answer["reason"]) == (400, "BadRequest")
    assert 'key "a" already set in map' in answer["message"]
    url = f"{client.server.url}{CONFIG_MAPS}/a?fieldManager=m"
    async with client.session.patch(url, data=body, headers=APPLY) as warned:
        assert warned.status == 201
        assert warned.headers["Warning"] == '299 - "key \\"a\\" already set in map"'


async def test_conflicts_name_every_field(client: Client) -> None:
    await client.made(f"{CONFIG_MAPS}?fieldManager=one", config_map(a="1", b="1"))
    code, answer = await apply(client, f"{CONFIG_MAPS}/a", config_map(a="2", b="2"))
    assert (code, answer["reason"]) == (409, "Conflict")
    assert answer["message"] == 'Apply failed with 2 conflicts: conflicts with "one" using v1:\n- .data.a\n- .data.b'
    assert answer["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one" using v1', "field": field}
        for field in (".data.a", ".data.b")
    ]


async def test_who_does_not_say_its_name_is_known_by_its_program(client: Client) -> None:
    for number, (agent, manager) in enumerate((("curl/8.0 (x)", "curl"), ("", "unknown"), ("a\tb", "ab"))):
        body = {**config_map(a="1"), "metadata": {"name": f"c{number}"}}
        _, made = await client.ask("POST", CONFIG_MAPS, body, headers={"User-Agent": agent})
        assert made["metadata"]["managedFields"][0]["manager"] == manager


async def test_answers_come_as_tables_and_metadata_too(client: Client) -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    code, answer = await apply(client, f"{CONFIG_MAPS}/a", config_map(a="1"), Accept=table)
    assert (code, answer["kind"], answer["rows"][0]["cells"][0]) == (201, "Table", "a")
    partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    code, answer = await apply(client, f"{CONFIG_MAPS}/a", config_map(a="1"), Accept=partial)
    assert (code, answer["kind"]) == (200, "PartialObjectMetadata")
    assert [entry["manager"] for entry in answer["metadata"]["managedFields"]] == ["m"]


async def test_parts_of_an_object_are_applied(client: Client) -> None:
    spec = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    for part, body in (("status", {**head, "status": {"replicas": 1}}), ("scale", scale)):
        assert (await apply(client, f"{DEPLOYMENTS}/web/{part}", body))[0] == 404
    assert (await apply(client, f"{DEPLOYMENTS}/web", {**head, "spec": spec}))[0] == 201
    code, answer = await apply(client, f"{DEPLOYMENTS}/web/status", {**head, "status": {"replicas": 1}})
    assert (code, answer["status"]) == (200, {"replicas": 1})
    code, answer = await apply(client, f"{DEPLOYMENTS}/web/scale", scale)
    assert (code, answer["spec"]) == (200, {"replicas": 3})
    _, live = await client.ask("GET", f"{DEPLOYMENTS}/web")
    parts = [entry.get("subresource", "") for entry in live["metadata"]["managedFields"]]
    assert parts == ["", "scale", "status"]


async def test_events_are_applied_in_both_groups(client: Client) -> None:
    about = {"kind": "Pod", "namespace": "default", "name": "p"}
    body = {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "regarding": about,
        "note": "hello", "reason": "Said", "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Say",
        "reportingController": "x/y", "reportingInstance": "z",
    }  # fmt: skip
    path = "/apis/events.k8s.io/v1/namespaces/default/events/e"
    code, answer = await apply(client, path, body)
    assert (code, answer["note"]) == (201, "hello")
    _, core = await client.ask("GET", "/api/v1/namespaces/default/events/e")
    assert core["message"] == "hello"


async def test_writers_of_one_object_at_the_same_time_all_get_through(any_server: ApiServer) -> None:
    """Nobody is told to try again who has not said which version they have seen."""
    tls = tls_of(any_server, any_server.client_certificate, any_server.client_key)
    types = (APPLY["Content-Type"], "application/merge-patch+json")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        client = Client(any_server, session)
        busy = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "busy"}}
        await client.made(CONFIG_MAPS, busy)

        async def write(i: int, media_type: str) -> int:
            path = f"{CONFIG_MAPS}/busy?fieldManager=m{i}"
            body, headers = json.dumps(busy | {"data": {f"a{i}": "x"}}), {"Content-Type": media_type}
            return (await client.ask("PATCH", path, body, headers=headers))[0]

        assert await asyncio.gather(*(write(i, types[i % 2]) for i in range(32))) == [200] * 32
        _, got = await client.ask("GET", f"{CONFIG_MAPS}/busy")
    assert sorted(got["data"]) == sorted(f"a{i}" for i in range(32))
