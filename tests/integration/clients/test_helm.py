"""Stock helm, versions 3 and 4, with a chart of what charts have: hooks, own kinds, tests, a look at the cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.stock_tools import HELM_3, HELM_4, ToolMissing, kubectl_and_helm

COMMAND_S = 90
CHART = {
    "Chart.yaml": "{apiVersion: v2, name: shop, version: 0.1.0, appVersion: '1', kubeVersion: '>=1.30.0-0'}",
    "values.yaml": "{image: 'web:1', replicas: 2, colour: blue}",
    "crds/wheels.yaml": """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: wheels.helm.example.com}
spec:
  group: helm.example.com
  names: {plural: wheels, kind: Wheel}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {
    type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}]
""",
    "templates/all.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, labels: {app: shop}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}, annotations: {settings: {{ .Values.colour | sha256sum | trunc 8 | quote }}}}
    spec: {containers: [{name: web, image: {{ .Values.image | quote }}, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: shop}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data:
  colour: {{ .Values.colour }}
  policies: {{ .Capabilities.APIVersions.Has "policy/v1/PodDisruptionBudget" | quote }}
  minor: {{ .Capabilities.KubeVersion.Minor | quote }}
  seen: {{ dig "data" "word" "nothing" (lookup "v1" "ConfigMap" .Release.Namespace "before") | quote }}
  revision: {{ .Release.Revision | quote }}
---
apiVersion: helm.example.com/v1
kind: Wheel
metadata: {name: {{ .Release.Name }}}
spec: {size: {{ .Values.replicas }}}
""",
    "templates/hook.yaml": """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "web:1", command: ["echo", "before"]}]}}}
""",
    "templates/tests/look.yaml": """
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-look, annotations: {helm.sh/hook: test}}
spec: {restartPolicy: Never, containers: [{name: c, image: "web:1", command: ["echo", "it works"]}]}
""",
    "templates/NOTES.txt": "{{ .Release.Name }} has {{ .Values.replicas }} of {{ .Values.image }}.",
}

pytestmark = pytest.mark.etcd


@dataclass(frozen=True)
class Helm:
    """One helm and the kubectl that comes with it, in a namespace of its own."""

    binary: Path
    kubectl_binary: Path
    kubeconfig: Path
    namespace: str
    folder: Path

    def __call__(self, *args: str) -> str:
        """What a command prints; it must succeed."""
        done = self.run(self.binary, *args)
        assert done.returncode == 0, f"helm {' '.join(args)}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *args: str) -> str:
        """What a command complains of."""
        done = self.run(self.binary, *args)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def kubectl(self, *args: str) -> str:
        """What kubectl prints."""
        done = self.run(self.kubectl_binary, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, binary: Path, *args: str) -> subprocess.CompletedProcess[str]:
        """A command as it ends."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)}
        return subprocess.run(
            [binary, "--namespace", self.namespace, *args],
            env=environment, cwd=self.folder, capture_output=True, text=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip

    def json(self, *args: str) -> Any:
        """The same as a value."""
        return json.loads(self(*args, "-o", "json"))

    def settings(self) -> dict[str, str]:
        """What the release's ConfigMap says."""
        found: dict[str, str] = json.loads(self.kubectl("get", "cm", "shop", "-o", "json"))["data"]
        return found


@pytest.fixture(params=[HELM_3, HELM_4], ids=["helm-3", "helm-4"])
def helm(request: pytest.FixtureRequest, cluster: Path, tmp_path: Path) -> Iterator[Helm]:
    """Each helm, with the chart in its folder."""
    try:
        kubectl, binary = kubectl_and_helm(request.param)
    except ToolMissing as error:
        pytest.skip(str(error))
    for name, text in CHART.items():
        file = tmp_path / "shop" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    made = Helm(binary, kubectl, cluster, request.node.callspec.id, tmp_path)
    made.kubectl("create", "namespace", made.namespace)
    yield made
    made.kubectl("delete", "namespace", made.namespace, "--wait=false")


@pytest.mark.timeout(240)
def test_a_release_lives(helm: Helm) -> None:
    helm.kubectl("create", "configmap", "before", "--from-literal=word=hello")
    told = helm("install", "shop", "./shop", "--wait", "--timeout=60s")
    assert "STATUS: deployed" in told
    assert "shop has 2 of web:1." in told
    assert helm.kubectl("get", "deployment", "shop", "-o", "jsonpath={.status.availableReplicas}") == "2"
    assert helm.kubectl("get", "wheel", "shop", "-o", "jsonpath={.spec.size}") == "2"
    assert helm.kubectl("get", "job", "shop-before", "-o", "jsonpath={.status.succeeded}") == "1"
    assert helm.settings() == {"colour": "blue", "policies": "true", "minor": "36", "seen": "hello", "revision": "1"}
    (listed,) = helm.json("list")
    assert (listed["name"], listed["revision"], listed["status"]) == ("shop", "1", "deployed")

    helm("upgrade", "shop", "./shop", "--set=colour=red,replicas=3,image=web:2", "--wait", "--timeout=60s")
    assert helm.settings()["colour"] == "red"
    assert helm.json("get", "values", "shop") == {"colour": "red", "replicas": 3, "image": "web:2"}
    assert 'image: "web:2"' in helm("get", "manifest", "shop")
    assert "kind: Job" in helm("get", "hooks", "shop")
    helm("rollback", "shop", "1", "--wait", "--timeout=60s")
    assert helm.settings()["colour"] == "blue"
    assert helm.kubectl("get", "deployment", "shop", "-o", "jsonpath={..image} {.status.updatedReplicas}") == "web:1 2"
    history = [(one["revision"], one["status"]) for one in helm.json("history", "shop")]
    assert history == [(1, "superseded"), (2, "superseded"), (3, "deployed")]

    assert "Succeeded" in helm("test", "shop", "--timeout=60s")
    assert "has 2 of web:1" in helm("status", "shop")
    assert "a name that is still in use" in helm.fails("install", "shop", "./shop")
    wrong = helm.fails("upgrade", "shop", "./shop", "--set=replicas=-1", "--timeout=20s")
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in wrong
    helm("uninstall", "shop", "--wait", "--timeout=60s")
    assert helm.json("list") == []
    assert helm.kubectl("get", "deployment,service,wheel,pod", "-l", "app=shop", "-o", "name") == ""
    assert "wheels.helm.example.com" in helm.kubectl("get", "crd", "-o", "name"), "own kinds stay"


def test_rendering_asks_the_cluster(helm: Helm) -> None:
    rendered = helm("template", "shop", "./shop", "--skip-tests")
    assert "kind: Deployment" in rendered
    assert 'seen: "nothing"' in rendered
    tried = helm("install", "shop", "./shop", "--dry-run=server")
    assert 'minor: "36"' in tried
    assert helm.json("list") == []
