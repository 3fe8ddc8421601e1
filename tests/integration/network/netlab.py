"""Small machines for network tests: namespaces on a virtual switch, each with an agent's side and pods.

Nothing is made in the root network namespace: links are created inside the namespaces they belong to. Tests reach into
a namespace by opening a socket there from a thread of its own; the socket stays in it wherever it is used later.

Machines 1 and 2 share an L2 (10.77.0.0/24); machine 3 is behind a router (10.78.0.0/24). `outside` is a plain host on
the first L2 that knows nothing of pods or services.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_CLONE_NEWNET = 0x40000000
_ROOT = Path(__file__).resolve().parents[3]
_ANSWER_S = 30.0
CLUSTER_CIDR, SERVICE_CIDR, CLUSTER_DNS = "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10"


def ip(command: str) -> str:
    """Run one `ip` command."""
    return run(["ip", *command.split()])


def run(command: Sequence[str], check: bool = True) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def inside(netns: str, work: Callable[[], _Result]) -> _Result:
    """Do something in a thread that is in the namespace; sockets opened there stay there."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def visit() -> None:
        try:
            with Path("/run/netns", netns).open("rb") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {netns}")
            results.append(work())
        except BaseException as error:
            errors.append(error)

    visitor = threading.Thread(target=visit)
    visitor.start()
    visitor.join()
    if errors:
        raise errors[0]
    return results[0]


def ask_tcp(netns: str, address: str, port: int, timeout: float = 3.0) -> str:
    """Connect from the namespace and return what the server says; OSError when nobody answers."""
    client = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    with client:
        client.settimeout(timeout)
        client.connect((address, port))
        return client.recv(100).decode()


def ask_udp(netns: str, address: str, port: int, data: bytes = b"?", timeout: float = 3.0) -> bytes:
    """Send one datagram from the namespace and return the answer; OSError when none comes."""
    client = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with client:
        client.settimeout(timeout)
        client.connect((address, port))
        client.send(data)
        return client.recv(65535)


def entering(netns: str) -> list[str]:
    """The start of a command line that is to run in the namespace."""
    return ["nsenter", f"--net=/run/netns/{netns}"]


class Servers:
    """Answers on sockets in other namespaces with `name client-address`, all from one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def serve(self, netns: str, name: str, port: int) -> None:
        """Answer TCP and UDP on all addresses of the namespace."""
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            opened = inside(netns, lambda kind=kind: socket.socket(socket.AF_INET, kind))  # type: ignore[misc]
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(("0.0.0.0", port))
            if kind == socket.SOCK_STREAM:
                opened.listen(64)
            with self._lock:
                self._sockets.append(opened)
                self._selector.register(opened, selectors.EVENT_READ, name)

    def close(self) -> None:
        """Stop answering."""
        self._ended.set()
        self._thread.join()
        self._selector.close()
        for opened in self._sockets:
            opened.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(timeout=0.05):
                opened = key.fileobj
                assert isinstance(opened, socket.socket)
                if opened.type == socket.SOCK_STREAM:
                    connection, peer = opened.accept()
                    with connection:
                        connection.sendall(f"{key.data} {peer[0]}".encode())
                else:
                    _, peer = opened.recvfrom(65535)
                    opened.sendto(f"{key.data} {peer[0]}".encode(), peer)


class AgentSide:
    """The process that runs the node's network in a machine."""

    def __init__(self, enter: Sequence[str]) -> None:
        """Start it by a command line that goes to the machine."""
        command = [*enter, sys.executable, str(Path(__file__).with_name("agent_side.py"))]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT, env=environment
        )

    def call(self, name: str, **args: Any) -> Any:
        """Run one command; AssertionError with the network's error when it fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"call": name, "args": args}).encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], _ANSWER_S)[0]:
            raise AssertionError(f"{name} has not ended after {_ANSWER_S} s")
        answer = json.loads(self._process.stdout.readline() or b'{"error": "the process has ended"}')
        if "error" in answer:
            raise AssertionError(f"{name}: {answer.get('kind')}: {answer['error']}")
        return answer["result"]

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()


@dataclass
class Machine:
    """A node: its namespace, its address, its share of the pod network."""

    name: str
    netns: str
    address: str
    pod_cidr: str
    agent: AgentSide
    pods: int = 0

    def config(self, **changes: Any) -> dict[str, Any]:
        """The network's settings for this machine."""
        base = {
            "node_ip": self.address,
            "pod_cidr": self.pod_cidr,
            "cluster_cidr": CLUSTER_CIDR,
            "service_cidrs": (SERVICE_CIDR,),
            "cluster_dns": CLUSTER_DNS,
            "verify_every_s": 1,
        }
        return base | changes

    def start(self, **changes: Any) -> None:
        """Start the network there."""
        self.agent.call("start", node=self.name, config=self.config(**changes))

    def crash(self) -> None:
        """Kill the agent's side and put a new one in its place, not started."""
        self.agent.kill()
        self.agent = AgentSide(entering(self.netns))

    def sh(self, command: str) -> str:
        """Run a command there."""
        return run([*entering(self.netns), "sh", "-c", command])


@dataclass(frozen=True)
class Pod:
    """A namespace with an address of the pod network."""

    uid: str
    netns: str
    ip: str
    machine: Machine


@dataclass
class NetLab:
    """The switch, the router, the machines, and everything to be removed at the end."""

    prefix: str = field(default_factory=lambda: f"mzt{os.getpid()}-{time.monotonic_ns() % 10000}")
    machines: list[Machine] = field(default_factory=list)
    servers: Servers = field(default_factory=Servers)
    _spaces: list[str] = field(default_factory=list)

    @property
    def outside(self) -> str:
        """The namespace of the plain host, 10.77.0.100."""
        return f"{self.prefix}-outside"

    def up(self, machines: int) -> None:
        """Build everything; agents run but are not started."""
        switch = self._space("switch")
        for number in (0, 1):
            ip(f"-n {switch} link add br{number} type bridge")
            ip(f"-n {switch} addr add 10.7{7 + number}.0.254/24 dev br{number}")
            ip(f"-n {switch} link set br{number} up")
        run(["ip", "netns", "exec", switch, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0"])
        run(["ip", "netns", "exec", switch, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"], check=False)
        self._plug(self._space("outside"), "10.77.0.100", 100)
        for number in range(1, machines + 1):
            netns = self._space(f"node{number}")
            address = f"10.7{8 if number == 3 else 7}.0.{number}"
            self._plug(netns, address, number)
            self.machines.append(
                Machine(f"node{number}", netns, address, f"10.244.{number}.0/24", AgentSide(entering(netns)))
            )

    def down(self) -> None:
        """Remove everything."""
        self.servers.close()
        for machine in self.machines:
            machine.agent.kill()
        for netns in reversed(self._spaces):
            run(["ip", "netns", "del", netns], check=False)

    def start(self, **changes: Any) -> None:
        """Start the network on all machines and introduce them to each other."""
        for machine in self.machines:
            machine.start(**changes)
        self.introduce(self.machines)

    def introduce(self, known: Sequence[Machine]) -> None:
        """Tell all machines about these nodes."""
        nodes = [{"name": m.name, "node_ip": m.address, "pod_cidr": m.pod_cidr} for m in known]
        for machine in self.machines:
            machine.agent.call("routes", nodes=nodes)

    def pod(self, machine: Machine, port: int = 8080) -> Pod:
        """Attach a new pod that answers on the port with its address and its client's."""
        return self.pods(machine, 1, port)[0]

    def pods(self, machine: Machine, count: int, port: int = 8080) -> list[Pod]:
        """Attach several at once."""
        made: list[Pod] = []
        for _ in range(count):
            machine.pods += 1
            uid = f"uid-{machine.name}-{machine.pods}"
            address = machine.pod_cidr.replace("0/24", str(machine.pods + 1))
            made.append(Pod(uid, self._space(f"{machine.name}-pod{machine.pods}"), address, machine))
        machine.agent.call("attach", pods=[attachment(pod) for pod in made])
        for pod in made:
            self.servers.serve(pod.netns, pod.ip, port)
        return made

    def services(self, services: Sequence[Mapping[str, Any]], slices: Sequence[Mapping[str, Any]]) -> None:
        """Have exactly these services on all machines."""
        for machine in self.machines:
            machine.agent.call("services", services=list(services), slices=list(slices), host_ports=[])

    def _space(self, name: str) -> str:
        netns = f"{self.prefix}-{name}"
        ip(f"netns add {netns}")
        self._spaces.append(netns)
        ip(f"-n {netns} link set lo up") if "pod" not in name else None
        return netns

    def _plug(self, netns: str, address: str, number: int) -> None:
        switch = f"{self.prefix}-switch"
        bridge = 0 if address.startswith("10.77.") else 1
        ip(f"link add eth0 netns {netns} type veth peer name p{number} netns {switch}")
        ip(f"-n {switch} link set p{number} master br{bridge}")
        ip(f"-n {switch} link set p{number} up")
        ip(f"-n {netns} addr add {address}/24 dev eth0")
        ip(f"-n {netns} link set eth0 up")
        ip(f"-n {netns} route add default via 10.7{7 + bridge}.0.254")


def attachment(pod: Pod) -> dict[str, str]:
    """The arguments of an attach call."""
    return {
        "pod_uid": pod.uid,
        "namespace": "default",
        "name": pod.uid,
        "netns": f"/run/netns/{pod.netns}",
        "ip": pod.ip,
    }


def service(name: str, cluster_ip: str, *ports: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A Service in JSON."""
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": cluster_ip, "type": "ClusterIP", "ports": list(ports), **spec},
    }


def endpoints(name: str, port: int, *pods: Pod, protocol: str = "TCP", port_name: str = "") -> dict[str, Any]:
    """The EndpointSlice of a service, with the pods ready."""
    return {
        "metadata": {
            "name": f"{name}-{protocol.lower()}",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": port_name, "port": port, "protocol": protocol}],
        "endpoints": [
            {"addresses": [pod.ip], "conditions": {"ready": True}, "nodeName": pod.machine.name} for pod in pods
        ],
    }


def eventually(check: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + within_s
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        threading.Event().wait(0.02)
