"""The files that every container finds in `/etc`: who is who near the pod, and where names are asked for. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.specs import hostname

SEARCH_MAX = 32
NAMESERVERS_MAX = 3
TERMINATION_LOG = "/dev/termination-log"
TERMINATION_MAX_BYTES = 4096

_HOSTS_HEAD = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesOfNode:
    """What the node knows about names."""

    cluster_dns: str
    """The name server of pods."""
    domain: str
    """The cluster's domain."""
    resolv_conf: str
    """The machine's own `/etc/resolv.conf`."""
    hosts: str
    """The machine's own `/etc/hosts`, which pods on its network share."""


def hosts_file(pod: core.Pod, ip: str, names: NamesOfNode) -> str:
    """`/etc/hosts`: the pod itself, and what it asked to have there."""
    if pod.spec.host_network:
        text = "# Kubernetes-managed hosts file (host network).\n" + names.hosts
    else:
        short = hostname(pod, names.domain)
        full = ""
        if pod.spec.subdomain:
            full = f"{short}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{names.domain}\t"
        text = f"{_HOSTS_HEAD}{ip}\t{full}{short}\n"
    if pod.spec.host_aliases:
        lines = [f"{alias.ip}\t{'	'.join(alias.hostnames)}\n" for alias in pod.spec.host_aliases]
        text += "\n# Entries added by HostAliases.\n" + "".join(lines)
    return text


def resolv_conf(pod: core.Pod, names: NamesOfNode) -> str:
    """`/etc/resolv.conf`: the cluster's names first, unless the pod wants the machine's or its own only."""
    servers, search, options = _by_policy(pod, names)
    own = pod.spec.dns_config
    if own is not None:
        servers = [*servers, *own.nameservers]
        search = [*search, *own.searches]
        for option in own.options:
            options[option.name] = option.value or ""
    lines = []
    if search:
        lines.append("search " + " ".join(list(dict.fromkeys(search))[:SEARCH_MAX]))
    lines += [f"nameserver {server}" for server in list(dict.fromkeys(servers))[:NAMESERVERS_MAX]]
    if options:
        lines.append("options " + " ".join(f"{name}:{value}" if value else name for name, value in options.items()))
    return "\n".join(lines) + "\n"


def _by_policy(pod: core.Pod, names: NamesOfNode) -> tuple[list[str], list[str], dict[str, str]]:
    policy = pod.spec.dns_policy or "ClusterFirst"
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"
    if policy == "None":
        return [], [], {}
    servers, search, options = _parsed(names.resolv_conf)
    if policy == "Default" or not names.cluster_dns:
        return servers, search, options
    domain = names.domain
    own = [f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain]
    return [names.cluster_dns], [*own, *search], {"ndots": "5"}


def _parsed(text: str) -> tuple[list[str], list[str], dict[str, str]]:
    servers: list[str] = []
    search: list[str] = []
    options: dict[str, str] = {}
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest:
            servers.append(rest[0])
        elif word == "search":
            search = [name for name in rest if name != "."]
        elif word == "options":
            for option in rest:
                name, _, value = option.partition(":")
                options[name] = value
    return servers, search, options
