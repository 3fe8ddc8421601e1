"""Claims that folders of the nodes are made for, on a running cluster with a stock kubectl."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster, ready_pods
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import Manifest, deployment, pod, service, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

ASKED = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}


def claim(name: str, **spec: object) -> Manifest:
    """A claim of ten megabytes."""
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {**ASKED, **spec},
    }  # fmt: skip


def database() -> Manifest:
    """Two pods that note in their own folder when they start."""
    script = "hostname >> /data/starts; touch /tmp/up; trap exit TERM; sleep 1000 & wait"
    probe = {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1}
    mount = {"name": "data", "mountPath": "/data"}
    template = {
        "terminationGracePeriodSeconds": 1,
        "containers": [shell(script, volumeMounts=[mount], readinessProbe=probe)],
    }
    made = deployment("db", 2, template, serviceName="db", podManagementPolicy="Parallel")
    made["kind"] = "StatefulSet"
    made["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": ASKED}]
    return made


def starts(kubectl: Kubectl) -> dict[str, list[str]]:
    """What each pod finds noted in its folder."""
    names = [pod["metadata"]["name"] for pod in ready_pods(kubectl, "db")]
    return {name: kubectl("exec", name, "--", "cat", "/data/starts").split() for name in names}


def test_data_stays_with_its_pod_and_goes_with_its_claim(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(database(), service("db", clusterIP="None"))
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert starts(kubectl) == {"db-0": ["db-0"], "db-1": ["db-1"]}
    before = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in ready_pods(kubectl, "db")}
    assert [line.split()[1] for line in kubectl("get", "pvc").splitlines()[1:]] == ["Bound", "Bound"]

    kubectl("delete", "pods", "-l", "app=db")
    wait_for("both to start again", lambda: starts(kubectl) == {"db-0": ["db-0"] * 2, "db-1": ["db-1"] * 2}, 40)
    assert {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in ready_pods(kubectl, "db")} == before

    volume = kubectl("get", "pvc", "data-db-1", "-o", "jsonpath={.spec.volumeName}")
    folder = PurePosixPath(kubectl("get", "pv", volume, "-o", "jsonpath={.spec.local.path}"))
    machine = cluster.lab.machine(before["db-1"])
    assert machine.run("cat", str(folder / "starts")).split() == ["db-1", "db-1"]
    kubectl("scale", "statefulset/db", "--replicas=1")
    kubectl("delete", "pvc", "data-db-1", "--timeout=40s")
    wait_for("the volume to go", lambda: kubectl.tries("get", "pv", volume).returncode != 0, 30)
    assert folder.name not in machine.run("ls", str(folder.parent)).split()
    kubectl("delete", "statefulset", "db", "--timeout=30s")
    kubectl("delete", "pvc", "--all", "--timeout=40s")
    wait_for("all volumes to go", lambda: not kubectl.items("pv"), 30)


def test_a_volume_that_lives_as_long_as_its_pod(kubectl: Kubectl) -> None:
    mount = {"name": "scratch", "mountPath": "/scratch"}
    volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": ASKED}}}]
    kubectl.apply(pod("worker", shell("echo kept > /scratch/file; sleep 1000", volumeMounts=[mount]), volumes=volumes))
    kubectl("wait", "--for=condition=Ready", "pod/worker", "--timeout=40s")
    assert kubectl("exec", "worker", "--", "cat", "/scratch/file") == "kept\n"
    assert kubectl("get", "pvc", "worker-scratch").splitlines()[1].split()[1] == "Bound"
    kubectl("delete", "pod", "worker", "--timeout=30s")
    wait_for("the claim and its volume to go", lambda: not kubectl.items("pvc") and not kubectl.items("pv"), 30)


def test_what_a_pod_waits_for_is_said(kubectl: Kubectl) -> None:
    mount = {"name": "data", "mountPath": "/data"}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "missing"}}]
    kubectl.apply(pod("waits", shell(volumeMounts=[mount]), volumes=volumes))
    said = 'persistentvolumeclaim "missing" not found'
    wait_for("the scheduler to say so", lambda: said in kubectl("describe", "pod", "waits"), 20)
    kubectl.apply(claim("missing", storageClassName=""))
    no_class = "no persistent volumes available for this claim and no storage class is set"
    wait_for("the claim to say so", lambda: no_class in kubectl("describe", "pvc", "missing"), 20)
    unbound = "pod has unbound immediate PersistentVolumeClaims"
    wait_for("the pod to say so", lambda: unbound in kubectl("describe", "pod", "waits"), 20)
    kubectl("delete", "pod", "waits")
    kubectl("delete", "pvc", "missing", "--timeout=20s")
    kubectl.apply(claim("later"))
    consumer = "waiting for first consumer to be created before binding"
    wait_for("the claim to wait", lambda: consumer in kubectl("describe", "pvc", "later"), 20)


def test_a_block_device_of_a_node(cluster: Cluster, kubectl: Kubectl) -> None:
    machine = cluster.lab.machine(1)
    machine.run("truncate", "--size=1M", "/var/lib/mizzen/disk.img")
    device = machine.run("losetup", "--find", "--show", "/var/lib/mizzen/disk.img").strip()
    try:
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}
        spec = {
            "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "volumeMode": "Block",
            "storageClassName": "", "local": {"path": device},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        }  # fmt: skip
        kubectl.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "raw"}, "spec": spec})
        small = {"requests": {"storage": "1Mi"}}
        kubectl.apply(claim("raw", volumeMode="Block", storageClassName="", volumeName="raw", resources=small))
        writes = shell("printf kept | dd of=/dev/data && sync && sleep 1000")
        writes["volumeDevices"] = [{"name": "data", "devicePath": "/dev/data"}]
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "raw"}}]
        kubectl.apply(pod("writer", writes, volumes=volumes))
        kubectl("wait", "--for=condition=Ready", "pod/writer", "--timeout=40s")
        wait_for("the device to be written", lambda: machine.run("head", "-c", "4", device) == "kept", 20)
        kubectl("delete", "pod", "writer", "--timeout=30s")
        kubectl("delete", "pvc", "raw", "--timeout=20s")
        kubectl("delete", "pv", "raw", "--timeout=20s")
    finally:
        machine.run("losetup", "--detach", device)


def test_the_files_of_an_image(kubectl: Kubectl) -> None:
    mount = {"name": "files", "mountPath": "/files"}
    asked = shell("ls /files/bin > /tmp/seen && touch /files/new || echo read-only > /tmp/how; sleep 1000")
    asked["volumeMounts"] = [mount]
    volumes = [{"name": "files", "image": {"reference": asked["image"], "pullPolicy": "IfNotPresent"}}]
    kubectl.apply(pod("reader", asked, volumes=volumes))
    kubectl("wait", "--for=condition=Ready", "pod/reader", "--timeout=40s")
    how = ("exec", "reader", "--", "cat", "/tmp/how")
    wait_for("the files to be read-only", lambda: kubectl.tries(*how).stdout == "read-only\n", 20)
    assert "sh" in kubectl("exec", "reader", "--", "cat", "/tmp/seen").split()
    kubectl("delete", "pod", "reader", "--timeout=30s")
