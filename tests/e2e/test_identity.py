"""A pod talks to the API as its service account, and may what roles allow: how operators live in a cluster."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import deployment, pod, python_pod, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

HOME = "/var/run/secrets/kubernetes.io/serviceaccount"
CLIENT = f"""
import ssl, sys, urllib.error, urllib.request
home = "{HOME}/"
request = urllib.request.Request("https://kubernetes.default.svc" + sys.argv[1])
request.add_header("Authorization", "Bearer " + open(home + "token").read())
try:
    answer = urllib.request.urlopen(request, context=ssl.create_default_context(cafile=home + "ca.crt"))
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
"""
"""A client as they all are in a cluster: the account's token, the account's authority, the API's well-known name."""


def test_a_pod_calls_the_api(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    namespace = kubectl.namespace
    began = time.monotonic()
    kubectl.apply(python_pod("operator"))
    kubectl("wait", "--for=condition=Ready", "pod/operator", "--timeout=60s")
    figure(f"a bare pod with its token is Ready after {time.monotonic() - began:.1f} s")
    assert kubectl("exec", "operator", "--", "ls", HOME).split() == ["ca.crt", "namespace", "token"]
    assert kubectl("exec", "operator", "--", "cat", f"{HOME}/namespace") == namespace

    def asks(path: str) -> str:
        return kubectl("exec", "operator", "--", "/usr/bin/python3", "-c", CLIENT, path)

    pods = f"/api/v1/namespaces/{namespace}/pods"
    assert asks(pods).startswith("403")
    kubectl("create", "rolebinding", "operators", "--clusterrole=view", f"--serviceaccount={namespace}:default")
    answer = asks(pods)
    assert answer.startswith("200")
    assert '"name":"operator"' in answer
    assert asks("/api/v1/pods").startswith("403")
    assert asks(f"/api/v1/namespaces/{namespace}/secrets").startswith("403")
    kubectl("delete", "rolebinding", "operators")
    assert asks(pods).startswith("403")

    token = kubectl("exec", "operator", "--", "cat", f"{HOME}/token")
    found = kubectl.get("pod", "operator")
    assert f"system:serviceaccount:{namespace}:default" in kubectl("auth", "whoami", f"--token={token}")
    checkpoint = cluster.node_of(found).path("/var/lib/mizzen/checkpoint.json")
    wait_for("a checkpoint with the pod", lambda: found["metadata"]["uid"] in checkpoint.read_text(), 15)
    assert token not in checkpoint.read_text()
    kubectl("delete", "pod", "operator")
    assert "Unauthorized" in kubectl.fails("get", "--raw", "/api", f"--token={token}")


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


def test_a_deployment_waits_for_its_account(kubectl: Kubectl) -> None:
    kubectl.apply(deployment("late", 1, {"serviceAccountName": "late", "containers": [shell()]}))
    why = f'error looking up service account {kubectl.namespace}/late: serviceaccount "late" not found'
    wait_for("the reason to be told", lambda: why in kubectl("describe", "replicaset", "-l", "app=late"), 20)
    kubectl("create", "serviceaccount", "late")
    kubectl("rollout", "status", "deployment/late", "--timeout=60s")


def test_a_pod_has_a_token_again_after_its_agent_was_away(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(python_pod("operator", nodeName=cluster.nodes[0].name))
    kubectl("wait", "--for=condition=Ready", "pod/operator", "--timeout=60s")
    before = kubectl("exec", "operator", "--", "cat", f"{HOME}/token")
    node = cluster.nodes[0]
    node.stop("mizzen-agent")
    node.start("mizzen-agent")
    wait_for(
        "another token",
        lambda: kubectl.tries("exec", "operator", "--", "cat", f"{HOME}/token").stdout not in ("", before),
        40,
    )
    token = kubectl("exec", "operator", "--", "cat", f"{HOME}/token")
    assert "system:serviceaccount" in kubectl("auth", "whoami", f"--token={token}")


def test_a_secret_holds_a_lasting_token(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "robot")
    annotations = {"kubernetes.io/service-account.name": "robot"}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "robot", "annotations": annotations},
            "type": "kubernetes.io/service-account-token",
        }
    )
    wait_for("a token", lambda: "token" in kubectl.get("secret", "robot").get("data", {}), 15)
    token = base64.b64decode(kubectl.get("secret", "robot")["data"]["token"]).decode()
    assert f"system:serviceaccount:{kubectl.namespace}:robot" in kubectl("auth", "whoami", f"--token={token}")
    kubectl("delete", "serviceaccount", "robot")
    wait_for("the secret to go", lambda: kubectl.tries("get", "secret", "robot").returncode != 0, 15)
    assert "Unauthorized" in kubectl.fails("get", "--raw", "/api", f"--token={token}")


def test_a_person_gets_a_certificate(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "devs"), x509.NameAttribute(NameOID.COMMON_NAME, "ann")]
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes)).sign(key, hashes.SHA256())
    request = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": f"ann-{kubectl.namespace}"},
        "spec": {
            "request": base64.b64encode(asked.public_bytes(Encoding.PEM)).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "expirationSeconds": 3600,
            "usages": ["client auth"],
        },
    }
    name = request["metadata"]["name"]
    kubectl.apply(request)
    kubectl("certificate", "approve", name)
    wait_for("the certificate", lambda: "certificate" in kubectl.get("csr", name)["status"], 15)
    pem = base64.b64decode(kubectl.get("csr", name)["status"]["certificate"])
    files = {"ann.crt": pem, "ann.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())}
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    view = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    view["users"][0]["user"] = {"client-certificate": "ann.crt", "client-key": "ann.key"}
    config = tmp_path / "config"
    config.write_text(json.dumps(view))
    ann = replace(kubectl, kubeconfig=config)
    assert "ann" in ann("auth", "whoami")
    assert 'User "ann" cannot list resource "pods"' in ann.fails("get", "pods")
    kubectl("create", "rolebinding", "devs", "--clusterrole=view", "--group=devs")
    assert "No resources found" in ann.tries("get", "pods").stderr
    kubectl("delete", "csr", name)
