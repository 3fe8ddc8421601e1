"""Roles, bindings, questions and tokens, asked for with stock kubectl and over plain HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mizzen.api import kinds
from tests.fixtures.api_server import ApiServer
from tests.fixtures.examples import example
from tests.integration.rest.conftest import Client, Kubectl, tls_of

TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"
PODS = "/api/v1/namespaces/default/pods"
POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "img:1"}]}}


@asynccontextmanager
async def as_user(server: ApiServer, name: str = "", *groups: str, token: str = "") -> AsyncIterator[Client]:
    """A client with a certificate of a user, with a token, or with neither."""
    certificate, key = server.certificate_for(name, groups) if name else (None, None)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connector = aiohttp.TCPConnector(ssl=tls_of(server, certificate, key))
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield Client(server, session)


async def test_roles_by_command(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log")
    await kubectl("create", "rolebinding", "readers", "--role=reader", "--user=ann", "--serviceaccount=default:robot")
    await kubectl("create", "clusterrole", "scaler", "--verb=update", "--resource=deployments.apps/scale")
    await kubectl("create", "clusterrolebinding", "scalers", "--clusterrole=scaler", "--group=ops")
    rows = await kubectl("get", "rolebindings", "-o", "wide")
    assert rows.split()[:6] == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert "Role/reader" in rows
    assert "default/robot" in rows
    assert (await kubectl("get", "clusterroles", "scaler")).split()[:3] == ["NAME", "CREATED", "AT"]
    assert "pods/log" in await kubectl("describe", "role", "reader")
    assert "yes" in await kubectl("auth", "can-i", "list", "pods", "--as=ann")
    assert "no" in (await kubectl.ends("auth", "can-i", "delete", "pods", "--as=ann"))[1]
    assert "yes" in await kubectl(
        "auth", "can-i", "get", "pods", "--subresource=log", "--as=system:serviceaccount:default:robot"
    )
    assert "yes" in await kubectl(
        "auth", "can-i", "update", "deployments.apps", "--subresource=scale", "--as=x", "--as-group=ops"
    )
    assert "yes" in await kubectl("auth", "can-i", "*", "*")
    assert "pods/log" in await kubectl("auth", "can-i", "--list", "--as=ann")
    who = json.loads(await kubectl("auth", "whoami", "-o", "json", "--as=ann", "--as-group=devs", "--as-uid=7"))
    assert who["status"]["userInfo"] == {
        "username": "ann", "uid": "7", "groups": ["devs", "system:authenticated"],
    }  # fmt: skip
    said = await kubectl.fails("get", "secrets", "--as=ann")
    assert (
        'secrets is forbidden: User "ann" cannot list resource "secrets" in API group "" in the namespace "default"'
        in (said)
    )
    said = await kubectl.fails(
        "patch", "rolebinding", "readers", "--type=json", "-p", '[{"op":"replace","path":"/roleRef/name","value":"x"}]'
    )
    assert "cannot change roleRef" in said


async def test_who_may_not_is_not_told_what_there_is(client: Client, server: ApiServer) -> None:
    nothing = "/apis/nothing.example.com/v1/namespaces/default/things"
    cannot = 'cannot list resource "things" in API group "nothing.example.com" in the namespace "default"'
    async with as_user(server, "ann") as ann:
        code, answer = await ann.ask("GET", nothing)
        assert (code, answer["message"]) == (403, f'things.nothing.example.com is forbidden: User "ann" {cannot}')
        assert answer["details"] == {"group": "nothing.example.com", "kind": "things"}
        code, answer = await ann.ask("PUT", f"{nothing}/one/status", {})
        assert 'cannot update resource "things/status"' in answer["message"]
        assert (await ann.ask("GET", f"{PODS}/p/nothing"))[0] == 403
        assert (await ann.ask("GET", "/apis/nothing.example.com/v1"))[0] == 404, "discovery is for everybody known"
    assert (await client.ask("GET", nothing))[0] == 404
    assert (await client.ask("GET", f"{PODS}/p/nothing"))[0] == 404


async def test_browsers_show_a_token_as_a_protocol(client: Client, server: ApiServer) -> None:
    """They can't set headers on a WebSocket."""
    await client.made("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    made = await client.made(TOKEN, {"spec": {}})
    sent = base64.urlsafe_b64encode(made["status"]["token"].encode()).decode().rstrip("=")
    bearer = f"base64url.bearer.authorization.k8s.io.{sent}"
    url = f"{server.url}/api/v1/namespaces/default/configmaps?watch=true"

    async with as_user(server) as nobody:

        async def code(*protocols: str) -> int:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await nobody.session.ws_connect(url, protocols=protocols)
            return refused.value.status

        assert await code(bearer, "any") == 403, "known, and may not"
        assert await code("any") == 403
        assert await code(f"{bearer}AAAA", "any") == 401
        assert await code("base64url.bearer.authorization.k8s.io.n", "any") == 401
        await client.made(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
            {
                "metadata": {"name": "v"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
                "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
            },
        )
        async with nobody.session.ws_connect(url, protocols=[bearer, "any"]) as socket:
            assert socket.protocol == "any"
        assert await code(bearer) == 401, "a token that comes alone would come back in the answer"


async def test_nobody_gives_what_they_do_not_have(kubectl: Kubectl, server: ApiServer) -> None:
    await kubectl("create", "clusterrolebinding", "rulers", "--clusterrole=admin", "--user=ann")
    said = await kubectl.fails("create", "role", "r", "--verb=get", "--resource=nodes", "--as=ann")
    assert 'is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["nodes"]' in said
    await kubectl("create", "role", "r", "--verb=get", "--resource=pods", "--as=ann")
    said = await kubectl.fails("create", "rolebinding", "b", "--clusterrole=cluster-admin", "--user=ann", "--as=ann")
    assert "is attempting to grant RBAC permissions not currently held" in said
    await kubectl("create", "rolebinding", "b", "--clusterrole=view", "--user=bob", "--as=ann")
    said = await kubectl.fails("create", "rolebinding", "c", "--clusterrole=none", "--user=bob", "--as=ann")
    assert 'clusterroles.rbac.authorization.k8s.io "none" not found' in said
    await kubectl("create", "clusterrole", "giver", "--verb=escalate,bind", "--resource=roles,clusterroles")
    await kubectl("create", "clusterrolebinding", "givers", "--clusterrole=giver", "--user=ann")
    await kubectl("create", "role", "nodes", "--verb=get", "--resource=nodes", "--as=ann")
    await kubectl("create", "rolebinding", "d", "--clusterrole=cluster-admin", "--user=bob", "--as=ann")


async def test_who_applies_what_is_not_there_must_be_allowed_to_create_it(client: Client, server: ApiServer) -> None:
    group, applied = kinds.ROLE.group, {"Content-Type": "application/apply-patch+yaml"}
    path, maps = f"/apis/{group}/v1/namespaces/default", "/api/v1/namespaces/default/configmaps/one?fieldManager=ann"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}]
    await client.made(f"{path}/roles", {"metadata": {"name": "one"}, "rules": rules})
    ref = {"apiGroup": group, "kind": "Role", "name": "one"}
    subjects = [{"kind": "User", "name": "ann"}]
    await client.made(f"{path}/rolebindings", {"metadata": {"name": "one"}, "roleRef": ref, "subjects": subjects})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "b"}}
    async with as_user(server, "ann") as ann:
        code, said = await ann.ask("PATCH", maps, body, headers=applied)
        assert (code, said["reason"]) == (403, "Forbidden")
        assert 'cannot create resource "configmaps"' in said["message"]
        await client.made("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "one"}})
        assert (await ann.ask("PATCH", maps, body, headers=applied))[0] == 200


async def test_who_applies_a_request_for_a_certificate_is_its_sender(client: Client) -> None:
    body = example(kinds.CERTIFICATE_SIGNING_REQUEST)
    forged = {"username": "somebody", "groups": ["system:masters"], "uid": "7"}
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests/example?fieldManager=me&force=true"
    code, made = await client.ask(
        "PATCH",
        path,
        {**body, "spec": {**body["spec"], **forged}},
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    assert code == 201, made
    assert made["spec"]["username"] != "somebody"
    assert made["spec"].get("uid") != "7"


async def test_a_manifest_of_roles_is_brought_in_line(every_kubectl: Kubectl, server: ApiServer) -> None:
    manifest = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: default}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, VERB]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
"""
    for verb in ("list", "watch"):
        await every_kubectl("auth", "reconcile", "-f", "-", stdin=manifest.replace("VERB", verb))
        assert "yes" in await every_kubectl("auth", "can-i", verb, "pods", "--as=ann")
    await every_kubectl("apply", "-f", "-", stdin=manifest.replace("VERB", "list"))
    assert "no" in (await every_kubectl.ends("auth", "can-i", "watch", "pods", "--as=ann"))[1]


async def test_who_may_see_one_object_may_watch_it(client: Client, server: ApiServer) -> None:
    group = kinds.ROLE.group
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["get", "list"]}]
    path = f"/apis/{group}/v1/namespaces/default"
    await client.made(f"{path}/roles", {"metadata": {"name": "one"}, "rules": rules})
    ref = {"apiGroup": group, "kind": "Role", "name": "one"}
    subjects = [{"kind": "User", "name": "ann"}]
    await client.made(f"{path}/rolebindings", {"metadata": {"name": "one"}, "roleRef": ref, "subjects": subjects})
    maps = "/api/v1/namespaces/default/configmaps"
    async with as_user(server, "ann") as ann:
        assert (await ann.ask("GET", maps))[0] == 403
        assert (await ann.ask("GET", f"{maps}?fieldSelector=metadata.name%3Done"))[0] == 200
        assert (await ann.ask("GET", f"{maps}?fieldSelector=metadata.name%3Dtwo"))[0] == 403
        assert (await ann.ask("GET", f"{maps}?fieldSelector=metadata.name%3Done,metadata.name%3Dtwo"))[0] == 403
        assert (await ann.ask("GET", f"{maps}/one"))[0] == 404


async def test_a_token_works_until_its_account_is_gone(every_kubectl: Kubectl, server: ApiServer) -> None:
    kubectl = every_kubectl
    await kubectl("create", "serviceaccount", "robot")
    token = (await kubectl("create", "token", "robot", "--duration=10m")).strip()
    assert "may not specify a duration less than 10 minutes" in await kubectl.fails(
        "create", "token", "robot", "--duration=1m"
    )
    async with as_user(server, token=token) as robot:
        code, answer = await robot.ask("GET", PODS)
        assert code == 403
        assert 'User "system:serviceaccount:default:robot" cannot list resource "pods"' in answer["message"]
        await kubectl("create", "rolebinding", "view", "--clusterrole=view", "--serviceaccount=default:robot")
        assert (await robot.ask("GET", PODS))[0] == 200
        assert (await robot.ask("GET", "/api/v1/pods"))[0] == 403
        await kubectl("delete", "serviceaccount", "robot")
        assert (await robot.ask("GET", PODS))[0] == 401


async def test_a_token_ends_with_its_pod(client: Client, server: ApiServer) -> None:
    await client.made("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    pod = await client.made(PODS, POD)
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    uid = pod["metadata"]["uid"]
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}
    spec = {"audiences": ["vault"], "boundObjectRef": bound}
    made = await client.made(path, {"spec": spec})
    assert made["spec"]["expirationSeconds"] == 3600
    token = made["status"]["token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["aud"] == ["vault"]
    assert claims["kubernetes.io"]["pod"] == {"name": "p", "uid": uid}

    async def review(*audiences: str) -> Any:
        question = {"spec": {"token": token, "audiences": audiences}}
        return (await client.made("/apis/authentication.k8s.io/v1/tokenreviews", question))["status"]

    found = await review("vault", "other")
    assert (found["authenticated"], found["audiences"]) == (True, ["vault"])
    assert found["user"]["username"] == "system:serviceaccount:default:default"
    assert found["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    assert "is invalid for the target audiences" in (await review())["error"]
    async with as_user(server, token=token) as other:
        assert (await other.ask("GET", PODS))[0] == 401, "it is not for the API server"
    code, answer = await client.ask("POST", path, {"spec": {"boundObjectRef": {**bound, "uid": "x"}}})
    assert (code, answer["reason"]) == (409, "Conflict")
    code, answer = await client.ask("POST", path, {"spec": {"boundObjectRef": {**bound, "name": "q"}}})
    assert (code, answer["message"]) == (404, 'pods "q" not found')
    await client.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert "the pod p that the token is bound to is gone" in (await review("vault"))["error"]


async def test_the_keys_are_published(client: Client, server: ApiServer) -> None:
    async with as_user(server, "system:serviceaccount:default:x", "system:serviceaccounts") as account:
        _, discovery = await account.ask("GET", "/.well-known/openid-configuration")
        assert discovery["issuer"] == "https://kubernetes.default.svc.cluster.local"
        code, keys = await account.ask("GET", "/openid/v1/jwks")
        assert code == 200
    async with as_user(server, "ann") as stranger:
        assert (await stranger.ask("GET", "/openid/v1/jwks"))[0] == 403
    del keys


async def test_questions_about_others_are_for_who_may_ask(client: Client, server: ApiServer) -> None:
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    question = {"spec": {"user": "ann", "resourceAttributes": {"verb": "get", "resource": "pods"}}}
    async with as_user(server, "ann") as ann:
        assert (await ann.ask("POST", path, question))[0] == 403
        assert (await ann.ask("GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews"))[0] in (403, 405)
    assert (await client.made(path, question))["status"] == {"allowed": False}
    code, answer = await client.ask("POST", path, {"spec": {"user": "ann"}})
    assert (code, answer["reason"]) == (422, "Invalid")


async def test_acting_as_somebody_takes_leave(client: Client, server: ApiServer) -> None:
    async with as_user(server, "ann") as ann:
        code, answer = await ann.ask("GET", PODS, headers={"Impersonate-User": "bob"})
        assert code == 403
        assert answer["message"] == (
            'users "bob" is forbidden: User "ann" cannot impersonate resource "users" in API group "" '
            "at the cluster scope"
        )
    code, answer = await client.ask("GET", PODS, headers={"Impersonate-Group": "devs"})
    assert (code, answer["reason"]) == (400, "BadRequest")
    headers = {"Impersonate-User": "bob", "Impersonate-Extra-Example.com%2Fscope": "view"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    code, answer = await client.ask("POST", path, {}, headers=headers)
    assert answer["status"]["userInfo"]["extra"] == {"example.com/scope": ["view"]}


def _signing_request(name: str, organisation: str) -> bytes:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)


async def test_a_node_reads_what_its_pods_name_and_writes_its_own(client: Client, server: ApiServer) -> None:
    for name in ("key", "other"):
        await client.made("/api/v1/namespaces/default/secrets", {"metadata": {"name": name}})
    for name in ("n1", "n2"):
        await client.made("/api/v1/nodes", {"metadata": {"name": name}})
    await client.made("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    volumes = [{"name": "key", "secret": {"secretName": "key"}}]
    spec = {"containers": [{"name": "c", "image": "img:1"}], "nodeName": "n1", "volumes": volumes}
    made = await client.made(PODS, {"metadata": {"name": "mine"}, "spec": spec})
    await client.made(PODS, {"metadata": {"name": "other"}, "spec": {**spec, "nodeName": "n2", "volumes": []}})
    merge = {"Content-Type": "application/merge-patch+json"}
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "mine", "uid": made["metadata"]["uid"]}
    restricted = {"metadata": {"labels": {"node-restriction.kubernetes.io/a": "b"}}}
    table: list[tuple[str, str, Any, int, str]] = [
        ("GET", "/api/v1/namespaces/default/secrets/key", None, 200, ""),
        ("GET", "/api/v1/namespaces/default/secrets/other", None, 403, "no relationship found between node 'n1'"),
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", None, 200, ""),
        ("GET", "/api/v1/pods", None, 403, "can only list/watch pods with spec.nodeName field selector"),
        ("GET", "/api/v1/nodes/n1", None, 200, ""),
        ("GET", "/api/v1/nodes/n2", None, 403, "only its own Node object"),
        ("PATCH", "/api/v1/nodes/n1", {"metadata": {"labels": {"team": "a"}}}, 200, ""),
        ("PATCH", "/api/v1/nodes/n1", restricted, 403, "is not allowed to modify labels"),
        ("PATCH", "/api/v1/nodes/n2", {}, 403, 'node "n1" is not allowed to modify node "n2"'),
        ("PATCH", f"{PODS}/mine/status", {"status": {"phase": "Running"}}, 200, ""),
        ("PATCH", f"{PODS}/other/status", {"status": {"phase": "Running"}}, 403, "can only update pod status"),
        ("POST", f"{PODS}/other/eviction", {}, 403, "node n1 can only evict pods"),
        ("DELETE", f"{PODS}/other", None, 403, "can only delete pods with spec.nodeName set to itself"),
        ("POST", f"{TOKEN}", {"spec": {"boundObjectRef": bound}}, 201, ""),
        ("POST", f"{TOKEN}", {"spec": {}}, 403, "node requested token not bound to a pod"),
        ("DELETE", f"{PODS}/mine", None, 200, ""),
    ]
    async with as_user(server, "system:node:n1", "system:nodes") as node:
        for method, path, body, code, words in table:
            headers = merge if method == "PATCH" else {}
            got, answer = await node.ask(method, path, body, headers=headers)
            assert got == code, f"{method} {path}: {got} {answer}"
            assert words in answer.get("message", ""), f"{method} {path}: {answer}"


async def test_questions_about_nodes_count_their_selectors(client: Client, server: ApiServer) -> None:
    own: dict[str, Any] = {"key": "spec.nodeName", "operator": "In", "values": ["n1"]}
    odd = {"key": "spec.nodeName", "operator": "Resembles", "values": ["n"]}
    left = "spec.resourceAttributes.{} due to parse error"
    table: list[tuple[dict[str, Any], bool, str]] = [
        ({}, False, ""),
        ({"fieldSelector": {"rawSelector": "spec.nodeName=n1"}}, True, ""),
        ({"fieldSelector": {"rawSelector": "spec.nodeName!=n1"}}, False, ""),
        ({"fieldSelector": {"rawSelector": "spec.nodeName"}}, False, left.format("fieldSelector ignored")),
        ({"fieldSelector": {"requirements": [own]}}, True, ""),
        ({"fieldSelector": {"requirements": [{**own, "operator": "NotIn"}]}}, False, ""),
        ({"fieldSelector": {"requirements": [{**own, "values": ["n1", "n2"]}]}}, False,
         left.format("fieldSelector ignored")),
        ({"fieldSelector": {"requirements": [own, odd]}}, True, left.format("fieldSelector partially ignored")),
        ({"fieldSelector": {"requirements": [own]}, "labelSelector": {"rawSelector": "a in"}}, True,
         left.format("labelSelector ignored")),
        ({"labelSelector": {"requirements": [{"key": "a", "operator": "Exists"}, odd]}}, False,
         left.format("labelSelector partially ignored")),
    ]  # fmt: skip
    group = "/apis/authorization.k8s.io/v1"
    for selectors, allowed, problem in table:
        spec = {"resourceAttributes": {"verb": "list", "resource": "pods", **selectors}}
        spec |= {"user": "system:node:n1", "groups": ["system:nodes"]}
        status = (await client.made(f"{group}/subjectaccessreviews", {"spec": spec}))["status"]
        assert (status["allowed"], status.get("evaluationError", "")) == (allowed, problem), selectors
    async with as_user(server, "system:node:n1", "system:nodes") as node:
        question = {"spec": {"namespace": "default"}}
        status = (await node.made(f"{group}/selfsubjectrulesreviews", question))["status"]
        assert status["incomplete"] is True
        assert status["evaluationError"] == "node authorizer does not support user rule resolution"
        assert "/healthz" in [path for rule in status["nonResourceRules"] for path in rule["nonResourceURLs"]]
    async with as_user(server, "ann") as ann:
        assert (await ann.made(f"{group}/selfsubjectrulesreviews", question))["status"]["incomplete"] is False


async def test_every_kind_is_closed_to_strangers(server: ApiServer) -> None:
    async with as_user(server, "stranger") as stranger, as_user(server) as nobody:
        for kind in kinds.KINDS:
            root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
            middle = "/namespaces/default" if kind.namespaced else ""
            path = f"{root}{middle}/{kind.plural}"
            asks = [("GET", path), ("POST", path), ("DELETE", path)]
            asks += [(method, f"{path}/x") for method in ("GET", "PUT", "PATCH", "DELETE")]
            for who, own in ((stranger, ("Self",)), (nobody, ())):
                for method, where in asks:
                    code, answer = await who.ask(method, where, {})
                    open_to_all = method == "POST" and kind.kind.startswith(own) if own else False
                    assert code in (403, 405) or open_to_all, f"{method} {where}: {code} {answer}"


async def test_a_certificate_is_asked_for_approved_and_shown(every_kubectl: Kubectl, client: Client) -> None:
    kubectl = every_kubectl
    request = _signing_request("ann", "devs")
    manifest = json.dumps(
        {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": "ann"},
            "spec": {
                "request": base64.b64encode(request).decode(),
                "signerName": "kubernetes.io/kube-apiserver-client",
                "expirationSeconds": 3600,
                "usages": ["client auth"],
                "username": "somebody-else",
            },
        }
    )
    await kubectl("create", "-f", "-", stdin=manifest)
    row = await kubectl("get", "csr", "ann", "--no-headers")
    assert row.split()[2:] == ["kubernetes.io/kube-apiserver-client", "admin", "60m", "Pending"]
    assert "approved" in await kubectl("certificate", "approve", "ann")
    assert (await kubectl("get", "csr", "ann", "--no-headers")).split()[-1] == "Approved"
    assert "is already Approved" in await kubectl.fails("certificate", "deny", "ann")
    conditions = [{"type": type_, "status": "True"} for type_ in ("Approved", "Denied")]
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests/ann/approval"
    headers = {"Content-Type": "application/merge-patch+json"}
    code, answer = await client.ask("PATCH", path, {"status": {"conditions": conditions}}, headers=headers)
    assert code == 422
    assert "Approved and Denied conditions are mutually exclusive" in answer["message"]
