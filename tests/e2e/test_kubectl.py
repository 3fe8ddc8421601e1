"""What people do all day with kubectl, in several of its versions, on a cluster that runs what they ask for."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster, ready_pods
from tests.e2e.kubectl import Kubectl, document, programs, use_a_shell
from tests.e2e.manifests import deployment, pod, service, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

VERSIONS = [program for program in programs() if program.suffix in (".29", ".31", ".33")] or programs()
READS_SLICES = 31
"""Older ones look for Endpoints, which Kubernetes has given up for slices."""
TALK = "trap exit TERM; echo one; echo two; echo three >&2; while sleep 0.2; do echo more; done"


@pytest.fixture(params=VERSIONS, ids=lambda program: program.name)
def every(request: pytest.FixtureRequest, kubectl: Kubectl) -> Kubectl:
    """kubectl in each of the versions."""
    return replace(kubectl, program=request.param)


def test_objects(every: Kubectl) -> None:
    kubectl = every
    objects = [deployment("web", 2), service("web")]
    assert kubectl("apply", "-f", "-", stdin=document(objects)).split("\n")[:2] == [
        "deployment.apps/web created",
        "service/web created",
    ]
    assert "deployment.apps/web unchanged" in kubectl.apply(*objects)
    assert "deployment.apps/web configured" in kubectl.apply(deployment("web", 3))
    assert "deployment.apps/other created" in kubectl("create", "deployment", "other", "--image=demo:v1")
    with kubectl.going("get", "pods", "-w", "--no-headers") as seen:
        kubectl("wait", "--for=condition=Available", "deployment/web", "deployment/other", "--timeout=30s")
        wait_for("the watch to show it", lambda: seen.read_text().count("1/1") >= 4, 10)
    assert len(kubectl("get", "pods", "-o", "wide", "--no-headers").splitlines()) == 4
    assert kubectl("get", "deployment", "web", "--no-headers").split()[1] == "3/3"
    assert kubectl.get("service", "web")["spec"]["clusterIP"] in kubectl("get", "service", "web", "-o", "yaml")
    assert "scaled" in kubectl("scale", "deployment/web", "--replicas=1")
    kubectl("wait", "--for=jsonpath={.status.replicas}=1", "deployment/web", "--timeout=30s")
    assert "deleted" in kubectl("delete", "-f", "-", stdin=document(objects))
    kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=30s")
    assert kubectl("get", "pods", "-l", "app=web", "-o", "name") == ""


def test_rollouts(every: Kubectl) -> None:
    kubectl = every
    kubectl.apply(deployment("web", 2))
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("set", "image", "deployment/web", "web=demo:v2")
    kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=the second")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert "the second" in kubectl("rollout", "history", "deployment/web")
    assert "rolled back" in kubectl("rollout", "undo", "deployment/web", "--to-revision=1")
    assert "restarted" in kubectl("rollout", "restart", "deployment/web")
    kubectl("rollout", "pause", "deployment/web")
    kubectl("rollout", "resume", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    images = "jsonpath={.items[*].spec.containers[0].image}"
    wait_for("the old to go", lambda: kubectl("get", "pods", "-o", images) == "demo:v1 demo:v1", 15)


def test_logs(every: Kubectl) -> None:
    kubectl = every
    kubectl.apply(pod("talker", shell(TALK)), pod("failing", shell("echo last words; exit 3")))
    kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=30s")
    wait_for("its output", lambda: "more" in kubectl("logs", "talker"), 10)
    lines = kubectl("logs", "talker").splitlines()
    assert [line for line in lines if line not in ("three", "more")] == ["one", "two"]
    assert "three" in lines
    assert kubectl("logs", "talker", "--tail=1") == "more\n"
    assert kubectl("logs", "talker", "--tail=2", "--timestamps")[:2] == "20"
    with kubectl.going("logs", "-f", "talker", "--tail=0") as seen:
        wait_for("new lines to be followed", lambda: seen.read_text().count("more") >= 3, 10)
    wait_for("a restart", lambda: kubectl("get", "pod", "failing", "--no-headers").split()[3] != "0", 20)
    assert kubectl("logs", "failing", "--previous") == "last words\n"
    assert "not found" in kubectl.fails("logs", "nobody")
    assert "nothing" in kubectl.fails("logs", "talker", "-c", "nothing")


def test_exec(every: Kubectl) -> None:
    kubectl = every
    kubectl.apply(pod("box", shell()))
    kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=30s")
    assert kubectl("exec", "box", "--", "hostname") == "box\n"
    done = kubectl.tries("exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr.startswith("err\n")
    sent = "".join(f"line {number}\n" for number in range(20_000))
    assert kubectl("exec", "-i", "box", "--", "sh", "-c", "cat | md5sum", stdin=sent).split()[0] == md5(sent)
    assert kubectl("exec", "box", "--", "seq", "1", "30000").count("\n") == 30_000
    done = kubectl.tries("exec", "box", "--", "no-such-program")
    assert done.returncode in (126, 127)
    assert "executable file not found" in done.stdout + done.stderr
    use_a_shell(kubectl, "box")


def test_copy(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("copy")
    kubectl.apply(pod("box", shell()))
    kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=30s")
    (folder / "sent").write_bytes(os.urandom(300_000))
    kubectl("cp", str(folder / "sent"), "box:/tmp/there")
    kubectl("cp", "box:/tmp/there", str(folder / "back"))
    assert (folder / "back").read_bytes() == (folder / "sent").read_bytes()


def test_looking_into_things(every: Kubectl) -> None:
    kubectl = every
    kubectl.apply(deployment("web", 2), service("web"))
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    name = ready_pods(kubectl, "web")[0]["metadata"]["name"]
    described = kubectl("describe", "pod", name)
    for said in ("Successfully assigned", "Container started", "Ready", "http-get http://:8080/healthz"):
        assert said in described, described
    described = kubectl("describe", "deployment", "web")
    for said in ("2 desired | 2 updated | 2 total | 2 available", "ScalingReplicaSet", "MinimumReplicasAvailable"):
        assert said in described, described
    described = kubectl("describe", "service", "web")
    assert kubectl.get("service", "web")["spec"]["clusterIP"] in described
    if kubectl.minor >= READS_SLICES:
        assert described.count(":8080") >= 2, described
    described = kubectl("describe", "node", "node-1")
    for said in ("Allocatable:", "KubeletReady", "Allocated resources:", "PodCIDR"):
        assert said in described, described
    events = kubectl("events", "--for", f"pod/{name}")
    assert [word for word in ("Scheduled", "Created", "Started") if word in events] == [
        "Scheduled",
        "Created",
        "Started",
    ]
    assert "SuccessfulCreate" in kubectl("get", "events", "--sort-by=.lastTimestamp")
    assert "FIELD: replicas <integer>" in kubectl("explain", "deployment.spec.replicas")
    assert "deployments" in kubectl("api-resources", "--api-group=apps")


def test_cordon_and_drain(cluster: Cluster, kubectl: Kubectl) -> None:
    last = cluster.nodes[-1].name
    try:
        assert "cordoned" in kubectl("cordon", last)
        assert "Ready,SchedulingDisabled" in kubectl("get", "node", last)
        kubectl.apply(deployment("web", 4))
        kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        assert {p["spec"]["nodeName"] for p in ready_pods(kubectl, "web")} == {n.name for n in cluster.nodes[:-1]}
        assert "uncordoned" in kubectl("uncordon", last)
        first = cluster.nodes[0].name
        assert "drained" in kubectl("drain", first, "--timeout=40s")
        kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        assert {p["spec"]["nodeName"] for p in ready_pods(kubectl, "web")} == {n.name for n in cluster.nodes[1:]}
    finally:
        kubectl("uncordon", cluster.nodes[0].name, last)
    assert "SchedulingDisabled" not in kubectl("get", "nodes")


def test_a_pod_for_once(kubectl: Kubectl) -> None:
    """`kubectl run --rm -i`, which attaches, and one that only runs."""
    kubectl("run", "once", "--image=demo:v1", "--restart=Never", "--", "sh", "-c", "echo done; exit 0")
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/once", "--timeout=30s")
    assert kubectl("logs", "once") == "done\n"
    kubectl("delete", "pod", "once", "--now")
    assert kubectl("get", "pods", "-o", "name") == ""


def md5(text: str) -> str:
    """What md5sum says of a text."""
    return subprocess.run(["md5sum"], input=text.encode(), capture_output=True, check=True).stdout.decode().split()[0]
