"""The daemons' command lines and the files they answer with: all that `up` and `lab` know of `mizzen server` and agent.

The server writes an admin kubeconfig and a join token below its data folder when it is ready; the agent joins with the
token as soon as it reaches the server.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.shell import CommandFailed, TimedOut, sh, tail, wait_for

API_PORT = 6443
DOCKER_SOCKET = "/var/run/docker.sock"
KUBECONFIG_FILE = "admin.kubeconfig"
TOKEN_FILE = "join-token"
START_TIMEOUT_S = 60
STORAGE = Path(__file__).parent / "manifests" / "storage.yaml"


class DaemonFailed(RuntimeError):
    """A daemon ended or never got ready; the text ends with the last lines of its log."""


def program() -> str:
    """The `mizzen` command beside the Python that runs this."""
    return str(Path(sys.executable).with_name("mizzen"))


def server_command(data: str | Path, address: str) -> list[str]:
    """The command line of a control plane that others reach at `address`."""
    return [program(), "server", "--data-dir", str(data), "--advertise-address", address]


def agent_command(data: str | Path, server: str, token: str, docker: str | Path = DOCKER_SOCKET) -> list[str]:
    """The command line of a node agent that joins the control plane at the address `server`."""
    return [*_agent(data, docker), "--server", f"{server}:{API_PORT}", "--token", token]


def reset_command(data: str | Path, docker: str | Path = DOCKER_SOCKET) -> list[str]:
    """The command line that removes all that an agent made on its machine: pods, rules, routes, links, its data."""
    return [*_agent(data, docker), "--reset"]


def _agent(data: str | Path, docker: str | Path) -> list[str]:
    return [program(), "agent", "--data-dir", str(data), "--docker-socket", str(docker)]


def wait_until_written(path: Callable[[], Path], alive: Callable[[], bool], log: Path) -> bytes:
    """What a daemon writes to a file when it is ready; raises DaemonFailed with its last words when it does not."""
    name = path().name

    def look() -> bytes | bool:
        running = alive()
        if path().exists() and (written := path().read_bytes()):
            return written
        return not running

    try:
        written = wait_for(name, look, START_TIMEOUT_S)
    except TimedOut as error:
        raise DaemonFailed(f"no {name} after {START_TIMEOUT_S} s; {log} ends with:\n{tail(log)}") from error
    if not isinstance(written, bytes):
        raise DaemonFailed(f"ended without writing {name}; {log} ends with:\n{tail(log)}")
    return written


def kube(kubeconfig: Path, *argv: str | Path, timeout_s: float = 60) -> str:
    """Run a `mizzen` client command against a cluster; returns what it prints, raises CommandFailed."""
    env = {"KUBECONFIG": str(kubeconfig)}
    return sh(program(), *argv, env=env, timeout_s=timeout_s).stdout


def get(kubeconfig: Path, *argv: str) -> dict[str, Any]:
    """An object, or a list of objects, as JSON."""
    answer = json.loads(kube(kubeconfig, "get", *argv, "-o", "json"))
    assert isinstance(answer, dict)
    return answer


def offer_storage(kubeconfig: Path) -> None:
    """Make the class of storage that claims get which name none: folders of the nodes."""
    kube(kubeconfig, "apply", "-f", STORAGE)


def wait_for_nodes(kubeconfig: Path, count: int, alive: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> None:
    """Return when `count` nodes are Ready; raises TimedOut, or DaemonFailed as soon as `alive` says that it is vain."""

    def ready() -> bool:
        if not alive():
            raise DaemonFailed("a node agent ended before its node was Ready")
        try:
            return sum(map(_is_ready, get(kubeconfig, "nodes")["items"])) >= count
        except CommandFailed:
            return False  # the API may take a moment; the deadline ends this

    wait_for(f"{count} Ready nodes", ready, timeout_s)


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
