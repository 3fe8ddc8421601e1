"""The manifest for Prometheus at work: stock programs read its configuration, find what there is, and scrape it.

Debian's Prometheus is built without discovery in Kubernetes. So VictoriaMetrics, which reads the same configuration,
discovers and scrapes; Prometheus itself is told the same servers and nodes and scrapes them by the same configuration.
Pods have no real addresses here: what is scraped of them goes to a proxy on loopback that answers for all of them. And
a server on loopback is no endpoint of its Service, so that it is Prometheus that scrapes it.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.shell import TimedOut, tail, wait_for
from tests.benchmarks.servers import free_ports
from tests.conftest import ROOT
from tests.fixtures.stock_tools import HELM_3, ToolMissing, debian_program, kubectl_and_helm
from tests.fixtures.whole_cluster import NODES

MANIFEST = ROOT / "deploy" / "manifests" / "prometheus.yaml"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
SERVER = "kubernetes.default.svc"
WAIT_S = 30.0
NODE_JOBS = ("kubelet", "kubelet-probes", "kubelet-resource", "cadvisor")
NODE_PAGES = {
    f"{job} {name} /api/v1/nodes/{name}/proxy/metrics{page} up"
    for job, page in zip(NODE_JOBS, ("", "/probes", "/resource", "/cadvisor"), strict=True)
    for name in NODES
}
PROXIED = ("pods", "service-endpoints", "services", "ingresses", "endpoints")
SHOP = """
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "9102", prometheus.io/path: /own}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: "web:1", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: quiet, labels: {app: quiet}}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: web, image: "web:1", ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {prometheus.io/scrape: "true"}}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: shop.example.com, http: {paths: [
  {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
"""

pytestmark = pytest.mark.etcd


class Answers(BaseHTTPRequestHandler):
    """A proxy that answers in the place of every pod."""

    def do_GET(self) -> None:
        """One figure."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"answered 1\n")

    def log_message(self, *_: object) -> None:
        """Nothing: a scrape is no news."""


@pytest.fixture
def pods_proxy() -> Iterator[str]:
    """Where pods are asked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Watched:
    """A cluster on which the manifest was applied, in a namespace of its own for what is watched."""

    kubectl: Callable[..., str]
    config: Mapping[str, Any]
    """The manifest's configuration with this cluster's address, credentials and a pace for tests."""
    server: str
    folder: Path


@pytest.fixture
def watched(cluster: Path, tmp_path: Path) -> Iterator[Watched]:
    """With a token of the manifest's account."""
    try:
        binary, _ = kubectl_and_helm(HELM_3)
    except ToolMissing as error:
        pytest.skip(str(error))

    def kubectl(*args: str | Path, stdin: str = "") -> str:
        environment = {**os.environ, "KUBECONFIG": str(cluster), "HOME": str(tmp_path)}
        done = subprocess.run(
            [binary, *args], env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    kubectl("apply", "-f", MANIFEST)
    kubectl("create", "namespace", "watched")
    told = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))["clusters"][0]["cluster"]
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(told["certificate-authority-data"]))
    (tmp_path / "token").write_text(kubectl("create", "token", "prometheus", "-n", "monitoring"))
    data = json.loads(kubectl("get", "configmap", "prometheus", "-n", "monitoring", "-o", "json"))["data"]
    server = urllib.parse.urlsplit(told["server"]).netloc
    text = data["prometheus.yml"].replace(ACCOUNT, str(tmp_path)).replace("15s", "1s")
    config = yaml.safe_load(text.replace(f"{SERVER}:443", server).replace(SERVER, server))
    (tmp_path / "alerts.yml").write_text(data["alerts.yml"])
    yield Watched(kubectl, copy.deepcopy(config), server, tmp_path)
    kubectl("delete", "clusterrole,clusterrolebinding", "prometheus")
    # To the end: the next test makes the same namespaces.
    kubectl("delete", "namespace", "watched", "monitoring", "--timeout=50s")


@dataclass(frozen=True)
class Watcher:
    """A running program with Prometheus' API."""

    url: str
    log: Path

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def targets(self) -> set[str]:
        """Each target in a line: its job, what it is, its path, its health."""
        return {
            f"{one['scrapePool'] if 'scrapePool' in one else one['labels']['job']} {_what(one['discoveredLabels'])} "
            f"{urllib.parse.urlsplit(one['scrapeUrl']).path} {one['health']}"
            for one in self.ask("targets")["activeTargets"]
        }

    def until_targets(self, wanted: set[str], gone: str = "") -> None:
        """Wait until there are such targets, and none with the word."""
        found: set[str] = set()

        def reached() -> bool:
            nonlocal found
            with suppress(OSError):  # it may not have begun to listen
                found = self.targets()
            return wanted <= found and not (gone and any(gone in one for one in found))

        try:
            wait_for("targets", reached, WAIT_S)
        except TimedOut as error:
            missing = f"missing {sorted(wanted - found)} in {sorted(found)}"
            raise AssertionError(f"{missing}\n{tail(self.log)}") from error

    def until_sample(self, query: str) -> list[Any]:
        """Wait until a query has an answer."""
        found: list[Any] = wait_for(query, lambda: self.ask("query", query=query)["result"], WAIT_S)
        return found


def _what(labels: Mapping[str, str]) -> str:
    names = ("node_name", "ingress_host", "pod_name", "service_name")
    return next((labels[f"__meta_kubernetes_{name}"] for name in names if f"__meta_kubernetes_{name}" in labels), "")


@contextmanager
def running(folder: Path, program: Path, config: Any, *flags: str) -> Iterator[str]:
    """Run a program with a configuration while the context is open; gives where its log lies."""
    name = program.name
    (folder / f"{name}.yml").write_text(yaml.safe_dump(config))
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen([program, *flags], cwd=folder, stdout=out, stderr=out)
    try:
        yield str(log)
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(120)
def test_a_cluster_is_discovered_and_scraped(watched: Watched, pods_proxy: str) -> None:
    try:
        program = debian_program("victoria-metrics", "victoria-metrics")
    except ToolMissing as error:
        pytest.skip(str(error))
    config = copy.deepcopy(dict(watched.config))
    discovery = config["scrape_configs"][0]["kubernetes_sd_configs"][0]
    for job, role in (("services", "service"), ("ingresses", "ingress"), ("endpoints", "endpoints")):
        config["scrape_configs"].append({"job_name": job, "kubernetes_sd_configs": [{**discovery, "role": role}]})
    for job in config["scrape_configs"]:
        if job["job_name"] in PROXIED:
            job["proxy_url"] = pods_proxy
    watched.kubectl("apply", "-n", "watched", "-f", "-", stdin=SHOP)
    (port,) = free_ports(1)
    flags = (
        "-promscrape.config=victoria-metrics.yml", "-promscrape.config.strictParse=false", "-storageDataPath=vm",
        "-promscrape.kubernetesSDCheckInterval=1s", f"-httpListenAddr=127.0.0.1:{port}", "-search.latencyOffset=0s",
    )  # fmt: skip
    with running(watched.folder, program, config, *flags) as log:
        found = Watcher(f"http://127.0.0.1:{port}", Path(log))
        pod, behind = "pods web /own up", "service-endpoints web /metrics up"
        service, ingress = "services web /metrics up", "ingresses shop.example.com /metrics up"
        endpoint = "endpoints web /metrics up"
        found.until_targets({*NODE_PAGES, pod, behind, service, ingress, endpoint})
        assert not any("pods quiet" in one for one in found.targets()), "it has no annotation"
        watched.kubectl("delete", "pod", "web", "-n", "watched")
        found.until_targets({service}, gone="pods web")
        found.until_targets({service}, gone="service-endpoints web")
        watched.kubectl("apply", "-n", "watched", "-f", "-", stdin=SHOP)
        found.until_targets({pod, behind})


@pytest.mark.timeout(120)
def test_prometheus_scrapes_servers_and_nodes(watched: Watched) -> None:
    try:
        program = debian_program("prometheus", "prometheus")
    except ToolMissing as error:
        pytest.skip(str(error))
    config = copy.deepcopy(dict(watched.config))
    nodes = [{"targets": [name], "labels": {"__meta_kubernetes_node_name": name}} for name in NODES]
    names = {"namespace": "default", "service_name": "kubernetes", "endpoint_port_name": "https"}
    server = {"targets": [watched.server], "labels": {f"__meta_kubernetes_{name}": is_ for name, is_ in names.items()}}
    for job in config["scrape_configs"]:
        del job["kubernetes_sd_configs"]
        known = {"apiserver": [server], **dict.fromkeys(NODE_JOBS, nodes)}
        job["static_configs"] = known.get(job["job_name"], [])
    (port,) = free_ports(1)
    flags = ("--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", f"--web.listen-address=127.0.0.1:{port}")
    with running(watched.folder, program, config, *flags) as log:
        found = Watcher(f"http://127.0.0.1:{port}", Path(log))
        found.until_targets({"apiserver kubernetes /metrics up", *NODE_PAGES})
        assert found.until_sample("sum(leader_election_master_status) >= 1")
        assert len(found.until_sample("mizzen_agent_session_connected == 1")) == len(NODES)
        assert len(found.until_sample('container_memory_working_set_bytes{id="/"}')) == len(NODES)
        assert len(found.until_sample("resource_scrape_error == 0")) == len(NODES)
        assert found.until_sample("node_cpu_usage_seconds_total > 0")
        alerts = {rule["name"]: rule["health"] for group in found.ask("rules")["groups"] for rule in group["rules"]}
        assert len(alerts) == 7
        assert "err" not in alerts.values()
