"""The project's own command line on a running cluster, and a program over gRPC; what goes wrong is told in one line."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from deploy import commands
from deploy.lab.cluster import DATA
from deploy.shell import CommandFailed, sh, wait_for
from mizzen.client import config
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl, at_terminal, use_a_shell
from tests.e2e.manifests import Manifest, container, deployment, pod, service, shell

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

TALK = "trap exit TERM; echo one; echo two; echo three >&2; while sleep 0.2; do echo more; done"


class Mizzen(Kubectl):
    """The `mizzen` command, used as kubectl is."""

    def words(self, argv: Sequence[str]) -> list[str]:
        """The whole command line; which cluster and namespace it is about stands in the kubeconfig."""
        return ["env", f"KUBECONFIG={self.kubeconfig}", str(self.program), *argv]

    def applies(self, *objects: Manifest) -> list[str]:
        """What applying says of each object."""
        return self("apply", "-f", "-", stdin=yaml.safe_dump_all(objects)).splitlines()


@pytest.fixture
def mizzen(kubectl: Kubectl, tmp_path: Path) -> Mizzen:
    """The command, for the test's namespace."""
    loaded = dataclasses.replace(config.load(kubectl.kubeconfig), namespace=kubectl.namespace)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(config.render("lab", loaded, "me"))
    return Mizzen(Path(commands.program()), kubeconfig, kubectl.namespace)


def test_objects(mizzen: Mizzen, kubectl: Kubectl, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(yaml.safe_dump_all([deployment("web", 2), service("web")]))
    (folder / "b.json").write_text(str(yaml.safe_dump({"kind": "List", "items": [deployment("other", 1)]})))
    names = ["deployment.apps/web", "service/web", "deployment.apps/other"]
    with mizzen.going("get", "pods", "-w") as seen:
        wait_for("the watch to begin", lambda: sh("pgrep", "-f", f"KUBECONFIG={mizzen.kubeconfig}", check=False), 5)
        dry = mizzen("apply", "-f", str(folder), "--dry-run").splitlines()
        assert dry == [f"{name} created (server dry run)" for name in names]
        assert mizzen("apply", "-f", str(folder)).splitlines() == [f"{name} created" for name in names]
        assert mizzen("apply", "-f", str(folder)).splitlines() == [f"{name} unchanged" for name in names]
        assert mizzen.applies(deployment("web", 3), service("web")) == [
            "deployment.apps/web configured",
            "service/web unchanged",
        ]
        for name in ("web", "other"):
            mizzen("rollout", "status", f"deployment/{name}", "--timeout=30s")
        wait_for("the watch to show it", lambda: seen.read_text().count("1/1") >= 4, 10)
        assert seen.read_text().count("NAME") == 1
    shown_by_get(mizzen)
    assert mizzen("scale", "deployment", "web", "--replicas", "1") == "deployment.apps/web scaled\n"
    kubectl("wait", "--for=jsonpath={.status.replicas}=1", "deployment/web", "--timeout=20s")
    described = mizzen("describe", "deployment/web")
    for said in ("kind: Deployment", "ScalingReplicaSet", "Scaled down replica set"):
        assert said in described, described
    assert mizzen("delete", "-f", str(folder)).splitlines() == [
        'deployment.apps "web" deleted',
        'service "web" deleted',
        'deployment.apps "other" deleted',
    ]
    kubectl("wait", "--for=delete", "pods", "--all", "--timeout=30s")
    nothing = mizzen.tries("get", "pods")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == f"No resources found in {mizzen.namespace} namespace.\n"


def shown_by_get(mizzen: Mizzen) -> None:
    """Three pods of `web` and one of `other`, in every form and selection."""
    table = [line.split() for line in mizzen("get", "po").splitlines()]
    assert table[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [row[1:4] for row in table[1:]] == [["1/1", "Running", "0"]] * 4
    first = table[1][0]
    assert "NODE" in mizzen("get", "pods", "-o", "wide").splitlines()[0].split()
    assert mizzen("get", "pods", "-A").split()[:2] == ["NAMESPACE", "NAME"]
    assert len(mizzen("get", "pods", "-l", "app in (web)", "-o", "name").splitlines()) == 3
    assert len(mizzen("get", "pods", "--field-selector", f"metadata.name!={first}", "-o", "name").splitlines()) == 3
    both = mizzen("get", "deploy,svc").split("\n\n")
    assert [part.splitlines()[1].split()[0] for part in both] == ["deployment.apps/other", "service/web"]
    assert mizzen("get", "deploy", "web", "other").count("NAME") == 1
    (as_yaml,) = yaml.safe_load_all(mizzen("get", f"pod/{first}", "-o", "yaml"))
    assert as_yaml == mizzen.get(f"pod/{first}")
    assert as_yaml["metadata"]["namespace"] == mizzen.namespace
    assert [item["kind"] for item in mizzen.items("deploy/web", "svc/web")] == ["Deployment", "Service"]


def test_rollouts(mizzen: Mizzen) -> None:
    mizzen.applies(deployment("web", 2))
    assert "successfully rolled out" in mizzen("rollout", "status", "deployment/web", "--timeout=30s")
    assert "has no earlier revision" in mizzen.fails("rollout", "undo", "deployment/web")
    second = deployment("web", 2)
    second["spec"]["template"]["spec"]["containers"][0]["image"] = "demo:v2"
    mizzen.applies(second)
    assert "successfully rolled out" in mizzen("rollout", "status", "deployment/web", "--timeout=30s")
    history = [line.split() for line in mizzen("rollout", "history", "deploy", "web").splitlines()]
    assert history == [["REVISION", "IMAGES"], ["1", "demo:v1"], ["2", "demo:v2"]]
    assert mizzen("rollout", "undo", "deployment/web") == "deployment.apps/web rolled back\n"
    mizzen("rollout", "status", "deployment/web", "--timeout=30s")
    old = mizzen.items("pods", "-l", "app=web")
    assert {p["spec"]["containers"][0]["image"] for p in old if "deletionTimestamp" not in p["metadata"]} == {"demo:v1"}
    assert mizzen("rollout", "restart", "deployment/web") == "deployment.apps/web restarted\n"
    mizzen("rollout", "status", "deployment/web", "--timeout=30s")
    now = {p["metadata"]["uid"] for p in mizzen.items("pods") if "deletionTimestamp" not in p["metadata"]}
    assert now.isdisjoint(p["metadata"]["uid"] for p in old)
    stuck = deployment("web", 2, {"containers": [container(image="demo:v9", imagePullPolicy="Never")]})
    mizzen.applies(stuck)
    failed = mizzen.fails("rollout", "status", "deployment/web", "--timeout=500ms")
    assert failed.startswith('error: timed out waiting for the condition: Waiting for deployment "web" rollout')


def test_logs_and_exec(mizzen: Mizzen, kubectl: Kubectl) -> None:
    mizzen.applies(pod("talker", shell(TALK)), pod("failing", shell("echo last words; exit 3")))
    kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=30s")
    wait_for("its output", lambda: "more" in kubectl("logs", "talker"), 20)
    assert [line for line in mizzen("logs", "pod/talker").splitlines() if line not in ("three", "more")] == [
        "one",
        "two",
    ]
    assert mizzen("logs", "talker", "--tail=1") == "more\n"
    assert mizzen("logs", "talker", "--tail=2", "--timestamps")[:2] == "20"
    wait_for("a restart", lambda: kubectl("get", "pod", "failing", "--no-headers").split()[3] != "0", 20)
    assert mizzen("logs", "failing", "--previous") == "last words\n"
    with at_terminal(mizzen.words(["logs", "-f", "talker", "--tail=0"])) as screen:
        screen.wait_for("more\r\nmore")
        screen.process.send_signal(signal.SIGINT)
        assert screen.process.wait(20) == 130

    done = mizzen.tries("exec", "talker", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    sent = "".join(f"line {number}\n" for number in range(20_000))
    assert mizzen("exec", "-i", "pod/talker", "--", "cat", stdin=sent) == sent
    done = mizzen.tries("exec", "talker", "--", "no-such-program")
    assert done.returncode in (126, 127)
    assert "executable file not found" in done.stdout + done.stderr
    use_a_shell(mizzen, "talker")


def test_plans_and_reasons(mizzen: Mizzen, tmp_path: Path) -> None:
    wanted = tmp_path / "web.yaml"
    wanted.write_text(str(yaml.safe_dump(deployment("web", 3))))
    plan = mizzen("plan", "-f", str(wanted))
    for action in ("bind", "ready"):
        assert plan.count(f" {action} ") == 3, plan
    assert "unready" not in plan
    assert mizzen.items("deployments") == []
    mizzen.applies(deployment("web", 3), deployment("huge", 1, {"containers": [greedy()]}))
    mizzen("rollout", "status", "deployment/web", "--timeout=30s")
    here = mizzen.items("pods", "-l", "app=web")[0]["spec"]["nodeName"]
    lost = mizzen.tries("plan", "--lose-node", here)
    on_it = [p["metadata"]["name"] for p in mizzen.items("pods") if p["spec"].get("nodeName") == here]
    stopped = [line.split() for line in lost.stdout.splitlines() if " stop " in line]
    assert sorted(words[3].rpartition("/")[2] for words in stopped) == sorted(on_it), lost.stdout
    assert lost.returncode == 1  # for what was a problem before
    problems = [line for line in lost.stdout.splitlines() if line.startswith("problem: ")]
    assert all("huge" in problem for problem in problems), problems
    (waiting,) = mizzen.items("pods", "-l", "app=huge")
    said = "0/3 nodes are available: 3 Insufficient cpu."
    wait_for("the reason", lambda: said in mizzen("why", "pod", waiting["metadata"]["name"]), 10)
    assert "MinimumReplicasUnavailable: " in mizzen("why", "deployment/huge")
    assert mizzen("why", "deployment/web") == "nothing is wrong, and nothing is waited for\n"


def greedy() -> Manifest:
    """A container that no node has room for."""
    return container(resources={"requests": {"cpu": "500"}})


def test_tokens_and_the_lab(cluster: Cluster, mizzen: Mizzen) -> None:
    assert mizzen("version").startswith("mizzen ")
    token = mizzen("token", "create", "--ttl-hours", "1").strip()
    assert token.split(".")[2] in mizzen("token", "list")
    machine, server = cluster.lab.nodes[-1], cluster.lab.server
    join = commands.agent_command(f"{DATA}/refused", server.address, token)
    with pytest.raises(CommandFailed, match="a node of this name is connected"):  # which only a good token learns
        machine.run(*join, "--node-name", cluster.nodes[0].name, timeout_s=20)
    machine.run("rm", "-rf", f"{DATA}/refused")
    lab = ["lab", "--dir", str(cluster.lab.folder)]
    for name in ("server", "node-1", "node-4"):
        assert name in mizzen(*lab, "status")
    assert mizzen(*lab, "run", "node-1", "--", "hostname") == "node-1\n"


def test_a_program(cluster: Cluster) -> None:
    """The example of `deploy/examples`, as its README says."""
    env = {"KUBECONFIG": str(cluster.kubectl.kubeconfig)}
    said = sh(sys.executable, "-m", "deploy.examples.rollout", env=env).stdout
    assert said.endswith("all are ready\n"), said
    assert said.count("ADDED") == 3
    cluster.kubectl("wait", "--for=delete", "pod", "-l", "app=example", "--timeout=50s")
    assert cluster.kubectl("get", "deployments", "-o", "name") == ""


MISTAKES = {
    "no verb of ours": (["frobnicate"], "No such command 'frobnicate'; see `mizzen --help`"),
    "no such option": (["get", "pods", "--colour"], "No such option: --colour"),
    "nothing named": (["get"], "Missing argument 'TYPE[/NAME]'; see `mizzen get --help`"),
    "unknown type": (["get", "gizmos"], 'the server doesn\'t have a resource type "gizmos"; there are: '),
    "unknown form": (["get", "pods", "-o", "xml"], "must be wide, yaml, json or name"),
    "no name": (["describe", "pod"], "name the pods that you mean, for example: pod/web"),
    "no such object": (["get", "pod", "nobody"], 'Error from server (NotFound): pods "nobody" not found'),
    "no such object by gRPC": (["describe", "pod", "nobody"], 'Error from server (NotFound): pods "nobody" not found'),
    "wrong selector": (["get", "pods", "-l", "a in"], "Error from server (BadRequest): unable to parse"),
    "no namespace to be in": (
        ["apply", "-n", "nowhere", "-f", "-"],
        'Error from server (NotFound): namespaces "nowhere" not found',
    ),
    "no such file": (["apply", "-f", "/no/such.yaml"], "'/no/such.yaml' can't be read: No such file or directory"),
    "no manifest": (["apply"], "Missing option '--filename' / '-f'; see `mizzen apply --help`"),
    "logs of nobody": (["logs", "nobody"], 'Error from server (NotFound): pods "nobody" not found'),
    "logs of no pod": (["logs", "deploy/web"], "'deploy/web' is no pod"),
    "no command": (["exec", "nobody"], "Missing argument 'COMMAND'; see `mizzen exec --help`"),
    "exec in nobody": (["exec", "nobody", "--", "ls"], 'Error from server (NotFound): pods "nobody" not found'),
    "how many": (["scale", "deploy/web"], "Missing option '--replicas'; see `mizzen scale --help`"),
    "rollout of nobody": (["rollout", "status", "deploy/web"], 'deployments.apps "web" not found'),
    "delete nothing": (["delete"], "name something, for example: pod/web-1"),
    "plan nothing": (["plan"], "say what to plan"),
    "lose nobody": (["plan", "--lose-node", "node-9"], 'Error from server (NotFound): nodes "node-9" not found'),
    "return nobody": (["plan", "--return-node", "node-9"], 'Error from server (NotFound): nodes "node-9" not found'),
    "why nobody": (["why", "pod/nobody"], 'Error from server (NotFound): pods "nobody" not found'),
    "no lab": (["lab", "--dir", "/no/lab", "status"], "there is no lab in /no/lab; `mizzen lab up` makes one"),
}


@pytest.fixture(scope="module")
def plain(cluster: Cluster) -> Mizzen:
    """The command, for the default namespace."""
    return Mizzen(Path(commands.program()), cluster.kubectl.kubeconfig, "default")


def failed(mizzen: Mizzen, *argv: str) -> str:
    """The one line with which a command fails that would be given a pod."""
    done = mizzen.tries(*argv, stdin=str(yaml.safe_dump(pod("box", container()))))
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def failures(plain: Mizzen) -> dict[str, Future[str]]:
    """What is said of each mistake; two are made at a time, because each takes a program's start."""
    with ThreadPoolExecutor(2) as pool:
        return {name: pool.submit(failed, plain, *argv) for name, (argv, _) in MISTAKES.items()}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(failures: dict[str, Future[str]], mistake: str) -> None:
    assert MISTAKES[mistake][1] in failures[mistake].result()


def test_kubeconfigs_that_cannot_be_used(plain: Mizzen, tmp_path: Path) -> None:
    absent = dataclasses.replace(plain, kubeconfig=tmp_path / "absent")
    wrong = dataclasses.replace(plain, kubeconfig=tmp_path / "wrong")
    wrong.kubeconfig.write_text("{}")
    for argv in (["get", "nodes"], ["describe", "node/node-1"]):  # by REST, and by gRPC
        assert "No such file or directory; name a kubeconfig with --kubeconfig or $KUBECONFIG" in failed(absent, *argv)
        assert "no current-context; set one with `kubectl config use-context`" in failed(wrong, *argv)
