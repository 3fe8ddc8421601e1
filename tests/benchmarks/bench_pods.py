"""From `apply` to Running on one real node, beside bare Docker and Docker Swarm; and what the daemons use meanwhile.

Run: python -m tests.benchmarks.bench_pods, as root. It makes a lab of one control plane and one machine in a
temporary folder and takes it down. All figures are cold: nothing is made before it is asked for.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from deploy.lab import Lab, LabError, Machine, cluster
from deploy.lab.lab import require_root_and_tools
from deploy.shell import wait_for
from mizzen.api import kinds
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.client import config
from mizzen.client.client import Client
from tests.benchmarks import accounts, report
from tests.benchmarks.docker_peers import AT_ONCE, COMMAND, IMAGE, WAIT_S, Docker, swarm

COUNTS = (20, 60)
DEMO_PODS = 3
SETTLE_S, IDLE_S = 5, 20
SERVER_MB, AGENT_MB, SHARE_PERCENT = 150, 80, 10


@dataclass(frozen=True)
class Used:
    """CPU seconds so far."""

    server: float
    etcd: float
    agent: float
    machine: float
    """Everything on the node: the agent, Docker Engine, the containers' starts."""

    def since(self, before: Used) -> Used:
        """The difference."""
        return Used(
            self.server - before.server,
            self.etcd - before.etcd,
            self.agent - before.agent,
            self.machine - before.machine,
        )


class Daemons:
    """The processes of a running cluster."""

    def __init__(self, lab: Lab) -> None:
        self.server, self.agent = _pid(lab.server, cluster.SERVER), _pid(lab.machine(1), cluster.AGENT)
        self.etcd = accounts.children(self.server)
        self._machine = accounts.group_of(self.agent)

    def used(self) -> Used:
        """What they have used until now."""
        cpu = accounts.cpu_s
        return Used(cpu(self.server), cpu(*self.etcd), cpu(self.agent), accounts.group_cpu_s(self._machine))

    def print_memory(self, when: str) -> None:
        """Print what both daemons hold."""
        for name, pid, limit in (("server", self.server, SERVER_MB), ("agent", self.agent, AGENT_MB)):
            rss, pss = accounts.memory_mb(pid)
            figures = [f"RSS {rss:.0f} MB", f"PSS {pss:.0f} MB"]
            if when == "idle":
                figures.append(report.target(rss <= limit, f"<= {limit} MB"))
            report.row(f"memory {when}, {name}", *figures)


def main() -> None:
    """Measure everything that needs a machine with Docker."""
    try:
        require_root_and_tools()
    except LabError as error:
        return report.skipped("pods on a machine", str(error))
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder, Lab(Path(folder)) as lab:
        # Swarm refuses an Engine that keeps its containers through a restart of its own.
        lab.up(nodes=1, dockerd=["--live-restore=false"])
        docker = Docker(lab.machine(1), lab.folder)
        report.section("Pod starts on one machine, cold: seconds until all run")
        bare = _bare(docker)
        asyncio.run(_mizzen(lab, docker, bare))
        for network in ("overlay", "bridge"):
            _swarm(lab.machine(1), network, bare)
    return None


def _bare(docker: Docker) -> dict[int, float]:
    docker.start_pods(1)
    took = {}
    for count in COUNTS:
        docker.remove_all()
        took[count] = docker.start_pods(count)
        _print(f"bare Docker, create and start, {AT_ONCE} at once", count, took[count], took[count])
    docker.remove_all()
    return took


def _swarm(machine: Machine, network: str, bare: dict[int, float]) -> None:
    with swarm(machine, network) as service:
        for count in COUNTS:
            _print(f"Docker Swarm, service scale, {network} network", count, service.scale(count), bare[count])
            service.scale(0)
            wait_for("the tasks to go", lambda: not machine.docker("ps", "-aq"), WAIT_S)


async def _mizzen(lab: Lab, docker: Docker, bare: dict[int, float]) -> None:
    async with Client(config.load(cluster.start(lab))) as client:
        daemons = Daemons(lab)
        await _start(client, "demo", DEMO_PODS)
        idle = docker.count()
        await asyncio.sleep(SETTLE_S)
        await _idle(daemons)
        for count in COUNTS:
            before = daemons.used()
            took = await _start(client, "bench", count)
            used = daemons.used().since(before)
            _print("Mizzen, apply of a Deployment", count, took, bare[count])
            _print_share(used, count)
            if count == COUNTS[-1]:
                daemons.print_memory(f"with {count + DEMO_PODS} pods")
            await client.delete(kinds.DEPLOYMENT, "default", "bench")
            await asyncio.to_thread(wait_for, "the pods to go", lambda: docker.count() == idle, WAIT_S)
        daemons.print_memory("afterwards")
    for machine, name in ((lab.machine(1), cluster.AGENT), (lab.server, cluster.SERVER)):
        machine.stop(name)
    docker.remove_all()


async def _idle(daemons: Daemons) -> None:
    before = daemons.used()
    await asyncio.sleep(IDLE_S)
    used = daemons.used().since(before)
    shares = (f"{name} {100 * cpu / IDLE_S:.1f} %" for name, cpu in vars(used).items() if name != "machine")
    report.row(f"CPU idle, {DEMO_PODS} pods with readiness probes", *shares)
    daemons.print_memory("idle")


async def _start(client: Client, name: str, count: int) -> float:
    """Apply a Deployment and return after how many seconds all its pods are Running."""
    since = (await client.list(kinds.POD, "default")).resource_version
    began = time.perf_counter()
    await client.apply(_deployment(name, count))
    running: set[str] = set()
    async with asyncio.timeout(WAIT_S), aclosing(client.watch(kinds.POD, "default", resource_version=since)) as events:
        async for event in events:
            pod = event.object
            if pod.metadata.labels.get("app") == name and pod.status.phase == "Running":
                running.add(pod.metadata.name)
            if len(running) == count:
                break
    return time.perf_counter() - began


def _deployment(name: str, replicas: int) -> apps_v1.Deployment:
    labels = {"app": name}
    container = core_v1.Container(name="app", image=IMAGE, command=COMMAND)
    if name == "demo":
        probe = core_v1.Probe(http_get=core_v1.HTTPGetAction(path="/", port=8080), period_seconds=2)
        container = core_v1.Container(name="app", image=IMAGE, readiness_probe=probe)
    spec = core_v1.PodSpec(containers=(container,), termination_grace_period_seconds=1)
    template = core_v1.PodTemplateSpec(metadata=meta_v1.ObjectMeta(labels=labels), spec=spec)
    selector = meta_v1.LabelSelector(match_labels=labels)
    return apps_v1.Deployment(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default"),
        spec=apps_v1.DeploymentSpec(replicas=replicas, selector=selector, template=template),
    )


def _print(what: str, count: int, took_s: float, bare_s: float) -> None:
    rate, ratio = f"{count / took_s:.1f} /s", f"{took_s / bare_s:.2f} x bare Docker"
    report.row(f"{what}, {count}", f"{took_s:.1f} s", rate, ratio if took_s != bare_s else "")


def _print_share(used: Used, count: int) -> None:
    ours = used.server + used.etcd + used.agent
    everything = used.server + used.etcd + used.machine
    share = 100 * ours / everything
    parts = [f"{name} {1000 * cpu / count:.1f} ms" for name, cpu in vars(used).items()]
    report.row(f"  CPU a pod, {count}", *parts)
    report.row(
        "  control plane and agent",
        f"{share:.0f} % of all CPU",
        report.target(share < SHARE_PERCENT, f"< {SHARE_PERCENT} %"),
    )


def _pid(machine: Machine, service: str) -> int:
    pid = machine.pid(service)
    if pid is None:
        raise RuntimeError(f"{service} does not run")
    return pid


if __name__ == "__main__":
    main()
