"""Writes: what is decided about names, versions, identities and deletions, and in which words it is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.store.registry import Registry
from mizzen.api import errors, kinds
from tests.integration.rest.conftest import Client
from tests.integration.rest.test_http import CONFIG_MAPS, DEPLOYMENT, PODS, config_map, pod

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
MERGE = {"Content-Type": "application/merge-patch+json"}


async def test_what_is_not_there_is_not_made_by_an_update(client: Client) -> None:
    for method, headers in (("PUT", {}), ("PATCH", MERGE)):
        code, answer = await client.ask(method, f"{CONFIG_MAPS}/a", config_map("a"), headers=headers)
        assert (code, answer["message"]) == (404, 'configmaps "a" not found')
        assert answer["details"] == {"name": "a", "kind": "configmaps"}


SERVICE = {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}


async def test_objects_of_some_kinds_are_made_by_an_update(client: Client) -> None:
    services = "/api/v1/namespaces/default/services"
    code, made = await client.ask("PUT", f"{services}/a?dryRun=All", SERVICE)
    assert code == 201
    code, made = await client.ask("PUT", f"{services}/a", SERVICE)
    assert (code, made["metadata"]["name"]) == (201, "a")
    assert made["spec"]["clusterIP"]
    code, again = await client.ask("PUT", f"{services}/a", SERVICE)
    assert (code, again["metadata"]["uid"]) == (200, made["metadata"]["uid"])
    code, answer = await client.ask("PUT", f"{services}/b", SERVICE)
    assert (code, answer["reason"]) == (400, "BadRequest"), "the name must be that of the path"
    for seen in ({"uid": "u"}, {"resourceVersion": "7"}):
        gone = SERVICE | {"metadata": {"name": "c", **seen}}
        assert (await client.ask("PUT", f"{services}/c", gone))[0] == 409
    code, answer = await client.ask("PUT", f"{services}/d/status", SERVICE | {"metadata": {"name": "d"}})
    assert code == 404
    code, answer = await client.ask("PATCH", f"{services}/e", SERVICE, headers=MERGE)
    assert code == 404


async def test_an_update_without_a_version(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a", k="1"))
    code, answer = await client.ask("PUT", f"{CONFIG_MAPS}/a", config_map("a", k="2"))
    assert (code, answer["data"]) == (200, {"k": "2"}), "most kinds may be replaced whatever they are"
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    made = await client.made(LEASES, lease)
    code, answer = await client.ask("PUT", f"{LEASES}/l", lease)
    assert (code, answer["reason"]) == (422, "Invalid")
    assert answer["message"] == (
        'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: '
        "must be specified for an update"
    )
    assert (await client.ask("PUT", f"{LEASES}/l", made))[0] == 200


@pytest.mark.parametrize(
    ("metadata", "code", "reason", "why"),
    [
        ({"uid": "other"}, 409, "Conflict", "Precondition failed: UID in precondition: other, UID in object meta: "),
        ({"resourceVersion": "1"}, 409, "Conflict", "the object has been modified; please apply your changes to the"),
        ({"name": "b"}, 400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)"),
        ({"name": ""}, 400, "BadRequest", "does not match the name on the URL (a)"),
        ({"namespace": "kube-system"}, 400, "BadRequest", "namespace of the provided object does not match"),
    ],
)
async def test_who_is_meant(client: Client, metadata: dict[str, Any], code: int, reason: str, why: str) -> None:
    made = await client.made(CONFIG_MAPS, config_map("a"))
    changed = {**made, "data": {"k": "v"}, "metadata": {**made["metadata"], **metadata}}
    found, answer = await client.ask("PUT", f"{CONFIG_MAPS}/a", changed)
    assert (found, answer["reason"], why in answer["message"]) == (code, reason, True), answer
    if code == 409:
        assert answer["message"].startswith('Operation cannot be fulfilled on configmaps "a": ')
        assert answer["details"] == {"name": "a", "kind": "configmaps"}


async def test_what_the_server_decides_a_client_cannot(client: Client) -> None:
    sent = config_map("a")
    sent["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7, "selfLink": "/x"}
    made = await client.made(CONFIG_MAPS, sent)
    metadata = made["metadata"]
    assert metadata["uid"] != "mine"
    assert metadata["creationTimestamp"] > "2001-01-01T00:00:00Z"
    assert not {"generation", "selfLink"} & metadata.keys()
    changed = {**made, "data": {"k": "v"}, "metadata": {**metadata, "creationTimestamp": "2001-01-01T00:00:00Z"}}
    _, answer = await client.ask("PUT", f"{CONFIG_MAPS}/a", changed)
    assert answer["metadata"]["creationTimestamp"] == metadata["creationTimestamp"]
    code, answer = await client.ask("POST", CONFIG_MAPS, {**made, "metadata": {"name": "b", "resourceVersion": "5"}})
    assert (code, answer["message"]) == (400, "resourceVersion should not be set on objects to be created")


async def test_generated_names(client: Client) -> None:
    made = await asyncio.gather(
        *(client.made(CONFIG_MAPS, {"metadata": {"generateName": "job-" + "x" * 70}}) for _ in range(20))
    )
    names = {one["metadata"]["name"] for one in made}
    assert len(names) == 20
    assert all(len(name) == 63 and name.startswith("job-xxx") for name in names)
    code, answer = await client.ask("POST", CONFIG_MAPS, {"metadata": {}})
    assert (code, answer["details"]["causes"][0]["message"]) == (
        422, "Required value: name or generateName is required",
    )  # fmt: skip


async def test_when_every_generated_name_is_taken(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await client.made(CONFIG_MAPS, config_map("job-00000"))
    monkeypatch.setattr("mizzen.base.ids.RandomIds.suffix", lambda *_: "00000")
    url = client.server.url + CONFIG_MAPS
    async with client.session.post(url, json={"metadata": {"generateName": "job-"}}) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (409, "1")
        status = await answer.json()
    assert (status["reason"], status["details"]["retryAfterSeconds"]) == ("AlreadyExists", 1)
    assert status["message"] == (
        'configmaps "job-00000" already exists, the server was not able to generate a unique name for the object'
    )


async def test_a_dry_run_finds_what_is_in_the_way(client: Client) -> None:
    await client.made(CONFIG_MAPS, config_map("a"))
    code, answer = await client.ask("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("a"))
    assert (code, answer["reason"]) == (409, "AlreadyExists")


@pytest.mark.parametrize("where", ["query", "body"])
async def test_dry_runs(client: Client, where: str) -> None:
    await client.made(CONFIG_MAPS, config_map("a", k="1"))
    options = {"dryRun": ["All"]} if where == "body" else None
    query = "" if where == "body" else "?dryRun=All"
    code, answer = await client.ask("DELETE", f"{CONFIG_MAPS}/a{query}", options)
    assert (code, answer["status"]) == (200, "Success")
    code, answer = await client.ask("DELETE", f"{CONFIG_MAPS}{query}", options)
    assert (code, len(answer["items"])) == (200, 1)
    wrong = {"dryRun": ["Some"]} if where == "body" else None
    code, answer = await client.ask("DELETE", f"{CONFIG_MAPS}/a{query.replace('All', 'Some')}", wrong)
    assert (code, answer["details"]["causes"][0]["reason"]) == (422, "FieldValueNotSupported")
    assert 'supported values: "All"' in answer["message"]
    code, answer = await client.ask("PUT", f"{CONFIG_MAPS}/a?dryRun=All", config_map("a", k="2"))
    assert (code, answer["data"]) == (200, {"k": "2"})
    _, answer = await client.ask("GET", f"{CONFIG_MAPS}/a")
    assert answer["data"] == {"k": "1"}


async def test_options_of_a_deletion_in_the_query(client: Client) -> None:
    await client.made(PODS, pod("p", nodeName="n1"))
    code, answer = await client.ask("DELETE", f"{PODS}/p?gracePeriodSeconds=12")
    assert (code, answer["metadata"]["deletionGracePeriodSeconds"]) == (200, 12)
    await client.made(DEPLOYMENTS, DEPLOYMENT)
    code, answer = await client.ask("DELETE", f"{DEPLOYMENTS}/web?propagationPolicy=Orphan")
    assert (code, answer["metadata"]["finalizers"]) == (200, ["orphan"])
    for query, wanted in (
        ("orphanDependents=perhaps", 400),
        ("gracePeriodSeconds=x", 400),
        ("propagationPolicy=X", 422),
    ):
        assert (await client.ask("DELETE", f"{DEPLOYMENTS}/web?{query}"))[0] == wanted
    body = {"gracePeriodSeconds": 3}
    _, answer = await client.ask("DELETE", f"{PODS}/p?gracePeriodSeconds=11", body)
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 3, "a body says all"


@pytest.mark.parametrize(
    ("options", "finalizers", "code"),
    [
        ({"propagationPolicy": "Background"}, None, 200),
        ({"propagationPolicy": "Foreground"}, ["foregroundDeletion"], 202),
        ({"propagationPolicy": "Orphan"}, ["orphan"], 200),
        ({"orphanDependents": True}, ["orphan"], 200),
        ({"orphanDependents": False}, None, 200),
        ({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}, None, 200),
        ({"kind": "DeleteOptions", "apiVersion": "apps/v1"}, None, 200),
    ],
)
async def test_what_becomes_of_dependents(
    client: Client, options: dict[str, Any], finalizers: list[str] | None, code: int
) -> None:
    await client.made(DEPLOYMENTS, DEPLOYMENT)
    found, answer = await client.ask("DELETE", f"{DEPLOYMENTS}/web", options)
    assert found == code
    assert answer.get("metadata", {}).get("finalizers") == finalizers
    assert (await client.ask("GET", f"{DEPLOYMENTS}/web"))[0] == (404 if finalizers is None else 200)
    if finalizers is not None:
        assert answer["metadata"]["generation"] == 2
        code, answer = await client.ask("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Background"})
        patch = {"metadata": {"finalizers": None}}
        await client.ask("PATCH", f"{DEPLOYMENTS}/web", patch, headers=MERGE)
        assert (await client.ask("GET", f"{DEPLOYMENTS}/web"))[0] == 404


async def test_options_that_contradict_each_other(client: Client) -> None:
    await client.made(DEPLOYMENTS, DEPLOYMENT)
    options = {"orphanDependents": True, "propagationPolicy": "Orphan"}
    code, answer = await client.ask("DELETE", f"{DEPLOYMENTS}/web", options)
    assert (code, "cannot be both set" in answer["message"]) == (422, True)


async def test_a_pod_goes_in_its_time(client: Client) -> None:
    await client.made(PODS, pod("p", nodeName="n1"))
    _, first = await client.ask("DELETE", f"{PODS}/p")
    assert first["metadata"]["deletionGracePeriodSeconds"] == 30
    _, longer = await client.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60})
    assert longer["metadata"]["deletionTimestamp"] == first["metadata"]["deletionTimestamp"], "it is never put off"
    _, shorter = await client.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] < first["metadata"]["deletionTimestamp"]
    code, gone = await client.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert (code, gone["kind"]) == (200, "Pod")
    assert (await client.ask("GET", f"{PODS}/p"))[0] == 404
    await client.made(PODS, pod("waiting"))
    assert (await client.ask("DELETE", f"{PODS}/waiting"))[0] == 200
    assert (await client.ask("GET", f"{PODS}/waiting"))[0] == 404, "what never ran need not be stopped"
    code, answer = await client.ask("DELETE", f"{PODS}/waiting")
    assert (code, answer["message"]) == (404, 'pods "waiting" not found')


async def test_preconditions(client: Client) -> None:
    made = await client.made(CONFIG_MAPS, config_map("a"))
    version, uid = made["metadata"]["resourceVersion"], made["metadata"]["uid"]
    other_version = f"ResourceVersion in precondition: 7, ResourceVersion in object meta: {version}"
    for conditions, words in (
        ({"uid": "x"}, f"UID in precondition: x, UID in object meta: {uid}"),
        ({"resourceVersion": "7"}, other_version),
    ):
        code, answer = await client.ask("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": conditions})
        why = f'Operation cannot be fulfilled on configmaps "a": Precondition failed: {words}'
        assert (code, answer["message"]) == (409, why)
    options = {"preconditions": {"uid": uid, "resourceVersion": version}}
    assert (await client.ask("DELETE", f"{CONFIG_MAPS}/a", options))[0] == 200


async def test_collections_are_deleted_by_their_options(client: Client) -> None:
    for name in "abcd":
        await client.made(PODS, pod(name, nodeName="n1" if name in "ab" else ""))
    query = "fieldSelector=spec.nodeName%3Dn1&labelSelector=!x&limit=1"
    code, answer = await client.ask("DELETE", f"{PODS}?{query}", {"gracePeriodSeconds": 9})
    assert (code, answer["kind"], len(answer["items"])) == (200, "PodList", 1)
    assert answer["items"][0]["metadata"]["deletionGracePeriodSeconds"] == 9
    code, answer = await client.ask("DELETE", PODS, {"gracePeriodSeconds": 0})
    assert (code, len(answer["items"])) == (200, 4)
    assert (await client.ask("GET", PODS))[1]["items"] == []
    assert (await client.ask("DELETE", f"{PODS}?labelSelector=a in"))[0] == 400
    assert (await client.ask("DELETE", PODS, {"propagationPolicy": "X"}))[0] == 422
    assert (await client.ask("DELETE", PODS))[1]["items"] == [], "nothing to do is no error"


async def test_the_number_of_replicas(client: Client) -> None:
    await client.made(DEPLOYMENTS, DEPLOYMENT)
    path = f"{DEPLOYMENTS}/web/scale"
    _, scale = await client.ask("GET", path)
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    code, answer = await client.ask("PATCH", path, {"spec": {"replicas": 5}}, headers=MERGE)
    assert (code, answer["spec"]) == (200, {"replicas": 5})
    code, answer = await client.ask("PATCH", path, {"spec": {"replicas": -1}}, headers=MERGE)
    assert (code, answer["details"]["causes"][0]["field"]) == (422, "spec.replicas")
    scale["metadata"].pop("resourceVersion")
    code, answer = await client.ask("PUT", f"{path}?dryRun=All", {**scale, "spec": {"replicas": 9}})
    assert (code, answer["spec"]["replicas"]) == (200, 9)
    assert (await client.ask("GET", path))[1]["spec"]["replicas"] == 5
    assert (await client.ask("PUT", f"{DEPLOYMENTS}/none/scale", scale))[0] == 404
    code, answer = await client.ask("PUT", path, {**scale, "kind": "Gauge"})
    assert code in (400, 200)


async def test_who_is_bound_where(client: Client) -> None:
    await client.made(PODS, pod("p"))
    for binding, code, words in (
        ({"metadata": {"name": "p"}}, 400, "a binding needs target.name"),
        ({"metadata": {"name": "p"}, "target": {"kind": "Shelf", "name": "s"}}, 400, "not to a Shelf"),
        ({"metadata": {"name": "p", "uid": "x"}, "target": {"name": "n1"}}, 409, "UID in precondition: x"),
    ):
        found, answer = await client.ask("POST", f"{PODS}/p/binding", binding)
        assert (found, words in answer["message"]) == (code, True), answer
    target = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    assert (await client.ask("POST", f"{PODS}/p/binding?dryRun=All", target))[0] == 201
    assert "nodeName" not in (await client.ask("GET", f"{PODS}/p"))[1]["spec"]
    assert (await client.ask("POST", f"{PODS}/none/binding", target))[0] == 400, "it is meant for another"
    missing = {**target, "metadata": {"name": "none"}}
    assert (await client.ask("POST", f"{PODS}/none/binding", missing))[0] == 404


async def test_parts_that_are_not_served_are_not_found(client: Client) -> None:
    await client.made(PODS, pod("p"))
    for path in (f"{PODS}/p/log/x", f"{PODS}/p/status/x", f"{CONFIG_MAPS}/a/scale", f"{CONFIG_MAPS}/a/proxy/x"):
        code, answer = await client.ask("GET", path)
        assert (code, answer["message"]) == (404, "the server could not find the requested resource"), path


async def test_a_status_and_its_object_have_different_owners(client: Client) -> None:
    made = await client.made(PODS, pod("p"))
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    code, answer = await client.ask(
        "PATCH", f"{PODS}/p/status", {"status": status, "spec": {"nodeName": "x"}}, headers=MERGE
    )
    assert (code, answer["status"]["phase"], "nodeName" in answer["spec"]) == (200, "Running", False)
    code, answer = await client.ask(
        "PUT", f"{PODS}/p", {**made, "metadata": {"name": "p"}, "status": {"phase": "Failed"}}
    )
    assert (code, answer["status"]["phase"]) == (200, "Running")
    assert (await client.ask("GET", f"{PODS}/p/status"))[1]["status"]["phase"] == "Running"


async def test_errors_name_the_fields_and_the_kind(client: Client) -> None:
    wrong = {"metadata": {"name": "web"}, "spec": {**DEPLOYMENT["spec"], "replicas": -1, "paused": True}}
    wrong["spec"]["selector"] = {"matchLabels": {"other": "x"}}
    code, answer = await client.ask("POST", DEPLOYMENTS, wrong)
    assert (code, answer["status"], answer["kind"], answer["code"]) == (422, "Failure", "Status", 422)
    assert answer["message"].startswith('Deployment.apps "web" is invalid: [')
    details = answer["details"]
    assert (details["name"], details["group"], details["kind"]) == ("web", "apps", "Deployment")
    causes = {(cause["field"], cause["reason"]): cause["message"] for cause in details["causes"]}
    assert causes["spec.replicas", "FieldValueInvalid"] == "Invalid value: -1: must be greater than or equal to 0"
    assert ("spec.template.metadata.labels", "FieldValueInvalid") in causes
    code, answer = await client.ask("POST", CONFIG_MAPS.replace("default", "missing"), config_map("a"))
    assert (code, answer["message"]) == (404, 'namespaces "missing" not found')


async def test_only_what_would_be_made_misses_its_namespace(client: Client) -> None:
    there = CONFIG_MAPS.replace("default", "missing")
    merge = {"Content-Type": "application/merge-patch+json"}
    apply = {"Content-Type": "application/apply-patch+yaml"}
    asked: list[tuple[str, Any, dict[str, str]]] = [
        ("GET", None, {}), ("DELETE", None, {}), ("PUT", config_map("a"), {}), ("PATCH", {"data": {"k": "v"}}, merge),
    ]  # fmt: skip
    for method, body, headers in asked:
        code, answer = await client.ask(method, f"{there}/a", body, headers=headers)
        assert (code, answer["message"]) == (404, 'configmaps "a" not found'), method
    whole = {"apiVersion": "v1", "kind": "ConfigMap", **config_map("a")}
    code, answer = await client.ask("PATCH", f"{there}/a?fieldManager=me", whole, headers=apply)
    assert (code, answer["message"]) == (404, 'namespaces "missing" not found')


async def test_a_write_that_is_too_late_too_often(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await client.made(CONFIG_MAPS, config_map("a"))

    async def always_late(*_: Any, **__: Any) -> Any:
        raise errors.Conflict(kinds.CONFIG_MAP, "a")

    monkeypatch.setattr(Registry, "commit", always_late)
    code, answer = await client.ask("PATCH", f"{CONFIG_MAPS}/a", {"data": {"k": "v"}}, headers=MERGE)
    assert (code, answer["reason"]) == (409, "Conflict")
