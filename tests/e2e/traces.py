"""What pods and services leave on a machine while they are there, and must not leave when they are gone."""

from __future__ import annotations

import difflib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from deploy.lab import Machine
from deploy.shell import TimedOut, wait_for
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl

KEPT = "/run/docker/netns/default"
"""Docker keeps the host's network namespace at hand from the first container on that needs it."""
LOOK = r"""
echo '# containers'; docker ps -a --no-trunc --format '{{.Names}}' | sort
echo '# links'; ip -o link | cut -d: -f2 | cut -d@ -f1 | sort
echo '# addresses'; ip -4 -o addr | cut -d' ' -f2-7 | sort
echo '# routes'; ip -4 route | sort
echo '# mounts'; cut -d' ' -f5 /proc/self/mountinfo | grep -e /var/lib/ -e /run/ | grep -v "$KEPT" | sort
echo '# folders'; ls -A /var/lib/mizzen/pods
echo '# shims'; pgrep -c -x containerd-shim
echo '# groups'; find /sys/fs/cgroup -type d | grep -E '[0-9a-f]{64}' | sort
echo '# forwarding'; (iptables -S FORWARD; iptables -S MIZZEN-FORWARD) | sort
echo '# rules'; nft -s list table ip mizzen
"""
LISTS = re.compile(r"elements = \{([^}]*)\}")


def of(machine: Machine) -> str:
    """Everything on a machine that may belong to a pod or a service."""
    seen = machine.run("env", f"KEPT={KEPT}", "sh", "-c", LOOK, check=False)
    return LISTS.sub(lambda match: " ".join(sorted(match[1].split(","))), seen)


@contextmanager
def none_left(cluster: Cluster, name: str) -> Iterator[Kubectl]:
    """A namespace of a name like this that ends with the block, and without a trace on any machine."""
    namespace = f"{name}-{secrets.token_hex(2)}"
    before = {node.name: of(node) for node in cluster.nodes}
    cluster.kubectl("create", "namespace", namespace)
    yield cluster.kubectl.within(namespace)
    cluster.mend()
    cluster.kubectl("delete", "namespace", namespace, timeout_s=90)
    with suppress(TimedOut):
        wait_for("nothing to be left", lambda: {node.name: of(node) for node in cluster.nodes} == before, 15)
    for node in cluster.nodes:
        left = difflib.unified_diff(before[node.name].splitlines(), of(node).splitlines(), lineterm="", n=0)
        assert not (text := "\n".join(left)), f"left on {node.name}:\n{text}"
