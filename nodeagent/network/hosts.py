"""The contents of a pod's /etc/hosts. Pure: the host's own file is an argument where the pod shares its network."""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api.types import core_v1 as core

_OWN = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
_SHARED = "# Kubernetes-managed hosts file (host network).\n"
_ALIASES = "\n# Entries added by HostAliases.\n"


def pod_hosts(ip: str, hostname: str, fqdn: str, aliases: Iterable[core.HostAlias]) -> str:
    """The file of a pod with an address of its own; `fqdn` is empty when the pod has no subdomain."""
    names = f"{fqdn}\t{hostname}" if fqdn else hostname
    return f"{_OWN}{ip}\t{names}\n" + _lines(aliases)


def shared_hosts(host_file: str, aliases: Iterable[core.HostAlias]) -> str:
    """The file of a pod on the host's network: the host's own, and the pod's aliases."""
    return _SHARED + host_file + _lines(aliases)


def _lines(aliases: Iterable[core.HostAlias]) -> str:
    entries = ["\t".join((alias.ip, *alias.hostnames)) + "\n" for alias in aliases]
    return _ALIASES + "".join(entries) if entries else ""
