"""What workloads ask for by annotations, on a running cluster with a stock kubectl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster, fewest_ready, ready_pods
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import Manifest, container, deployment, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]


def asking(manifest: Manifest, **annotations: str) -> Manifest:
    """The manifest with annotations of ours."""
    names = {f"mizzen.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    manifest["metadata"]["annotations"] = names
    return manifest


def images(kubectl: Kubectl, app: str) -> list[str]:
    """The images of an application's ready pods, in order."""
    return sorted(pod["spec"]["containers"][0]["image"] for pod in ready_pods(kubectl, app))


def reading(kubectl: Kubectl, app: str) -> set[str]:
    """What the ready pods of an application have read from their settings."""
    names = [pod["metadata"]["name"] for pod in ready_pods(kubectl, app)]
    return {kubectl.tries("exec", name, "--", "sh", "-c", "echo $COLOUR").stdout.strip() for name in names}


def test_failed_revisions_go_back_and_canaries_take_their_steps(
    kubectl: Kubectl, figure: Callable[[str], None]
) -> None:
    web = asking(deployment("web", 4, progressDeadlineSeconds=60), auto_rollback="true")
    kubectl.apply(web)
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    began = time.monotonic()
    crash = {"command": ["sh", "-c", "exit 1"], "readinessProbe": None}
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", **crash}]}}}}
    kubectl("patch", "deployment", "web", "-p", json.dumps(patch))
    wait_for("the rollback", lambda: "DeploymentRolledBack" in kubectl("describe", "deployment", "web"), 60)
    figure(f"a revision that crashes was taken back after {time.monotonic() - began:.1f} s")
    kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    said = kubectl("describe", "deployment", "web")
    assert "keeps crashing and none is available" in said
    assert "RolledBack" in said
    said = kubectl.fails("annotate", "deployment", "web", "mizzen.dev/canary=pause")
    assert "begins with a pause: begin with a share such as 20%" in said
    kubectl("annotate", "deployment", "web", "mizzen.dev/canary=25%, pause 2s, 50%, pause")
    kubectl("set", "image", "deployment/web", "web=demo:v2")
    half = ["demo:v1", "demo:v1", "demo:v2", "demo:v2"]
    wait_for("the second pause", lambda: "CanaryPaused" in kubectl("describe", "deployment", "web") and
             images(kubectl, "web") == half, 40)  # fmt: skip
    kubectl("annotate", "deployment", "web", "mizzen.dev/promote=true")
    kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    wait_for("all to be new", lambda: images(kubectl, "web") == ["demo:v2"] * 4, 20)


def test_settings_are_rolled_and_undone_and_others_awaited(cluster: Cluster, kubectl: Kubectl) -> None:
    env = [{"configMapRef": {"name": "settings"}}]
    template = {"terminationGracePeriodSeconds": 0, "containers": [shell(envFrom=env)]}
    web = asking(deployment("web", 1, template), config_rollout="true", surge_before_evict="true")
    web["spec"]["template"]["metadata"]["annotations"] = {"mizzen.dev/depends-on": "job/migrate"}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"COLOUR": "red"}}
    kubectl.apply(settings, web)
    wait_for("the pod to say what it waits for", lambda: "job/migrate is not there" in kubectl("describe", "pods"), 20)
    work = {"restartPolicy": "Never", "containers": [container(command=["true"])]}
    metadata = {"name": "migrate"}
    kubectl.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": work}}})
    wait_for("red", lambda: reading(kubectl, "web") == {"red"}, 40)
    settings["data"] = {"COLOUR": "blue"}
    kubectl.apply(settings)
    wait_for("blue", lambda: reading(kubectl, "web") == {"blue"}, 40)
    kubectl("rollout", "undo", "deployment/web")
    wait_for("red again", lambda: reading(kubectl, "web") == {"red"}, 40)
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    (pod,) = ready_pods(kubectl, "web")
    node = cluster.node_of(pod).name
    try:
        with kubectl.going("get", "pods", "-l", "app=web", "--output-watch-events", "-w", "-o", "json") as watched:
            wait_for("the watch to begin", lambda: watched.stat().st_size > 0, 10)
            kubectl("drain", node, "--ignore-daemonsets", "--force", "--delete-emptydir-data", timeout_s=70)
            wait_for("the old one to go", lambda: len(kubectl.items("pods", "-l", "app=web")) == 1, 30)
            assert fewest_ready(watched.read_text()) == 1, "the replacement was there first"
    finally:
        kubectl("uncordon", node)
    (other,) = ready_pods(kubectl, "web")
    assert other["metadata"]["name"] != pod["metadata"]["name"]
