"""Beside a Docker Engine that filters forwarded packets, for containers that it gave no network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.docker_machine import DockerMachine
from tests.integration.network.netlab import CLUSTER_CIDR, CLUSTER_DNS, SERVICE_CIDR, AgentSide, run

pytestmark = [pytest.mark.docker, pytest.mark.lab]

NODE = "10.79.0.1"
SETUP = f"""
sysctl -qw net.ipv4.ip_forward=0
ip link add eth0 type veth peer name wire
ip addr add {NODE}/24 dev eth0
ip link set eth0 up
ip link set wire up
"""


@pytest.fixture
def machine() -> Iterator[DockerMachine]:
    """An engine with Docker's own rules (its FORWARD policy is DROP) on a machine without a default route."""
    made = DockerMachine(["--iptables=true", "--ip-forward=true"])
    try:
        made.boot()
        run(made.inside("sh", "-c", SETUP))
        made.start_dockerd()
        yield made
    finally:
        made.remove()


@pytest.fixture
def docker(machine: DockerMachine) -> Callable[..., str]:
    """Docker's command line for that engine, with an image `pod` that has a web server."""

    def call(*args: str, data: bytes | None = None) -> str:
        environment = {**os.environ, "DOCKER_HOST": machine.url}
        done = subprocess.run(
            ["docker", *args], input=data, capture_output=True, timeout=60, env=environment, check=True
        )
        return done.stdout.decode().strip()

    busybox = Path("/bin/busybox").resolve()
    image = run_bytes(["tar", "-c", "--transform=s,.*,bin/busybox,", "-C", "/", str(busybox).lstrip("/")])
    call("import", "-", "pod", data=image)
    return call


def run_bytes(command: list[str]) -> bytes:
    """A command's output."""
    return subprocess.run(command, capture_output=True, timeout=30, check=True).stdout


def fetch(machine: DockerMachine, host: str, pid: str = "1") -> str:
    """The page at a host, as seen from the network of a process of the machine."""
    code = f"import urllib.request as r; print(r.urlopen('http://{host}/', timeout=3).read().decode())"
    return run(machine.inside("nsenter", "-t", pid, "-n", sys.executable, "-c", code)).strip()


def lookup(machine: DockerMachine, name: str, pid: str) -> str:
    """The address of a name, as the cluster's DNS says to a process of the machine."""
    code = f"from dnslib import DNSRecord as R; print(R.parse(R.question('{name}').send('{CLUSTER_DNS}')).short())"
    return run(machine.inside("nsenter", "-t", pid, "-n", sys.executable, "-c", code)).strip()


def test_pods_of_docker(machine: DockerMachine, docker: Callable[..., str]) -> None:
    """Pods, a service, its DNS name and the node reach each other through Docker's firewall; Docker's rules stay."""
    before = run(machine.inside("iptables", "-S"))
    assert "-P FORWARD DROP" in before
    agent = AgentSide(machine.inside())
    try:
        config = {
            "node_ip": NODE,
            "pod_cidr": "10.244.1.0/24",
            "cluster_cidr": CLUSTER_CIDR,
            "service_cidrs": (SERVICE_CIDR,),
            "cluster_dns": CLUSTER_DNS,
        }
        agent.call("start", node="node1", config=config)
        agent.call("routes", nodes=[])
        pids: list[str] = []
        for number in (2, 3):
            command = f"echo pod{number} >/index.html; exec /bin/busybox httpd -f -p 8080 -h /"
            docker("run", "-d", "--network=none", f"--name=pod{number}", "pod", "/bin/busybox", "sh", "-c", command)
            pid = docker("inspect", "-f", "{{.State.Pid}}", f"pod{number}")
            pod = {"pod_uid": f"uid{number}", "namespace": "default", "name": f"pod{number}"}
            pids.append(pid)
            agent.call("attach", pods=[pod | {"netns": f"/proc/{pid}/ns/net", "ip": f"10.244.1.{number}"}])
        agent.call("services", services=[SERVICE], slices=[SLICE], host_ports=[])

        for pid in pids:
            assert fetch(machine, "10.244.1.3:8080", pid) == "pod3"
            assert fetch(machine, "10.96.7.1", pid) == "pod3"
            assert lookup(machine, "web.default.svc.cluster.local", pid) == "10.96.7.1"
        assert fetch(machine, "10.96.7.1") == "pod3"
        agent.call("stop", remove=True)
        assert run(machine.inside("iptables", "-S")) == before
    finally:
        agent.kill()


SERVICE = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"clusterIP": "10.96.7.1", "ports": [{"port": 80, "protocol": "TCP"}]},
}
SLICE = {
    "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "ports": [{"port": 8080, "protocol": "TCP"}],
    "endpoints": [{"addresses": ["10.244.1.3"], "nodeName": "node1"}],
}
