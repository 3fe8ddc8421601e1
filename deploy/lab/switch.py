"""The lab's network: one namespace that is switch and router, two Ethernets, and a way in from the box.

Machines on `br0` are neighbours; those on `br1` are reached through the router, so packets to them cross layer 3 as
between two racks. The box reaches both through one veth. No bridge and no packet rule is ever made in the box's own
network namespace: a bridge there would fall under the box's Docker and firewall rules.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from deploy.lab.state import LabError, LabState, MachineState
from deploy.shell import sh

LOCK = Path("/run/lock/mizzen-lab.lock")
BLOCKS = 64
"""A lab takes a /22 out of 10.77.0.0/16."""


class Switch:
    """The switch of one lab. Every method is safe to repeat."""

    def __init__(self, state: LabState) -> None:
        self._state = state
        self.netns = state.netns("switch")
        self._uplink = f"mz{state.id}-up"

    def choose_block(self, state: LabState) -> None:
        """Find networks that nothing on the box uses and claim them by setting up the way in; fills `state.block`."""
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        with LOCK.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            taken = _routed_networks()
            for block in range(BLOCKS):
                network = ipaddress.ip_network(f"10.77.{4 * block}.0/22")
                if not any(network.overlaps(other) for other in taken):
                    state.block = block
                    self._build()
                    return
        raise LabError(f"all {BLOCKS} address blocks of 10.77.0.0/16 are in use; take a lab down first")

    def _build(self) -> None:
        near, far, box = (self._state.subnet(index) for index in range(3))
        sh("ip", "netns", "add", self.netns)
        batch(
            self.netns,
            "link set lo up",
            "link add br0 type bridge",
            "link add br1 type bridge",
            f"addr add {near}.254/24 dev br0",
            f"addr add {far}.254/24 dev br1",
            "link set br0 up",
            "link set br1 up",
        )
        # Switched frames must not pass the router's packet rules; the switch is there only with br_netfilter loaded.
        sysctl(self.netns, "net.ipv4.ip_forward=1")
        sysctl(self.netns, "net.bridge.bridge-nf-call-iptables=0", optional=True)
        sh("ip", "link", "add", self._uplink, "type", "veth", "peer", "name", "uplink", "netns", self.netns)
        batch(self.netns, f"addr add {box}.2/24 dev uplink", "link set uplink up")
        sh("ip", "addr", "add", f"{box}.1/24", "dev", self._uplink)
        sh("ip", "link", "set", self._uplink, "up")
        sh("ip", "route", "add", f"{near}.0/22", "via", f"{box}.2", "dev", self._uplink)

    def plug_in(self, machine: MachineState) -> None:
        """Make a network namespace for a machine that is switched on, with its `eth0` on the right Ethernet."""
        netns = self._state.netns(machine.name)
        sh("ip", "netns", "add", netns)
        ends = ("eth0", "netns", netns, "address", machine.mac), ("name", machine.name, "netns", self.netns)
        sh("ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        batch(self.netns, f"link set {machine.name} master {machine.bridge}")
        self.set_link(machine)
        batch(
            netns,
            "link set lo up",
            f"addr add {machine.address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {machine.gateway}",
        )
        # As a fresh Debian host has them; a new namespace inherits the box's values instead.
        sysctl(netns, "net.ipv4.ip_forward=0", "net.ipv4.conf.all.rp_filter=2", "net.ipv4.conf.default.rp_filter=2")

    def unplug(self, machine: MachineState) -> None:
        """Take the network namespace of a switched-off machine away, with the addresses and rules that were in it."""
        # The port goes first: the kernel drops the links of a namespace only some time after the namespace.
        sh("ip", "-n", self.netns, "link", "del", machine.name, check=False)
        sh("ip", "netns", "del", self._state.netns(machine.name), check=False)

    def set_link(self, machine: MachineState) -> None:
        """Make the machine's port at the switch what `cut` says."""
        sh("ip", "-n", self.netns, "link", "set", machine.name, "down" if machine.cut else "up")

    def remove(self) -> None:
        """Take away the network namespaces of the lab and the way in."""
        present = sh("ip", "netns", "list").stdout.split()
        sh("ip", "link", "del", self._uplink, check=False)
        for name in [*self._state.machines, "switch"]:
            if self._state.netns(name) in present:
                sh("ip", "netns", "del", self._state.netns(name))


def batch(netns: str, *lines: str) -> None:
    """Several `ip` commands in one namespace, in one process."""
    sh("ip", "-n", netns, "-batch", "-", stdin="\n".join(lines) + "\n")


def sysctl(netns: str, *settings: str, optional: bool = False) -> None:
    """Set kernel parameters of one network namespace; `ip netns exec` is avoided because it remounts /sys."""
    sh("nsenter", f"--net=/run/netns/{netns}", "sysctl", "-qw", *settings, check=not optional)


def _routed_networks() -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    rows = json.loads(sh("ip", "-4", "-json", "route", "show", "table", "all").stdout or "[]")
    return [ipaddress.ip_network(row["dst"], strict=False) for row in rows if row["dst"] != "default"]
