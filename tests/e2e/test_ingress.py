"""A node becomes one that serves Ingresses: by hosts and paths, with TLS, and without losing a request."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from deploy.shell import wait_for
from tests.e2e import network
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import deployment, service
from tests.fixtures.certificates import pair

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

ROLE = "mizzen.dev/ingress"


def ingress(name: str, host: str, path: str, target: str, **spec: Any) -> dict[str, Any]:
    """One path of a host."""
    backend = {"service": {"name": target, "port": {"number": 80}}}
    rule = {"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}
    metadata = {"name": name}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata,
        "spec": {"rules": [rule], **spec},
    }


def asked(address: str, host: str, path: str = "/", *, tls: bool = False) -> str:
    """The status line and the body of an answer. Raises OSError."""
    with socket.create_connection((address, 443 if tls else 80), 3) as plain:
        plain.settimeout(3)
        connection: socket.socket = plain
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = context.wrap_socket(plain, server_hostname=host)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
        if tls:
            connection.close()
    return f"{answer.splitlines()[0].split()[1]} {answer.splitlines()[-1]}" if answer else "nothing"


def certificate(host: str) -> dict[str, Any]:
    """A Secret with a certificate for a host."""
    data = {name: base64.b64encode(content).decode() for name, content in pair(host).items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "shown"},
        "type": "kubernetes.io/tls",
        "data": data,
    }


def test_a_node_that_serves_ingresses(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    edge, client = cluster.nodes[2], cluster.lab.server
    kubectl.apply(deployment("web", 3), service("web"), deployment("api", 1), service("api"))
    for name in ("web", "api"):
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    kubectl("label", "node", edge.name, f"{ROLE}=true")
    try:
        wait_for("the class", lambda: kubectl.tries("get", "ingressclass", "mizzen").returncode == 0, 20)
        tls = [{"secretName": "shown", "hosts": ["shop.example.org"]}]
        kubectl.apply(
            certificate("shop.example.org"),
            ingress("web", "shop.example.org", "/", "web", tls=tls),
            ingress("api", "shop.example.org", "/healthz", "api"),
        )
        said = "jsonpath={.items[*].status.loadBalancer.ingress[*].ip}"
        wait_for("the status", lambda: kubectl("get", "ingress", "-o", said).split() == [edge.address] * 2, 20)

        def answer(host: str, path: str = "/", *, tls: bool = False) -> str:
            try:
                return network.on(client, lambda: asked(edge.address, host, path, tls=tls))
            except OSError as error:
                return str(error)

        wait_for("the proxy", lambda: answer("shop.example.org", tls=True).startswith("200 demo v1 on web-"), 30)
        assert answer("shop.example.org").startswith("200 demo v1 on web-")
        assert answer("shop.example.org", "/healthz") == "200 ok"
        assert answer("other.example.org") == "404 default backend - 404"
        answers = []
        kubectl("rollout", "restart", "deployment/web")
        while len(answers) < 100 or kubectl.tries("rollout", "status", "deployment/web", "--timeout=1s").returncode:
            answers += [answer("shop.example.org", tls=True) for _ in range(20)]
            kubectl("annotate", "ingress", "web", f"round={len(answers)}", "--overwrite")
        figure(f"{len(answers)} requests over TLS during an update of what an Ingress leads to, none failed")
        assert all(one.startswith("200 demo v1 on web-") for one in answers), sorted(set(answers))
    finally:
        kubectl("label", "node", edge.name, f"{ROLE}-")
    wait_for("the proxy to end", lambda: not edge.run("pgrep", "-x", "haproxy", check=False), 20)
    kubectl("delete", "ingressclass", "mizzen")
