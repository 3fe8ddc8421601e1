"""Settings of the kernel's network, as files below /proc/sys."""

from __future__ import annotations

from pathlib import Path

from nodeagent.network.port import NetworkUnsupported

_ROOT = Path("/proc/sys")


def set_sysctl(name: str, value: str) -> None:
    """Have the setting (`net/ipv4/ip_forward`) at the value; it is written only when it differs."""
    path = _ROOT / name
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        raise NetworkUnsupported(
            f"the kernel setting {name} cannot be set to {value}: {error.strerror}; set it before the agent starts"
        ) from error
