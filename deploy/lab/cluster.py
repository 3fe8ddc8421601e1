"""Mizzen on the lab's machines: the control plane on one, an agent on each other, run as an operator runs them.

All that this module knows of the daemons stands in `server_command`, `agent_command` and the file names beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.lab.lab import Lab
from deploy.lab.machine import Machine
from deploy.lab.state import LabError
from deploy.shell import TimedOut, tail, wait_for

SERVER, AGENT = "mizzen-server", "mizzen-agent"
DATA = "/var/lib/mizzen"
API_PORT, GRPC_PORT = 6443, 6440
KUBECONFIG_FILE, TOKEN_FILE = "admin.kubeconfig", "join-token"
START_TIMEOUT_S = 60


def program() -> str:
    """The `mizzen` command of the Python that runs this; machines see the box's files, so they run it too."""
    return str(Path(sys.prefix) / "bin" / "mizzen")


def server_command(data: str | Path, address: str, extra: Sequence[str] = ()) -> list[str]:
    """The command line of a control plane that others reach at `address`."""
    return [program(), "server", "--data-dir", str(data), "--advertise-address", address, *extra]


def agent_command(data: str | Path, server: str, token: str, extra: Sequence[str] = ()) -> list[str]:
    """The command line of a node agent that joins the control plane at `server` (address:port)."""
    return [program(), "agent", "--data-dir", str(data), "--server", server, "--token", token, *extra]


def start_server(lab: Lab, extra: Sequence[str] = ()) -> Path:
    """Start the control plane on its machine and return the admin kubeconfig, which works from the box."""
    machine = lab.server
    machine.install(SERVER, server_command(DATA, machine.address, extra))
    written = _wait_for_file(machine, SERVER, KUBECONFIG_FILE)
    _wait_for_file(machine, SERVER, TOKEN_FILE)
    kubeconfig = lab.folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_bytes(written)
    return kubeconfig


def join_agent(lab: Lab, which: int | str, extra: Sequence[str] = ()) -> None:
    """Start the node agent on a machine; it joins by itself as soon as it reaches the control plane."""
    machine = lab.machine(which)
    token = _wait_for_file(lab.server, SERVER, TOKEN_FILE).decode().strip()
    machine.install(AGENT, agent_command(DATA, f"{lab.server.address}:{API_PORT}", token, extra))


def _wait_for_file(machine: Machine, service: str, name: str) -> bytes:
    """What the service writes when it is ready; the error shows its log when it ends first."""

    def look() -> bytes | None:
        if machine.pid(service) is None:
            raise LabError(f"{service} on {machine.name} ended; its log ends with:\n{tail(machine.log(service))}")
        path = machine.path(f"{DATA}/{name}")
        return path.read_bytes() if path.exists() else None

    try:
        return wait_for(name, look, START_TIMEOUT_S)
    except TimedOut as error:
        raise LabError(f"{service} on {machine.name} has not written {name}:\n{tail(machine.log(service))}") from error
