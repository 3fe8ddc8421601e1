"""What an agent is told when it is started: parsed once, checked together, frozen."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mizzen.api import formats
from mizzen.base.settings import Problems, address, duration_ms
from mizzen.base.telemetry import LEVELS
from nodeagent.drive import machine
from nodeagent.lifecycle import imagegc, thresholds
from nodeagent.lifecycle.thresholds import Threshold

DATA_DIR = Path("/var/lib/mizzen/agent")
KUBELET_DIR = Path("/var/lib/kubelet")
"""Where manifests of storage drivers expect it."""
API_PORT = 6443
METRICS_PORT = 10255
PODS_MAX = 110
TOKEN_VARIABLE = "MIZZEN_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """The settings of one agent; everything has a default but the server, and that only until it has joined."""

    data_dir: Path = DATA_DIR
    """Certificates, checkpoint and the pods' volumes; belongs to this agent alone."""
    kubelet_dir: Path = KUBELET_DIR
    """What the agent shares with storage drivers: their sockets, and what they mount for pods."""
    server: str = ""
    """`host:6443` of the control plane's HTTPS port; kept after the first join."""
    token: str = ""
    """The join token; only needed while there is no certificate."""
    node_name: str
    node_ip: str = ""
    """Empty takes the address from which the server is reached."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[tuple[str, str, str], ...] = ()
    """Key, value and effect of taints that the node is registered with."""
    docker_socket: str = "/var/run/docker.sock"
    metrics_host: str = "0.0.0.0"
    metrics_port: int = METRICS_PORT
    """0 chooses a free one, -1 opens none."""
    reset: bool = False
    """Do not serve: remove everything that an agent made on this machine, and end."""
    log_level: str = "info"
    log_format: str = "text"
    pods_max: int = PODS_MAX
    reserved_cpu_milli: int = 100
    """Kept for the system and not offered to pods."""
    reserved_memory_bytes: int = 256 * 1024 * 1024
    unsafe_sysctls: tuple[str, ...] = ()
    """Kernel parameters that pods may set beside Kubernetes' safe ones; `net.*` is all that begin so."""
    pids_max: int = 0
    """How many processes a container may have; 0: as many as it likes."""
    pod_manifest_path: Path | None = None
    """None takes a folder below the data folder."""
    image_policy: imagegc.Policy = field(default_factory=imagegc.Policy)
    eviction_hard: tuple[Threshold, ...] = thresholds.parse(thresholds.DEFAULT)
    """How little may be left of memory, disks and processes before pods have to go."""
    eviction_soft: tuple[Threshold, ...] = thresholds.NONE
    """The same, for what can be borne for a while."""
    soft_grace_s: int = 0
    """What pods get at most to end in that case."""
    pressure_hold_s: int = 300
    """For how long a pressure counts after it was felt last."""
    shutdown_grace_s: int = 30
    """How long pods have to end when the machine goes down."""
    shutdown_critical_s: int = 10
    """The part of it that is kept for critical pods."""
    overlay: Literal["auto", "always", "never"] = "auto"
    starts_at_once: int = 4
    """Sandboxes and containers being made at the same time; more only make each other slower."""
    stops_at_once: int = 256
    """Containers being asked to end; each only waits."""
    pulls_at_once: int = 3
    relist_s: float = 10.0
    """How often the engine is asked for everything, whatever its events say."""
    status_s: float = 10.0
    """How often the node's condition is looked at."""

    @property
    def local_folder(self) -> Path:
        """Where the node keeps volumes that are folders of its own."""
        return self.data_dir / "local-volumes"

    @property
    def static_folder(self) -> Path:
        """Where files of pods are that the node runs whatever the control plane says."""
        return self.pod_manifest_path or self.data_dir / "static-pods"

    @property
    def seccomp_folder(self) -> Path:
        """Where profiles are that pods may name."""
        return self.data_dir / "seccomp"


def parse(argv: Sequence[str]) -> AgentSettings:
    """The settings in a command line. Raises SettingsError with all problems; exits for --help."""
    args = _parser().parse_args(argv)
    problems = Problems()
    server = problems.read("--server", args.server, lambda text: str(address(text, API_PORT)), "")
    name = args.node_name or machine.hostname()
    for problem in formats.dns_subdomain(name):
        problems.add("--node-name", f"{name!r}: {problem}")
    node_ip = problems.read("--node-ip", args.node_ip, lambda text: str(ipaddress.IPv4Address(text)), "")
    labels = problems.read("--labels", args.labels, _labels)
    taints = problems.read("--taints", args.taints, _taints)
    if args.token and not server:
        problems.add("--server", "is needed with --token: the address of the control plane, like 10.0.0.1:6443")
    hard = problems.read("--eviction-hard", args.eviction_hard, thresholds.parse, thresholds.NONE)
    soft = _soft(args, problems)
    if not 0 <= args.image_gc_low_threshold <= args.image_gc_high_threshold <= 100:
        problems.add("--image-gc-low-threshold", "is at most --image-gc-high-threshold, and both are percents")
    if args.shutdown_grace_period_critical_pods > args.shutdown_grace_period:
        problems.add("--shutdown-grace-period-critical-pods", "is a part of --shutdown-grace-period, so not longer")
    problems.check()
    return AgentSettings(
        data_dir=args.data_dir.absolute(),
        kubelet_dir=args.kubelet_dir.absolute(),
        server=server or "",
        token=args.token,
        node_name=name,
        node_ip=node_ip or "",
        labels=labels or {},
        taints=taints or (),
        docker_socket=args.docker_socket,
        metrics_host=args.metrics_host,
        metrics_port=args.metrics_port,
        pods_max=args.max_pods,
        pids_max=max(args.pod_max_pids, 0),
        pod_manifest_path=args.pod_manifest_path,
        image_policy=imagegc.Policy(
            high_percent=args.image_gc_high_threshold,
            low_percent=args.image_gc_low_threshold,
            min_age_ms=args.image_minimum_gc_age * 1000,
            max_unused_ms=args.image_maximum_gc_age * 1000,
        ),
        eviction_hard=hard or thresholds.NONE,
        eviction_soft=soft,
        soft_grace_s=args.eviction_max_pod_grace_period,
        pressure_hold_s=args.eviction_pressure_transition_period,
        shutdown_grace_s=args.shutdown_grace_period,
        shutdown_critical_s=args.shutdown_grace_period_critical_pods,
        unsafe_sysctls=tuple(name for name in args.allowed_unsafe_sysctls.split(",") if name),
        overlay=args.overlay,
        reset=args.reset,
        log_level=args.log_level,
        log_format=args.log_format,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mizzen agent", description="Run this machine as a node.")
    add = parser.add_argument
    add("--server", default="", help="address of the control plane, like 10.0.0.1:6443; needed to join")
    # The environment, unlike a command line, is hidden from the machine's other users.
    token_help = f"join token, or set ${TOKEN_VARIABLE}; only needed while the node has no certificate"
    add("--token", default=os.environ.get(TOKEN_VARIABLE, ""), help=token_help)
    add("--data-dir", type=Path, default=DATA_DIR, help="certificate, checkpoint and volumes of this agent")
    add("--kubelet-dir", type=Path, default=KUBELET_DIR, help="what is shared with storage drivers (CSI)")
    add("--node-name", default="", help="name of the node (default: this machine's host name)")
    add("--node-ip", default="", help="address of the node (default: the one that leads to the server)")
    add("--labels", default="", help="labels of the node, like zone=a,disk=ssd")
    add("--taints", default="", help="taints that the node is registered with, like gpu=yes:NoSchedule")
    add("--docker-socket", default="/var/run/docker.sock", help="where Docker Engine is reached")
    add("--metrics-host", default="0.0.0.0", help="where to serve metrics")
    add("--metrics-port", type=int, default=METRICS_PORT, help="port of the metrics; 0: a free one, -1: none")
    add("--max-pods", type=int, default=PODS_MAX, help="how many pods the node takes")
    add(
        "--allowed-unsafe-sysctls",
        default="",
        help="kernel parameters that pods may set beside the safe ones, like net.*",
    )
    _add_upkeep(parser)
    add("--overlay", choices=("auto", "always", "never"), default="auto", help="whether to tunnel to other nodes")
    add("--reset", action="store_true", help="remove all pods, rules, routes and data of this agent, and end")
    add("--log-level", choices=sorted(LEVELS), default="info", help="what is logged")
    add("--log-format", choices=("text", "json"), default="text", help="how it is logged")
    return parser


def _add_upkeep(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    policy = imagegc.Policy()
    add(
        "--pod-manifest-path", type=Path, default=None, help="files of static pods (default: static-pods in --data-dir)"
    )
    add("--pod-max-pids", type=int, default=-1, help="processes that each container may have; -1: as many as it likes")
    add("--image-gc-high-threshold", type=int, default=policy.high_percent, help="percent of the disk; 100: never")
    add("--image-gc-low-threshold", type=int, default=policy.low_percent, help="until so much of the disk is in use")
    age_help = "seconds for which an image stays at least"
    add("--image-minimum-gc-age", type=int, default=policy.min_age_ms // 1000, help=age_help)
    unused_help = "seconds after which an unused image goes whatever the disk; 0: never"
    add("--image-maximum-gc-age", type=int, default=policy.max_unused_ms // 1000, help=unused_help)
    add("--eviction-hard", default=thresholds.DEFAULT, help="how little may be left before pods have to go")
    add("--eviction-soft", default="", help="the same, for what can be borne for a while")
    add("--eviction-soft-grace-period", default="", help="how long each is borne, like memory.available=1m30s")
    soft_help = "seconds that pods get at most to end in that case"
    add("--eviction-max-pod-grace-period", type=int, default=0, help=soft_help)
    hold_help = "seconds for which a pressure counts after it was felt last"
    add("--eviction-pressure-transition-period", type=int, default=300, help=hold_help)
    grace_help = "seconds that pods have to end when the machine goes down"
    add("--shutdown-grace-period", type=int, default=30, help=grace_help)
    critical_help = "the part of it that is kept for critical pods"
    add("--shutdown-grace-period-critical-pods", type=int, default=10, help=critical_help)


def _soft(args: argparse.Namespace, problems: Problems) -> tuple[Threshold, ...]:
    none: dict[str, int] = {}
    patience = problems.read("--eviction-soft-grace-period", args.eviction_soft_grace_period, _patience, none) or none
    read = problems.read(
        "--eviction-soft", args.eviction_soft, lambda text: thresholds.soft(thresholds.parse(text), patience)
    )
    return read or thresholds.NONE


def _patience(text: str) -> dict[str, int]:
    found = {}
    for part in filter(None, text.split(",")):
        signal, separator, duration = part.partition("=")
        if not separator:
            raise ValueError(f"{part!r} is no time for a signal; write them like memory.available=1m30s")
        found[signal] = duration_ms(duration)
    return found


def _labels(text: str) -> dict[str, str]:
    found = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if not separator or not key:
            raise ValueError(f"{part!r} is not a label; write them like zone=a,disk=ssd")
        found[key] = value
    return found


def _taints(text: str) -> tuple[tuple[str, str, str], ...]:
    found = []
    for part in text.split(","):
        head, _, effect = part.rpartition(":")
        key, _, value = head.partition("=")
        if not key or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            raise ValueError(f"{part!r} is not a taint; write them like key=value:NoSchedule")
        found.append((key, value, effect))
    return tuple(found)
