"""The text for nftables: readable golden scripts, and differences that always lead where they should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.network.layers import Layers
from nodeagent.network.port import NetworkConfig
from nodeagent.network.rules import EMPTY, Ruleset, base_script, diff, render, render_host_ports
from nodeagent.network.services import Backend, HostPort, PortRule, ServiceRule

GOLDEN = Path(__file__).parent / "golden"
CONFIG = NetworkConfig(
    node_ip="10.0.0.1",
    pod_cidr="10.244.1.0/24",
    cluster_cidr="10.244.0.0/16",
    service_cidrs=("10.96.0.0/16",),
    cluster_dns="10.96.0.10",
)
ONE, TWO = Backend("10.244.1.2", 8080), Backend("10.244.2.2", 8080)


def rule(name: str, cluster_ip: str, *ports: PortRule, **changes: object) -> ServiceRule:
    """A service without anything special but the changes."""
    settings_of = {
        "external_ips": (),
        "affinity_s": 0,
        "internal_local": False,
        "external_local": False,
        "announced": (),
    } | changes
    return ServiceRule(key=f"default/{name}", cluster_ip=cluster_ip, ports=ports, **settings_of)  # type: ignore[arg-type]


def loaded(*rules: ServiceRule) -> Ruleset:
    """Their rulesets together."""
    layers = Layers()
    layers.exchange({one.key: render(one, CONFIG) for one in rules})
    return layers.whole


PLAIN = rule("plain", "10.96.0.5", PortRule("tcp", 80, 0, (ONE, TWO), (ONE,)), PortRule("udp", 53, 0, (TWO,), ()))
SCENES = {
    "base": base_script(CONFIG),
    "plain": diff(EMPTY, loaded(PLAIN)),
    "node_port": diff(
        EMPTY, loaded(rule("np", "10.96.0.6", PortRule("tcp", 80, 30080, (TWO,), ()), external_ips=("192.0.2.1",)))
    ),
    "local_only": diff(
        EMPTY,
        loaded(
            rule("in", "10.96.0.7", PortRule("tcp", 80, 0, (TWO,), ()), internal_local=True),
            rule("out", "10.96.0.8", PortRule("tcp", 80, 30081, (ONE, TWO), (ONE,)), external_local=True),
        ),
    ),
    "affinity": diff(EMPTY, loaded(rule("stay", "10.96.0.9", PortRule("tcp", 80, 0, (ONE, TWO), ()), affinity_s=60))),
    "no_endpoints": diff(EMPTY, loaded(rule("none", "10.96.0.11", PortRule("tcp", 80, 30082, (), ())))),
    "host_ports": diff(
        EMPTY,
        render_host_ports(
            (HostPort("default/a", "tcp", 80, ONE), HostPort("default/b", "udp", 53, ONE, host_ip="10.0.0.1"))
        ),
    ),
    "one_endpoint_changes": diff(
        loaded(PLAIN, rule("x", "10.96.0.12", PortRule("tcp", 1, 0, (ONE,), ()))),
        loaded(
            rule("plain", "10.96.0.5", PortRule("tcp", 80, 0, (TWO,), ()), PortRule("udp", 53, 0, (TWO,), ())),
            rule("x", "10.96.0.12", PortRule("tcp", 1, 0, (ONE,), ())),
        ),
    ),
    "all_goes": diff(loaded(PLAIN, rule("s", "10.96.0.9", PortRule("tcp", 8, 0, (ONE,), ()), affinity_s=60)), EMPTY),
}


@pytest.mark.parametrize("name", SCENES)
def test_golden(name: str) -> None:
    """The scripts, word by word; a wanted change is written into the files below `golden`."""
    assert SCENES[name] == (GOLDEN / f"{name}.nft").read_text()


def test_no_change_no_script() -> None:
    """Nothing is sent to the kernel for nothing."""
    assert diff(loaded(PLAIN), loaded(PLAIN)) == ""


def test_two_claim_one_node_port() -> None:
    """The first by name has it, whichever was loaded first, and the other takes over when it goes."""
    first = rule("a", "10.96.0.5", PortRule("tcp", 80, 30080, (ONE,), ()))
    second = rule("b", "10.96.0.6", PortRule("tcp", 80, 30080, (TWO,), ()))
    key = ("node-ports", "tcp . 30080")
    assert loaded(second, first).elements[key] == "goto outside/default/a/tcp/80"
    assert "add element ip mizzen node-ports { tcp . 30080 : goto outside/default/b/tcp/80 }" in diff(
        loaded(first, second), loaded(second)
    )


def test_the_dns_address_is_the_nodes_own_until_somebody_serves_it() -> None:
    """A DNS service without endpoints must not turn away what the node answers itself."""
    empty = rule("kube-dns", "10.96.0.10", PortRule("udp", 53, 0, (), ()))
    served = rule("kube-dns", "10.96.0.10", PortRule("udp", 53, 0, (ONE,), ()))
    assert loaded(empty) == EMPTY
    assert ("services", "10.96.0.10 . udp . 53") in loaded(served).elements


class Kernel:
    """As much of nftables as the scripts use; it refuses what the kernel refuses."""

    def __init__(self) -> None:
        self.chains: dict[str, list[str]] = {"refuse": []}
        self.sets: dict[str, str] = {}
        self.elements: dict[tuple[str, str], str] = {}

    def run(self, script: str) -> None:
        """Apply a script line by line."""
        for line in script.splitlines():
            verb, what, _, _, name, *rest = line.split(" ", 5)
            getattr(self, f"{verb}_{what}")(name, rest[0] if rest else "")

    def add_set(self, name: str, declaration: str) -> None:
        assert name not in self.sets
        self.sets[name] = declaration.removeprefix("{ ").removesuffix(" }")

    def delete_set(self, name: str, _: str) -> None:
        assert not any(f"@{name} " in rule for rules in self.chains.values() for rule in rules)
        del self.sets[name]

    def add_chain(self, name: str, _: str) -> None:
        assert name not in self.chains
        self.chains[name] = []

    def flush_chain(self, name: str, _: str) -> None:
        self.chains[name].clear()

    def add_rule(self, name: str, text: str) -> None:
        assert all(target in self.chains for target in re.findall(r"goto (\S+?)(?:,|$| )", text))
        assert all(target in self.sets for target in re.findall(r"@(\S+)", text))
        self.chains[name].append(text)

    def delete_chain(self, name: str, _: str) -> None:
        assert not self.chains[name]
        assert not any(re.search(rf"goto {name}(,|$| )", rule) for rules in self.chains.values() for rule in rules)
        assert f"goto {name}" not in self.elements.values()
        del self.chains[name]

    def add_element(self, target: str, text: str) -> None:
        for item in text.removeprefix("{ ").removesuffix(" }").split(", "):
            key, _, verdict = item.partition(" : ")
            assert (target, key) not in self.elements
            assert not verdict.startswith("goto") or verdict.removeprefix("goto ") in self.chains
            self.elements[target, key] = verdict

    def delete_element(self, target: str, text: str) -> None:
        for key in text.removeprefix("{ ").removesuffix(" }").split(", "):
            del self.elements[target, key]

    def holds(self) -> Ruleset:
        """What there is, in the form of a ruleset."""
        chains = {name: tuple(rules) for name, rules in self.chains.items() if name != "refuse"}
        return Ruleset(chains, self.sets, self.elements)


BACKENDS = st.lists(
    st.builds(Backend, st.sampled_from([f"10.244.{net}.{host}" for net in (1, 2) for host in (2, 3)]), st.just(80)),
    max_size=3,
    unique=True,
).map(lambda found: tuple(sorted(found)))
PORTS = st.builds(
    lambda protocol, port, node_port, backends: PortRule(
        protocol, port, node_port, backends, tuple(one for one in backends if one.ip.startswith("10.244.1."))
    ),
    st.sampled_from(["tcp", "udp"]),
    st.sampled_from([53, 80]),
    st.sampled_from([0, 30000, 30001]),
    BACKENDS,
)
RULES = st.builds(
    ServiceRule,
    key=st.sampled_from(["default/a", "default/b", "default/c"]),
    cluster_ip=st.sampled_from(["10.96.0.1", "10.96.0.2", "10.96.0.10"]),
    external_ips=st.sampled_from([(), ("192.0.2.1",)]),
    ports=st.lists(PORTS, max_size=2, unique_by=lambda port: (port.protocol, port.port)).map(tuple),
    affinity_s=st.sampled_from([0, 60, 90]),
    internal_local=st.booleans(),
    external_local=st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(RULES, max_size=3, unique_by=lambda one: one.key), min_size=1, max_size=4))
def test_differences_lead_there(tables: list[list[ServiceRule]]) -> None:
    """From any services to any others, by steps that the kernel accepts, with exactly the wanted rules at the end."""
    kernel, layers = Kernel(), Layers()
    before: dict[str, ServiceRule] = {}
    for table in tables:
        after = {one.key: one for one in table}
        gone = {key: EMPTY for key in before if key not in after}
        changed = {key: render(one, CONFIG) for key, one in after.items() if before.get(key) != one}
        kernel.run(diff(*layers.exchange(gone | changed)))
        assert kernel.holds() == layers.whole == loaded(*table)
        before = after


def test_what_does_not_change_is_not_looked_at() -> None:
    """Only what the exchanged pieces touch comes back."""
    layers = Layers()
    other = rule("x", "10.96.0.9", PortRule("tcp", 1, 0, (ONE,), ()))
    layers.exchange({one.key: render(one, CONFIG) for one in (PLAIN, other)})
    old, new = layers.exchange({"default/x": EMPTY})
    assert set(old.chains) == {"all/default/x/tcp/1"}
    assert new == EMPTY
