"""What a node does for the containers of a pod, as one sees it with kubectl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.shell import wait_for
from tests.e2e.cluster import Cluster, is_ready, restarts
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import FOREVER, PORT, Manifest, container, pod, service, shell
from tests.e2e.test_mistakes import registry

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

MI = 1 << 20


def test_ends_and_new_starts(kubectl: Kubectl) -> None:
    """Every restart policy, with programs that succeed, fail, and need too much."""
    once = "test -e /kept/seen && exit 0; touch /kept/seen; echo the first time; exit 4"
    kept: Manifest = {"volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}
    eats = container(command=["tail", "/dev/zero"], resources={"limits": {"memory": "24Mi"}})
    init = [
        shell("echo 1 >/kept/steps", "one", **kept),
        shell("echo 2 >>/kept/steps", "two", **kept),
    ]
    kubectl.apply(
        pod("always", shell("echo once more; exit 0"), restartPolicy="Always"),
        pod("mended", shell(once, **kept), restartPolicy="OnFailure", volumes=[{"name": "kept", "emptyDir": {}}]),
        pod("failed", shell("echo bad; exit 3"), restartPolicy="Never"),
        pod("done", shell("echo good"), restartPolicy="Never"),
        pod("hungry", eats, restartPolicy="Never"),
        pod(
            "prepared",
            shell(f"cat /kept/steps; {FOREVER}", **kept),
            initContainers=init,
            volumes=[{"name": "kept", "emptyDir": {}}],
        ),
        pod("unprepared", shell(), initContainers=[shell("exit 5", "broken")], restartPolicy="Never"),
    )
    for name, phase in (
        ("mended", "Succeeded"),
        ("failed", "Failed"),
        ("done", "Succeeded"),
        ("hungry", "Failed"),
        ("unprepared", "Failed"),
    ):
        kubectl("wait", f"--for=jsonpath={{.status.phase}}={phase}", f"pod/{name}", "--timeout=40s")
    for name, ended, restarted in (
        ("mended", ("Completed", 0), 1),
        ("failed", ("Error", 3), 0),
        ("done", ("Completed", 0), 0),
        ("hungry", ("OOMKilled", 137), 0),
    ):
        status = only_status(kubectl, name)
        now = status["state"]["terminated"]
        assert ((now["reason"], now["exitCode"]), status["restartCount"]) == (ended, restarted), name
    assert kubectl("logs", "mended", "--previous") == "the first time\n"
    assert kubectl("logs", "failed") == "bad\n"

    waits = wait_for("the crash back-off", lambda: back_off(kubectl, "always"), 30)
    assert waits["message"].startswith("back-off 10s restarting failed container=main pod=always_"), waits
    status = only_status(kubectl, "always")
    assert status["lastState"]["terminated"]["reason"] == "Completed"
    assert status["restartCount"] == 1
    assert kubectl("logs", "always", "--previous") == "once more\n"
    said = "Back-off restarting failed container main in pod always_"
    wait_for("the event", lambda: said in kubectl("events", "--for", "pod/always"), 10)
    assert "CrashLoopBackOff" in kubectl("get", "pod", "always", "--no-headers")

    kubectl("wait", "--for=condition=Ready", "pod/prepared", "--timeout=20s")
    assert kubectl("logs", "prepared") == "1\n2\n"
    first, second = kubectl.get("pod", "prepared")["status"]["initContainerStatuses"]
    assert first["state"]["terminated"]["finishedAt"] <= second["state"]["terminated"]["startedAt"]
    assert "Init:Error" in kubectl("get", "pod", "unprepared", "--no-headers")
    assert "waiting" in only_status(kubectl, "unprepared")["state"]


def only_status(kubectl: Kubectl, name: str) -> dict[str, Any]:
    """The status of a pod's only container."""
    (status,) = kubectl.get("pod", name)["status"]["containerStatuses"]
    assert isinstance(status, dict)
    return status


def back_off(kubectl: Kubectl, name: str) -> dict[str, Any] | None:
    """What a pod's container waits for, if that is the end of its crash back-off."""
    waiting: dict[str, Any] = only_status(kubectl, name)["state"].get("waiting", {})
    return waiting if waiting.get("reason") == "CrashLoopBackOff" else None


def test_ends_that_are_asked_for(kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    """`preStop`, then SIGTERM, both within the grace period; SIGKILL after it."""
    say_stop = {"preStop": {"exec": {"command": ["sh", "-c", "echo preStop >/proc/1/fd/1; sleep 1"]}}}
    polite = "trap 'echo asked; sleep 1; echo left; exit 0' TERM; echo begun; while :; do sleep 0.1; done"
    slow_stop = {"preStop": {"exec": {"command": ["sh", "-c", "echo preStop >/proc/1/fd/1; sleep 100"]}}}
    kubectl.apply(
        pod("polite", shell(polite, lifecycle=say_stop), terminationGracePeriodSeconds=30),
        pod("deaf", shell("trap '' TERM; echo begun; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=3),
        pod("held", shell(polite, lifecycle=slow_stop), terminationGracePeriodSeconds=3),
    )
    names = ("polite", "deaf", "held")
    kubectl("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names), "--timeout=30s")
    with (
        kubectl.going("logs", "-f", "polite") as polite_log,
        kubectl.going("logs", "-f", "held") as held_log,
    ):
        wait_for("the logs", lambda: "begun" in polite_log.read_text() and "begun" in held_log.read_text(), 10)
        began = time.monotonic()
        kubectl("delete", "pod", *names, "--wait=false")
        assert all("deletionTimestamp" in p["metadata"] for p in kubectl.items("pods"))
        lasted = {}
        for name in ("polite", "deaf", "held"):
            kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=30s")
            lasted[name] = time.monotonic() - began
        assert polite_log.read_text().split() == ["begun", "preStop", "asked", "left"]
        # Its preStop has used up the grace period: it is asked all the same, with two seconds to go.
        assert held_log.read_text().split()[:3] == ["begun", "preStop", "asked"]
    figure(", ".join(f"{name} went after {seconds:.1f} s" for name, seconds in lasted.items()))
    assert 2 <= lasted["polite"] < 15
    assert lasted["deaf"] >= 3
    assert lasted["held"] >= 3


def test_what_a_container_is_given(cluster: Cluster, kubectl: Kubectl) -> None:
    """Environment, arguments, limits, names, files; and changes of files while it runs."""
    kubectl("create", "configmap", "settings", "--from-literal=color=blue", "--from-literal=size=7")
    kubectl("create", "secret", "generic", "keys", "--from-literal=password=swordfish", "--from-literal=pin=1234")
    kubectl.apply(
        pod("given", *given_containers(), **given_spec()), service("db", clusterIP="None", selector={"app": "given"})
    )
    kubectl("wait", "--for=condition=Ready", "pod/given", "--timeout=40s")
    made = kubectl.get("pod", "given")
    env = dict(line.partition("=")[::2] for line in kubectl("exec", "given", "-c", "main", "--", "env").splitlines())
    ip = made["status"]["podIP"]
    wanted = {
        "PLAIN": "text",
        "MADE": "text and $(UNKNOWN) and $(PLAIN)",
        "COLOR": "blue",
        "S_color": "blue",
        "S_size": "7",
        "PASSWORD": "swordfish",
        "POD": "given",
        "SPACE": kubectl.namespace,
        "IP": ip,
        "NODE": made["spec"]["nodeName"],
        "APP": "given",
        "CPU_LIMIT": "1",
        "MEMORY_MB": "64",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    assert {name: env.get(name) for name in wanted} == wanted
    assert kubectl("logs", "given", "-c", "main") == "said text to given\n"

    state = cluster.container(made, "main")
    host = state["HostConfig"]
    assert (host["Memory"], host["CpuQuota"], host["CpuPeriod"]) == (64 * MI, 25_000, 100_000)
    assert int(read(kubectl, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max")) == (
        64 * MI
    )

    assert read(kubectl, "hostname") == "db-0\n"
    for name in ("db-0.db", f"db-0.db.{kubectl.namespace}.svc.cluster.local", f"db.{kubectl.namespace}.svc"):
        look = f"wget -qO- http://{name}:{PORT}"
        wait_for(f"{name} to be found", lambda look=look: "on db-0" in read(kubectl, f"{look} || true"), 20)

    assert read(kubectl, "cd /config; ls; cat only") == "only\nblue"
    assert read(kubectl, "stat -L -c %a /config/only /secret/password /secret/pin").split() == ["440", "400", "400"]
    assert read(kubectl, "cat /secret/password /one/color") == "swordfishblue"
    kubectl("exec", "given", "-c", "main", "--", "sh", "-c", "echo from main >/shared/note")
    assert read(kubectl, "cat /shared/note", "web") == "from main\n"
    on_disk = f"/var/lib/mizzen/pods/{made['metadata']['uid']}/volumes/shared/note"
    assert cluster.node_of(made).run("cat", on_disk) == "from main\n"

    kubectl("patch", "configmap", "settings", "-p", json.dumps({"data": {"color": "green"}}))
    kubectl("patch", "secret", "keys", "-p", json.dumps({"stringData": {"password": "sesame"}}))
    news = "greensesame"
    wait_for("the files to change", lambda: read(kubectl, "cat /config/only /secret/password") == news, 20)
    assert read(kubectl, "cat /one/color") == "blue"  # mounted as one file, which stays
    assert restarts(kubectl.get("pod", "given")) == 0
    kubectl("delete", "pod", "given", "--timeout=30s")
    # With a grace period of nothing the pod is gone before its node has cleared up.
    wait_for("the shared folder to go", lambda: not cluster.node_of(made).path(on_disk).exists(), 15)


def given_containers() -> list[Manifest]:
    """A container that is given all there is, and one that shares a folder with it."""
    env = [
        {"name": "PLAIN", "value": "text"},
        {"name": "MADE", "value": "$(PLAIN) and $(UNKNOWN) and $$(PLAIN)"},
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "x", "optional": True}}},
        *(
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in (
                ("POD", "metadata.name"),
                ("SPACE", "metadata.namespace"),
                ("IP", "status.podIP"),
                ("NODE", "spec.nodeName"),
                ("APP", "metadata.labels['app']"),
            )
        ),
        {"name": "CPU_LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEMORY_MB", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    main = container(
        command=["sh", "-c", f'echo "$0 $(PLAIN) to $(POD)"; {FOREVER}'],
        args=["said"],
        env=env,
        envFrom=[{"prefix": "S_", "configMapRef": {"name": "settings"}}],
        resources={"limits": {"cpu": "250m", "memory": "64Mi"}},
        volumeMounts=[
            {"name": "config", "mountPath": "/config"},
            {"name": "secret", "mountPath": "/secret", "readOnly": True},
            {"name": "shared", "mountPath": "/shared"},
            {"name": "whole", "mountPath": "/one/color", "subPath": "color"},
        ],
    )
    web = container("web", ports=[{"containerPort": PORT}], volumeMounts=[{"name": "shared", "mountPath": "/shared"}])
    return [main, web]


def given_spec() -> Manifest:
    """Names and volumes of that pod."""
    return {
        "hostname": "db-0",
        "subdomain": "db",
        "volumes": [
            {"name": "shared", "emptyDir": {}},
            {"name": "whole", "configMap": {"name": "settings"}},
            {
                "name": "config",
                "configMap": {"name": "settings", "items": [{"key": "color", "path": "only", "mode": 0o440}]},
            },
            {"name": "secret", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        ],
    }


def read(kubectl: Kubectl, script: str, name: str = "main") -> str:
    """What a script prints in a container of that pod."""
    return kubectl("exec", "given", "-c", name, "--", "sh", "-c", script)


SERVER_9000 = f"httpd -p 9000 -h /tmp; touch /tmp/good; {FOREVER}"
"""A server that can end without its container, and a file for probes to look for."""
CHECKS: dict[str, tuple[Manifest, str, str]] = {
    "exec": ({"exec": {"command": ["test", "-e", "/tmp/good"]}}, "rm /tmp/good", "touch /tmp/good"),
    "http": ({"httpGet": {"path": "/good", "port": 9000}}, "mv /tmp/good /tmp/bad", "mv /tmp/bad /tmp/good"),
    "tcp": ({"tcpSocket": {"port": 9000}}, "killall httpd", "httpd -p 9000 -h /tmp"),
}
"""Kinds of probes: how they look, what makes them fail, and what makes them succeed again."""


def test_probes(kubectl: Kubectl) -> None:
    """One that fails takes the pod out of its service, or starts its container again."""
    fast = {"periodSeconds": 1, "failureThreshold": 1}
    made = []
    for kind, (probe, _, _) in CHECKS.items():
        made.append(pod(f"ready-{kind}", shell(SERVER_9000, readinessProbe=probe | fast)))
        made.append(service(f"ready-{kind}", ports=[{"port": 80, "targetPort": 9000}]))
        live = probe | fast | {"initialDelaySeconds": 1}
        made.append(pod(f"live-{kind}", shell(SERVER_9000, livenessProbe=live), terminationGracePeriodSeconds=2))
    kubectl.apply(*made)
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=40s")
    for kind, (_, spoil, _) in CHECKS.items():
        wait_for(f"the endpoint of ready-{kind}", lambda kind=kind: endpoints(kubectl, f"ready-{kind}") == [True], 10)
        for name in (f"ready-{kind}", f"live-{kind}"):
            kubectl("exec", name, "--", "sh", "-c", spoil)
    for kind, (_, _, mend) in CHECKS.items():
        name = f"ready-{kind}"
        wait_for(f"{name} to leave its service", lambda name=name: endpoints(kubectl, name) == [False], 15)
        assert not is_ready(kubectl.get("pod", name))
        kubectl("exec", name, "--", "sh", "-c", mend)
    for kind in CHECKS:
        name = f"ready-{kind}"
        wait_for(f"{name} to be back", lambda name=name: endpoints(kubectl, name) == [True], 15)
        assert restarts(kubectl.get("pod", name)) == 0
        events = kubectl("events", "--for", f"pod/{name}")
        assert "Readiness probe failed" in events, events
    for kind in CHECKS:
        name = f"live-{kind}"
        wait_for(f"{name} to start again", lambda name=name: restarts(kubectl.get("pod", name)) == 1, 20)
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=20s")
        events = kubectl("events", "--for", f"pod/{name}")
        assert "Liveness probe failed" in events, events
        assert "Container main failed liveness probe, will be restarted" in events, events
        assert only_status(kubectl, name)["lastState"]["terminated"]["exitCode"] in (0, 137, 143)


def endpoints(kubectl: Kubectl, name: str) -> list[bool]:
    """Whether the endpoints of a service are ready."""
    slices = kubectl.items("endpointslices", "-l", f"kubernetes.io/service-name={name}")
    return [one["conditions"]["ready"] for s in slices for one in s["endpoints"] or ()]


def test_pull_policies(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    """When an image is fetched: if it is not there, always, or never."""
    machine = cluster.nodes[1]
    with registry(machine, tmp_path) as address:
        image = f"{address}/demo:v1"
        for name, policy in (("first", "IfNotPresent"), ("again", "IfNotPresent"), ("fetches", "Always")):
            kubectl.apply(pod(name, container(image=image, imagePullPolicy=policy), nodeName=machine.name))
            kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")
        kubectl.apply(pod("never", container(image=image, imagePullPolicy="Never"), nodeName=machine.name))
        kubectl("wait", "--for=condition=Ready", "pod/never", "--timeout=30s")
    for name, pulls in (("first", True), ("again", False), ("fetches", True), ("never", False)):
        said = f'Successfully pulled image "{image}"' if pulls else f'Container image "{image}" already present'
        wait_for(f"{name}: {said}", lambda name=name, said=said: said in kubectl("events", "--for", f"pod/{name}"), 10)
    kubectl("delete", "pod", "--all", "--timeout=30s")
    machine.docker("rmi", image)
