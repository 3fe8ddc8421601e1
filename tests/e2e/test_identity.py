"""A pod talks to the API as its service account, and may what roles allow: how operators live in a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import pod, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

HOME = "/var/run/secrets/kubernetes.io/serviceaccount"


def test_a_pod_calls_the_api(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    namespace = kubectl.namespace
    began = time.monotonic()
    kubectl.apply(pod("operator", shell()))
    kubectl("wait", "--for=condition=Ready", "pod/operator", "--timeout=60s")
    figure(f"a bare pod with its token is Ready after {time.monotonic() - began:.1f} s")
    assert kubectl("exec", "operator", "--", "ls", HOME).split() == ["ca.crt", "namespace", "token"]
    assert kubectl("exec", "operator", "--", "cat", f"{HOME}/namespace") == namespace
    assert "BEGIN CERTIFICATE" in kubectl("exec", "operator", "--", "cat", f"{HOME}/ca.crt")

    def asks(path: str, server: str = "https://kubernetes.default.svc") -> str:
        script = f'wget -S -qO- --header "Authorization: Bearer $(cat {HOME}/token)" {server}{path} 2>&1'
        done = kubectl.tries("exec", "operator", "--", "sh", "-c", script)
        return done.stdout + done.stderr

    pods = f"/api/v1/namespaces/{namespace}/pods"
    assert "HTTP/1.1 403" in asks(pods)
    kubectl("create", "rolebinding", "operators", "--clusterrole=view", f"--serviceaccount={namespace}:default")
    answer = asks(pods)
    assert "HTTP/1.1 200" in answer
    assert '"name":"operator"' in answer
    assert "HTTP/1.1 403" in asks("/api/v1/pods")
    assert "HTTP/1.1 403" in asks(f"/api/v1/namespaces/{namespace}/secrets")
    kubectl("delete", "rolebinding", "operators")
    assert "HTTP/1.1 403" in asks(pods)

    token = kubectl("exec", "operator", "--", "cat", f"{HOME}/token")
    found = kubectl.get("pod", "operator")
    assert f"system:serviceaccount:{namespace}:default" in kubectl("auth", "whoami", f"--token={token}")
    checkpoint = cluster.node_of(found).path("/var/lib/mizzen/checkpoint.json")
    wait_for("a checkpoint with the pod", lambda: found["metadata"]["uid"] in checkpoint.read_text(), 15)
    assert token not in checkpoint.read_text()
    kubectl("delete", "pod", "operator")
    assert "Unauthorized" in kubectl.fails(
        "auth", "whoami", f"--token={token}"
    ) or "must be logged in" in kubectl.fails("auth", "whoami", f"--token={token}")


def test_a_pod_without_leave_has_no_token(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "quiet")
    kubectl("patch", "serviceaccount", "quiet", "-p", '{"automountServiceAccountToken":false}')
    kubectl.apply(
        pod("mute", shell(), automountServiceAccountToken=False),
        pod("quiet", shell(), serviceAccountName="quiet"),
        pod("loud", shell(), serviceAccountName="quiet", automountServiceAccountToken=True),
    )
    for name, home in (("mute", False), ("quiet", False), ("loud", True)):
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        assert (kubectl.tries("exec", name, "--", "test", "-e", f"{HOME}/token").returncode == 0) is home
    said = kubectl.fails(
        "run", "stranger", "--image=demo:v1", "--overrides", '{"spec":{"serviceAccountName":"nobody"}}'
    )
    assert f'error looking up service account {kubectl.namespace}/nobody: serviceaccount "nobody" not found' in said


def test_a_pod_has_a_token_again_after_its_agent_was_away(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(pod("operator", shell(), nodeName=cluster.nodes[0].name))
    kubectl("wait", "--for=condition=Ready", "pod/operator", "--timeout=60s")
    before = kubectl("exec", "operator", "--", "cat", f"{HOME}/token")
    node = cluster.nodes[0]
    node.restart("mizzen-agent")
    wait_for(
        "another token",
        lambda: kubectl.tries("exec", "operator", "--", "cat", f"{HOME}/token").stdout not in ("", before),
        40,
    )
    token = kubectl("exec", "operator", "--", "cat", f"{HOME}/token")
    assert "system:serviceaccount" in kubectl("auth", "whoami", f"--token={token}")
