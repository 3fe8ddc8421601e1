"""Which pods stand behind a service: slices, the old form, and what is mirrored from it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from controlplane.reconcilers import endpointmirror, endpoints, endpointslice, zonehints
from mizzen.api import kinds
from mizzen.api.types import core_v1, discovery_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Decision, Delete, Update
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import LABELS, NOW, at, meta, node, pod, view
from tests.unit.reconcilers.sets import Rig


def of(decision: Decision, kind: type) -> list[Any]:
    return [effect for effect in decision.effects if isinstance(effect, kind)]


def service(**spec: Any) -> core_v1.Service:
    port = core_v1.ServicePort(name="http", port=80, target_port=spec.pop("target_port", "http"), protocol="TCP")
    spec = {"selector": LABELS, "cluster_ip": "10.96.0.5", "ports": (port,), "ip_families": ("IPv4",), **spec}
    return core_v1.Service(metadata=meta("web"), spec=core_v1.ServiceSpec(**spec))


def slices(*objects: Any) -> Decision:
    return endpointslice.reconcile(Key("services", "default", "web"), view(*objects), NOW, SeededIds(1))


class TestEndpointSlices:
    def test_ready_pods_are_endpoints_on_their_own_port(self) -> None:
        made = of(slices(service(), pod("a", node="n1", ready_since=-5, ip="10.244.0.2")), Create)[0].object
        assert made.metadata.labels["kubernetes.io/service-name"] == "web"
        assert made.ports[0].port == 8080
        endpoint = made.endpoints[0]
        assert (endpoint.addresses, endpoint.node_name, endpoint.conditions.ready) == (("10.244.0.2",), "n1", True)

    def test_terminating_pods_serve_but_are_not_ready(self) -> None:
        leaving = pod("a", node="n1", ready_since=-5, ip="10.244.0.2", deletion_timestamp=at(-1))
        conditions = of(slices(service(), leaving), Create)[0].object.endpoints[0].conditions
        assert (conditions.ready, conditions.serving, conditions.terminating) == (False, True, True)

    def test_pods_without_an_address_or_finished_are_left_out(self) -> None:
        made = of(slices(service(), pod("a"), pod("b", ip="10.244.0.3", phase="Succeeded")), Create)[0].object
        assert made.endpoints == ()

    def test_a_change_is_one_update(self) -> None:
        made = of(slices(service(), pod("a", node="n1", ip="10.244.0.2")), Create)[0].object
        metadata = msgspec.structs.replace(made.metadata, resource_version="5", uid="s")
        decision = slices(
            service(),
            pod("a", node="n1", ready_since=-1, ip="10.244.0.2"),
            msgspec.structs.replace(made, metadata=metadata),
        )
        assert len(decision.effects) == 1
        assert of(decision, Update)[0].object.endpoints[0].conditions.ready

    def test_hundred_endpoints_a_slice(self) -> None:
        pods = [pod(f"p{n:03}", ip=f"10.244.1.{n}", node="n1") for n in range(1, 151)]
        assert [len(e.object.endpoints) for e in of(slices(service(), *pods), Create)] == [100, 50]

    def test_endpoints_stay_in_their_slices_while_others_come_and_go(self) -> None:
        rig = Rig(endpointslice.CONTROLLER, service())
        for n in range(1, 251):
            rig.put(pod(f"p{n:03}", ip=f"10.244.1.{n}", node="n1"))
        rig.settle()

        def changes() -> dict[str, int]:
            counts = Counter(type(effect).__name__ for effect in rig.turn().effects)
            kept = [e for piece in rig.list(kinds.ENDPOINT_SLICE) for e in piece.endpoints]
            assert len(kept) == len({e.addresses for e in kept}) == len(rig.list(kinds.POD))
            assert all(len(piece.endpoints) <= 100 for piece in rig.list(kinds.ENDPOINT_SLICE))
            return dict(counts)

        del rig.objects[("pods", "default", "p001")]
        assert changes() == {"Update": 1}, "the others do not move up"
        rig.put(pod("a-first", ip="10.244.2.1", node="n1"))
        assert changes() == {"Update": 1}, "where there is room for it"
        for n in range(60):
            rig.put(pod(f"b{n}", ip=f"10.244.3.{n}", node="n1"))
        assert changes() == {"Create": 1}, "too many for the room that is left in one"
        for n in range(60):
            del rig.objects[("pods", "default", f"b{n}")]
        assert changes() == {"Delete": 1}
        del rig.objects[("pods", "default", "p150")]
        rig.put(pod("c-last", ip="10.244.2.2", node="n1"))
        assert changes() == {"Update": 1}, "one that changes anyway is filled first"

    def test_slices_carry_the_labels_of_their_service_and_no_others(self) -> None:
        rig = Rig(endpointslice.CONTROLLER, service())
        rig.settle()
        own = {"kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": endpointslice.MANAGER}
        for labels, headless in (
            ({"tier": "front"}, False),
            ({}, True),
            ({"service.kubernetes.io/headless": ""}, False),
        ):
            found = service(cluster_ip="None" if headless else "10.96.0.5")
            rig.put(msgspec.structs.replace(found, metadata=meta("web", labels=labels)))
            rig.settle()
            told = {"service.kubernetes.io/headless": ""} if headless else {}
            kept = {} if "service.kubernetes.io/headless" in labels else labels
            (piece,) = rig.list(kinds.ENDPOINT_SLICE)
            assert piece.metadata.labels == {**kept, **own, **told}

    def test_slices_go_with_their_service(self) -> None:
        made = of(slices(service(), pod("a", node="n1", ip="10.244.0.2")), Create)[0].object
        assert len(of(slices(made), Delete)) == 1

    def test_slices_of_others_are_not_touched(self) -> None:
        foreign = discovery_v1.EndpointSlice(
            metadata=meta("x", labels={"kubernetes.io/service-name": "web"}), address_type="IPv4"
        )
        assert not of(slices(service(selector={}), foreign), Delete)

    @pytest.mark.parametrize(
        ("wish", "zones", "nodes"),
        [
            (None, [], []),
            ("PreferClose", ["z1"], []),
            ("PreferSameZone", ["z1"], []),
            ("PreferSameNode", ["z1"], ["n1"]),
        ],
    )
    def test_near_endpoints_are_hinted_at(self, wish: str | None, zones: list[str], nodes: list[str]) -> None:
        where = node("n1", labels={"topology.kubernetes.io/zone": "z1"})
        one = pod("a", node="n1", ready_since=-5, ip="10.244.0.2")
        (endpoint,) = of(slices(service(traffic_distribution=wish), where, one), Create)[0].object.endpoints
        assert endpoint.zone == "z1"
        hints = endpoint.hints or discovery_v1.EndpointHints()
        assert [zone.name for zone in hints.for_zones] == zones
        assert [one.name for one in hints.for_nodes] == nodes


NODES = [node(f"n{n}", labels={"topology.kubernetes.io/zone": f"z{n}"}, cpu=cpu) for n, cpu in ((1, "4"), (2, "4"))]
AUTO = {"service.kubernetes.io/topology-mode": "Auto"}


class TestZoneHints:
    @pytest.mark.parametrize(
        ("zones", "shares", "wanted"),
        [
            ("aabb", {"a": 0.5, "b": 0.5}, "aabb"),
            ("aaab", {"a": 0.5, "b": 0.5}, "baab"),
            ("aaaa", {"a": 0.5, "b": 0.5}, "bbaa"),
            ("aaabbb", {"a": 0.6, "b": 0.4}, "aaabbb"),
            ("aabbcc", {"a": 0.5, "b": 0.5}, "aabbab"),
            ("aaa", {"a": 0.5, "b": 0.5}, "(3 endpoints, 2 zones)"),
            ("a", {"a": 0.5, "b": 0.5}, "Insufficient number of endpoints (1 endpoints, 2 zones)"),
            ("aa-b", {"a": 0.5, "b": 0.5}, "One or more endpoints do not have a zone specified"),
        ],
    )
    def test_endpoints_are_shared_out_by_what_zones_have(
        self, zones: str, shares: dict[str, float], wanted: str
    ) -> None:
        try:
            found = "".join(zonehints.assign(["" if zone == "-" else zone for zone in zones], shares))
        except zonehints.Unfit as why:
            found = str(why)[-len(wanted) :]
        assert found == wanted

    @pytest.mark.parametrize(
        ("nodes", "wanted"),
        [
            (NODES, {"z1": 0.5, "z2": 0.5}),
            ([*NODES, node("n3", labels={"topology.kubernetes.io/zone": "z2"})], {"z1": 1 / 3, "z2": 2 / 3}),
            ([*NODES, node("n3", ready="False")], {"z1": 0.5, "z2": 0.5}),
            ([*NODES, node("n3", labels={"node-role.kubernetes.io/control-plane": ""})], {"z1": 0.5, "z2": 0.5}),
            ([*NODES, node("n3")], "Insufficient Node information"),
            (NODES[:1], "Nodes only ready in one zone"),
        ],
    )
    def test_the_share_of_a_zone(self, nodes: list[core_v1.Node], wanted: dict[str, float] | str) -> None:
        try:
            assert zonehints.shares(nodes) == pytest.approx(wanted)
        except zonehints.Unfit as why:
            assert str(why).startswith(str(wanted))

    def test_a_service_that_asks_for_it_gets_hints_and_is_told(self) -> None:
        asking = msgspec.structs.replace(
            service(traffic_distribution="PreferClose"), metadata=meta("web", annotations=AUTO)
        )
        rig = Rig(endpointslice.CONTROLLER, asking, *NODES)
        for n in range(4):
            rig.put(pod(f"p{n}", node="n1", ready_since=-5, ip=f"10.244.0.{n}", uid=f"uid-{n}"))
        rig.put(pod("late", node="n2", ip="10.244.0.9"))
        rig.settle()

        def hints() -> list[list[str]]:
            (piece,) = rig.list(kinds.ENDPOINT_SLICE)
            return [[zone.name for zone in e.hints.for_zones] if e.hints else [] for e in piece.endpoints]

        assert hints() == [[], ["z2"], ["z2"], ["z1"], ["z1"]]
        assert rig.told[-1] == "TopologyAwareHintsEnabled: Topology Aware Hints has been enabled, addressType: IPv4"
        del rig.objects[("nodes", "", "n2")]
        rig.settle()
        assert hints() == [[]] * 5
        assert rig.told[-1] == "TopologyAwareHintsDisabled: Nodes only ready in one zone, addressType: IPv4"
        assert list(endpointslice._sharing(NODES[0], rig.view)) == [Key("services", "default", "web")]


def subsets(rig: Rig) -> list[tuple[list[str], list[str], list[int]]]:
    """Ready addresses, others, and ports of the Endpoints."""
    return [
        ([a.ip for a in s.addresses], [a.ip for a in s.not_ready_addresses], [p.port for p in s.ports])
        for s in rig.get(kinds.ENDPOINTS, "web").subsets
    ]


class TestEndpoints:
    def test_they_follow_the_pods(self) -> None:
        rig = Rig(endpoints.CONTROLLER, service(target_port=8080))
        rig.settle()
        assert subsets(rig) == []
        rig.put(pod("b", node="n1", ready_since=-5, ip="10.244.0.3"))
        rig.put(pod("a", node="n1", ready_since=-5, ip="10.244.0.2"))
        rig.put(pod("c", node="n1", ip="10.244.0.4"))
        rig.settle()
        assert subsets(rig) == [(["10.244.0.2", "10.244.0.3"], ["10.244.0.4"], [8080])]
        assert rig.get(kinds.ENDPOINTS, "web").metadata.labels == {
            "endpoints.kubernetes.io/managed-by": "endpoint-controller"
        }
        (first, _) = rig.get(kinds.ENDPOINTS, "web").subsets[0].addresses
        assert (first.node_name, first.target_ref.name) == ("n1", "a")
        rig.put(pod("b", node="n1", ready_since=-5, ip="10.244.0.3", deletion_timestamp=at(-1)))
        rig.put(pod("a", node="n1", phase="Failed", ip="10.244.0.2"))
        rig.settle()
        assert subsets(rig) == [([], ["10.244.0.4"], [8080])]

    def test_ports_that_only_some_pods_have_stand_apart(self) -> None:
        ports = (
            core_v1.ServicePort(name="http", port=80, target_port=8080, protocol="TCP"),
            core_v1.ServicePort(name="more", port=81, target_port="more", protocol="TCP"),
        )
        rich = pod("a", node="n1", ready_since=-5, ip="10.244.0.2")
        own = (core_v1.ContainerPort(name="more", container_port=9, protocol="TCP"),)
        container = msgspec.structs.replace(rich.spec.containers[0], ports=own)
        rich = msgspec.structs.replace(rich, spec=msgspec.structs.replace(rich.spec, containers=(container,)))
        rig = Rig(
            endpoints.CONTROLLER, service(ports=ports), rich, pod("b", node="n1", ready_since=-5, ip="10.244.0.3")
        )
        rig.settle()
        assert subsets(rig) == [(["10.244.0.2", "10.244.0.3"], [], [8080]), (["10.244.0.2"], [], [9])]

    def test_more_than_anybody_should_read_is_cut(self) -> None:
        pods = [pod(f"p{n:04}", node="n1", ready_since=-5, ip=f"10.{n // 250}.1.{n % 250}") for n in range(1002)]
        waiting = pod("w", node="n1", ip="10.99.0.1")
        rig = Rig(endpoints.CONTROLLER, service(), *pods, waiting)
        rig.settle()
        (only,) = subsets(rig)
        assert (len(only[0]), only[1]) == (1000, [])
        made = rig.get(kinds.ENDPOINTS, "web")
        assert made.metadata.annotations == {"endpoints.kubernetes.io/over-capacity": "truncated"}

    def test_what_is_cut_is_shared_among_subsets(self) -> None:
        assert endpoints._shares([10, 20], 40) == [10, 20]
        assert endpoints._shares([900, 300], 1000) == [750, 250]
        assert endpoints._shares([1, 1, 1], 2) == [1, 1, 0]
        assert endpoints._shares([5, 5], 0) == [0, 0]

    def test_they_go_with_their_service_but_those_of_users_stay(self) -> None:
        rig = Rig(endpoints.CONTROLLER, service())
        rig.settle()
        key = Key("services", "default", "web")
        made = rig.get(kinds.ENDPOINTS, "web")
        assert [effect.key.name for effect in of(endpoints.reconcile(key, view(made), NOW, SeededIds(1)), Delete)] == [
            "web"
        ]
        users = core_v1.Endpoints(metadata=meta("web"))
        assert endpoints.reconcile(key, view(users), NOW, SeededIds(1)) == Decision()
        assert endpoints.reconcile(key, view(users, service(selector={})), NOW, SeededIds(1)) == Decision()


def by_hand(**metadata: Any) -> core_v1.Endpoints:
    """Endpoints that a user wrote, of both families."""
    subset = core_v1.EndpointSubset(
        addresses=(core_v1.EndpointAddress(ip="192.0.2.1"), core_v1.EndpointAddress(ip="2001:db8::1")),
        not_ready_addresses=(core_v1.EndpointAddress(ip="192.0.2.2"),),
        ports=(core_v1.EndpointPort(port=5432, protocol="TCP"),),
    )
    return core_v1.Endpoints(metadata=meta("web", **metadata), subsets=(subset,))


class TestMirroring:
    def test_endpoints_of_users_become_slices(self) -> None:
        rig = Rig(endpointmirror.CONTROLLER, service(selector={}), by_hand(labels={"team": "db"}))
        rig.settle()
        found = {piece.address_type: piece for piece in rig.list(kinds.ENDPOINT_SLICE)}
        assert {
            family: [(e.addresses[0], e.conditions.ready) for e in piece.endpoints] for family, piece in found.items()
        } == {"IPv4": [("192.0.2.1", True), ("192.0.2.2", False)], "IPv6": [("2001:db8::1", True)]}
        assert found["IPv4"].ports[0].port == 5432
        assert found["IPv4"].metadata.labels == {
            "team": "db",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
        }
        rig.put(by_hand(annotations={"owner": "db", "kubectl.kubernetes.io/last-applied-configuration": "{}"}))
        rig.settle()
        assert all(piece.metadata.annotations == {"owner": "db"} for piece in rig.list(kinds.ENDPOINT_SLICE))
        assert "team" not in rig.list(kinds.ENDPOINT_SLICE)[0].metadata.labels
        rig.put(msgspec.structs.replace(by_hand(), subsets=()))
        rig.settle()
        assert rig.list(kinds.ENDPOINT_SLICE) == []

    def test_so_many_of_a_subset_are_mirrored_and_the_rest_is_told(self) -> None:
        addresses = tuple(core_v1.EndpointAddress(ip=f"10.0.{n // 250}.{n % 250}") for n in range(1003))
        many = msgspec.structs.replace(by_hand(), subsets=(core_v1.EndpointSubset(addresses=addresses),))
        rig = Rig(endpointmirror.CONTROLLER, service(selector={}), many)
        rig.settle()
        assert [len(piece.endpoints) for piece in rig.list(kinds.ENDPOINT_SLICE)] == [1000]
        assert rig.told[-1] == (
            "TooManyAddressesToMirror: A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. "
            "3 addresses were skipped"
        )

    @pytest.mark.parametrize(
        ("spec", "metadata"),
        [
            ({}, {}),
            ({"selector": {}}, {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}),
            ({"selector": {}}, {"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}),
        ],
        ids=["a selector", "not wanted", "a lock"],
    )
    def test_what_is_not_mirrored(self, spec: dict[str, Any], metadata: dict[str, Any]) -> None:
        rig = Rig(endpointmirror.CONTROLLER, service(selector={}), by_hand())
        rig.settle()
        assert len(rig.list(kinds.ENDPOINT_SLICE)) == 2
        rig.put(service(**spec))
        rig.put(by_hand(**metadata))
        rig.settle()
        assert rig.list(kinds.ENDPOINT_SLICE) == []
