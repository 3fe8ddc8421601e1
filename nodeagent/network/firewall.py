"""Lets pods through a host firewall that drops what is forwarded, as Docker's does.

An accept in a table of our own cannot undo a drop in another, so where the host filters forwarded packets with iptables
a chain of ours is put in front of its FORWARD chain. Nobody else's rule is touched. Where FORWARD is empty and accepts,
nothing is done and no iptables table comes into being.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from nodeagent.network.commands import run
from nodeagent.network.port import NetworkConfig, NetworkError
from nodeagent.network.rules import MARK

_CHAIN = "MIZZEN-FORWARD"
_JUMP = f"FORWARD -m comment --comment mizzen -j {_CHAIN}"
_log = structlog.get_logger(__name__)


async def let_through(config: NetworkConfig) -> None:
    """See to it that the host's FORWARD chain accepts pods' and services' packets."""
    rules = await _forward_rules()
    if rules is None or rules == ["-P FORWARD ACCEPT"]:
        return
    if f"-A {_JUMP}" in rules:
        return
    lines = [
        f"-A {_CHAIN} -s {config.cluster_cidr} -j ACCEPT",
        f"-A {_CHAIN} -d {config.cluster_cidr} -j ACCEPT",
        # From a node port to an endpoint outside the pods' network, and its answers.
        f"-A {_CHAIN} -m mark --mark {MARK}/{MARK} -j ACCEPT",
        f"-A {_CHAIN} -m conntrack --ctstate ESTABLISHED,RELATED -m conntrack --ctstate DNAT -j ACCEPT",
        f"-I {_JUMP}",
    ]
    await _restore(lines)
    _log.info("forwarding_allowed", chain=_CHAIN)


async def withdraw() -> None:
    """Take our chain away again."""
    rules = await _forward_rules()
    if rules is not None and f"-A {_JUMP}" in rules:
        await _restore([f"-D {_JUMP}", f"-X {_CHAIN}"])


async def _forward_rules() -> list[str] | None:
    """The FORWARD chain as iptables prints it; None where iptables is missing or of no use, hence filters nothing."""
    try:
        code, printed = await run(["iptables", "-w", "5", "-S", "FORWARD"])
    except FileNotFoundError:
        return None
    if code:
        _log.warning("forward_chain_unreadable", error=printed.strip())
        return None
    return [line.replace('"', "") for line in printed.splitlines()]


async def _restore(lines: Sequence[str]) -> None:
    # Naming the chain with a colon makes it, or empties the one that is there.
    script = "\n".join(["*filter", f":{_CHAIN} - [0:0]", *lines, "COMMIT", ""])
    code, printed = await run(["iptables-restore", "-w", "5", "--noflush"], script)
    if code:
        raise NetworkError(f"iptables refused the rules for forwarding: {printed.strip()}")
