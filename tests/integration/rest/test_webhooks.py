"""Dynamic admission over HTTPS: who is asked about what, in which order, and what becomes of answers and silence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.server.verbs_write import WriteOptions
from mizzen.api import kinds
from mizzen.api.types import core_v1 as core
from mizzen.api.types import discovery_v1 as discovery
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.effects import Create
from mizzen.engine.writes import creation
from tests.fixtures.api_server import ApiServer
from tests.fixtures.loopback_streams import LoopbackStreams
from tests.fixtures.webhook_server import WebhookServer, label, patch, webhook_server
from tests.integration.rest import proxied
from tests.integration.rest.conftest import Client

GROUP = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
RULE = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


@pytest.fixture
def streams() -> LoopbackStreams:
    """Nodes that are this machine."""
    return LoopbackStreams()


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    """The webhook's server."""
    async with webhook_server(tmp_path, "hook.default.svc") as running:
        yield running


def config_map(name: str, **more: Any) -> dict[str, Any]:
    """An object to admit."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **more}}


class Configured:
    """Configurations of webhooks, made as an administrator makes them."""

    def __init__(self, client: Client, hooks: WebhookServer) -> None:
        """Configure `hooks` through `client`."""
        self._client = client
        self._hooks = hooks

    async def __call__(self, what: str, name: str, *paths: str, **more: Any) -> None:
        """A configuration whose webhooks are asked at `paths`."""
        webhooks = [
            {
                "name": f"{path}.example.com",
                "clientConfig": self._hooks.client(path),
                "rules": [RULE],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                **more,
            }
            for path in paths
        ]
        kind = f"{what.title()}WebhookConfiguration"
        body = {"apiVersion": GROUP.removeprefix("/apis/"), "kind": kind, "metadata": {"name": name}}
        await self._client.made(f"{GROUP}/{kind.lower()}s", body | {"webhooks": webhooks})


@pytest.fixture
def configured(client: Client, hooks: WebhookServer) -> Configured:
    """What makes configurations."""
    return Configured(client, hooks)


async def test_mutating_ones_are_asked_in_order_and_again_where_needed(
    client: Client, hooks: WebhookServer, configured: Configured
) -> None:
    hooks.answers |= {"one": label("one"), "two": label("two"), "three": label("three")}
    await configured("mutating", "b", "three")
    await configured("mutating", "a", "one", "two", reinvocationPolicy="IfNeeded")
    await configured("validating", "c", "last")
    made = await client.made(MAPS, config_map("m") | {"data": {"a": "b"}})
    assert made["metadata"]["labels"] == {"one": "yes", "two": "yes", "three": "yes"}
    assert hooks.order == ["one", "two", "three", "one", "two", "last"]
    assert hooks.asked[-1][1]["object"]["metadata"]["labels"] == made["metadata"]["labels"]
    owners = [entry["fieldsV1"] for entry in made["metadata"]["managedFields"]]
    assert all("f:labels" not in fields.get("f:metadata", {}) for fields in owners)


async def test_a_review_tells_all_about_the_request(
    client: Client, hooks: WebhookServer, configured: Configured
) -> None:
    await configured("validating", "v", "all")
    await client.made(f"{MAPS}?fieldManager=me", config_map("m"))
    code, _ = await client.ask(
        "PATCH", f"{MAPS}/m", '{"data":{"a":"b"}}', headers={"Content-Type": "application/merge-patch+json"}
    )
    assert code == 200
    assert (await client.ask("DELETE", f"{MAPS}/m"))[0] == 200
    made, changed, deleted = (request for _, request in hooks.asked)
    assert made["kind"] == made["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert made["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (made["operation"], made["name"], made["namespace"]) == ("CREATE", "m", "default")
    assert made["userInfo"]["username"] == "admin"
    assert "system:masters" in made["userInfo"]["groups"]
    assert made["dryRun"] is False
    assert made["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"}
    assert made["oldObject"] is None
    assert changed["operation"] == "UPDATE"
    assert changed["options"]["kind"] == "PatchOptions"
    assert (changed["object"]["data"], changed["oldObject"].get("data")) == ({"a": "b"}, None)
    assert (deleted["operation"], deleted["object"]) == ("DELETE", None)
    assert deleted["oldObject"]["data"] == {"a": "b"}
    assert deleted["options"]["kind"] == "DeleteOptions"


async def test_a_refusal_is_told_as_the_webhook_words_it(
    client: Client, hooks: WebhookServer, configured: Configured
) -> None:
    await configured("validating", "v", "no")
    for status, code, said in (
        (None, 400, 'admission webhook "no.example.com" denied the request without explanation'),
        ({"message": "not today"}, 400, 'admission webhook "no.example.com" denied the request: not today'),
        ({"code": 403, "reason": "Forbidden"}, 403, 'admission webhook "no.example.com" denied the request: Forbidden'),
    ):
        hooks.answers["no"] = lambda _, status=status: {"allowed": False, "status": status}
        assert (await client.ask("POST", MAPS, config_map("m")))[0] == code
        answer = (await client.ask("POST", MAPS, config_map("m")))[1]
        assert answer["message"] == said
    asked = len(hooks.asked)
    assert asked == 6
    assert (await client.ask("GET", f"{MAPS}/m"))[0] == 404
    hooks.answers["no"] = lambda request: {"allowed": request["operation"] != "DELETE"}
    await client.made(MAPS, config_map("m"))
    assert (await client.ask("DELETE", f"{MAPS}/m"))[0] == 400
    code, _ = await client.ask("DELETE", MAPS)
    assert code == 400
    assert (await client.ask("GET", f"{MAPS}/m"))[0] == 200


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("broken", 'an error on the server ("out of order") has prevented the request from succeeding'),
        ("redirect", "the server responded with the status code 302 but did not return more information"),
        ("silent", "context deadline exceeded"),
        ("forged", "received invalid webhook response: expected response.uid="),
        ("patching", "received invalid webhook response: validating webhook may not return response.patch"),
    ],
)
async def test_who_cannot_be_asked_stops_the_request_unless_they_may_be_left_out(
    client: Client, hooks: WebhookServer, configured: Configured, path: str, said: str
) -> None:
    hooks.answers |= {"forged": lambda _: {"allowed": True, "uid": "other"}, "patching": label("x")}
    await configured("validating", "v", path, timeoutSeconds=1)
    code, answer = await client.ask("POST", MAPS, config_map("m"))
    assert code == 500
    assert answer["message"].startswith(f'Internal error occurred: failed calling webhook "{path}.example.com": ')
    assert said in answer["message"]
    await client.ask("DELETE", f"{GROUP}/validatingwebhookconfigurations/v")
    await configured("validating", "v", path, timeoutSeconds=1, failurePolicy="Ignore")
    await client.made(MAPS, config_map("m"))
    assert "allow" not in hooks.order


async def test_only_the_authority_that_is_named_is_trusted(
    client: Client, hooks: WebhookServer, server: ApiServer, configured: Configured
) -> None:
    hooks.ca_pem = server.ca.read_bytes()
    await configured("validating", "v", "all")
    code, answer = await client.ask("POST", MAPS, config_map("m"))
    assert code == 500
    assert "failed to verify certificate" in answer["message"]
    assert hooks.asked == []


async def test_dry_runs_go_only_to_those_without_side_effects(
    client: Client, hooks: WebhookServer, configured: Configured
) -> None:
    await configured("validating", "v", "all", sideEffects="NoneOnDryRun")
    code, _ = await client.ask("POST", f"{MAPS}?dryRun=All", config_map("m"))
    assert code == 201
    assert hooks.asked[0][1]["dryRun"] is True
    assert hooks.asked[0][1]["options"]["dryRun"] == ["All"]


async def test_warnings_reach_the_client(client: Client, hooks: WebhookServer, configured: Configured) -> None:
    hooks.answers["all"] = lambda _: {"allowed": True, "warnings": ["think twice"]}
    await configured("validating", "v", "all")
    for method, path, body in (("POST", MAPS, config_map("m")), ("DELETE", f"{MAPS}/m", None)):
        async with client.session.request(method, client.server.url + path, json=body) as answer:
            assert [text for text in answer.headers.getall("Warning", []) if "think twice" in text]
    hooks.answers["all"] = lambda _: {"allowed": False, "warnings": ["think again"]}
    async with client.session.post(client.server.url + MAPS, json=config_map("m")) as answer:
        assert answer.status == 400
        assert [text for text in answer.headers.getall("Warning", []) if "think again" in text]


async def test_selectors_and_conditions_choose(client: Client, hooks: WebhookServer, configured: Configured) -> None:
    await configured("validating", "a", "labelled", objectSelector={"matchLabels": {"app": "web"}})
    await configured("validating", "b", "here", namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "x"}})
    texts = (
        "object.metadata.name.startsWith('c') && request.operation == 'CREATE' && oldObject == null",
        "!quantity('1').isLessThan(quantity('1')) && authorizer.requestResource.check('create').allowed()",
    )
    conditions = [{"name": f"c{i}", "expression": text} for i, text in enumerate(texts)]
    await configured("validating", "c", "named", matchConditions=conditions)
    await client.made(MAPS, config_map("m"))
    assert hooks.order == []
    await client.made(MAPS, config_map("web", labels={"app": "web"}))
    await client.made(MAPS, config_map("c"))
    assert hooks.order == ["labelled", "named"]
    unknown = {"name": "unknown", "expression": "object.spec.missing == 1"}
    await configured("validating", "d", "unknown", matchConditions=[unknown])
    code, answer = await client.ask("POST", MAPS, config_map("other"))
    assert code == 403
    assert "resulted in error" in answer["message"]


async def test_what_webhooks_make_is_judged_like_everything(
    client: Client, hooks: WebhookServer, configured: Configured
) -> None:
    wrong = patch({"op": "add", "path": "/metadata/labels", "value": {"a b": "c"}})
    hooks.answers["bad"] = lambda _: wrong
    await configured("mutating", "m", "bad")
    assert (await client.ask("POST", MAPS, config_map("m")))[0] == 422
    hooks.answers["bad"] = lambda _: patch({"op": "remove", "path": "/nowhere"})
    assert (await client.ask("POST", MAPS, config_map("m")))[0] == 500


async def test_a_service_is_reached_at_its_endpoints(
    client: Client, hooks: WebhookServer, server: ApiServer, configured: Configured
) -> None:
    service = {"namespace": "default", "name": "hook", "path": "/served"}
    await configured("validating", "v", "x", clientConfig={**hooks.client("x"), "url": None, "service": service})
    _, answer = await client.ask("POST", MAPS, config_map("m"))
    assert 'service "hook" not found' in answer["message"]
    ports = (core.ServicePort(port=443, name="tls"),)
    made = core.Service(metadata=meta.ObjectMeta(name="hook"), spec=core.ServiceSpec(ports=ports))
    await server.verbs.writes.create(kinds.SERVICE, "default", made, WriteOptions())
    _, answer = await client.ask("POST", MAPS, config_map("m"))
    assert 'no endpoints available for service "hook"' in answer["message"]
    piece = discovery.EndpointSlice(
        metadata=meta.ObjectMeta(name="hook-1", namespace="default", labels={"kubernetes.io/service-name": "hook"}),
        address_type="IPv4",
        endpoints=(discovery.Endpoint(addresses=("127.0.0.1",)),),
        ports=(discovery.EndpointPort(name="tls", port=hooks.port),),
    )
    # Past admission, because slices may not name loopback.
    await server.registry.commit((creation(piece),))
    await client.made(MAPS, config_map("m"))
    assert hooks.order == ["served"]


async def test_a_pod_is_reached_through_the_agent_of_its_node(
    client: Client, hooks: WebhookServer, streams: LoopbackStreams, configured: Configured
) -> None:
    await proxied.pod(client, "up", hooks.port)
    await proxied.pod(client, "lost", hooks.port, "gone")
    await proxied.service(client, "hook", hooks.port, {"up": True, "lost": True}, 443)
    service = {"namespace": "default", "name": "hook", "path": "/no"}
    await configured("validating", "v", "no", clientConfig={**hooks.client("no"), "url": None, "service": service})
    hooks.answers["no"] = lambda _: {"allowed": False, "status": {"message": "not today"}}
    for _ in range(4):
        _, answer = await client.ask("POST", MAPS, config_map("m"))
        assert answer["message"] == 'admission webhook "no.example.com" denied the request: not today'
    assert ("n1", "10.0.0.9", hooks.port) in streams.asked
    assert len([one for one in streams.asked if one[0] == "n1"]) == 1, "the connection is used again"


async def test_scales_and_evictions_are_seen_as_what_is_sent(
    client: Client, hooks: WebhookServer, server: ApiServer, configured: Configured
) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    await client.made(path, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
    pod = core.Pod(
        metadata=meta.ObjectMeta(name="p"), spec=core.PodSpec(containers=(core.Container(name="c", image="i"),))
    )
    await server.verbs.writes.create(kinds.POD, "default", pod, WriteOptions())
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/scale", "pods/eviction"]}
    hooks.answers["five"] = lambda request: (
        patch({"op": "replace", "path": "/spec/replicas", "value": 5}) if request["subResource"] == "scale" else
        {"allowed": False}
    )  # fmt: skip
    await configured("mutating", "m", "five", rules=[rule])
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 2}}
    code, answer = await client.ask("PUT", f"{path}/d/scale", scale)
    assert (code, answer["spec"]["replicas"]) == (200, 5)
    told = hooks.asked[0][1]
    assert (told["kind"]["kind"], told["object"]["spec"], told["oldObject"]["spec"]) == (
        "Scale", {"replicas": 2}, {"replicas": 1}
    )  # fmt: skip
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await client.ask("POST", "/api/v1/namespaces/default/pods/p/eviction", eviction))[0] == 400
    assert (await client.ask("GET", "/api/v1/namespaces/default/pods/p"))[0] == 200


async def test_controllers_ask_too(server: ApiServer, hooks: WebhookServer, configured: Configured) -> None:
    made = core.ConfigMap(metadata=meta.ObjectMeta(name="m", namespace="default"))
    admission = server.verbs.admission
    assert admission.write_of("kube-controller-manager", Create(made)) is None
    hooks.answers["one"] = label("one")
    await configured("mutating", "m", "one")
    asking = admission.write_of("kube-controller-manager", Create(made))
    assert asking is not None
    write = await asking
    assert write is not None
    assert write.object.metadata.labels == {"one": "yes"}
    assert hooks.asked[0][1]["userInfo"]["username"] == "system:kube-controller-manager"
