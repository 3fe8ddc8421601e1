"""The control plane's settings: parsed once, checked together, frozen."""

from __future__ import annotations

import argparse
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mizzen.base.settings import Problems, duration_ms
from mizzen.base.telemetry import LEVELS

HTTPS_PORT = 6443
GRPC_PORT = 6440


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What `mizzen server` was told."""

    data_dir: Path
    """Keys, certificates, the kubeconfig, the join token, and etcd's data when it is started here."""
    advertise_address: str
    """The address that nodes and clients use."""
    bind_address: str
    https_port: int
    grpc_port: int
    etcd: tuple[str, ...]
    """Endpoints of an etcd cluster; empty: one is started here."""
    etcd_ca: Path | None
    etcd_certificate: Path | None
    etcd_key: Path | None
    cluster_cidr: str
    """All pods' addresses."""
    node_prefix: int
    """Length of the prefix of one node's share of them."""
    service_cidr: str
    cluster_dns: str
    cluster_domain: str
    heartbeat_ms: int
    """How often a node says that it is alive; Kubernetes' nodes do so every 10 s."""
    node_grace_ms: int
    """How long a node may be silent before it counts as lost; Kubernetes waits 50 s."""
    leader_ttl_s: int
    """How long a dead leader is waited for."""
    log_level: str
    log_format: str

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.data_dir / "admin.kubeconfig"

    @property
    def token_file(self) -> Path:
        """Where the first join token is written."""
        return self.data_dir / "join-token"


def parse(argv: Sequence[str]) -> ServerSettings:
    """The settings in a command line. Raises SettingsError with all problems; exits for --help."""
    args = _parser().parse_args(argv)
    problems = Problems()
    heartbeat_ms = problems.read("--heartbeat-interval", args.heartbeat_interval, duration_ms, 10_000)
    grace_ms = problems.read("--node-grace-period", args.node_grace_period, duration_ms, 50_000)
    for flag, text in (("--cluster-cidr", args.cluster_cidr), ("--service-cidr", args.service_cidr)):
        problems.read(flag, text, ipaddress.IPv4Network)
    advertise = problems.read("--advertise-address", args.advertise_address or own_address(), _address)
    dns = args.cluster_dns or _tenth(args.service_cidr)
    problems.read("--cluster-dns", dns, _address)
    if heartbeat_ms is not None and grace_ms is not None and grace_ms <= heartbeat_ms:
        problems.add("--node-grace-period", "must be longer than --heartbeat-interval, or every node counts as lost")
    if args.etcd_certificate and not args.etcd_key:
        problems.add("--etcd-key", "is needed with --etcd-certificate")
    problems.check()
    return ServerSettings(
        data_dir=args.data_dir.absolute(),
        advertise_address=advertise or "",
        bind_address=args.bind_address,
        https_port=args.https_port,
        grpc_port=args.grpc_port,
        etcd=tuple(part for part in args.etcd.split(",") if part),
        etcd_ca=args.etcd_ca,
        etcd_certificate=args.etcd_certificate,
        etcd_key=args.etcd_key,
        cluster_cidr=args.cluster_cidr,
        node_prefix=args.node_prefix,
        service_cidr=args.service_cidr,
        cluster_dns=dns,
        cluster_domain=args.cluster_domain,
        heartbeat_ms=heartbeat_ms or 0,
        node_grace_ms=grace_ms or 0,
        leader_ttl_s=args.leader_ttl,
        log_level=args.log_level,
        log_format=args.log_format,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mizzen server", description="Run a control plane.")
    add = parser.add_argument
    add("--data-dir", type=Path, default=Path("/var/lib/mizzen/server"), help="keys, certificates, etcd's data")
    add("--advertise-address", default="", help="the address that nodes and clients use (default: this machine's)")
    add("--bind-address", default="0.0.0.0", help="where to listen")
    add("--https-port", type=int, default=HTTPS_PORT, help="port of the Kubernetes API")
    add("--grpc-port", type=int, default=GRPC_PORT, help="port of the gRPC API and of the nodes' sessions")
    add("--etcd", default="", help="endpoints of an etcd cluster, with commas (default: start one here)")
    add("--etcd-ca", type=Path, help="certificate authority of the etcd cluster")
    add("--etcd-certificate", type=Path, help="client certificate for the etcd cluster")
    add("--etcd-key", type=Path, help="key of the client certificate")
    add("--cluster-cidr", default="10.244.0.0/16", help="addresses of all pods")
    add("--node-prefix", type=int, default=24, help="prefix length of a node's share of the pods' addresses")
    add("--service-cidr", default="10.96.0.0/16", help="addresses of all services")
    add("--cluster-dns", default="", help="where pods ask for names (default: the tenth service address)")
    add("--cluster-domain", default="cluster.local", help="domain of the cluster's names")
    add("--heartbeat-interval", default="10s", help="how often nodes say that they are alive")
    add("--node-grace-period", default="50s", help="how long a silent node is waited for")
    add("--leader-ttl", type=int, default=15, help="seconds until a dead leader is replaced")
    add("--log-level", choices=sorted(LEVELS), default="info", help="what is logged")
    add("--log-format", choices=("text", "json"), default="text", help="how it is logged")
    return parser


def own_address() -> str:
    """The address of this machine that others most likely reach; loopback when it has no route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing; it only asks the kernel for the route.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _tenth(cidr: str) -> str:
    try:
        return str(ipaddress.IPv4Network(cidr)[10])
    except (ValueError, IndexError):
        return ""
