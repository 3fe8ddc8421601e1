"""What pods may ask for beyond an image and a port: users, names, hooks, sidecars, deadlines, the host's network."""

from __future__ import annotations

import pytest

from deploy.shell import wait_for
from tests.e2e import network
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import FOREVER, PORT, Manifest, container, pod, shell, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def test_users_names_and_files(kubectl: Kubectl) -> None:
    """Security contexts, resolvers and hosts, read-only mounts and parts of volumes, volumes that are put together."""
    kubectl("create", "configmap", "settings", "--from-literal=color=blue")
    kubectl("create", "secret", "generic", "keys", "--from-literal=pin=1234")
    kubectl.apply(
        pod(
            "modest",
            shell(
                securityContext={
                    "runAsUser": 1000,
                    "runAsGroup": 3000,
                    "readOnlyRootFilesystem": True,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}],
            ),
            securityContext={"fsGroup": 2000, "supplementalGroups": [4000]},
            volumes=[{"name": "scratch", "emptyDir": {}}],
        ),
        pod(
            "named",
            shell(),
            shell(name="other"),
            hostAliases=[{"ip": "10.9.8.7", "hostnames": ["old-db", "old-db.example"]}],
            dnsPolicy="None",
            dnsConfig={
                "nameservers": ["10.96.0.10"],
                "searches": ["example.test"],
                "options": [{"name": "ndots", "value": "3"}],
            },
            shareProcessNamespace=True,
        ),
        pod("filed", shell(volumeMounts=file_mounts()), volumes=[file_volume(), {"name": "whole", "emptyDir": {}}]),
    )
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=40s")

    assert inside(kubectl, "modest", "id -u; id -g; id -G").split() == ["1000", "3000", "3000", "2000", "4000"]
    assert inside(kubectl, "modest", "touch /x 2>&1 || true").endswith("Read-only file system\n")
    assert inside(kubectl, "modest", "touch /scratch/x; stat -c %g /scratch/x") == "2000\n"
    assert inside(kubectl, "modest", "grep -e CapEff -e NoNewPrivs /proc/self/status").split() == [
        "CapEff:",
        "0" * 16,
        "NoNewPrivs:",
        "1",
    ]

    lines = inside(kubectl, "named", "cat /etc/resolv.conf").splitlines()
    assert sorted(lines) == ["nameserver 10.96.0.10", "options ndots:3", "search example.test"]
    hosts = [line.split() for line in inside(kubectl, "named", "cat /etc/hosts").splitlines()]
    assert ["10.9.8.7", "old-db", "old-db.example"] in hosts
    assert [kubectl.get("pod", "named")["status"]["podIP"], "named"] in hosts
    assert inside(kubectl, "named", "ps -o args").count("sleep 1000") >= 2

    assert inside(kubectl, "filed", "cd /all; cat color pin labels cpu; stat -L -c %a pin") == (
        'blue1234app="filed"0400\n'
    )
    assert "Read-only file system" in inside(kubectl, "filed", "touch /all/x 2>&1 || true")
    inside(kubectl, "filed", "echo kept >/whole/part/file")
    assert inside(kubectl, "filed", "cat /part/file") == "kept\n"


def file_volume() -> Manifest:
    """A volume put together of all sources."""
    fields = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "requests.cpu"}},
    ]
    sources = [
        {"configMap": {"name": "settings"}},
        {"secret": {"name": "keys", "items": [{"key": "pin", "path": "pin", "mode": 0o400}]}},
        {"downwardAPI": {"items": fields}},
    ]
    return {"name": "all", "projected": {"sources": sources}}


def file_mounts() -> list[Manifest]:
    """The mounts of that pod: a part of a volume beside the whole of it."""
    return [
        {"name": "all", "mountPath": "/all", "readOnly": True},
        {"name": "whole", "mountPath": "/part", "subPath": "part"},
        {"name": "whole", "mountPath": "/whole"},
    ]


def inside(kubectl: Kubectl, name: str, script: str) -> str:
    """What a script prints in a pod's first container."""
    return kubectl("exec", name, "-c", "main", "--", "sh", "-c", script)


def test_beginnings_and_deadlines(kubectl: Kubectl) -> None:
    """Hooks, startup probes, sidecars, deadlines, last words."""
    notes: Manifest = {"volumeMounts": [{"name": "notes", "mountPath": "/notes"}]}
    volume = {"volumes": [{"name": "notes", "emptyDir": {}}]}
    greet = {"postStart": {"exec": {"command": ["sh", "-c", "sleep 1; echo greeted >/notes/hook"]}}}
    begin = {"exec": {"command": ["test", "-e", "/notes/begun"]}, "periodSeconds": 1, "failureThreshold": 30}
    kill = {"exec": {"command": ["test", "-e", "/notes/begun"]}, "periodSeconds": 1, "failureThreshold": 1}
    beside = f"echo up >/notes/sidecar; {FOREVER}"
    work = "cat /notes/sidecar; echo worked"
    kubectl.apply(
        pod("hooked", shell(lifecycle=greet, **notes), **volume),
        pod(
            "slow",
            shell(f"sleep 3; touch /notes/begun; {FOREVER}", startupProbe=begin, livenessProbe=kill, **notes),
            **volume,
        ),
        pod(
            "accompanied",
            shell(work, **notes),
            initContainers=[shell(beside, "sidecar", restartPolicy="Always", **notes)],
            restartPolicy="Never",
            **volume,
        ),
        pod("late", shell(), activeDeadlineSeconds=2, restartPolicy="Never"),
        pod("spoke", shell("echo it was too much >/dev/termination-log; exit 2"), restartPolicy="Never"),
        pod(
            "cried",
            shell("echo nobody listens; exit 2", terminationMessagePolicy="FallbackToLogsOnError"),
            restartPolicy="Never",
        ),
        pod("unhooked", shell(lifecycle={"postStart": {"exec": {"command": ["false"]}}}), restartPolicy="Never"),
    )
    kubectl("wait", "--for=condition=Ready", "pod/hooked", "pod/slow", "--timeout=40s")
    assert inside(kubectl, "hooked", "cat /notes/hook") == "greeted\n"
    slow = kubectl.get("pod", "slow")["status"]["containerStatuses"][0]
    assert (slow["started"], slow["restartCount"]) == (True, 0)

    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/accompanied", "--timeout=40s")
    assert kubectl("logs", "accompanied", "-c", "main") == "up\nworked\n"
    (sidecar,) = kubectl.get("pod", "accompanied")["status"]["initContainerStatuses"]
    assert "terminated" in sidecar["state"]

    kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/late", "pod/spoke", "pod/cried", "--timeout=40s")
    late = kubectl.get("pod", "late")["status"]
    assert late["reason"] == "DeadlineExceeded"
    assert late["message"] == "Pod was active on the node longer than the specified deadline"
    for name, words in (("spoke", "it was too much\n"), ("cried", "nobody listens\n")):
        ended = kubectl.get("pod", name)["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (ended["exitCode"], ended["message"]) == (2, words)
    said = ("events", "--for", "pod/unhooked")
    wait_for("the hook's failure to be told", lambda: "FailedPostStartHook" in kubectl(*said), 20)
    wait_for("its pod to fail", lambda: kubectl.get("pod", "unhooked")["status"]["phase"] == "Failed", 20)


def test_the_hosts_network(cluster: Cluster, kubectl: Kubectl) -> None:
    """A pod on the host's network, and a port of the host that leads to a pod."""
    machine, other = cluster.nodes[:2]
    on_host = web_container(env=[{"name": "PORT", "value": "18080"}])
    on_host["ports"] = [{"containerPort": 18080}]
    on_host["readinessProbe"]["httpGet"]["port"] = 18080
    lent = container("web", ports=[{"containerPort": PORT, "hostPort": 18081}])
    kubectl.apply(
        pod("host", on_host, nodeName=machine.name, hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"),
        pod("lent", lent, nodeName=machine.name),
        pod("taken", lent, nodeSelector={"kubernetes.io/hostname": machine.name}),
    )
    kubectl("wait", "--for=condition=Ready", "pod/host", "pod/lent", "--timeout=40s")
    status = kubectl.get("pod", "host")["status"]
    assert status["podIP"] == status["hostIP"] == machine.address
    assert network.answering(other, machine.address, 18080, 1) == {machine.name}
    assert network.answering(other, machine.address, 18081, 1) == {"lent"}
    assert kubectl("exec", "host", "--", "hostname") == f"{machine.name}\n"
    kubectl("wait", "--for=jsonpath={.status.conditions[0].reason}=Unschedulable", "pod/taken", "--timeout=20s")
    said = kubectl.get("pod", "taken")["status"]["conditions"][0]["message"]
    assert "didn't have free ports for the requested pod ports" in said


def test_variables_out_of_a_file(kubectl: Kubectl) -> None:
    """An init container writes them, and the container gets them without seeing the volume."""
    write = "printf \"# made\\nCOLOR='deep blue'\\nLINES='one\\ntwo'\\n\" >/v/made.env"
    refs = {"COLOR": "made.env", "LINES": "made.env", "NONE": "other.env"}
    env = [
        {"name": name, "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": path, "key": name, "optional": True}}}
        for name, path in refs.items()
    ]
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    kubectl.apply(
        pod(
            "told",
            shell('echo $COLOR; echo "$LINES"; echo ${NONE-unset}', env=env),
            initContainers=[shell(write, name="first", **mounts)],
            volumes=[{"name": "v", "emptyDir": {}}],
            restartPolicy="Never",
        )
    )
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/told", "--timeout=30s")
    assert kubectl("logs", "told", "-c", "main").splitlines() == ["deep blue", "one", "two", "unset"]
