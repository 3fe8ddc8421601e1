"""Evictions against disruption budgets."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.fixtures.api_server import ApiServer
from tests.integration.rest.conftest import Client, tls_of

NAMESPACE = "/api/v1/namespaces/default"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


def pod(name: str) -> dict[str, Any]:
    """A pod of the workload."""
    return {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


async def run_pods(client: Client, count: int, *, ready: bool = True) -> None:
    """Pods that are on a node and run there."""
    for number in range(count):
        name = f"web-{number}"
        await client.made(f"{NAMESPACE}/pods", pod(name))
        target = {"target": {"kind": "Node", "name": "n1"}, "metadata": {"name": name}}
        await client.made(f"{NAMESPACE}/pods/{name}/binding", target)
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
        await merge(client, f"{NAMESPACE}/pods/{name}/status", {"status": status})


async def merge(client: Client, path: str, body: Any) -> None:
    """A merge patch that must succeed."""
    code, answer = await client.ask("PATCH", path, body, headers={"Content-Type": "application/merge-patch+json"})
    assert code == 200, answer


async def allow(client: Client, allowed: int, name: str = "web", **status: Any) -> None:
    """A budget, with what its controller has found."""
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}, **status.pop("spec", {})}
    await client.made(BUDGETS, {"metadata": {"name": name}, "spec": spec})
    found = {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 3, "desiredHealthy": 3, **status}
    await merge(client, f"{BUDGETS}/{name}/status", {"status": found})


async def evict(client: Client, name: str = "web-0", **more: Any) -> tuple[int, Any]:
    """One eviction."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **more}
    return await client.ask("POST", f"{NAMESPACE}/pods/{name}/eviction", body)


async def test_fifty_at_once_take_no_more_than_there_is(any_server: ApiServer) -> None:
    tls = tls_of(any_server, any_server.client_certificate, any_server.client_key)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        client = Client(any_server, session)
        await run_pods(client, 50)
        await allow(client, 7)
        answers = await asyncio.gather(*(evict(client, f"web-{number}") for number in range(50)))
        assert Counter(code for code, _ in answers) == {201: 7, 429: 43}
        _, listed = await client.ask("GET", f"{NAMESPACE}/pods")
        leaving = {one["metadata"]["name"] for one in listed["items"] if "deletionTimestamp" in one["metadata"]}
        assert leaving == {f"web-{number}" for number, (code, _) in enumerate(answers) if code == 201}
        _, budget = await client.ask("GET", f"{BUDGETS}/web")
        assert budget["status"]["disruptionsAllowed"] == 0
        assert set(budget["status"]["disruptedPods"]) == leaving
        (said,) = budget["status"]["conditions"]
        assert (said["type"], said["status"], said["reason"]) == ("DisruptionAllowed", "False", "InsufficientPods")


async def test_what_a_refusal_says(client: Client) -> None:
    await run_pods(client, 1)
    await allow(client, 0)
    code, answer = await evict(client)
    assert (code, answer["reason"], answer["message"]) == (429, "TooManyRequests", VIOLATES)
    assert answer["details"]["causes"] == [
        {"reason": "DisruptionBudget", "message": "The disruption budget web needs 3 healthy pods and has 3 currently"}
    ]
    await merge(client, f"{BUDGETS}/web", {"spec": {"minAvailable": 2}})
    code, answer = await evict(client)
    assert (code, answer["details"]["retryAfterSeconds"]) == (429, 10)
    (cause,) = answer["details"]["causes"]
    assert cause["message"] == "The disruption budget web is still being processed by the server."


async def test_an_evicted_pod_says_why(client: Client) -> None:
    await run_pods(client, 1)
    code, answer = await evict(client, deleteOptions={"gracePeriodSeconds": 7})
    assert (code, answer["status"]) == (201, "Success")
    _, left = await client.ask("GET", f"{NAMESPACE}/pods/web-0")
    assert left["metadata"]["deletionGracePeriodSeconds"] == 7
    (said,) = [one for one in left["status"]["conditions"] if one["type"] == "DisruptionTarget"]
    assert (said["status"], said["reason"], said["message"]) == (
        "True",
        "EvictionByEvictionAPI",
        "Eviction API: evicting",
    )


async def test_two_budgets_are_one_too_many(client: Client) -> None:
    await run_pods(client, 1)
    await allow(client, 1)
    await allow(client, 1, "other")
    code, answer = await evict(client)
    assert code == 500
    assert answer["message"] == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )


@pytest.mark.parametrize(
    ("spec", "status", "code"),
    [
        pytest.param({}, {}, 201, id="the others are enough"),
        pytest.param({}, {"currentHealthy": 2}, 429, id="the others are too few"),
        pytest.param({"unhealthyPodEvictionPolicy": "AlwaysAllow"}, {"currentHealthy": 2}, 201, id="always"),
    ],
)
async def test_pods_that_are_not_ready(client: Client, spec: Any, status: Any, code: int) -> None:
    await run_pods(client, 1, ready=False)
    await allow(client, 0, spec=spec, **status)
    assert (await evict(client))[0] == code


async def test_nothing_happens_in_a_dry_run(client: Client) -> None:
    await run_pods(client, 1)
    await allow(client, 1)
    assert (await evict(client, deleteOptions={"dryRun": ["All"]}))[0] == 201
    _, left = await client.ask("GET", f"{NAMESPACE}/pods/web-0")
    assert "deletionTimestamp" not in left["metadata"]
    _, budget = await client.ask("GET", f"{BUDGETS}/web")
    assert budget["status"]["disruptionsAllowed"] == 1


async def test_pods_that_nobody_would_miss_are_free(client: Client) -> None:
    await client.made(f"{NAMESPACE}/pods", pod("web-0"))
    await allow(client, 0)
    assert (await evict(client))[0] == 201
    assert (await client.ask("GET", f"{NAMESPACE}/pods/web-0"))[0] == 404


async def test_mistakes(client: Client) -> None:
    await run_pods(client, 1)
    code, answer = await client.ask("POST", f"{NAMESPACE}/pods/web-0/eviction", {"metadata": {"name": "other"}})
    assert (code, answer["message"]) == (400, "name in URL does not match name in Eviction object")
    code, answer = await evict(client, deleteOptions={"preconditions": {"uid": "another"}})
    assert (code, answer["reason"]) == (409, "Conflict")
    assert (await evict(client, "nobody"))[0] == 404


async def test_a_pod_whose_deployment_surges_goes_when_another_is_ready(client: Client) -> None:
    selector, template = {"matchLabels": {"app": "web"}}, pod("")
    template["metadata"].pop("name")
    spec = {"replicas": 1, "selector": selector, "template": template}
    notes = {"mizzen.dev/surge-before-evict": "true"}
    apps = "/apis/apps/v1/namespaces/default"
    above = await client.made(f"{apps}/deployments", {"metadata": {"name": "web", "annotations": notes}, "spec": spec})
    between = {"name": "web-1", "labels": {"app": "web"}, "ownerReferences": [controlled_by(above, "Deployment")]}
    between = await client.made(f"{apps}/replicasets", {"metadata": between, "spec": spec})
    await run_pods(client, 2)
    owned = {"metadata": {"ownerReferences": [controlled_by(between, "ReplicaSet")]}}
    await merge(client, f"{NAMESPACE}/pods/web-0", owned)
    dry = {"deleteOptions": {"dryRun": ["All"]}}
    for more, noted in ((dry, False), ({}, True)):
        code, said = await evict(client, **more)
        assert (code, said["message"]) == (429, "Cannot evict pod before its replacement is ready.")
        assert said["details"]["causes"][0]["reason"] == "SurgeBeforeEvict"
        _, found = await client.ask("GET", f"{NAMESPACE}/pods/web-0")
        assert ("mizzen.dev/eviction-wanted" in found["metadata"].get("annotations", {})) is noted
    await merge(client, f"{NAMESPACE}/pods/web-1", owned)
    assert (await evict(client))[0] == 201


def controlled_by(owner: Any, kind: str) -> dict[str, Any]:
    """The reference to a controlling owner."""
    metadata = owner["metadata"]
    return {
        "apiVersion": "apps/v1", "kind": kind, "name": metadata["name"], "uid": metadata["uid"], "controller": True,
    }  # fmt: skip


async def test_nothing_is_sent_to_objects_of_a_namespace_that_goes(client: Client) -> None:
    """The cause is what `kubectl drain` looks for, to wait for the pod to go with its namespace."""
    await client.made("/api/v1/namespaces", {"metadata": {"name": "going"}, "spec": {"finalizers": ["kubernetes"]}})
    path = "/api/v1/namespaces/going"
    await client.made(f"{path}/serviceaccounts", {"metadata": {"name": "default"}})
    await client.made(f"{path}/pods", pod("web-0"))
    await client.ask("DELETE", path)
    sent: dict[str, dict[str, Any]] = {
        "pods/web-0/eviction": {"metadata": {"name": "web-0"}},
        "pods/web-0/binding": {"metadata": {"name": "web-0"}, "target": {"kind": "Node", "name": "n1"}},
        "serviceaccounts/default/token": {"spec": {"audiences": ["a"]}},
    }
    for below, body in sent.items():
        code, answer = await client.ask("POST", f"{path}/{below}", body)
        assert (code, answer["reason"], answer["details"]["causes"][0]["reason"]) == (
            403, "Forbidden", "NamespaceTerminating"
        ), below  # fmt: skip
    assert (await client.ask("GET", f"{path}/pods/web-0"))[0] == 200
