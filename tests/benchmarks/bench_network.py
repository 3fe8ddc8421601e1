"""The network: rules of services, names, the way between pods, and how fast a change reaches all nodes.

Run: python -m tests.benchmarks.bench_network, as root. The first three parts need no cluster: they run the node's
network in namespaces. The last one makes a lab of one control plane and three machines and takes it down.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from deploy.lab import Lab, LabError, Machine, cluster
from deploy.lab.lab import require_root_and_tools
from mizzen.api.types import core_v1, discovery_v1, meta_v1
from mizzen.client import Client, config
from nodeagent.network import message
from tests.benchmarks import network_paths as paths
from tests.benchmarks import report
from tests.benchmarks.network_paths import End
from tests.benchmarks.network_rules import percentile
from tests.e2e.network import on
from tests.integration.network.netlab import NetLab, endpoints, service

SERVICES, NAMES_PORT, WINDOW, NAMES_S, ROUNDS = 5_000, 15_353, 32, 2.0, 3
ANSWERS_PER_S = 10_000
STREAM_S, TRIPS, CONNECTING_S, TURNS = 0.7, 1_500, 0.7, 3
VIP, VIP_PORT, POD_PORT = "10.96.7.1", 80, 8080
MACHINES, CHANGES, LATE_MS, LOOK_S = 3, 150, 250, 0.002


def main() -> None:
    """Measure everything that needs root."""
    report.section("Network: rules of services, one endpoint of one service changes")
    try:
        require_root_and_tools()
    except LabError as error:
        report.skip("network", str(error))
    subprocess.run(["unshare", "-n", sys.executable, "-m", "tests.benchmarks.network_rules"], check=True)
    report.section(f"Network: names of {SERVICES:,} services, one process asks with {WINDOW} questions under way")
    names()
    report.section("Network: one TCP stream, round trips of one byte, connections")
    ways()
    report.section(f"Network: from the change of an endpoint to the rules of {MACHINES} machines")
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder, Lab(Path(folder)) as lab:
        lab.up(nodes=MACHINES)
        kubeconfig = cluster.start(lab)
        asyncio.run(changes(lab, kubeconfig))


# ------------------------------------------------------------------------------------------------------------- names


def names() -> None:
    """Answers per second, and how long they take, in the best of some rounds."""
    command = [sys.executable, "-m", "tests.benchmarks.network_names", str(NAMES_PORT), str(SERVICES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            rounds = [asked(NAMES_S) for _ in range(ROUNDS)]
        finally:
            server.kill()
    rate, late_ms = max(rounds)
    spread = report.spread([one for one, _ in rounds])
    met = report.target(rate >= ANSWERS_PER_S, f">= {ANSWERS_PER_S:,}/s")
    report.row("answers of a node", f"{rate:,.0f}/s", f"p99 {late_ms:.2f} ms", spread, met)


def asked(seconds: float) -> tuple[float, float]:
    """Answers per second, and the milliseconds that 99 of 100 take at most."""
    queries = [message.question_of(f"s{number}.default.svc.cluster.local", 1)[2:] for number in range(SERVICES)]
    sent: dict[int, float] = {}
    took: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", NAMES_PORT))

        def ask(number: int) -> None:
            sent[number & 0xFFFF] = time.perf_counter()
            client.send(struct.pack("!H", number & 0xFFFF) + queries[number % SERVICES])

        for number in range(WINDOW):
            ask(number)
        number, began = WINDOW, time.perf_counter()
        while time.perf_counter() - began < seconds:
            reply = client.recv(2048)
            took.append((time.perf_counter() - sent[reply[0] << 8 | reply[1]]) * 1000)
            ask(number)
            number += 1
        return len(took) / (time.perf_counter() - began), percentile(took, 0.99)


# -------------------------------------------------------------------------------------------------------------- ways


def ways() -> None:
    """Between pods, beside two namespaces with nothing between them; in turns, of which the best counts."""
    with ExitStack() as stack:
        bare = stack.enter_context(paths.bare_veth(f"mzb{secrets.token_hex(2)}"))
        routed, tunnelled = (stack.enter_context(netlab(overlay)) for overlay in ("auto", "always"))
        one, same = (End(pod.netns, pod.ip) for pod in routed.pods(routed.machines[0], 2))
        other = End((far := routed.pod(routed.machines[1])).netns, far.ip)
        tunnel = [End(pod.netns, pod.ip) for pod in (tunnelled.pod(machine) for machine in tunnelled.machines)]
        measured = {
            "bare veth pair": bare,
            "pods of one machine": (one, same),
            "pods of two machines, routes": (one, other),
            "pods of two machines, VXLAN": (tunnel[0], tunnel[1]),
        }
        rates = {name: best(lambda pair=pair: paths.gigabits(*pair, STREAM_S)) for name, pair in measured.items()}
        trips = {name: paths.round_trips_us(*pair, TRIPS) for name, pair in measured.items()}
        for name in measured:
            share = f"{rates[name] / rates['bare veth pair']:.2f} x bare"
            late = f"p50 {percentile(trips[name], 0.5):.0f} us, p99 {percentile(trips[name], 0.99):.0f} us"
            report.row(name, f"{rates[name]:.1f} Gbit/s", share, late)
        routed.services([service("web", VIP, {"port": VIP_PORT, "protocol": "TCP"})], [endpoints("web", POD_PORT, far)])
        direct, through = 0.0, 0.0
        for _ in range(TURNS):
            direct = max(direct, paths.connections(one, other.ip, POD_PORT, CONNECTING_S))
            through = max(through, paths.connections(one, VIP, VIP_PORT, CONNECTING_S))
        report.row("connections to a pod's own address", f"{direct:,.0f}/s")
        report.row("connections to a cluster IP", f"{through:,.0f}/s", f"{through / direct:.2f} x direct")


@contextmanager
def netlab(overlay: str) -> Iterator[NetLab]:
    """Two machines whose pods reach each other by plain routes (auto) or always by the tunnel."""
    lab = NetLab()
    try:
        lab.up(2)
        lab.start(overlay=overlay)
        yield lab
    finally:
        lab.down()


def best(measure: Callable[[], float]) -> float:
    """The largest of some turns."""
    return max(measure() for _ in range(TURNS))


# ----------------------------------------------------------------------------------------------------------- changes


async def changes(lab: Lab, kubeconfig: Path) -> None:
    """An endpoint of a service without a selector becomes another one, again and again; every machine connects."""
    slots = [Answering(lab.server, port) for port in (9001, 9002)]
    async with Client(config.load(kubeconfig)) as client:
        web = core_v1.Service(
            metadata=meta_v1.ObjectMeta(name="flip", namespace="default"),
            spec=core_v1.ServiceSpec(ports=(core_v1.ServicePort(port=80),)),
        )
        address = (await client.create(web)).spec.cluster_ip
        piece = await client.create(led_to(lab.server.address, slots[0].port))
        lookers = [Looking(machine, address) for machine in lab.nodes]
        try:
            took: list[float] = []
            for turn in range(1, CHANGES + 1):
                wanted = slots[turn % 2].port
                ports = led_to(lab.server.address, wanted).ports
                began = time.perf_counter()
                piece = await client.update(msgspec.structs.replace(piece, ports=ports))
                seen = await asyncio.gather(*(asyncio.to_thread(one.wait_for, wanted) for one in lookers))
                took.append((max(seen) - began) * 1000)
                await asyncio.sleep(0.15)
        finally:
            for looker in lookers:
                looker.end()
            for slot in slots:
                slot.close()
    # The first ones find connections and caches that are cold.
    late = percentile(took[5:], 0.99)
    met = report.target(late < LATE_MS, f"p99 < {LATE_MS} ms")
    report.row(
        "all machines connect to the new endpoint", f"p50 {percentile(took[5:], 0.5):.0f} ms", f"p99 {late:.0f} ms", met
    )


def led_to(ip: str, port: int) -> discovery_v1.EndpointSlice:
    """The service's slice with one endpoint."""
    metadata = meta_v1.ObjectMeta(name="flip-1", namespace="default", labels={"kubernetes.io/service-name": "flip"})
    return discovery_v1.EndpointSlice(
        metadata=metadata,
        address_type="IPv4",
        endpoints=(discovery_v1.Endpoint(addresses=(ip,)),),
        ports=(discovery_v1.EndpointPort(name="", port=port, protocol="TCP"),),
    )


class Answering:
    """A machine's port that says its number to whoever connects."""

    def __init__(self, machine: Machine, port: int) -> None:
        self.port = port
        self._listener = on(machine, lambda: socket.create_server((machine.address, port), backlog=128))
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.sendall(str(self.port).encode())

    def close(self) -> None:
        """Answer no more."""
        self._listener.close()


class Looking:
    """A machine that connects to a service all the time and notes who has answered."""

    def __init__(self, machine: Machine, address: str) -> None:
        self._address = address
        self._answers = threading.Condition()
        self._last = (0, 0.0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=on, args=(machine, self._look), daemon=True)
        self._thread.start()

    def wait_for(self, port: int) -> float:
        """When this port has answered (on the performance counter). Raises AssertionError after ten seconds."""
        with self._answers:
            assert self._answers.wait_for(lambda: self._last[0] == port, 10), f"{port} never answers"
            return self._last[1]

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            with suppress(OSError), socket.create_connection((self._address, 80), 1) as connection:
                answer = connection.recv(16)
                at = time.perf_counter()
                with self._answers:
                    if answer and int(answer) != self._last[0]:
                        self._last = (int(answer), at)
                        self._answers.notify_all()


if __name__ == "__main__":
    report.part(main)
