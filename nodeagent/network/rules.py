"""From the table of services to nftables: what stands in the kernel, and the script from one to another. Pure.

A `Ruleset` is everything of ours that changes over time, as plain text pieces: chains with their rules, and elements of
maps and sets. `base_script` holds what never changes. `diff` compares two rulesets piece by piece, so a change of one
endpoint rewrites one chain; the full load is the same function from the empty ruleset. `layers` puts the rulesets of
all services together.

The way of the first packet of a connection (later ones follow conntrack):

    prerouting, output -> dispatch -> (map of address, protocol, port) -> all/... or local/... -> dnat
                                   -> (map of protocol, port on own addresses) -> outside/... -> all/... or local/...
    forward -> policies -> egress/<pod's address>, then ingress/<pod's address>, which drop what no rule allows; every
               packet but answers is asked, so that a policy also ends connections that began before it
    postrouting -> masquerade what was marked, what comes back to its own sender (hairpin), what leaves the cluster

Chains are named by what they belong to (`all/<namespace>/<name>/tcp/80`), so `nft list table ip mizzen` reads well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nodeagent.network.port import NetworkConfig
from nodeagent.network.services import Backend, HostPort, PortRule, ServiceRule

TABLE = "mizzen"
MARK = "0x4000"
"""The bit of the packet mark that asks for masquerading on the way out."""

_UNMARK = "0xffffbfff"
_ELEMENTS_PER_LINE = 200

Chains = Mapping[str, tuple[str, ...]]
Elements = Mapping[tuple[str, str], str]
"""(map or set, key) -> verdict; empty for sets."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The changing part of the table."""

    chains: Chains = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)
    """Sets that the kernel fills itself, by name: their declaration."""
    elements: Elements = field(default_factory=dict)


EMPTY = Ruleset()


def base_script(config: NetworkConfig) -> str:
    """The table without any service. Loading it starts over, whatever was there, in one transaction."""
    ranges = f"{{ {', '.join(config.service_cidrs)} }}"
    return f"""\
table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
  map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map node-ports {{ type inet_proto . inet_service : verdict; }}
  map guarded-ingress {{ type ipv4_addr : verdict; }}
  map guarded-egress {{ type ipv4_addr : verdict; }}
  set hairpins {{ type ipv4_addr . ipv4_addr; }}
  set announced {{ type ipv4_addr; }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmp port-unreachable
  }}
  chain dispatch {{
    ip daddr {ranges} ip saddr != {config.cluster_cidr} meta mark set meta mark or {MARK}
    ip daddr . meta l4proto . th dport vmap @services
    ip daddr {config.cluster_dns} meta mark set meta mark and {_UNMARK} return
    ip daddr {ranges} goto refuse
    ip daddr @announced meta l4proto {{ tcp, udp, sctp }} goto refuse
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @node-ports
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump dispatch
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump dispatch
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & {MARK} == {MARK} meta mark set meta mark and {_UNMARK} masquerade fully-random
    ip saddr . ip daddr @hairpins ct status dnat masquerade fully-random
    ip saddr {config.pod_cidr} ip daddr != {{ {config.cluster_cidr}, 224.0.0.0/4 }} masquerade fully-random
  }}
  chain policies {{
    type filter hook forward priority filter; policy accept;
    ct direction reply accept
    ct state related accept
    ip saddr . ip daddr @hairpins ct status dnat accept
    ip saddr vmap @guarded-egress
    ip daddr vmap @guarded-ingress
  }}
  chain patient-dns {{
    type filter hook output priority filter; policy accept;
    ip saddr {config.cluster_dns} icmp type destination-unreachable drop
  }}
}}
"""


def render(rule: ServiceRule, config: NetworkConfig) -> Ruleset:
    """Everything that one service needs."""
    return _Writer(rule, config).written()


def render_host_ports(ports: Iterable[HostPort]) -> Ruleset:
    """Everything that the pods' host ports need."""
    chains: dict[str, tuple[str, ...]] = {}
    elements: dict[tuple[str, str], str] = {}
    for port in ports:
        name = f"host/{port.pod}/{port.protocol}/{port.port}"
        chains[name] = (_to(port.protocol, port.target),)
        if port.host_ip:
            elements["services", f"{port.host_ip} . {port.protocol} . {port.port}"] = f"goto {name}"
        else:
            elements["node-ports", f"{port.protocol} . {port.port}"] = f"goto {name}"
        elements["hairpins", f"{port.target.ip} . {port.target.ip}"] = ""
    return Ruleset(chains=chains, elements=elements)


def diff(old: Ruleset, new: Ruleset) -> str:
    """The script that turns one ruleset into the other in one transaction; empty when they are equal.

    The order matters: what is pointed at is declared before, and removed after, what points at it.
    """
    lines: list[str] = []
    lines += (f"add set ip {TABLE} {name} {{ {new.sets[name]} }}" for name in new.sets if name not in old.sets)
    lines += (f"add chain ip {TABLE} {name}" for name in new.chains if name not in old.chains)
    for name, rules in new.chains.items():
        before = old.chains.get(name)
        if before == rules:
            continue
        if before:
            lines.append(f"flush chain ip {TABLE} {name}")
        lines += (f"add rule ip {TABLE} {name} {rule}" for rule in rules)
    gone_elements = {key: "" for key, verdict in old.elements.items() if new.elements.get(key) != verdict}
    new_elements = {key: verdict for key, verdict in new.elements.items() if old.elements.get(key) != verdict}
    lines += _element_lines("delete", gone_elements)
    lines += _element_lines("add", new_elements)
    gone_chains = [name for name in old.chains if name not in new.chains]
    lines += (f"flush chain ip {TABLE} {name}" for name in gone_chains)
    lines += (f"delete chain ip {TABLE} {name}" for name in gone_chains)
    lines += (f"delete set ip {TABLE} {name}" for name in old.sets if name not in new.sets)
    return "".join(f"{line}\n" for line in lines)


def remove_script() -> str:
    """Take the whole table away, whether it is there or not."""
    return f"table ip {TABLE}\ndelete table ip {TABLE}\n"


def _element_lines(verb: str, elements: Elements) -> Iterator[str]:
    by_target: dict[str, list[str]] = {}
    for (target, key), verdict in elements.items():
        by_target.setdefault(target, []).append(f"{key} : {verdict}" if verdict else key)
    for target, items in by_target.items():
        for start in range(0, len(items), _ELEMENTS_PER_LINE):
            joined = ", ".join(items[start : start + _ELEMENTS_PER_LINE])
            yield f"{verb} element ip {TABLE} {target} {{ {joined} }}"


class _Writer:
    """Writes the pieces of one service; balancing chains only when something leads to them."""

    def __init__(self, rule: ServiceRule, config: NetworkConfig) -> None:
        self._rule = rule
        self._config = config
        self._chains: dict[str, tuple[str, ...]] = {}
        self._sets: dict[str, str] = {}
        self._elements: dict[tuple[str, str], str] = {}

    def written(self) -> Ruleset:
        for port in self._rule.ports:
            self._port(port)
        # Held by the node, such an address would else lead to what the node itself serves.
        self._elements.update({("announced", address): "" for address in self._rule.announced})
        return Ruleset(self._chains, self._sets, self._elements)

    def _port(self, port: PortRule) -> None:
        rule = self._rule
        # Without backends the DNS address stays what it is otherwise: answered on the node.
        if port.backends or rule.cluster_ip != self._config.cluster_dns:
            self._elements["services", f"{rule.cluster_ip} . {port.protocol} . {port.port}"] = self._inside(port)
        if rule.external_ips or port.node_port:
            verdict = self._outside(port)
            for address in rule.external_ips:
                self._elements["services", f"{address} . {port.protocol} . {port.port}"] = verdict
            if port.node_port:
                self._elements["node-ports", f"{port.protocol} . {port.node_port}"] = verdict
        for backend in port.local_backends:
            self._elements["hairpins", f"{backend.ip} . {backend.ip}"] = ""

    def _inside(self, port: PortRule) -> str:
        """The verdict for clients of the cluster."""
        if not port.backends:
            return "goto refuse"
        if self._rule.internal_local:
            return self._balance("local", port, port.local_backends)
        return self._balance("all", port, port.backends)

    def _outside(self, port: PortRule) -> str:
        """The verdict for clients that come to an address of the node, or to an external one."""
        if not port.backends:
            return "goto refuse"
        everywhere = self._balance("all", port, port.backends)
        marked = f"meta mark set meta mark or {MARK} {everywhere}"
        name = f"outside/{self._name(port)}"
        if self._rule.external_local:
            # Clients of the cluster and of the node itself are not the outside: they may use every backend.
            self._chains[name] = (
                f"ip saddr {self._config.cluster_cidr} {marked}",
                f"fib saddr type local {marked}",
                self._balance("local", port, port.local_backends),
            )
        else:
            self._chains[name] = (marked,)
        return f"goto {name}"

    def _name(self, port: PortRule) -> str:
        return f"{self._rule.key}/{port.protocol}/{port.port}"

    def _balance(self, scope: str, port: PortRule, backends: Sequence[Backend]) -> str:
        """The verdict that leads to one of these, dropping when there is none."""
        if not backends:
            return "drop"
        name = f"{scope}/{self._name(port)}"
        if self._rule.affinity_s:
            self._chains[name] = self._sticky(port, backends)
        else:
            self._chains[name] = (_to(port.protocol, *backends),)
        return f"goto {name}"

    def _sticky(self, port: PortRule, backends: Sequence[Backend]) -> tuple[str, ...]:
        targets: list[str] = []
        remembered: list[str] = []
        for backend in backends:
            own = f"{self._name(port)}/{backend.ip}/{backend.port}"
            # The time is part of the name, because a set's declaration cannot be changed later.
            clients = f"stay/{self._rule.affinity_s}s/{own}"
            self._sets[clients] = f"type ipv4_addr; flags dynamic, timeout; timeout {self._rule.affinity_s}s;"
            self._chains[f"to/{own}"] = (
                f"update @{clients} {{ ip saddr }}",
                _to(port.protocol, backend),
            )
            targets.append(f"goto to/{own}")
            remembered.append(f"ip saddr @{clients} goto to/{own}")
        return (*remembered, f"numgen random mod {len(targets)} vmap {{ {_numbered(targets)} }}")


def _to(protocol: str, *backends: Backend) -> str:
    """The rule that sends a connection to one of these, by chance."""
    if len(backends) == 1:
        return f"meta l4proto {protocol} dnat ip to {backends[0].ip}:{backends[0].port}"
    targets = _numbered(f"{backend.ip} . {backend.port}" for backend in backends)
    return f"meta l4proto {protocol} dnat ip to numgen random mod {len(backends)} map {{ {targets} }}"


def _numbered(targets: Iterable[str]) -> str:
    return ", ".join(f"{number} : {target}" for number, target in enumerate(targets))
