"""The audit log over HTTP and gRPC: an event for what a policy names, with as much as it says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from controlplane.access.audit_policy import read_policy
from controlplane.server.audit import Auditor
from controlplane.server.audit_log import AuditFile, AuditLog
from mizzen.api import errors, kinds
from tests.fixtures.api_server import ApiServer, api_server
from tests.fixtures.control_plane import control_plane
from tests.fixtures.webhook_server import webhook_server
from tests.integration.rest.conftest import Client, tls_of
from tests.integration.rest.test_access import as_user
from tests.integration.rest.test_http import CONFIG_MAPS, config_map

WAIT_S = 10.0
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitManagedFields: true
rules:
- {level: None, users: [quiet]}
- {level: Metadata, resources: [{resources: [secrets]}]}
- {level: Metadata, nonResourceURLs: [/version]}
- {level: RequestResponse, verbs: [watch], resources: [{resources: [configmaps]}]}
- {level: RequestResponse, namespaces: [default]}
- {level: Request, verbs: [create], resources: [{resources: [namespaces]}]}
- {level: Metadata, verbs: [list], resources: [{resources: [configmaps]}]}
"""


class Events:
    """What is in the log."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "audit.log"
        self.log = AuditLog(AuditFile(str(self._file)), CollectorRegistry())
        self.auditor = Auditor(read_policy(POLICY), self.log)

    async def first(self, **wanted: Any) -> dict[str, Any]:
        """The first event with these values, once it is there; if not said otherwise, of the end of a request."""
        wanted = {"stage": "ResponseComplete"} | wanted
        async with asyncio.timeout(WAIT_S):
            while True:
                for event in self.all():
                    if all(event.get(key) == value for key, value in wanted.items()):
                        return event
                await asyncio.sleep(0.01)

    def all(self) -> list[dict[str, Any]]:
        """All that are written by now."""
        return [json.loads(line) for line in self._file.read_bytes().split(b"\n")[:-1]]


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Events]:
    found = Events(tmp_path)
    yield found
    found.log.close()


@pytest.fixture
async def server(tmp_path: Path, events: Events) -> AsyncIterator[ApiServer]:
    async with api_server(tmp_path, auditor=events.auditor) as running:
        yield running


async def test_a_write_with_its_objects(client: Client, events: Events) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "tool/1.0", "X-Forwarded-For": "192.0.2.9"}
    url = f"{client.server.url}{CONFIG_MAPS}?fieldManager=me"
    async with client.session.post(url, json=config_map("a"), headers=headers) as answer:
        assert answer.status == 201
        audit_id = answer.headers["Audit-Id"]
    event = await events.first(auditID=audit_id)
    assert event["requestReceivedTimestamp"] <= event["stageTimestamp"]
    assert event["responseObject"]["metadata"].keys() == {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    }
    for key in ("requestReceivedTimestamp", "stageTimestamp", "responseObject"):
        del event[key]
    assert event["user"].pop("extra").keys() == {"authentication.kubernetes.io/credential-id"}
    assert event == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "auditID": audit_id,
        "stage": "ResponseComplete",
        "requestURI": f"{CONFIG_MAPS}?fieldManager=me",
        "verb": "create",
        "user": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "sourceIPs": ["192.0.2.9", "127.0.0.1"],
        "userAgent": "tool/1.0",
        "objectRef": {"resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestObject": config_map("a"),
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
    }


async def test_levels(client: Client, events: Events) -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"a": "b"}}
    await client.made("/api/v1/namespaces/default/secrets", secret)
    event = await events.first(verb="create", level="Metadata")
    assert event["objectRef"]["name"] == "s", "who it is stands in what was sent, which is not written"
    assert not event.keys() & {"requestObject", "responseObject"}
    await client.made("/api/v1/namespaces", {"metadata": {"name": "n"}})
    event = await events.first(level="Request")
    assert event["requestObject"] == {"metadata": {"name": "n"}}
    assert "responseObject" not in event
    assert (await client.ask("GET", "/api/v1/configmaps?limit=5"))[0] == 200
    assert "objectRef" in await events.first(requestURI="/api/v1/configmaps?limit=5")
    assert (await client.ask("GET", "/version"))[0] == 200
    event = await events.first(requestURI="/version")
    assert (event["verb"], event.get("objectRef")) == ("get", None)
    assert (await client.ask("GET", "/api/v1/nodes"))[0] == 200
    assert not [event for event in events.all() if "nodes" in event["requestURI"]]


async def test_other_bodies(client: Client, events: Events) -> None:
    await client.made(CONFIG_MAPS, config_map("a"))
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {b: c}\n"
    apply = {"Content-Type": "application/apply-patch+yaml"}
    assert (await client.ask("PATCH", f"{CONFIG_MAPS}/a?fieldManager=m", yaml.decode(), headers=apply))[0] == 200
    assert (await events.first(verb="patch"))["requestObject"]["data"] == {"b": "c"}
    protobuf = {"Accept": "application/vnd.kubernetes.protobuf"}
    async with client.session.get(f"{client.server.url}{CONFIG_MAPS}/a", headers=protobuf) as answer:
        assert (await answer.read())[:4] == b"k8s\0"
    event = await events.first(verb="get")
    assert event["responseObject"]["data"] == {"b": "c"}
    assert "managedFields" not in event["responseObject"]["metadata"]
    body = {"data": {"big": "x" * 700_000}}
    merge = {"Content-Type": "application/merge-patch+json"}
    for name in ("b", "c"):
        await client.made(CONFIG_MAPS, config_map(name))
        assert (await client.ask("PATCH", f"{CONFIG_MAPS}/{name}", body, headers=merge))[0] == 200
    assert (await client.ask("GET", CONFIG_MAPS))[0] == 200
    event = await events.first(verb="list")
    assert "responseObject" not in event
    assert event["annotations"]["audit.k8s.io/truncated"] == "true"


async def test_what_is_refused(client: Client, server: ApiServer, events: Events) -> None:
    async with as_user(server, "ann", "devs") as ann:
        assert (await ann.ask("GET", f"{CONFIG_MAPS}/a"))[0] == 403
        event = await events.first(verb="get")
        assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
        assert event["responseStatus"]["reason"] == "Forbidden"
        assert event["responseStatus"]["code"] == 403
        assert event["user"]["groups"] == ["devs", "system:authenticated"]
    async with as_user(server, token="nonsense") as nobody:
        assert (await nobody.ask("GET", f"{CONFIG_MAPS}/b"))[0] == 401
    event = await events.first(stage="ResponseStarted")
    assert event["user"] == {}
    assert event["responseStatus"]["reason"] == "Unauthorized"
    wrong = await client.ask("POST", CONFIG_MAPS, {"metadata": {"name": "No"}})
    assert wrong[0] == 422
    event = await events.first(verb="create")
    assert event["responseStatus"]["details"]["causes"][0]["field"] == "metadata.name"
    async with as_user(server, "quiet") as quiet:
        assert (await quiet.ask("GET", f"{CONFIG_MAPS}/c"))[0] == 403
    await client.ask("GET", f"{CONFIG_MAPS}/d")
    await events.first(requestURI=f"{CONFIG_MAPS}/d")
    assert not [event for event in events.all() if event["user"].get("username") == "quiet"]


async def test_somebody_acts_as_another(client: Client, events: Events) -> None:
    masks = {"Impersonate-User": "ann", "Impersonate-Group": "devs", "Audit-ID": "mine-1"}
    assert (await client.ask("GET", f"{CONFIG_MAPS}/a", headers=masks))[0] == 403
    event = await events.first(auditID="mine-1")
    assert event["user"]["username"] == "admin"
    assert event["impersonatedUser"] == {"username": "ann", "groups": ["devs", "system:authenticated"]}
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"


async def test_what_admission_has_to_say(client: Client, events: Events, tmp_path: Path) -> None:
    async with webhook_server(tmp_path / "hook", "hook.default.svc") as hooks:
        hooks.answers["seen"] = lambda _: {"allowed": False, "auditAnnotations": {"why": "because"}}
        rules = [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]
        hook = {
            "name": "seen.example.com",
            "clientConfig": hooks.client("seen"),
            "rules": rules,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        group = "/apis/admissionregistration.k8s.io/v1"
        await client.made(f"{group}/validatingwebhookconfigurations", {"metadata": {"name": "h"}, "webhooks": [hook]})
        noted = [{"key": "name", "valueExpression": "'it is ' + object.metadata.name"}]
        spec = {
            "matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": "false", "message": "no"}],
            "auditAnnotations": noted,
        }
        bound = {"policyName": "p", "validationActions": ["Audit"]}
        await client.made(f"{group}/validatingadmissionpolicies", {"metadata": {"name": "p"}, "spec": spec})
        await client.made(f"{group}/validatingadmissionpolicybindings", {"metadata": {"name": "b"}, "spec": bound})
        assert (await client.ask("POST", CONFIG_MAPS, config_map("a")))[0] == 400
    event = await events.first(verb="create", requestURI=CONFIG_MAPS)
    told = event["annotations"]
    assert told["seen.example.com/why"] == "because"
    assert told["p/name"] == "it is a"
    (failure,) = json.loads(told["validation.policy.admission.k8s.io/validation_failure"])
    assert (failure["message"], failure["policy"], failure["binding"]) == ("no", "p", "b")


async def test_a_watch_has_its_stages(client: Client, events: Events) -> None:
    async with client.session.get(f"{client.server.url}{CONFIG_MAPS}?watch=true") as answer:
        assert answer.status == 200
        started = await events.first(stage="ResponseStarted")
        assert [one["stage"] for one in events.all()] == ["RequestReceived", "ResponseStarted"]
    complete = await events.first(stage="ResponseComplete")
    assert complete["auditID"] == started["auditID"]
    assert "responseObject" not in complete


async def test_without_a_policy_nothing_is_noted(tmp_path: Path) -> None:
    async with api_server(tmp_path) as server:
        tls = tls_of(server, server.client_certificate, server.client_key)
        connector = aiohttp.TCPConnector(ssl=tls)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"{server.url}/version") as answer,
        ):
            assert "Audit-Id" not in answer.headers


async def test_calls_over_grpc(tmp_path: Path, events: Events) -> None:
    async with control_plane(tmp_path / "plane", auditor=events.auditor) as plane:
        async with plane.client() as client:
            assert (await client.list(kinds.CONFIG_MAP, "default")).items == ()
        event = await events.first(verb="list")
        assert event["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
        assert event["annotations"]["authorization.k8s.io/decision"] == "allow"
        assert event["sourceIPs"] == ["127.0.0.1"]
        assert event["responseStatus"]["code"] == 200
        async with plane.client() as client:
            with pytest.raises(errors.NotFound):
                await client.get(kinds.CONFIG_MAP, "default", "nobody")
        event = await events.first(verb="get")
        assert event["responseStatus"]["reason"] == "NotFound"
