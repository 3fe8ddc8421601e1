"""Mizzen on the lab's machines: the control plane on one, an agent on each other, run as an operator runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy import commands
from deploy.lab.lab import Lab

SERVER, AGENT = "mizzen-server", "mizzen-agent"
DATA = "/var/lib/mizzen"
OWN = ("--kubelet-dir", f"{DATA}/kubelet")
"""Machines share the rest of the disk's folders with each other, so each agent has this one in its own."""


def start_server(lab: Lab, flags: Sequence[str] = ()) -> Path:
    """Start the control plane on its machine and return the admin kubeconfig, which works from the box.

    `flags` are further ones for `mizzen server`.
    """
    machine = lab.server
    machine.install(SERVER, [*commands.server_command(DATA, machine.address), *flags])
    written = _wait_for_file(lab, commands.KUBECONFIG_FILE)
    kubeconfig = lab.folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_bytes(written)
    return kubeconfig


def join_agent(lab: Lab, which: int | str) -> None:
    """Start the node agent on a machine; it joins by itself as soon as it reaches the control plane."""
    token = _wait_for_file(lab, commands.TOKEN_FILE).decode().strip()
    lab.machine(which).install(AGENT, [*commands.agent_command(DATA, lab.server.address, token), *OWN])


def reset_command() -> list[str]:
    """The command line that removes all that a machine's agent has made."""
    return [*commands.reset_command(DATA), *OWN]


def start(lab: Lab, timeout_s: float = commands.START_TIMEOUT_S) -> Path:
    """The whole cluster: control plane, agents, all nodes Ready, a class of storage; returns the kubeconfig."""
    kubeconfig = start_server(lab)
    for node in lab.nodes:
        join_agent(lab, node.name)
    commands.wait_for_nodes(kubeconfig, len(lab.nodes), lambda: all(node.pid(AGENT) for node in lab.nodes), timeout_s)
    commands.offer_storage(kubeconfig)
    return kubeconfig


def _wait_for_file(lab: Lab, name: str) -> bytes:
    machine = lab.server
    return commands.wait_until_written(
        lambda: machine.path(f"{DATA}/{name}"), lambda: machine.pid(SERVER) is not None, machine.log(SERVER)
    )
