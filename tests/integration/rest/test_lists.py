"""Lists at versions and in pages: which questions have an answer, and what becomes of one that took too long."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.store import pages, registry
from controlplane.store.memory import MemoryBackend, MemoryStore
from tests.fixtures.api_server import api_server
from tests.integration.rest.conftest import Client, tls_of
from tests.integration.rest.test_http import CONFIG_MAPS, METADATA, TABLE, config_map

FAR = 10**18


@pytest.fixture
async def compacting(tmp_path: Path) -> AsyncIterator[tuple[Client, MemoryStore]]:
    """An administrator of a server whose store can be made to forget."""
    store = MemoryStore(MemoryBackend())
    async with api_server(tmp_path, store=store) as server:
        tls = tls_of(server, server.client_certificate, server.client_key)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
            yield Client(server, session), store
    await store.close()


def names(listed: Any) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def asked(client: Client, code: int, **params: Any) -> Any:
    found, answer = await client.ask("GET", CONFIG_MAPS, params={k: str(v) for k, v in params.items()})
    assert found == code, answer
    return answer


async def test_versions_and_how_they_match(client: Client) -> None:
    first = (await client.made(CONFIG_MAPS, config_map("a")))["metadata"]["resourceVersion"]
    second = (await client.made(CONFIG_MAPS, config_map("b")))["metadata"]["resourceVersion"]
    for params, found in (
        ({}, ["a", "b"]),
        ({"resourceVersion": "0"}, ["a", "b"]),
        ({"resourceVersion": first}, ["a", "b"]),
        ({"resourceVersion": first, "resourceVersionMatch": "NotOlderThan"}, ["a", "b"]),
        ({"resourceVersion": "0", "resourceVersionMatch": "NotOlderThan"}, ["a", "b"]),
        ({"resourceVersion": first, "resourceVersionMatch": "Exact"}, ["a"]),
        ({"resourceVersion": second, "resourceVersionMatch": "Exact"}, ["a", "b"]),
        ({"resourceVersion": first, "limit": "5"}, ["a"]),
        ({"resourceVersion": first, "limit": "5", "resourceVersionMatch": "NotOlderThan"}, ["a", "b"]),
    ):
        assert names(await asked(client, 200, **params)) == found, params
    exact = await asked(client, 200, resourceVersion=first, resourceVersionMatch="Exact")
    assert exact["metadata"]["resourceVersion"] == first


@pytest.mark.parametrize(
    ("params", "code", "why"),
    [
        ({"resourceVersionMatch": "Exact"}, 422, "resourceVersionMatch is forbidden unless resourceVersion is"),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, 422, 'is forbidden for resourceVersion "0"'),
        ({"resourceVersionMatch": "About", "resourceVersion": "1"}, 422, 'supported values: "Exact", "NotOlderThan"'),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "1", "continue": "x"}, 422, "forbidden with continue"),
        ({"sendInitialEvents": "true"}, 422, "sendInitialEvents: Forbidden"),
        ({"resourceVersion": "x"}, 400, 'invalid resource version: resourceVersion: Invalid value: "x"'),
        ({"resourceVersion": "-1"}, 400, "invalid syntax"),
        ({"resourceVersion": "9" * 400}, 400, "value out of range"),
        ({"resourceVersion": "3", "continue": "x"}, 400, "not allowed when using continue"),
        ({"limit": "many"}, 400, "limit must be a whole number"),
        ({"labelSelector": "a in"}, 400, "unable to parse"),
        ({"fieldSelector": "spec.color=red"}, 400, '"spec.color" is not a known field selector'),
    ],
)  # fmt: skip
async def test_questions_without_an_answer(client: Client, params: dict[str, str], code: int, why: str) -> None:
    answer = await asked(client, code, **params)
    assert answer["reason"] == ("Invalid" if code == 422 else "BadRequest")
    assert why in answer["message"]


@pytest.mark.parametrize("path", [CONFIG_MAPS, f"{CONFIG_MAPS}/a"])
async def test_a_version_that_is_not_there_yet(client: Client, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    await client.made(CONFIG_MAPS, config_map("a"))
    monkeypatch.setattr(registry.Registry.reach, "__defaults__", (0.05,))
    url = f"{client.server.url}{path}?resourceVersion={FAR}"
    async with client.session.get(url) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (504, "1")
        status = await answer.json()
    assert (status["reason"], status["details"]) == (
        "Timeout",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )
    assert status["message"].startswith(f"Timeout: Too large resource version: {FAR}, current: ")


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("nonsense", "continue key is not valid"),
        ("%%%", "continue key is not valid"),
        ({"rv": 0, "start": "default/a"}, "incorrect encoded resourceVersion"),
        ({"rv": -7, "start": "default/a"}, "incorrect encoded resourceVersion"),
        ({"rv": 5, "start": "default/a", "v": "v9"}, "incorrect encoded resourceVersion (version v9)"),
        ({"rv": 5, "start": "other/a"}, "a list of something else"),
        ({"rv": 5, "start": "a"}, "a list of something else"),
        ({"rv": 5, "start": "default/"}, "a list of something else"),
        ({"rv": 5, "start": "a/../default/a"}, "a list of something else"),
        ({"rv": "5", "start": "default/a"}, "continue key is not valid"),
        ({"rv": 10**30, "start": "default/a"}, "incorrect encoded resourceVersion"),
    ],
)
async def test_tokens_that_are_none(client: Client, token: Any, why: str) -> None:
    if isinstance(token, dict):
        token = base64.urlsafe_b64encode(json.dumps(token).encode()).decode()
    answer = await asked(client, 400, **{"continue": token, "limit": 2})
    assert (answer["reason"], why in answer["message"]) == ("BadRequest", True), answer


async def test_a_token_of_the_future(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.Registry.reach, "__defaults__", (0.05,))
    token = base64.urlsafe_b64encode(json.dumps({"rv": FAR, "start": "default/a"}).encode()).decode()
    assert (await asked(client, 504, **{"continue": token}))["reason"] == "Timeout"


async def test_a_list_that_was_not_finished_in_time(
    compacting: tuple[Client, MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, store = compacting
    monkeypatch.setattr(pages, "KEPT_LISTS", 0)
    for name in "abcdef":
        await client.made(CONFIG_MAPS, config_map(name))
    first = await asked(client, 200, limit=2)
    token = first["metadata"]["continue"]
    await client.ask("DELETE", f"{CONFIG_MAPS}/c")
    await client.made(CONFIG_MAPS, config_map("g"))
    second = await asked(client, 200, **{"limit": 2, "continue": token})
    assert (names(second), second["metadata"]["remainingItemCount"]) == (["c", "d"], 2), "the store remembers"
    await store.compact(await store.current())
    gone = await asked(client, 410, **{"limit": 2, "continue": token})
    assert (gone["reason"], gone["code"]) == ("Expired", 410)
    assert gone["message"].startswith("The provided continue parameter is too old to display a consistent list result")
    rest = await asked(client, 200, **{"limit": 2, "continue": gone["metadata"]["continue"]})
    assert names(rest) == ["d", "e"], "as it is now"
    assert int(rest["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    await client.made(CONFIG_MAPS, config_map("h"))
    last = await asked(client, 200, **{"limit": 9, "continue": rest["metadata"]["continue"]})
    assert names(last) == ["f", "g"], "from there on the list is one moment again"
    old = await asked(client, 410, resourceVersion=first["metadata"]["resourceVersion"], resourceVersionMatch="Exact")
    assert old["message"] == "The resourceVersion for the provided list is too old."


async def test_how_many_follow(client: Client) -> None:
    for name in "abcde":
        await client.made(CONFIG_MAPS, config_map(name, {"odd": "yes" if name in "ace" else "no"}))
    page = await asked(client, 200, limit=2)
    assert page["metadata"]["remainingItemCount"] == 3
    for selector in ({"labelSelector": "odd=yes"}, {"fieldSelector": "metadata.name!=b"}):
        page = await asked(client, 200, limit=2, **selector)
        assert page["metadata"]["continue"]
        assert "remainingItemCount" not in page["metadata"]
    whole = await asked(client, 200, limit=5)
    assert whole["metadata"].keys() == {"resourceVersion"}
    _, table = await client.ask("GET", f"{CONFIG_MAPS}?limit=2", headers=TABLE)
    assert (len(table["rows"]), table["metadata"]["remainingItemCount"]) == (2, 3)
    _, partial = await client.ask("GET", f"{CONFIG_MAPS}?limit=2", headers=METADATA)
    assert (len(partial["items"]), partial["metadata"]["remainingItemCount"]) == (2, 3)


async def test_pages_over_all_namespaces_are_in_the_order_of_the_store(client: Client) -> None:
    for namespace in ("kube-system", "default", "kube-public"):
        for name in ("x", "y"):
            await client.made(f"/api/v1/namespaces/{namespace}/configmaps", config_map(name))
    found: list[tuple[str, str]] = []
    token = ""
    while True:
        _, page = await client.ask("GET", "/api/v1/configmaps", params={"limit": "1", "continue": token})
        found += [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert found == [(space, name) for space in ("default", "kube-public", "kube-system") for name in ("x", "y")]


PODS = "/api/v1/namespaces/default/pods"
POD_STATUS = {"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}], "nominatedNodeName": "n7"}


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("metadata.name=a", ["a"]), ("metadata.namespace=default", ["a", "b"]), ("metadata.namespace!=default", []),
        ("spec.nodeName=n1", ["a"]), ("spec.nodeName=", ["b"]), ("spec.nodeName!=n1", ["b"]),
        ("spec.restartPolicy=Never", ["b"]), ("spec.schedulerName=other", ["b"]),
        ("spec.serviceAccountName=robot", ["b"]), ("spec.hostNetwork=true", ["b"]), ("spec.hostNetwork=false", ["a"]),
        ("status.phase=Running", ["a"]), ("status.phase!=Running", ["b"]),
        ("status.phase!=Running,spec.nodeName!=", []),
        ("status.podIP=10.0.0.9", ["a"]), ("status.podIPs=10.0.0.9", ["a"]), ("status.nominatedNodeName=n7", ["a"]),
        ("metadata.name==a", ["a"]),
    ],
)  # fmt: skip
async def test_fields_of_pods(client: Client, selector: str, found: list[str]) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    made = await client.made(PODS, {"metadata": {"name": "a"}, "spec": {**spec, "nodeName": "n1"}})
    other = {
        "restartPolicy": "Never", "schedulerName": "other", "serviceAccountName": "robot", "hostNetwork": True,
    }  # fmt: skip
    await client.made(PODS, {"metadata": {"name": "b"}, "spec": {**spec, **other}})
    code, answer = await client.ask("PUT", f"{PODS}/a/status", {**made, "status": POD_STATUS})
    assert code == 200, answer
    code, answer = await client.ask("GET", PODS, params={"fieldSelector": selector})
    assert (code, names(answer)) == (200, found)


async def test_fields_of_other_kinds(client: Client) -> None:
    about = {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u", "apiVersion": "v1", "fieldPath": "f"}
    event = {"metadata": {"name": "e"}, "involvedObject": about, "reason": "R", "type": "Warning"}
    await client.made("/api/v1/namespaces/default/events", {**event, "source": {"component": "c"}})
    await client.made("/api/v1/nodes", {"metadata": {"name": "n"}, "spec": {"unschedulable": True}})
    await client.made("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}, "type": "a.example/b"})
    for path, selector in (
        *(("events", f"involvedObject.{field}={value}") for field, value in about.items()),
        ("events", "reason=R"), ("events", "type=Warning"), ("events", "type!=Normal"), ("events", "source=c"),
        ("events", "reportingComponent="), ("nodes", "spec.unschedulable=true"), ("nodes", "metadata.namespace="),
        ("secrets", "type=a.example/b"), ("namespaces", "status.phase=Active,metadata.name=default"),
    ):  # fmt: skip
        code, answer = await client.ask("GET", f"/api/v1/{path}", params={"fieldSelector": selector})
        assert (code, len(answer["items"])) == (200, 1), (path, selector)
    _, none = await client.ask("GET", "/api/v1/nodes", params={"fieldSelector": "spec.unschedulable!=true"})
    assert none["items"] == []


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("x=1", ["a"]), ("x!=1", ["b", "c"]), ("x", ["a", "b"]), ("!x", ["c"]), ("x in (1,2)", ["a", "b"]),
        ("x notin (1)", ["b", "c"]), ("x in (1,2),x!=2", ["a"]), ("x>1", ["b"]), ("x<2", ["a"]), ("", ["a", "b", "c"]),
    ],
)  # fmt: skip
async def test_label_selectors(client: Client, selector: str, found: list[str]) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {})):
        await client.made(CONFIG_MAPS, config_map(name, labels))
    assert names(await asked(client, 200, labelSelector=selector)) == found
