"""The parts of a running pod that can be changed by themselves: ephemeral containers and resources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.rest.conftest import Client
from tests.integration.rest.test_http import PODS, pod

STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
EPHEMERAL = f"{PODS}/p/ephemeralcontainers"
RESIZE = f"{PODS}/p/resize"
NAMED = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
DEBUGGER = {"name": "d", "image": "i"}
SMALL = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
LARGE = {"requests": {"cpu": "200m"}, "limits": {"cpu": "400m"}}


def manager(answer: dict[str, Any], subresource: str) -> dict[str, Any]:
    """The entry of the account of fields that a subresource has."""
    found = [e for e in answer["metadata"]["managedFields"] if e.get("subresource") == subresource]
    assert len(found) == 1, answer["metadata"]["managedFields"]
    entry: dict[str, Any] = found[0]
    return entry


def sized() -> dict[str, Any]:
    """A small pod."""
    made = pod("p")
    made["spec"]["containers"][0]["resources"] = SMALL
    return made


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (STRATEGIC, {"spec": {"ephemeralContainers": [DEBUGGER]}}),
        (MERGE, {"spec": {"ephemeralContainers": [DEBUGGER]}}),
        (JSON_PATCH, [{"op": "add", "path": "/spec/ephemeralContainers", "value": [DEBUGGER]}]),
        (APPLY, NAMED | {"spec": {"ephemeralContainers": [DEBUGGER]}}),
    ],
    ids=["strategic", "merge", "json", "apply"],
)  # fmt: skip
async def test_ephemeral_containers_are_added(client: Client, headers: dict[str, str], body: Any) -> None:
    before = await client.made(PODS, pod("p"))
    code, answer = await client.ask("PATCH", f"{EPHEMERAL}?fieldManager=me", body, headers=headers)
    assert code == 200, answer
    (added,) = answer["spec"]["ephemeralContainers"]
    assert (added["imagePullPolicy"], added["terminationMessagePath"]) == ("Always", "/dev/termination-log")
    assert answer["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert manager(answer, "ephemeralcontainers")["manager"] == "me"
    assert (await client.ask("GET", EPHEMERAL))[1] == answer
    assert (await client.ask("GET", f"{PODS}/p"))[1] == answer


async def test_nothing_else_changes_with_them(client: Client) -> None:
    made = await client.made(PODS, pod("p"))
    made["spec"]["containers"][0]["image"] = "other"
    made["metadata"]["labels"] = {"a": "b"}
    made["spec"]["ephemeralContainers"] = [DEBUGGER]
    code, answer = await client.ask("PUT", EPHEMERAL, made)
    assert code == 200, answer
    assert answer["spec"]["containers"][0]["image"] != "other"
    assert "labels" not in answer["metadata"] or answer["metadata"]["labels"] != {"a": "b"}
    answer["spec"]["ephemeralContainers"] = []
    code, refused = await client.ask("PUT", EPHEMERAL, answer)
    assert (code, refused["reason"]) == (422, "Invalid")
    why = 'spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be removed\n'
    assert refused["message"] == f'Pod "p" is invalid: {why}'
    code, refused = await client.ask("PUT", f"{PODS}/p", answer)
    assert (code, refused["reason"]) == (422, "Invalid"), "a plain update cannot touch them"
    assert (await client.ask("POST", EPHEMERAL, answer))[0] == 405
    patch = {"spec": {"ephemeralContainers": [DEBUGGER]}}
    assert (await client.ask("PATCH", f"{PODS}/q/ephemeralcontainers", patch, headers=MERGE))[0] == 404


async def test_resources_are_resized(client: Client) -> None:
    before = await client.made(PODS, sized())
    name = before["spec"]["containers"][0]["name"]
    body = {"spec": {"containers": [{"name": name, "resources": LARGE}]}}
    code, answer = await client.ask("PATCH", f"{RESIZE}?fieldManager=me&dryRun=All", body, headers=STRATEGIC)
    assert (code, answer["spec"]["containers"][0]["resources"]) == (200, LARGE)
    code, answer = await client.ask("PATCH", f"{RESIZE}?fieldManager=me", body, headers=STRATEGIC)
    assert (code, answer["spec"]["containers"][0]["resources"]) == (200, LARGE), answer
    assert answer["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert manager(answer, "resize")["manager"] == "me"
    assert (await client.ask("GET", RESIZE))[1] == answer
    code, refused = await client.ask("PUT", f"{PODS}/p", before | {"metadata": answer["metadata"]})
    assert (code, refused["reason"]) == (422, "Invalid"), "a plain update cannot resize"
    body["spec"]["containers"][0]["resources"] = {"requests": {"memory": "1Mi"}, "limits": {"cpu": "100m"}}
    code, refused = await client.ask("PATCH", RESIZE, body, headers=STRATEGIC)
    assert (code, refused["reason"]) == (422, "Invalid")
    assert "must be less than or equal to cpu limit of 100m" in refused["message"]


async def test_a_resize_keeps_the_quality_of_service(client: Client) -> None:
    made = await client.made(PODS, sized())
    made["spec"]["containers"][0]["resources"] = {"requests": SMALL["limits"], "limits": SMALL["limits"]}
    code, answer = await client.ask("PUT", RESIZE, made)
    assert code == 200, "without memory it is no more guaranteed than before"
    answer["spec"]["containers"].append({"name": "more", "image": "i"})
    code, refused = await client.ask("PUT", RESIZE, answer)
    assert (code, refused["message"]) == (
        422,
        'Pod "p" is invalid: spec: Forbidden: containers may not be added or removed on resize',
    )
    bare = await client.made(PODS, pod("q"))
    bare["spec"]["containers"][0]["resources"] = SMALL
    code, refused = await client.ask("PUT", f"{PODS}/q/resize", bare)
    assert (code, refused["message"]) == (
        422,
        'Pod "q" is invalid: spec: Invalid value: "BestEffort": Pod QOS Class may not change as a result of resizing',
    )


async def test_both_are_told_of(client: Client) -> None:
    code, found = await client.ask("GET", "/api/v1")
    assert code == 200
    verbs = {r["name"]: (r["kind"], r["verbs"]) for r in found["resources"]}
    for name in ("pods/ephemeralcontainers", "pods/resize"):
        assert verbs[name] == ("Pod", ["get", "patch", "update"])
    code, document = await client.ask("GET", "/openapi/v3/api/v1")
    for name, word in (("ephemeralcontainers", "Ephemeralcontainers"), ("resize", "Resize")):
        item = document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/" + name]
        assert item["get"]["operationId"] == f"readCoreV1NamespacedPod{word}"
        assert sorted(method for method in item if method != "parameters") == ["get", "patch", "put"]


async def test_who_judges_pods_judges_what_is_added_to_them(client: Client) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    await client.made("/api/v1/namespaces", {"metadata": {"name": "strict", "labels": labels}})
    path = "/api/v1/namespaces/strict/pods"
    await client.made(path, pod("p"))
    added = {"spec": {"ephemeralContainers": [DEBUGGER | {"securityContext": {"privileged": True}}]}}
    code, refused = await client.ask("PATCH", f"{path}/p/ephemeralcontainers", added, headers=MERGE)
    assert (code, refused["reason"]) == (403, "Forbidden"), refused
    assert 'privileged (container "d" must not set securityContext.privileged=true)' in refused["message"]
    ranges = {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}, "metadata": {"name": "r"}}
    await client.made("/api/v1/namespaces/default/limitranges", ranges)
    made = await client.made(PODS, sized())
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}, "limits": {"cpu": "2"}}
    code, refused = await client.ask("PUT", RESIZE, made)
    assert (code, refused["reason"]) == (403, "Forbidden"), refused
    assert "maximum cpu usage per Container is 1, but limit is 2" in refused["message"]
