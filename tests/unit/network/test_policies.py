"""From policies and a node's own pods to guards, and from guards to rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mizzen.api.types import core_v1 as core
from mizzen.api.types import networking_v1 as networking
from nodeagent.network.policies import NO_POLICIES, Block, Gate, Guard, PolicyTable, PortRange, policy_table
from nodeagent.network.policy_rules import render_policies
from nodeagent.network.rules import EMPTY, diff

GOLDEN = Path(__file__).parent / "golden"
IP = "10.244.1.2"


def policy(name: str, types: Sequence[str] = ("Ingress",), namespace: str = "default", **spec: Any) -> Any:
    """A policy, by default for every pod of its namespace."""
    body = {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": list(types), **spec},
    }
    return msgspec.convert(body, networking.NetworkPolicy)


def pod(ports: Sequence[dict[str, Any]] = (), **labels: str) -> core.Pod:
    """A pod of the namespace `default`."""
    body = {
        "metadata": {"name": "p", "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "c", "ports": list(ports)}]},
    }
    return msgspec.convert(body, core.Pod)


def host(*addresses: str) -> list[dict[str, Any]]:
    """Peers that are single addresses, as the control plane writes pods."""
    return [{"ipBlock": {"cidr": f"{address}/32"}} for address in addresses]


def guard(*policies: Any, of: core.Pod | None = None) -> Guard | None:
    """The guard of one pod."""
    return policy_table(policies, [(of or pod(app="web"), IP)]).guards.get(IP)


def gate(name: str, **changes: Any) -> Gate:
    """One for everybody and everything but the changes."""
    return Gate(**({"name": name, "everybody": False, "addresses": (), "blocks": (), "ports": ()} | changes))


ANYBODY = {"everybody": True}
CASES = {
    "closed": (policy("p"), (), None),
    "closed both ways": (policy("p", ("Ingress", "Egress")), (), ()),
    "open": (policy("p", ingress=[{}]), (gate("default/p/0", **ANYBODY),), None),
    "only out": (policy("p", ("Egress",), egress=[{}]), None, (gate("default/p/0", **ANYBODY),)),
    "rules of a direction that it is not about": (policy("p", ("Egress",), ingress=[{}]), None, ()),
    "pods": (
        policy("p", ingress=[{"from": host("10.1.0.2", "10.1.0.1")}]),
        (gate("default/p/0", addresses=("10.1.0.1", "10.1.0.2")),), None,
    ),
    "blocks": (
        policy("p", ingress=[{"from": [{"ipBlock": {"cidr": "10.1.2.3/8", "except": ["10.2.0.0/16"]}}]}]),
        (gate("default/p/0", blocks=(Block("10.0.0.0/8", ("10.2.0.0/16",)),)),), None,
    ),
    "nobody but IPv6": (policy("p", ingress=[{"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}]), (), None),
    "selectors that were not resolved let nobody in": (
        policy("p", ingress=[{"from": [{"podSelector": {}}]}]), (), None,
    ),
    "ports": (
        policy("p", ingress=[{"ports": [{"port": 80}, {"protocol": "UDP"}, {"port": 90, "endPort": 99}]}]),
        (gate(
            "default/p/0", **ANYBODY,
            ports=(PortRange("tcp", 80, 80), PortRange("udp", 0, 0), PortRange("tcp", 90, 99)),
        ),),
        None,
    ),
    "a name that the pod has for a port": (
        policy("p", ingress=[{"ports": [{"port": "http"}, {"port": "other"}]}]),
        (gate("default/p/0", **ANYBODY, ports=(PortRange("tcp", 8080, 8080),)),), None,
    ),
    "a name of another protocol is no port": (
        policy("p", ingress=[{"ports": [{"port": "http", "protocol": "UDP"}]}]), (), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gates(name: str) -> None:
    """What one policy makes of a pod with a port named `http`."""
    given, ingress, egress = CASES[name]
    named = pod([{"name": "http", "containerPort": 8080}])
    assert guard(given, of=named) == Guard(IP, ingress, egress)


def test_only_selected_pods_of_the_namespace_are_guarded() -> None:
    """By labels; a policy of another namespace is none of theirs."""
    db = {"matchLabels": {"app": "db"}}
    assert guard(policy("p", podSelector=db), policy("q", namespace="other")) is None
    assert policy_table([policy("p", podSelector=db)], [(pod(app="web"), IP)]) is NO_POLICIES
    assert guard(policy("p", podSelector=db), of=pod(app="db")) == Guard(IP, (), None)


def test_policies_add_up() -> None:
    """Whatever one of them allows is allowed."""
    found = guard(policy("b", ingress=[{"from": host("10.1.0.1")}]), policy("a"), policy("c", ("Egress",)))
    assert found == Guard(IP, (gate("default/b/0", addresses=("10.1.0.1",)),), ())


def table(*addresses: str) -> PolicyTable:
    """Two guarded pods; the senders that one rule allows are these."""
    block = Block("10.0.0.0/8", ("10.1.0.0/16", "10.2.0.0/16"))
    gates = (
        gate("default/db/0", addresses=addresses, ports=(PortRange("tcp", 5432, 5432),)),
        gate("default/db/1", blocks=(block,), ports=(PortRange("udp", 0, 0),)),
        gate("default/db/2", everybody=True, ports=(PortRange("tcp", 80, 89),)),
    )  # fmt: skip
    dns = gate("default/out/0", everybody=True)
    return PolicyTable({IP: Guard(IP, gates, (dns,)), "10.244.1.3": Guard("10.244.1.3", None, ())})


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("policies", diff(EMPTY, render_policies(table("10.244.1.9", "10.244.2.9")))),
        ("policies_one_sender", diff(render_policies(table("10.244.1.9")), render_policies(table("10.244.2.9")))),
    ],
)
def test_golden(name: str, script: str) -> None:
    """The scripts, word by word."""
    assert script == (GOLDEN / f"{name}.nft").read_text()


def test_names_stay_short_enough_for_the_kernel() -> None:
    """However long the names of a namespace and its policy are."""
    long = gate(f"{'n' * 63}/{'p' * 253}/0", addresses=("10.1.0.1",))
    rules = render_policies(PolicyTable({IP: Guard(IP, (long,), (long,))}))
    assert len(rules.sets) == 2
    assert all(len(name) < 255 for name in (*rules.sets, *rules.chains))
