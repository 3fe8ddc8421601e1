"""Jobs and CronJobs on a running cluster, with kubectl."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import Manifest, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def job(name: str, script: str, **spec: Any) -> Manifest:
    """A job that runs a script."""
    template = {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [shell(script)]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }


def test_jobs(cluster: Cluster, kubectl: Kubectl) -> None:
    by_index = 'echo "index $JOB_COMPLETION_INDEX on $(hostname)"'
    kubectl.apply(
        job("once", "echo done"),
        job("many", "sleep 0.5", completions=6, parallelism=3),
        job("parts", by_index, completionMode="Indexed", completions=3, parallelism=3),
        job("broken", "exit 3", backoffLimit=0),
        job("slow", "trap exit TERM; sleep 1000 & wait", activeDeadlineSeconds=2),
        job("later", "echo done", suspend=True),
        job("gone", "echo done", ttlSecondsAfterFinished=1),
    )
    kubectl("wait", "--for=condition=Complete", "job/once", "job/many", "job/parts", "--timeout=60s")
    kubectl("wait", "--for=condition=Failed", "job/broken", "job/slow", "--timeout=60s")
    assert kubectl("logs", "job/once") == "done\n"
    assert kubectl.get("job", "many")["status"]["succeeded"] == 6
    parts = kubectl("logs", "-l", "job-name=parts", "--tail=-1").split("\n")
    assert sorted(line for line in parts if line) == [f"index {n} on parts-{n}" for n in range(3)]
    assert kubectl.get("job", "parts")["status"]["completedIndexes"] == "0-2"
    reasons = {name: kubectl.get("job", name)["status"]["conditions"][-1]["reason"] for name in ("broken", "slow")}
    assert reasons == {"broken": "BackoffLimitExceeded", "slow": "DeadlineExceeded"}
    assert kubectl.get("job", "broken")["status"]["failed"] == 1
    assert "Complete" in kubectl("get", "job", "once", "--no-headers")
    assert "BackoffLimitExceeded" in kubectl("describe", "job", "broken")

    assert not kubectl.items("pods", "-l", "job-name=later")
    kubectl("patch", "job", "later", "-p", '{"spec":{"suspend":false}}')
    kubectl("wait", "--for=condition=Complete", "job/later", "--timeout=30s")
    kubectl("wait", "--for=delete", "job/gone", "--timeout=30s")
    wait_for("its pod to go too", lambda: not kubectl.items("pods", "-l", "job-name=gone"), 30)
    kubectl("delete", "job", "once", "slow", "--timeout=30s")
    wait_for("their pods to go too", lambda: not kubectl.items("pods", "-l", "job-name in (once,slow)"), 30)


def test_a_running_job_is_stopped_moved_and_goes_on(cluster: Cluster, kubectl: Kubectl) -> None:
    script = 'trap "exit 1" TERM; sleep 1000 & wait'
    kubectl.apply(job("pausing", script, completions=2, parallelism=2, backoffLimit=0))
    wait_for("its pods to run", lambda: kubectl.get("job", "pausing")["status"].get("ready") == 2, 60)
    kubectl("patch", "job", "pausing", "-p", '{"spec":{"suspend":true}}')
    kubectl("wait", "--for=condition=Suspended", "job/pausing", "--timeout=30s")
    wait_for("its pods to go", lambda: not kubectl.items("pods", "-l", "job-name=pausing"), 30)
    status = kubectl.get("job", "pausing")["status"]
    assert (status.get("failed", 0), status.get("active", 0), "startTime" in status) == (0, 0, False)

    there = cluster.nodes[0].name
    where = {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": there}}}, "suspend": False}
    kubectl("patch", "job", "pausing", "-p", json.dumps({"spec": where}))
    wait_for("its pods to run again", lambda: kubectl.get("job", "pausing")["status"].get("ready") == 2, 60)
    assert {pod["spec"]["nodeName"] for pod in kubectl.items("pods", "-l", "job-name=pausing")} == {there}
    kubectl("delete", "job", "pausing", "--timeout=30s")
    wait_for("all to go", lambda: not kubectl.items("pods", "-l", "job-name=pausing"), 30)


def test_cron_jobs(cluster: Cluster, kubectl: Kubectl) -> None:
    spec = job("", "echo tick")["spec"]
    kubectl.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "clock"},
            "spec": {"schedule": "@every 2s", "jobTemplate": {"spec": spec}},
        }
    )
    wait_for("a run to succeed", lambda: "lastSuccessfulTime" in kubectl.get("cronjob", "clock")["status"], 30)
    kubectl("patch", "cronjob", "clock", "-p", '{"spec":{"suspend":true}}')
    assert kubectl("get", "cronjob", "clock", "--no-headers").split()[:4] == ["clock", "@every", "2s", "<none>"]
    kubectl("create", "job", "by-hand", "--from=cronjob/clock")
    kubectl("wait", "--for=condition=Complete", "job/by-hand", "--timeout=30s")
    assert "UnexpectedJob" in kubectl("events", "--for=cronjob/clock")
    kubectl("delete", "cronjob", "clock", "--timeout=30s")
    wait_for("its jobs to go", lambda: not kubectl.items("jobs"), 30)
    wait_for("their pods to go", lambda: not kubectl.items("pods"), 30)
