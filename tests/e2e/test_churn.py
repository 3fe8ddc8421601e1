"""Many pods come and go while containers, sandboxes and agents are killed and engines restart; nothing stays.

A short run is a part of all tests; the long one of 2,000 pods takes about a quarter of an hour:

    MIZZEN_CHURN=2000 pytest tests/e2e/test_churn.py
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from deploy.lab import Machine
from deploy.lab.cluster import AGENT
from deploy.lab.machine import DOCKERD
from deploy.shell import wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.manifests import Manifest, pod, shell

PODS = int(os.environ.get("MIZZEN_CHURN", "90"))
SEED = int(os.environ.get("MIZZEN_CHURN_SEED", "1"))
WAVE = 45 if PODS < 500 else 90
GONE_S = 120

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180 + 2 * PODS)]


def test_nothing_stays_behind(cluster: Cluster, kubectl: Kubectl, figure: Callable[[str], None]) -> None:
    """What a namespace leaves on the machines is looked at when the test is over: see `traces`."""
    random, kills, began, made = Random(SEED), Counter[str](), time.monotonic(), 0
    while made < PODS:
        names = [f"p{made + number}" for number in range(min(WAVE, PODS - made))]
        kubectl.apply(*(churned(name, number, cluster) for number, name in enumerate(names)))
        made += len(names)
        # Some waves are ended while they come up, some when all of it runs.
        share = random.choice((0.2, 0.6, 1.0))
        for machine in cluster.nodes:
            kills[kill_something(machine, kubectl.namespace, random)] += 1
        enough, whole = int(len(names) * share), len(names)
        wait_for("pods to run", lambda n=enough: running(kubectl) >= n, GONE_S)
        for machine in cluster.nodes:
            kills[kill_something(machine, kubectl.namespace, random)] += 1
        if share == 1.0:
            # What an engine is just starting when it has to end, it does not know when it is back.
            wait_for("all to run again", lambda n=whole: running(kubectl) == n, GONE_S)
            restart_engine(random.choice(cluster.nodes))
            kills["engines"] += 1
        kubectl("delete", "pod", "--all", "--grace-period=1", "--wait=false")
        kills[kill_something(random.choice(cluster.nodes), kubectl.namespace, random)] += 1
        wait_for("all pods to go", lambda: not kubectl("get", "pods", "-o", "name").split(), GONE_S)
    took = time.monotonic() - began
    killed = ", ".join(f"{count} {what}" for what, count in sorted(kills.items()))
    figure(f"{made} pods came and went in {took:.0f} s ({made / took:.1f}/s); meanwhile: {killed}")


def churned(name: str, number: int, cluster: Cluster) -> Manifest:
    """A pod with something of everything that a pod leaves on a machine."""
    ports = [{"containerPort": 80, "hostPort": 20_000 + number}] if number % 3 == 0 else []
    mounts = [{"name": "ram", "mountPath": "/ram"}, {"name": "ram", "mountPath": "/part", "subPath": "part"}]
    return pod(
        name,
        shell(ports=ports, volumeMounts=mounts),
        nodeName=cluster.nodes[number % len(cluster.nodes)].name,
        volumes=[{"name": "ram", "emptyDir": {"medium": "Memory"}}],
    )


def running(kubectl: Kubectl) -> int:
    """How many pods run."""
    path = "jsonpath={range .items[*]}{.status.phase} {end}"
    return kubectl("get", "pods", "-o", path).split().count("Running")


def kill_something(machine: Machine, namespace: str, random: Random) -> str:
    """Kill one thing of a machine, and start again what only an operator starts; says what."""
    what = random.choice(("agents", "agents", "containers", "containers", "sandboxes"))
    if what == "agents":
        machine.kill(AGENT)
        machine.start(AGENT)
    else:
        kind = what.removesuffix("es" if what == "sandboxes" else "s")
        filters = ("-f", f"label=mizzen.dev/pod-namespace={namespace}", "-f", f"label=mizzen.dev/type={kind}")
        ids = machine.docker("ps", "-q", *filters).split()
        if not ids:
            return "nothing"
        machine.docker("kill", random.choice(ids), check=False)
    return what


def restart_engine(machine: Machine) -> None:
    """Its containers go on meanwhile."""
    machine.stop(DOCKERD)
    machine.start(DOCKERD)
    machine.wait_for_docker()
