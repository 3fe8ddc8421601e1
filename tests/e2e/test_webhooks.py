"""A webhook that runs as a pod behind a service has a say in what is admitted, whoever asks."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane.server import pki
from deploy.shell import wait_for
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import Manifest, deployment, python_pod

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

HOOK = """
import http.server, json, ssl

class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        response = {"uid": request["uid"], "allowed": False, "status": {"message": "not today"}}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(review).encode())

server = http.server.HTTPServer(("", 8443), Hook)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
SAID = 'admission webhook "no.example.com" denied the request: not today'


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _hook(namespace: str, folder: Path) -> tuple[list[Manifest], bytes]:
    """The webhook as a pod behind a service, and the authority of its certificate."""
    now = time.time_ns() // 1_000_000
    authority = pki.Pki.open(folder / "pki", now)
    pair = authority.pair("hook", pki.Subject("hook", (), (f"hook.{namespace}.svc",), server=True), now)
    keys = {"tls.crt": _encoded(pair.certificate_pem), "tls.key": _encoded(pair.key_pem)}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "data": keys}
    program = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hook"}, "data": {"hook.py": HOOK}}
    volumes: list[Any] = [
        {"name": "tls", "secret": {"secretName": "tls"}},
        {"name": "hook", "configMap": {"name": "hook"}},
    ]
    pod = python_pod("hook", "exec /usr/bin/python3 /hook/hook.py", volumes=volumes)
    pod["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8443}, "periodSeconds": 1}
    ports = [{"port": 443, "targetPort": 8443}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"}}
    return [secret, program, service | {"spec": {"selector": {"app": "hook"}, "ports": ports}}, pod], authority.ca_pem


def _configuration(namespace: str, ca_pem: bytes) -> Manifest:
    """Asks it about the pods of its namespace that are to be refused."""
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    webhook = {
        "name": "no.example.com",
        "clientConfig": {"service": {"namespace": namespace, "name": "hook"}, "caBundle": _encoded(ca_pem)},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "objectSelector": {"matchLabels": {"app": "unwanted"}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 10,
    }
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return {**head, "metadata": {"name": namespace}, "webhooks": [webhook]}


def test_a_webhook_in_a_pod_refuses(kubectl: Kubectl, tmp_path: Path, figure: Callable[[str], None]) -> None:
    namespace = kubectl.namespace
    objects, ca_pem = _hook(namespace, tmp_path)
    kubectl.apply(*objects)
    kubectl("wait", "--for=condition=Ready", "pod/hook", "--timeout=60s")
    wait_for("an endpoint", lambda: kubectl("get", "endpointslices", "-o", "name").strip(), 15)
    kubectl.apply(_configuration(namespace, ca_pem))
    try:
        began = time.monotonic()
        assert SAID in kubectl.fails("run", "unwanted", "--image=demo:v1", "--labels=app=unwanted")
        figure(f"a pod is refused by a webhook in a pod after {time.monotonic() - began:.2f} s, kubectl included")
        kubectl("run", "wanted", "--image=demo:v1", "--dry-run=server")
        kubectl.apply(deployment("unwanted", 1))
        events = ("get", "events", "--field-selector=reason=FailedCreate", "-o", "jsonpath={.items[*].message}")
        wait_for("the reason to be told", lambda: f"Error creating: {SAID}" in kubectl(*events), 20)
        assert kubectl.items("pods", "-l", "app=unwanted") == []
    finally:
        kubectl("delete", "validatingwebhookconfiguration", namespace)
