"""Which kernel parameters a pod may set: those that reach no further than the pod itself. Pure.

The names are Kubernetes' safe ones; a node may be told to allow others, by name or by the beginning of names (`net.*`).
"""

from __future__ import annotations

from collections.abc import Sequence

from mizzen.api.types import core_v1 as core

SAFE = frozenset(
    (
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
    )
)  # fmt: skip
_IPC = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")
_NET = "net."


def namespace_of(name: str) -> str:
    """The kernel namespace that a parameter belongs to: `ipc`, `net`, or empty when it is the whole machine's."""
    if name.startswith(_NET):
        return "net"
    return "ipc" if name.startswith(_IPC) else ""


def refusal(spec: core.PodSpec, allowed: Sequence[str]) -> str:
    """Why the pod may not set what it wants to set; empty when it may. `allowed`: names beyond the safe ones."""
    context = spec.security_context
    for item in context.sysctls if context is not None else ():
        name = item.name.replace("/", ".")
        if name not in SAFE and not any(_covers(pattern, name) for pattern in allowed):
            return f'forbidden sysctl: "{item.name}" not allowlisted'
        namespace = namespace_of(name)
        if (namespace == "net" and spec.host_network) or (namespace == "ipc" and spec.host_ipc):
            return f'forbidden sysctl: "{item.name}" not allowed with host {namespace} enabled'
    return ""


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
