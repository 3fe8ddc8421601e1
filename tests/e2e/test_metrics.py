"""What pods say of themselves, and autoscalers that go by it, on a running cluster with a stock kubectl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import PORT, Manifest, deployment, pod, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2/namespaces"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1/namespaces"
ASKING = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/page"}


def page(text: str) -> Manifest:
    """A container that serves a page of metrics, which a file in it is."""
    script = f"mkdir /tmp/www; echo '{text}' >/tmp/www/page; trap exit TERM; httpd -f -p {PORT} -h /tmp/www & wait"
    return shell(script)


def becomes(kubectl: Kubectl, name: str, text: str) -> None:
    """A pod's page is another."""
    kubectl("exec", name, "--", "sh", "-c", f"echo '{text}' >/tmp/www/page")


def autoscaler(name: str, least: int, metric: Manifest) -> Manifest:
    """One that goes down without waiting."""
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": least, "maxReplicas": 3, "metrics": [metric],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }  # fmt: skip


def of_pods(name: str, average: str) -> Manifest:
    target = {"type": "AverageValue", "averageValue": average}
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}


def outside(name: str, average: str, **labels: str) -> Manifest:
    target = {"type": "AverageValue", "averageValue": average}
    metric = {"name": name, "selector": {"matchLabels": labels}}
    return {"type": "External", "external": {"metric": metric, "target": target}}


def replicas(kubectl: Kubectl, name: str) -> int:
    return int(kubectl("get", "deployment", name, "-o", "jsonpath={.spec.replicas}"))


def values(kubectl: Kubectl, path: str) -> list[str]:
    """What an API says; nothing while it knows nothing."""
    said = kubectl.tries("get", "--raw", path)
    items: list[Any] = json.loads(said.stdout)["items"] if said.returncode == 0 else []
    return [one["value"] for one in items]


def test_a_deployment_grows_by_what_its_pods_say(
    cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]
) -> None:
    template = {"terminationGracePeriodSeconds": 1, "containers": [page("depth 5\nother 1")]}
    made = deployment("web", 1, template)
    made["spec"]["template"]["metadata"]["annotations"] = ASKING
    kubectl.apply(made, autoscaler("web", 1, of_pods("depth", "5")))
    began = time.monotonic()
    path = f"{CUSTOM}/{kubectl.namespace}/pods/*/depth"
    wait_for("a value", lambda: values(kubectl, path) == ["5"], 60)
    figure(f"a value is shown after {time.monotonic() - began:.1f} s")
    # What nobody wants does not travel.
    assert values(kubectl, f"{CUSTOM}/{kubectl.namespace}/pods/*/other") == []
    wait_for("the table", lambda: "5/5 " in kubectl("get", "hpa", "web"), 40)
    assert replicas(kubectl, "web") == 1
    (name,) = kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}").split()
    becomes(kubectl, name, "depth 9")
    began = time.monotonic()
    wait_for("it to grow", lambda: replicas(kubectl, "web") == 2, 60)
    figure(f"it grows after {time.monotonic() - began:.1f} s")
    # Events follow the write that they tell of.
    why = "New size: 2; reason: pods metric depth above target"
    wait_for("the event", lambda: why in kubectl("describe", "hpa", "web"), 20)
    conditions = {one["type"]: one["reason"] for one in kubectl.get("hpa", "web")["status"]["conditions"]}
    assert conditions["ScalingActive"] == "ValidMetricFound"


def test_a_worker_is_there_only_for_a_queue(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    def queues(mail: int, served: int) -> str:
        return f'# TYPE queue gauge\nqueue{{of="mail"}} {mail}\nqueue{{of="other"}} 99\nserved_total {served}'

    front = pod("front", page(queues(0, 0)))
    front["metadata"]["annotations"] = ASKING
    worker = deployment("worker", 1, {"terminationGracePeriodSeconds": 1, "containers": [shell()]})
    counted = outside("served", "1k", pod="front")
    hpa = autoscaler("worker", 0, outside("queue", "10", of="mail"))
    hpa["spec"]["metrics"].append(counted)
    kubectl.apply(front, worker, hpa)
    wait_for("it to go", lambda: replicas(kubectl, "worker") == 0, 90)
    wait_for("its pod to go", lambda: not kubectl.items("pods", "-l", "app=worker"), 30)
    conditions = {one["type"]: one["reason"] for one in kubectl.get("hpa", "worker")["status"]["conditions"]}
    assert conditions["ScaledToZero"] == "ScaledToZero"
    becomes(kubectl, "front", queues(25, 600))
    began = time.monotonic()
    wait_for("it to come back", lambda: replicas(kubectl, "worker") == 3, 60)
    figure(f"it comes back after {time.monotonic() - began:.1f} s")
    path = f"{EXTERNAL}/{kubectl.namespace}"
    assert values(kubectl, f"{path}/queue?labelSelector=of%3Dmail") == ["25"]
    wait_for("the rate to be that of the last minute", lambda: values(kubectl, f"{path}/served") not in ([], ["0"]), 30)
    wait_for("its pods", lambda: kubectl.get("deployment", "worker")["status"].get("readyReplicas") == 3, 60)
