"""What an agent is told when it is started. Times are in milliseconds or seconds as their names say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

DATA_DIR = Path("/var/lib/mizzen")
METRICS_PORT = 10255
PODS_MAX = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """The settings of one agent; everything has a default but the server, and that only until it has joined."""

    data_dir: Path = DATA_DIR
    """Certificates, checkpoint and the pods' volumes; belongs to this agent alone."""
    server: str = ""
    """`host:6443` of the control plane's HTTPS port; kept after the first join."""
    token: str = ""
    """The join token; only needed while there is no certificate."""
    node_name: str = ""
    """Empty takes the machine's host name, in lower case."""
    node_ip: str = ""
    """Empty takes the address from which the server is reached."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[tuple[str, str, str], ...] = ()
    """Key, value and effect of taints that the node is registered with."""
    docker_socket: str = "/var/run/docker.sock"
    metrics_host: str = "0.0.0.0"
    metrics_port: int = METRICS_PORT
    """0 chooses a free one, -1 opens none."""
    pods_max: int = PODS_MAX
    reserved_cpu_milli: int = 100
    """Kept for the system and not offered to pods."""
    reserved_memory_bytes: int = 256 * 1024 * 1024
    overlay: Literal["auto", "always", "never"] = "auto"
    starts_at_once: int = 4
    """Sandboxes and containers being made at the same time; more only make each other slower."""
    stops_at_once: int = 32
    pulls_at_once: int = 3
    relist_s: float = 10.0
    """How often the engine is asked for everything, whatever its events say."""
    status_s: float = 10.0
    """How often the node's condition is looked at."""
