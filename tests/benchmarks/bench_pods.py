"""From `apply` to Running on one real node, beside bare Docker and Docker Swarm; and what the daemons use meanwhile.

Run: python -m tests.benchmarks.bench_pods, as root. It makes a lab of one control plane and one machine in a
temporary folder and takes it down. All figures are cold: nothing is made before it is asked for. The peers run on the
same Engine, one after the other.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from deploy.lab import Lab, LabError, Machine, cluster
from deploy.lab.lab import require_root_and_tools
from deploy.lab.machine import DOCKERD
from deploy.shell import wait_for
from mizzen.api import kinds
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.client import Client, Event, config
from tests.benchmarks import accounts, report
from tests.benchmarks.docker_peers import AT_ONCE, COMMAND, IMAGE, WAIT_S, Docker, swarm

COUNTS = (20, 60)
DEMO_PODS = 3
SETTLE_S, IDLE_S = 4, 15
SERVER_MB, AGENT_MB, SHARE_PERCENT = 150, 80, 10
FASTER_THAN_SWARM = 1.2


@dataclass(frozen=True)
class Used:
    """CPU seconds so far."""

    server: float
    etcd: float
    agent: float
    machine: float
    """Everything on the node: the agent, Docker Engine, the containers' starts."""

    @property
    def everything(self) -> float:
        """Of control plane and node."""
        return self.server + self.etcd + self.machine

    def since(self, before: Used) -> Used:
        """The difference."""
        return Used(
            self.server - before.server,
            self.etcd - before.etcd,
            self.agent - before.agent,
            self.machine - before.machine,
        )


@dataclass(frozen=True)
class Took:
    """What starting some pods took."""

    seconds: float
    cpu_s: float
    """Of everybody who had to do with it."""


Starts = dict[int, Took]
"""By how many pods were started."""


class Daemons:
    """The processes of a running cluster."""

    def __init__(self, lab: Lab) -> None:
        self.server, self.agent = _pid(lab.server, cluster.SERVER), _pid(lab.machine(1), cluster.AGENT)
        self.etcd = accounts.children(self.server)
        self._machine = accounts.machine_group(self.agent)

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
    report.section("Pods on one machine, cold: seconds until all run")
    try:
        require_root_and_tools()
    except LabError as error:
        report.skip("pods", str(error))
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder, Lab(Path(folder)) as lab:
        # Swarm refuses an Engine that keeps its containers through a restart of its own.
        lab.up(nodes=1, dockerd=["--live-restore=false"])
        machine = lab.machine(1)
        docker = Docker(machine, lab.folder)
        before = _bare(machine, docker)
        ours = asyncio.run(_mizzen(lab, docker))
        after = _bare(machine, docker)
        bare = {count: min(before[count], after[count], key=lambda took: took.seconds) for count in COUNTS}
        for count in COUNTS:
            seconds, cpu = ours[count].seconds / bare[count].seconds, ours[count].cpu_s / bare[count].cpu_s
            report.row(f"Mizzen beside bare Docker, {count}", f"{seconds:.2f} x the time", f"{cpu:.2f} x the CPU")
        _swarm(machine, "overlay", COUNTS, ours)
        _swarm(machine, "bridge", COUNTS[:1], ours)


def _bare(machine: Machine, docker: Docker) -> Starts:
    docker.start_pods(1)
    docker.remove_all()
    starts = {}
    for count in COUNTS:
        starts[count] = _metered(machine, docker.start_pods, count)
        _print(f"bare Docker, create and start, {AT_ONCE} at once", count, starts[count])
        docker.remove_all()
    return starts


def _swarm(machine: Machine, network: str, counts: Sequence[int], ours: Starts) -> None:
    with swarm(machine, network) as service:
        for count in counts:
            took = _metered(machine, service.scale, count)
            ratio = took.seconds / ours[count].seconds
            figures = [f"Mizzen {ratio:.1f} x as fast"]
            if network == "overlay":  # what pods have: an address that other machines reach
                figures.append(report.target(ratio >= FASTER_THAN_SWARM, f">= {FASTER_THAN_SWARM} x"))
            _print(f"Docker Swarm, service scale, {network} network", count, took, *figures)
            if count != counts[-1]:
                service.scale(0)
                wait_for("the tasks to go", lambda: not machine.docker("ps", "-aq"), WAIT_S)


def _metered(machine: Machine, start: Callable[[int], float], count: int) -> Took:
    """Start so many pods on a machine without Mizzen; `start` gives the seconds it took."""
    group = accounts.machine_group(_pid(machine, DOCKERD))
    before = accounts.group_cpu_s(group)
    seconds = start(count)
    return Took(seconds, accounts.group_cpu_s(group) - before)


async def _mizzen(lab: Lab, docker: Docker) -> Starts:
    kubeconfig = cluster.start(lab)
    starts = {}
    async with Client(config.load(kubeconfig)) as client:
        daemons = Daemons(lab)
        await _start(client, "demo", DEMO_PODS)
        await asyncio.sleep(SETTLE_S)
        await _idle(daemons)
        for count in COUNTS:
            before = daemons.used()
            seconds = await _start(client, "bench", count)
            used = daemons.used().since(before)
            starts[count] = Took(seconds, used.everything)
            _print("Mizzen, apply of a Deployment", count, starts[count])
            _print_share(used, count, seconds)
            if count == COUNTS[-1]:
                daemons.print_memory(f"with {count + DEMO_PODS} pods")
            await _stop(client, "bench", count)
        daemons.print_memory("afterwards")
    for machine, name in ((lab.machine(1), cluster.AGENT), (lab.server, cluster.SERVER)):
        machine.stop(name)
    docker.remove_all()
    return starts


async def _idle(daemons: Daemons) -> None:
    before = daemons.used()
    await asyncio.sleep(IDLE_S)
    _print_cpu(f"CPU idle, {DEMO_PODS} pods with readiness probes", daemons.used().since(before), IDLE_S)
    daemons.print_memory("idle")


async def _start(client: Client, name: str, count: int) -> float:
    """Apply a Deployment and return after how many seconds all its pods are Running."""
    since = (await client.list(kinds.POD, "default")).resource_version
    began = time.perf_counter()
    await client.apply(_deployment(name, count))
    await _until(client, name, count, since, lambda event: event.object.status.phase == "Running")
    return time.perf_counter() - began


async def _stop(client: Client, name: str, count: int) -> None:
    """Delete a Deployment and return when its pods are gone."""
    since = (await client.list(kinds.POD, "default")).resource_version
    await client.delete(kinds.DEPLOYMENT, "default", name)
    await _until(client, name, count, since, lambda event: event.type == "DELETED")


async def _until(client: Client, name: str, count: int, since: str, met: Callable[[Event[core_v1.Pod]], bool]) -> None:
    """Return when so many pods of a Deployment have had an event that meets the condition."""
    seen: set[str] = set()
    async with asyncio.timeout(WAIT_S), aclosing(client.watch(kinds.POD, "default", resource_version=since)) as events:
        async for event in events:
            if event.object.metadata.labels.get("app") == name and met(event):
                seen.add(event.object.metadata.name)
            if len(seen) == count:
                return
    raise RuntimeError(f"the watch ended with {len(seen)} of {count} pods")


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


def _print(what: str, count: int, took: Took, *more: str) -> None:
    cpu = f"{1000 * took.cpu_s / count:.0f} ms CPU a pod"
    report.row(f"{what}, {count}", f"{took.seconds:.1f} s", f"{count / took.seconds:.1f} /s", cpu, *more)


def _print_cpu(what: str, used: Used, took_s: float) -> None:
    daemons = (("server", used.server), ("etcd", used.etcd), ("agent", used.agent))
    report.row(what, *(f"{name} {100 * cpu / took_s:.1f} % of a core" for name, cpu in daemons))


def _print_share(used: Used, count: int, took_s: float) -> None:
    _print_cpu(f"  CPU while {count} pods start", used, took_s)
    report.row(f"  CPU a pod, {count}", *(f"{name} {1000 * cpu / count:.1f} ms" for name, cpu in vars(used).items()))
    for who, cpu in (("control plane, server and etcd", used.server + used.etcd), ("agent", used.agent)):
        share = 100 * cpu / used.everything
        report.row(
            f"  {who}, {count}",
            f"{share:.1f} % of all CPU",
            report.target(share < SHARE_PERCENT, f"< {SHARE_PERCENT} %"),
        )


def _pid(machine: Machine, service: str) -> int:
    pid = machine.pid(service)
    if pid is None:
        raise RuntimeError(f"{service} does not run")
    return pid


if __name__ == "__main__":
    report.part(main)
