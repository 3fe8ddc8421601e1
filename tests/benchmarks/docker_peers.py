"""The peers that Mizzen's pod starts are held against: bare Docker, and Docker Swarm, on the same Engine.

`Docker.start_pods` makes pods by hand: the very requests that the node agent makes for a sandbox and for a container
that joins it, four pods at a time, without addresses, probes, or anybody who watches. `Docker.fill_ready` makes only
the containers: their sandboxes were ready before. `Swarm` scales a service.
"""

from __future__ import annotations

import http.client
import json
import platform
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.images import demo
from deploy.lab import Machine
from deploy.shell import wait_for
from nodeagent.runtime import archive, docker_specs
from nodeagent.runtime.values import ContainerSpec, PodRef, SandboxSpec

AT_ONCE = 4
IMAGE = "demo:v1"
COMMAND = ("sleep", "1000000")
API = "/v1.41"
WAIT_S = 180
"""How long many containers may take."""


@dataclass(frozen=True)
class Timed:
    """How long starts took, in seconds."""

    seconds: float
    """All together."""
    each: Sequence[float]


class Docker:
    """A machine's Engine without anything on top."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine = machine
        self._socket = str(machine.path("/run/docker.sock"))
        pause = folder / "pause.tar"
        pause.write_bytes(archive.pause_image(demo.ARCHITECTURES[platform.machine()])[1])
        for image in (pause, demo.build(folder)):
            machine.load_image(image)

    def start_pods(self, count: int) -> float:
        """Make and start a sandbox and a container for each pod; return how long it took in seconds."""
        return self.start_each(count, AT_ONCE).seconds

    def start_each(self, count: int, at_once: int) -> Timed:
        """The same for so many at once."""

        def start(number: int) -> None:
            self._fill(number, self._sandbox(number))

        return _timed(start, count, at_once)

    def fill_ready(self, count: int, at_once: int) -> Timed:
        """Make and start a container for each of so many pods whose sandboxes run already."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ready = list(pool.map(self._sandbox, range(count)))
        return _timed(lambda number: self._fill(number, ready[number]), count, at_once)

    def remove_all(self) -> None:
        """Remove every container."""
        if containers := self._machine.docker("ps", "-aq").split():
            self._machine.docker("rm", "-f", *containers, timeout_s=WAIT_S)

    def count(self) -> int:
        """How many containers there are."""
        return len(self._machine.docker("ps", "-aq").split())

    def _sandbox(self, number: int) -> str:
        return self._create(docker_specs.sandbox_body(SandboxSpec(pod=_ref(number)), 0))

    def _fill(self, number: int, sandbox: str) -> None:
        ref = _ref(number)
        container = ContainerSpec(pod=ref, name="app", attempt=0, sandbox_id=sandbox, image=IMAGE, command=COMMAND)
        self._create(docker_specs.container_body(container, 0))

    def _create(self, body: dict[str, Any]) -> str:
        """Create and start a container; return its id."""
        with closing(http.client.HTTPConnection("docker", timeout=WAIT_S)) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self._socket)
            made = _post(connection, "/containers/create", body)
            _post(connection, f"/containers/{made['Id']}/start")
        return str(made["Id"])


def _ref(number: int) -> PodRef:
    return PodRef(uid=f"uid-{number}", namespace="default", name=f"p{number}")


def _timed(start: Callable[[int], None], count: int, at_once: int) -> Timed:
    def one(number: int) -> float:
        began = time.perf_counter()
        start(number)
        return time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        each = list(pool.map(one, range(count)))
    return Timed(time.perf_counter() - began, each)


def _post(connection: http.client.HTTPConnection, path: str, body: Any = None) -> Any:
    connection.request("POST", API + path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status >= 400:
        raise RuntimeError(f"Docker refused {path}: {said.decode()}")
    return json.loads(said) if said else None


class Swarm:
    """One service of a swarm of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def scale(self, count: int) -> float:
        """Scale the service and return after how many seconds all its tasks ran."""
        began = time.perf_counter()
        self._machine.docker("service", "scale", "--detach", f"bench={count}")
        wait_for(f"{count} tasks", lambda: self._running() == count, WAIT_S)
        return time.perf_counter() - began

    def _running(self) -> int:
        listed = ("service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}}", "bench")
        return sum(state.startswith("Running") for state in self._machine.docker(*listed).splitlines())


@contextmanager
def swarm(machine: Machine, network: str) -> Iterator[Swarm]:
    """A swarm with a service of no replicas on `overlay` or `bridge`; both are gone afterwards."""
    docker = machine.docker
    docker("swarm", "init", "--advertise-addr", machine.address)
    # By its id: with a name Swarm asks a registry first.
    image = docker("image", "inspect", "--format", "{{.Id}}", IMAGE).strip()
    options = ["--endpoint-mode=dnsrr", "--restart-condition=none", "--stop-grace-period=0s", "--no-resolve-image"]
    if network == "overlay":
        docker("network", "create", "--driver", "overlay", "bench")
        options.append("--network=bench")
    try:
        docker("service", "create", "-q", "--detach", "--name=bench", "--replicas=0", *options, image, *COMMAND)
        yield Swarm(machine)
    finally:
        docker("service", "rm", "bench", check=False)
        wait_for("the tasks to go", lambda: not docker("ps", "-aq"), WAIT_S)
        docker("swarm", "leave", "--force", check=False)
