"""Looking into pods and nodes, changing what pods have, and entering them with every kubectl there is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from deploy.shell import wait_for
from tests.e2e import traces
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl, all_programs, at_terminal
from tests.e2e.manifests import PORT, deployment, pod, service, shell, web_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

WEBSOCKETS_FOR_PORTS = 30
"""From this kubectl on, ports are forwarded through WebSockets when asked to; 1.31 asks by itself."""
PROFILES_SINCE = 30
"""From this kubectl on, all profiles of `kubectl debug` are there."""


def ephemeral(kubectl: Kubectl, name: str) -> list[dict[str, Any]]:
    """The statuses of a pod's ephemeral containers."""
    found = kubectl.get("pod", name)["status"].get("ephemeralContainerStatuses", [])
    assert isinstance(found, list)
    return found


def test_looking_into_a_pod(kubectl: Kubectl) -> None:
    """`kubectl debug`: at a terminal, seeing the processes of a container, and once more with a copy of the pod."""
    kubectl.apply(pod("web", web_container()))
    kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s")
    debug = ["debug", "-it", "web", "--image=demo:v1", "--target=web", "-c", "look", "--profile=general", "--", "sh"]
    with at_terminal(kubectl.words(debug)) as screen:
        wait_for("the debugger", lambda: [s for s in ephemeral(kubectl, "web") if "running" in s["state"]], 20)
        screen.type("\n")
        screen.wait_for("# ")
        screen.type("ps -o args; hostname; wget -qO- localhost:8080\n")
        shown = screen.wait_for("demo v1 on web")
        assert "httpd -f" in shown, shown
        said = kubectl("exec", "web", "-c", "look", "--", "ps", "-o", "args")
        assert "httpd -f" in said
        assert "httpd" not in kubectl("exec", "web", "-c", "look", "--", "ls", "/tmp")
        screen.type("exit 3\n")
        screen.process.wait(20)
    wait_for("its end", lambda: "terminated" in ephemeral(kubectl, "web")[0]["state"], 20)
    assert ephemeral(kubectl, "web")[0]["state"]["terminated"]["exitCode"] == 3
    assert "demo v1 on web" in kubectl("logs", "web", "-c", "look")
    now = kubectl.get("pod", "web")
    assert [s["restartCount"] for s in now["status"]["containerStatuses"]] == [0]
    described = kubectl("describe", "pod", "web")
    assert "Ephemeral Containers:" in described
    path = "spec.ephemeralContainers{look}"
    wait_for("its events", lambda: path in kubectl("get", "events", "-o", "yaml"), 10)

    kubectl("debug", "web", "--copy-to=copy", "--image=demo:v2", "--share-processes", "-c", "look", "--", "sleep", "99")
    kubectl("wait", "--for=condition=Ready", "pod/copy", "--timeout=30s")
    assert "httpd -f" in kubectl("exec", "copy", "-c", "look", "--", "ps", "-o", "args")
    kubectl("delete", "pod", "copy", "--now")


def test_profiles_of_debugging(kubectl: Kubectl) -> None:
    kubectl.apply(pod("box", shell(), securityContext={"runAsUser": 1000}))
    kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=30s")
    for profile in ("general", "baseline", "restricted", "netadmin", "sysadmin"):
        words = ("debug", "box", "--image=demo:v1", f"--profile={profile}", "-c", profile, "--", "sleep", "99")
        kubectl(*words)

    def all_run() -> bool:
        return [s["name"] for s in ephemeral(kubectl, "box") if "running" in s["state"]] == [
            "general", "baseline", "restricted", "netadmin", "sysadmin",
        ]  # fmt: skip

    wait_for("all to run", all_run, 30)
    held = {
        profile: int(kubectl("exec", "box", "-c", profile, "--", "grep", "CapBnd", "/proc/self/status").split()[1], 16)
        for profile in ("restricted", "netadmin", "sysadmin")
    }
    assert held["restricted"] == 0
    assert held["netadmin"] & 1 << 12
    assert held["sysadmin"] & 1 << 21


def test_looking_into_a_node(cluster: Cluster, kubectl: Kubectl) -> None:
    node = cluster.nodes[0]
    mark = f"/etc/mark-{kubectl.namespace}"
    for profile in ("general", "netadmin"):
        kubectl("debug", f"node/{node.name}", "--image=demo:v1", f"--profile={profile}", "--", "sleep", "99")
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=40s")
    pods = kubectl.items("pods")
    assert {p["spec"]["nodeName"] for p in pods} == {node.name}
    general = next(p for p in pods if p["spec"].get("volumes", [{}])[0].get("hostPath") and p["spec"].get("hostPID"))
    name = general["metadata"]["name"]
    kubectl("exec", name, "--", "touch", f"/host{mark}")
    assert node.run("ls", mark).strip() == mark
    kubectl("exec", name, "--", "rm", f"/host{mark}")
    assert "mizzen" in kubectl("exec", name, "--", "ps", "-o", "args")


def test_resizing(kubectl: Kubectl) -> None:
    """In place, with a restart, too much for the node, and less than what is in use."""
    small = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    kubectl.apply(
        pod("box", shell(resources=small)),
        pod(
            "renewed",
            shell(resources=small, resizePolicy=[{"resourceName": "memory", "restartPolicy": "RestartContainer"}]),
        ),
    )
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")

    def resize(name: str, **resources: Any) -> None:
        patch = json.dumps({"spec": {"containers": [{"name": "main", "resources": resources}]}})
        kubectl("patch", "pod", name, "--subresource=resize", "-p", patch)

    def has(name: str, **limits: str) -> bool:
        (status,) = kubectl.get("pod", name)["status"]["containerStatuses"]
        return bool(status["resources"]["limits"] == limits) and "running" in status["state"]

    def conditions(name: str) -> dict[str, dict[str, Any]]:
        found = kubectl.get("pod", name)["status"]["conditions"]
        return {c["type"]: c for c in found if c["type"].startswith("PodResize")}

    resize("box", limits={"cpu": "400m", "memory": "96Mi"})
    wait_for("the new bounds", lambda: has("box", cpu="400m", memory="96Mi"), 20)
    assert kubectl("exec", "box", "--", "sh", "-c", BOUNDS).split() == ["40000", str(96 << 20)]
    (status,) = kubectl.get("pod", "box")["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    wait_for("it to be over", lambda: not conditions("box"), 10)
    assert "ResizeCompleted" in kubectl("events", "--for", "pod/box")

    resize("renewed", limits={"memory": "96Mi"})
    wait_for("the new bounds", lambda: has("renewed", cpu="200m", memory="96Mi"), 20)
    (status,) = kubectl.get("pod", "renewed")["status"]["containerStatuses"]
    assert status["restartCount"] == 1

    resize("box", requests={"cpu": "300"}, limits={"cpu": "300"})
    wait_for("the answer", lambda: "PodResizePending" in conditions("box"), 20)
    pending = conditions("box")["PodResizePending"]
    assert (pending["reason"], pending["observedGeneration"]) == ("Infeasible", 3)
    assert pending["message"].startswith("Node didn't have enough capacity: cpu, requested: 300000, capacity: ")
    resize("box", requests={"cpu": "50m"}, limits={"cpu": "400m"})
    wait_for("it to be over", lambda: not conditions("box"), 20)

    kubectl("exec", "box", "--", "dd", "if=/dev/zero", "of=/dev/shm/much", "bs=1M", "count=40")
    resize("box", requests={"memory": "8Mi"}, limits={"memory": "16Mi"})
    wait_for("the refusal", lambda: conditions("box").get("PodResizeInProgress", {}).get("reason") == "Error", 20)
    why = conditions("box")["PodResizeInProgress"]["message"]
    assert why.startswith('cannot decrease memory limits: attempting to set container "main" memory limit (16777216)')
    assert has("box", cpu="400m", memory="96Mi")
    kubectl("exec", "box", "--", "rm", "/dev/shm/much")
    wait_for("it to fit", lambda: has("box", cpu="400m", memory="16Mi"), 30)
    said = kubectl.fails("patch", "pod", "box", "--subresource=resize", "-p", GUARANTEED)
    assert "Pod QOS Class may not change as a result of resizing" in said


BOUNDS = (
    "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"
    " || { cut -d' ' -f1 /sys/fs/cgroup/cpu.max; cat /sys/fs/cgroup/memory.max; }"
)
GUARANTEED = json.dumps(
    {
        "spec": {
            "containers": [
                {"name": "main", "resources": {"requests": {"cpu": "400m", "memory": "16Mi"}}},
            ]
        }
    }
)


def test_attaching(kubectl: Kubectl) -> None:
    """To what a container says, to its input, by several at a time, and at a terminal."""
    echo = "while read line; do echo got $line; [ $line = end ] && exit 4; done"
    kubectl.apply(
        pod("talker", shell("trap exit TERM; while sleep 0.2; do echo more; done")),
        pod("echo", shell(echo, stdin=True), restartPolicy="Never"),
        pod("screen", shell("stty size; exec sh", stdin=True, tty=True), restartPolicy="Never"),
    )
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
    with kubectl.going("attach", "talker") as one, kubectl.going("attach", "talker") as other:
        wait_for("both to hear it", lambda: min(f.read_text().count("more") for f in (one, other)) >= 2, 15)
    assert kubectl("attach", "-i", "echo", stdin="hello\nend\n") == "got hello\ngot end\n"
    kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/echo", "--timeout=20s")
    with at_terminal(kubectl.words(["attach", "-it", "screen"]), rows=31, columns=91) as screen:
        # kubectl says a size that is wrong by one before the right one, so that what runs there draws itself anew.
        screen.type("until [ \"$(stty size)\" = '31 91' ]; do sleep 0.1; done; echo sized $((40 + 2))\n")
        screen.wait_for("sized 42\r\n")


@pytest.fixture(scope="module")
def entered(cluster: Cluster) -> Iterator[Kubectl]:
    """A namespace with a pod that every kubectl enters."""
    with traces.none_left(cluster, "entered") as kubectl:
        kubectl.apply(pod("web", web_container()))
        kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s")
        yield kubectl


@pytest.mark.parametrize("program", all_programs(), ids=lambda program: program.name)
def test_entering_with_every_version(entered: Kubectl, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands with their input and exit codes, and ports; over WebSockets and over SPDY."""
    versioned = replace(entered, program=program)
    ways = ("true", "false") if versioned.minor >= WEBSOCKETS_FOR_PORTS - 1 else ("false",)
    for way in ways:
        monkeypatch.setenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", way)
        monkeypatch.setenv("KUBECTL_PORT_FORWARD_WEBSOCKETS", way)
        assert versioned("exec", "-i", "web", "--", "sh", "-c", "cat; echo end", stdin="half\n") == "half\nend\n"
        done = versioned.tries("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 9")
        assert (done.returncode, done.stdout) == (9, "out\n")
        with forwarded(versioned, "pod/web", PORT) as port:
            assert urlopen(f"http://127.0.0.1:{port}/", timeout=10).read() == b"demo v1 on web\n"


def test_copying_both_ways(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.apply(pod("box", shell()))
    kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=30s")
    (tmp_path / "there" / "deep").mkdir(parents=True)
    (tmp_path / "there" / "deep" / "bytes").write_bytes(os.urandom(200_000))
    (tmp_path / "there" / "text").write_text("hello\n")
    kubectl("cp", str(tmp_path / "there"), "box:/tmp/copied")
    assert kubectl("exec", "box", "--", "cat", "/tmp/copied/text") == "hello\n"
    kubectl("cp", "box:/tmp/copied", str(tmp_path / "back"))
    assert (tmp_path / "back" / "deep" / "bytes").read_bytes() == (tmp_path / "there" / "deep" / "bytes").read_bytes()


def test_forwarding_ports(kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a pod, a service and a deployment, several at once, and each connection by itself."""
    kubectl.apply(deployment("web", 1), service("web"), pod("two", web_container(), shell(SECOND, name="second")))
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("wait", "--for=condition=Ready", "pod/two", "--timeout=30s")
    for way in ("true", "false"):
        monkeypatch.setenv("KUBECTL_PORT_FORWARD_WEBSOCKETS", way)
        for target, port in (("service/web", 80), ("deployment/web", PORT)):
            with forwarded(kubectl, target, port) as local:
                assert urlopen(f"http://127.0.0.1:{local}/", timeout=10).read().startswith(b"demo v1 on web-")
        with forwarded(kubectl, "pod/two", PORT, 9090, 9) as local, urlopen(f"http://127.0.0.1:{local}/") as page:
            assert page.read() == b"demo v1 on two\n"


SECOND = "trap exit TERM; mkdir /tmp/s; echo second >/tmp/s/index.html; httpd -f -p 9090 -h /tmp/s & wait"


@contextmanager
def forwarded(kubectl: Kubectl, target: str, *ports: int) -> Iterator[int]:
    """Forwards ports while the block runs; gives the local one that leads to the first."""
    with kubectl.going("port-forward", target, *(f":{port}" for port in ports)) as said:
        wait_for("ports", lambda: said.read_text().count("Forwarding from 127.0.0.1") == len(ports), 15)
        yield int(said.read_text().split("127.0.0.1:")[1].split()[0])


def test_a_command_may_end_before_its_input(kubectl: Kubectl) -> None:
    kubectl.apply(pod("box", shell()))
    kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=30s")
    words = kubectl.words(["exec", "-i", "box", "--", "head", "-c", "3"])
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"abcdef")
        process.stdin.flush()
        assert process.stdout is not None
        assert process.stdout.read() == b"abc"
        assert process.wait(20) == 0
