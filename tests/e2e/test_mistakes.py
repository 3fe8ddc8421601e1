"""What is wrong is refused or shown in words that say what to do."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane.server import pki
from deploy import commands
from deploy.images import demo
from deploy.lab import Machine
from deploy.lab.cluster import AGENT, DATA
from deploy.shell import CommandFailed, tail, wait_for
from mizzen.api import times
from mizzen.client import config
from nodeagent.drive.credentials import CredentialsStore
from tests.conftest import ROOT
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl, programs
from tests.e2e.manifests import Manifest, container, deployment, pod, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

YEAR_MS = 366 * 86_400_000


def spoilt(change: Callable[[Manifest], object]) -> Manifest:
    """A deployment with one thing wrong."""
    made = deployment("web", 1)
    change(made)
    return made


def first_container(made: Manifest) -> Manifest:
    """The container of a deployment."""
    found: Manifest = made["spec"]["template"]["spec"]["containers"][0]
    return found


WRONG: dict[str, tuple[Callable[[Manifest], object], str]] = {
    "text for a number": (lambda d: d["spec"].update(replicas="three"), "spec.replicas of type int32"),
    "unknown field": (lambda d: d["spec"].update(replica=3), 'unknown field "spec.replica"'),
    "unknown field deep inside": (
        lambda d: first_container(d).update(imagee="x"),
        'unknown field "spec.template.spec.containers[0].imagee"',
    ),
    "no image": (lambda d: first_container(d).pop("image"), "spec.template.spec.containers[0].image: Required value"),
    "selector of others": (
        lambda d: d["spec"]["selector"].update(matchLabels={"app": "other"}),
        "`selector` does not match template `labels`",
    ),
    "name": (lambda d: d["metadata"].update(name="My_Web"), "a lowercase RFC 1123 subdomain must consist of"),
    "version": (
        lambda d: d.update(apiVersion="apps/v9"),
        'no matches for kind "Deployment" in version "apps/v9"',
    ),
    "quantity": (
        lambda d: first_container(d).update(resources={"requests": {"cpu": "lots"}}),
        "quantities must match",
    ),
    "request above its limit": (
        lambda d: first_container(d).update(resources={"requests": {"cpu": 2}, "limits": {"cpu": 1}}),
        "must be less than or equal to cpu limit of 1",
    ),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_wrong_manifests(cluster: Cluster, tmp_path: Path, change: Callable[[Manifest], object], said: str) -> None:
    """By kubectl and by `mizzen`; nothing is stored."""
    manifest = tmp_path / "wrong.json"
    manifest.write_text(json.dumps(spoilt(change)))
    for program in (programs()[0], programs()[-1]):
        kubectl = dataclasses.replace(cluster.kubectl, program=program)
        assert said in kubectl.fails("apply", "-f", str(manifest))
    with pytest.raises(CommandFailed, match=r"ended with code 1: [eE]rror.*[^\n]$") as failed:
        commands.kube(cluster.kubectl.kubeconfig, "apply", "-f", manifest)
    assert said in str(failed.value)
    assert cluster.kubectl("get", "deployments", "-o", "name") == ""


@contextmanager
def registry(machine: Machine, folder: Path) -> Iterator[str]:
    """An image registry on a machine: the address, while it runs."""
    log = folder / "registry.log"
    argv = [sys.executable, "-m", "tests.fixtures.registry", demo.build(folder)]
    process = machine.popen(argv, log, env={"PYTHONPATH": str(ROOT)})
    try:
        yield f"127.0.0.1:{wait_for('the registry', log.read_text, 20).split()[0]}"
    finally:
        process.stop()


def waiting(kubectl: Kubectl, name: str, reason: str, timeout_s: float = 30) -> str:
    """The message of a pod's container as soon as it waits for a reason."""

    def look() -> str | None:
        statuses: list[dict[str, Any]] = kubectl.get("pod", name)["status"].get("containerStatuses", [])
        found = [status["state"].get("waiting", {}) for status in statuses]
        return next((str(state.get("message")) for state in found if state.get("reason") == reason), None)

    return wait_for(f"pod {name} to wait for {reason}", look, timeout_s)


def test_images_that_cannot_be_had(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    machine = cluster.nodes[0]
    here = {"nodeSelector": {"kubernetes.io/hostname": machine.name}}
    with registry(machine, tmp_path) as address:
        kubectl.apply(
            pod("missing", container(image=f"{address}/missing/demo:v1"), **here),
            pod("broken", container(image=f"{address}/broken/demo:v1"), **here),
            pod("never", container(image="demo:v9", imagePullPolicy="Never"), **here),
            pod("unreadable", container(image="De mo:v1"), **here),
            pod("pulled", container(image=f"{address}/demo:v1"), **here),
        )
        assert f"{address}/missing/demo:v1" in waiting(kubectl, "missing", "ErrImagePull")
        assert "Back-off pulling image" in waiting(kubectl, "missing", "ImagePullBackOff")
        assert "not present with pull policy of Never" in waiting(kubectl, "never", "ErrImageNeverPull")
        assert "couldn't parse image name" in waiting(kubectl, "unreadable", "InvalidImageName")
        assert "Back-off pulling image" in waiting(kubectl, "broken", "ImagePullBackOff")
        kubectl("wait", "--for=condition=Ready", "pod/pulled", "--timeout=30s")
    said = kubectl("describe", "pod", "missing")
    assert f'Failed to pull image "{address}/missing/demo:v1"' in said
    machine.docker("rmi", f"{address}/demo:v1", check=False)


def test_wishes_that_cannot_be_met(kubectl: Kubectl) -> None:
    huge = {"requests": {"cpu": "500", "memory": "900Gi"}}
    kubectl.apply(
        pod("huge", container(resources=huge)),
        pod("picky", container(), nodeSelector={"disk": "ssd"}),
        pod("nowhere", shell(), tolerations=[], nodeSelector={"kubernetes.io/hostname": "node-9"}),
    )
    for name, said in (
        ("huge", "0/3 nodes are available: 3 Insufficient cpu, 3 Insufficient memory."),
        ("picky", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
    ):
        kubectl("wait", "--for=jsonpath={.status.conditions[0].reason}=Unschedulable", f"pod/{name}", "--timeout=20s")
        assert kubectl.get("pod", name)["status"]["conditions"][0]["message"].startswith(said)
        assert "FailedScheduling" in kubectl("events", "--for", f"pod/{name}")
        assert said in kubectl("describe", "pod", name)
        why = ["why", "pod", name, "-n", kubectl.namespace]
        assert said in commands.kube(kubectl.kubeconfig, *why)


def test_things_that_are_not_there(kubectl: Kubectl) -> None:
    kubectl.apply(
        pod("settings", container(envFrom=[{"configMapRef": {"name": "absent"}}])),
        pod(
            "files",
            container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
            volumes=[{"name": "v", "secret": {"secretName": "absent"}}],
        ),
        pod("program", container(command=["no-such-program"])),
    )
    assert waiting(kubectl, "settings", "CreateContainerConfigError") == 'configmap "absent" not found'
    assert '"no-such-program": executable file not found' in waiting(kubectl, "program", "RunContainerError")
    events = ("get", "events", "--field-selector", "involvedObject.name=files,reason=FailedMount", "--no-headers")
    said = wait_for("the event", lambda: kubectl(*events), 20)
    assert 'MountVolume.SetUp failed for volume "v" : secret "absent" not found' in said
    kubectl("create", "configmap", "absent", "--from-literal=a=b")
    kubectl("create", "secret", "generic", "absent", "--from-literal=a=b")
    kubectl("wait", "--for=condition=Ready", "pod/settings", "pod/files", "--timeout=40s")


def test_join_tokens_that_are_wrong(cluster: Cluster) -> None:
    machine, server = cluster.lab.nodes[-1], cluster.lab.server
    refused = f"{DATA}/refused"
    good = server.path(f"{DATA}/{commands.TOKEN_FILE}").read_text().strip()
    prefix, ca_hash, token_id, secret = good.split(".")
    for token, said in (
        ("swordfish", "must look like mz1."),
        (f"{prefix}.{'0' * len(ca_hash)}.{token_id}.{secret}", "the token belongs to another cluster"),
        (f"{prefix}.{ca_hash}.{token_id}.{'0' * len(secret)}", "make a new one with `mizzen token create`"),
    ):
        with pytest.raises(CommandFailed, match="ended with code 1") as failed:
            machine.run(*commands.agent_command(refused, server.address, token), timeout_s=20)
        assert said in str(failed.value)
    taken = commands.agent_command(refused, server.address, good)
    with pytest.raises(CommandFailed, match="a node of this name is connected"):
        machine.run(*taken, "--node-name", cluster.nodes[0].name, timeout_s=20)
    machine.run("rm", "-rf", refused)
    assert len(cluster.kubectl.items("nodes")) == len(cluster.nodes)


def test_expired_certificates(cluster: Cluster, tmp_path: Path) -> None:
    """Of a person, who is told when and what to do; of a node, whose agent says so and is taken in again by a token."""
    shutil.copytree(cluster.lab.server.path(f"{DATA}/pki"), tmp_path / "pki")
    now = time.time_ns() // 1_000_000
    authority = pki.Pki.open(tmp_path / "pki", now)
    pair = authority.pair("late", pki.Subject(pki.ADMIN_USER, (pki.ADMIN_GROUP,)), now - YEAR_MS)
    late = dataclasses.replace(
        config.load(cluster.kubectl.kubeconfig), certificate_pem=pair.certificate_pem, key_pem=pair.key_pem
    )
    kubeconfig = tmp_path / "late.kubeconfig"
    kubeconfig.write_text(config.render("late", late, "late"))
    expired = f"expired at {pair.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}; get a new"
    for program in programs():
        kubectl = dataclasses.replace(cluster.kubectl, program=program, kubeconfig=kubeconfig)
        # Of what it is told when it asks for the resources that there are, kubectl shows nothing but the code.
        assert "error: You must be logged in to the server" in kubectl.fails("get", "nodes")
        said = kubectl.fails("get", "--raw", "/api/v1/nodes")
        assert "error: You must be logged in to the server (the client certificate of" in said
        assert expired in said
    for verb in (["get", "nodes"], ["describe", "node", "node-1"]):  # by REST, and by gRPC
        with pytest.raises(CommandFailed, match=expired):
            commands.kube(kubeconfig, *verb)

    machine = cluster.nodes[2]
    store = CredentialsStore(machine.path(DATA))
    joined = store.load()
    assert joined is not None
    subject = pki.Subject(f"{pki.NODE_PREFIX}{machine.name}", (pki.NODES_GROUP,))
    pair = authority.pair("node", subject, now - YEAR_MS)
    until_ms = int(pair.certificate.not_valid_after_utc.timestamp() * 1000)
    old = dataclasses.replace(
        joined, key_pem=pair.key_pem, certificate_pem=pair.certificate_pem, valid_until_ms=until_ms
    )
    machine.stop(AGENT)
    store.save(old)
    log = tmp_path / "agent.log"
    agent = machine.popen(commands.agent_command(DATA, "", "")[:6], log)  # neither a server nor a token
    try:
        said = (
            f"certificate of node {machine.name} expired at {times.render(until_ms)}; start the agent once with a new"
        )
        wait_for("the agent to say so", lambda: said in tail(log), 20)
    finally:
        agent.stop()
    machine.start(AGENT)  # with its token
    wait_for("a new certificate", lambda: store.load() != old, 20)
    cluster.wait_for_node(machine.name, "True")


def test_a_server_that_is_not_there(cluster: Cluster, tmp_path: Path) -> None:
    nowhere = dataclasses.replace(
        config.load(cluster.kubectl.kubeconfig), server="https://127.0.0.1:9", grpc="127.0.0.1:9"
    )
    kubeconfig = tmp_path / "nowhere.kubeconfig"
    kubeconfig.write_text(config.render("nowhere", nowhere, "me"))
    for verb in (["get", "nodes"], ["describe", "node", "node-1"]):
        with pytest.raises(CommandFailed, match=r"can't reach the cluster at .*127\.0\.0\.1:9"):
            commands.kube(kubeconfig, *verb)
