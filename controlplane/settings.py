"""The control plane's settings: parsed once, checked together, frozen."""

from __future__ import annotations

import argparse
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane import settings_audit, settings_oidc
from controlplane.access.authentication import Authentication
from mizzen.api import formats
from mizzen.base.settings import Problems, duration_ms
from mizzen.base.telemetry import LEVELS

HTTPS_PORT = 6443
GRPC_PORT = 6440
GRPC_TOKEN_PORT = 6441
ANYWHERE = "0.0.0.0"
CLUSTER_CIDR = ipaddress.IPv4Network("10.244.0.0/16")
SERVICE_CIDR = ipaddress.IPv4Network("10.96.0.0/16")
NODE_PREFIX = 24
HEARTBEAT_MS, HEARTBEAT_MIN_MS = 10_000, 100
EVENT_TTL_MS, EVENT_TTL_MIN_MS = 259_200_000, 60_000
NODE_GRACE_MS = 50_000
LEADER_TTL_S = 15
FORMATS = ("text", "json")
NO_RANGES: tuple[tuple[int, int], ...] = ()
SERVICES_MIN = 16
"""Fewest service addresses; the API and the names have fixed ones among the first."""


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
    grpc_token_port: int
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
    allow_external_ips: bool
    cluster_dns: str
    cluster_domain: str
    heartbeat_ms: int
    """How often a node says that it is alive; Kubernetes' nodes do so every 10 s."""
    node_grace_ms: int
    """How long a node may be silent before it counts as lost; Kubernetes waits 50 s."""
    event_ttl_ms: int
    balancer_pool: tuple[tuple[int, int], ...]
    """Ranges of addresses for load balancers, by their first and last as numbers."""
    """How long an event is kept after it was written last."""
    authentication: Authentication
    """Whose tokens are believed beside our own, and whom they stand for."""
    authentication_file: Path | None
    """Where that is said, if it is in a file."""
    audit: settings_audit.Audit | None
    """What is written down of requests, and where; None: nothing is."""
    leader_ttl_s: int
    """How long a dead leader is waited for."""
    log_level: str
    log_format: str

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.data_dir / "admin.kubeconfig"

    @property
    def issuer(self) -> str:
        """Who issues service accounts' tokens."""
        return own_issuer(self.cluster_domain)

    @property
    def token_file(self) -> Path:
        """Where the first join token is written."""
        return self.data_dir / "join-token"


def parse(argv: Sequence[str]) -> ServerSettings:
    """The settings in a command line. Raises SettingsError with all problems; exits for --help."""
    args = _parser().parse_args(argv)
    problems = Problems()
    https_port = problems.read("--https-port", args.https_port, _port, HTTPS_PORT)
    grpc_port = problems.read("--grpc-port", args.grpc_port, _port, GRPC_PORT)
    token_port = problems.read("--grpc-token-port", args.grpc_token_port, _port, GRPC_TOKEN_PORT)
    leader_ttl_s = problems.read("--leader-ttl", args.leader_ttl, _seconds, LEADER_TTL_S)
    bind = problems.read("--bind-address", args.bind_address, _address, ANYWHERE)
    heartbeat_ms = problems.read("--heartbeat-interval", args.heartbeat_interval, duration_ms, HEARTBEAT_MS)
    grace_ms = problems.read("--node-grace-period", args.node_grace_period, duration_ms, NODE_GRACE_MS)
    event_ttl_ms = problems.read("--event-ttl", args.event_ttl, duration_ms, EVENT_TTL_MS)
    pool = problems.read("--load-balancer-pool", args.load_balancer_pool, _ranges, NO_RANGES)
    cluster = problems.read("--cluster-cidr", args.cluster_cidr, ipaddress.IPv4Network, CLUSTER_CIDR)
    services = problems.read("--service-cidr", args.service_cidr, ipaddress.IPv4Network, SERVICE_CIDR)
    prefix = problems.read("--node-prefix", args.node_prefix, _number, NODE_PREFIX)
    _check_networks(problems, cluster, services, prefix)
    _check_pool(problems, pool or NO_RANGES, (("--cluster-cidr", cluster), ("--service-cidr", services)))
    advertise = problems.read("--advertise-address", args.advertise_address or own_address(), _address_v4)
    dns = problems.read("--cluster-dns", args.cluster_dns, _address_v4, _tenth(services))
    _check_times(problems, heartbeat_ms, grace_ms, event_ttl_ms)
    for problem in formats.dns_subdomain(args.cluster_domain)[:1]:
        problems.add("--cluster-domain", problem)
    for flag, text, words in (("--log-level", args.log_level, LEVELS), ("--log-format", args.log_format, FORMATS)):
        if text not in words:
            problems.add(flag, f"{text!r} must be one of: {', '.join(words)}")
    _check_etcd(problems, args)
    authentication = settings_oidc.read(problems, args, own_issuer(args.cluster_domain))
    audit = settings_audit.read(problems, args)
    _check_ports(problems, https_port, grpc_port, token_port)
    problems.check()
    return ServerSettings(
        data_dir=args.data_dir.absolute(),
        advertise_address=advertise or "",
        bind_address=bind or "",
        https_port=https_port or 0,
        grpc_port=grpc_port or 0,
        grpc_token_port=token_port or 0,
        etcd=tuple(part for part in args.etcd.split(",") if part),
        etcd_ca=args.etcd_ca,
        etcd_certificate=args.etcd_certificate,
        etcd_key=args.etcd_key,
        cluster_cidr=str(cluster),
        node_prefix=prefix or 0,
        service_cidr=str(services),
        allow_external_ips=args.allow_external_ips,
        cluster_dns=dns or "",
        cluster_domain=args.cluster_domain,
        heartbeat_ms=heartbeat_ms or 0,
        node_grace_ms=grace_ms or 0,
        event_ttl_ms=event_ttl_ms or 0,
        balancer_pool=pool or NO_RANGES,
        authentication=authentication,
        authentication_file=args.authentication_config,
        audit=audit,
        leader_ttl_s=leader_ttl_s or 0,
        log_level=args.log_level,
        log_format=args.log_format,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mizzen server", description="Run a control plane.")
    add = parser.add_argument
    add("--data-dir", type=Path, default=Path("/var/lib/mizzen/server"), help="keys, certificates, etcd's data")
    add("--advertise-address", default="", help="the address that nodes and clients use (default: this machine's)")
    add("--bind-address", default=ANYWHERE, help="where to listen")
    # Numbers are read with everything else, so that all mistakes are told together.
    add("--https-port", default=str(HTTPS_PORT), help="port of the Kubernetes API")
    add("--grpc-port", default=str(GRPC_PORT), help="port of the gRPC API and of the nodes' sessions")
    add("--grpc-token-port", default=str(GRPC_TOKEN_PORT), help="port of the gRPC API for who comes with a token")
    add("--etcd", default="", help="endpoints of an etcd cluster, with commas (default: start one here)")
    add("--etcd-ca", type=Path, help="certificate authority of the etcd cluster")
    add("--etcd-certificate", type=Path, help="client certificate for the etcd cluster")
    add("--etcd-key", type=Path, help="key of the client certificate")
    add("--cluster-cidr", default=str(CLUSTER_CIDR), help="addresses of all pods")
    add("--node-prefix", default=str(NODE_PREFIX), help="prefix length of a node's share of the pods' addresses")
    add("--service-cidr", default=str(SERVICE_CIDR), help="addresses of all services")
    add("--allow-external-ips", action="store_true", help="let services claim addresses by spec.externalIPs")
    add("--cluster-dns", default="", help="where pods ask for names (default: the tenth service address)")
    add("--cluster-domain", default="cluster.local", help="domain of the cluster's names")
    add("--heartbeat-interval", default="10s", help="how often nodes say that they are alive")
    add("--node-grace-period", default="50s", help="how long a silent node is waited for")
    add("--event-ttl", default="72h", help="how long events are kept, if they are not too many")
    add("--leader-ttl", default="15s", help="how long a dead leader is waited for")
    add(
        "--load-balancer-pool", default="",
        help="addresses of the machines' Ethernet for Services of type LoadBalancer, such as 192.0.2.10-192.0.2.20 or "
        "192.0.2.64/28, with commas between ranges; without them such Services get no address",
    )  # fmt: skip
    add("--log-level", default="info", help=f"what is logged: {', '.join(LEVELS)}")
    add("--log-format", default="text", help=f"how it is logged: {', '.join(FORMATS)}")
    settings_oidc.add_to(parser)
    settings_audit.add_to(parser)
    return parser


def own_issuer(domain: str) -> str:
    """Who issues service accounts' tokens in a cluster whose names have a domain."""
    return f"https://kubernetes.default.svc.{domain}"


def own_address() -> str:
    """The address of this machine that others most likely reach; loopback when it has no route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing; it only asks the kernel for the route.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _check_ports(problems: Problems, https: int | None, grpc: int | None, tokens: int | None) -> None:
    if https is not None and https == grpc:
        problems.add("--grpc-port", "must be another than --https-port")
    if tokens is not None and tokens in (https, grpc):
        problems.add("--grpc-token-port", "must be another than --https-port and --grpc-port")


def _check_times(problems: Problems, heartbeat_ms: int | None, grace_ms: int | None, event_ttl_ms: int | None) -> None:
    if heartbeat_ms is not None and heartbeat_ms < HEARTBEAT_MIN_MS:
        problems.add("--heartbeat-interval", f"must be at least {HEARTBEAT_MIN_MS} ms")
    if heartbeat_ms is not None and grace_ms is not None and grace_ms <= heartbeat_ms:
        problems.add("--node-grace-period", "must be longer than --heartbeat-interval, or every node counts as lost")
    if event_ttl_ms is not None and event_ttl_ms < EVENT_TTL_MIN_MS:
        problems.add("--event-ttl", "must be at least 1m")


def _check_networks(
    problems: Problems,
    cluster: ipaddress.IPv4Network | None,
    services: ipaddress.IPv4Network | None,
    prefix: int | None,
) -> None:
    if cluster is not None and services is not None and cluster.overlaps(services):
        problems.add("--service-cidr", f"{services} overlaps with --cluster-cidr {cluster}")
    if services is not None and services.num_addresses < SERVICES_MIN:
        problems.add("--service-cidr", f"{services} is too small; take /28 or more")
    if cluster is not None and prefix is not None and not cluster.prefixlen <= prefix <= 30:
        problems.add("--node-prefix", f"must be from {cluster.prefixlen} (that of --cluster-cidr) to 30, not {prefix}")


def _check_pool(
    problems: Problems,
    pool: tuple[tuple[int, int], ...],
    networks: tuple[tuple[str, ipaddress.IPv4Network | None], ...],
) -> None:
    for flag, network in networks:
        for first, last in pool:
            if network is not None and first <= int(network[-1]) and last >= int(network[0]):
                start = ipaddress.IPv4Address(first)
                problems.add("--load-balancer-pool", f"the range from {start} overlaps with {flag} {network}")


def _ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Ranges such as `192.0.2.10-192.0.2.20,192.0.2.64/28,192.0.2.80`."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if dash:
            pair = int(ipaddress.IPv4Address(first.strip())), int(ipaddress.IPv4Address(last.strip()))
        else:
            network = ipaddress.IPv4Network(part)
            pair = int(network[0]), int(network[-1])
        if pair[0] > pair[1]:
            raise ValueError(f"{part!r} ends before it begins")
        found.append(pair)
    return tuple(found)


def _check_etcd(problems: Problems, args: argparse.Namespace) -> None:
    if args.etcd_certificate and not args.etcd_key:
        problems.add("--etcd-key", "is needed with --etcd-certificate")
    if args.etcd_key and not args.etcd_certificate:
        problems.add("--etcd-certificate", "is needed with --etcd-key")
    if args.etcd_certificate and not args.etcd_ca:
        problems.add("--etcd-ca", "is needed with --etcd-certificate")
    if args.etcd_ca and not args.etcd:
        problems.add("--etcd", "is needed with --etcd-ca; the etcd that is started here needs none")


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _address_v4(text: str) -> str:
    return str(ipaddress.IPv4Address(text))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def _port(text: str) -> int:
    port = _number(text)
    if not 0 < port < 65536:
        raise ValueError(f"{text!r} is not a port; write a number from 1 to 65535")
    return port


def _seconds(text: str) -> int:
    ms = duration_ms(text if not text.isdigit() else f"{text}s")
    if ms < 1000 or ms % 1000:
        raise ValueError(f"{text!r} must be whole seconds, at least one")
    return ms // 1000


def _tenth(services: ipaddress.IPv4Network | None) -> str | None:
    return str(services[10]) if services is not None and services.num_addresses >= SERVICES_MIN else None
