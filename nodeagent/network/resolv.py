"""The contents of a pod's /etc/resolv.conf. Pure: the host's own file is an argument.

Kubernetes' rules: `ClusterFirst` asks the cluster's DNS and completes short names with the pod's namespace, `Default`
takes over what the host uses, `None` has only what the pod's dnsConfig says; dnsConfig is added to any of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mizzen.api.types import core_v1 as core

_NAMESERVERS_MOST = 3
_SEARCHES_MOST = 32
_CLUSTER_OPTIONS = ("ndots:5",)


@dataclass(frozen=True, slots=True)
class Resolver:
    """What a resolv.conf says."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Each `name` or `name:value`."""


def parse(text: str) -> Resolver:
    """Read a resolv.conf; as for the C library, the last `search` or `domain` line counts."""
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        match words:
            case ["nameserver", address, *_]:
                nameservers.append(address)
            case ["search" | "domain", *names]:
                searches = tuple(names)
            case ["options", *found]:
                options += found
    return Resolver(tuple(nameservers), searches, tuple(options))


def render(resolver: Resolver) -> str:
    """Write a resolv.conf, within the limits that resolvers have."""
    lines = [f"nameserver {address}" for address in resolver.nameservers[:_NAMESERVERS_MOST]]
    if resolver.searches:
        lines.append("search " + " ".join(resolver.searches[:_SEARCHES_MOST]))
    if resolver.options:
        lines.append("options " + " ".join(resolver.options))
    return "".join(f"{line}\n" for line in lines)


def pod_resolver(spec: core.PodSpec, namespace: str, cluster_dns: str, domain: str, host: Resolver) -> Resolver:
    """What the pod's resolv.conf says, from its dnsPolicy, hostNetwork and dnsConfig."""
    config = spec.dns_config if spec.dns_config is not None else core.PodDNSConfig()
    policy = spec.dns_policy or "ClusterFirst"
    if policy == "None":
        base = Resolver()
    elif policy == "Default" or (policy == "ClusterFirst" and spec.host_network):
        base = host
    else:
        own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
        base = Resolver((cluster_dns,), (*own, *host.searches), _CLUSTER_OPTIONS)
    return Resolver(
        nameservers=_unique((*base.nameservers, *config.nameservers)),
        searches=_unique((*base.searches, *config.searches)),
        options=_options(base.options, config.options),
    )


def _options(base: Iterable[str], added: Iterable[core.PodDNSConfigOption]) -> tuple[str, ...]:
    merged = {option.partition(":")[0]: option for option in base}
    for option in added:
        merged[option.name] = f"{option.name}:{option.value}" if option.value else option.name
    return tuple(merged.values())


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
