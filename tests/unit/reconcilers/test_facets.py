"""Which changes controllers are told of where they only look at a little of a kind: all that matter, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import (
    backends,
    configrollout,
    disruption,
    endpoints,
    every_controller,
    garbage,
    podgc,
    resourcequota,
    rollback,
    startorder,
    tainteviction,
)
from mizzen.api import budgets, kinds, workloads
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.engine import canonical
from mizzen.engine.controller import Controller
from mizzen.engine.entry import Entry, deletion, replacement
from mizzen.engine.feed import Feed
from mizzen.engine.loop import ControlLoop
from tests.fixtures.cluster_objects import LABELS, NOW, at, deployment, meta, node, pod, replica_set, view

BOUND = pod("p", node="n1", ip="10.0.0.1", ready_since=-5)
NODE = node("n1")
OWNER = deployment()
SET = replica_set(owner=OWNER)
SERVICE = core_v1.Service(metadata=meta("s"), spec=core_v1.ServiceSpec(selector=LABELS))
TAINT = core_v1.Taint(key="node.kubernetes.io/out-of-service", effect="NoExecute")
QUOTA = core_v1.ResourceQuota(metadata=meta("q"), spec=core_v1.ResourceQuotaSpec(hard={"pods": "5"}))
MUCH = core_v1.ResourceRequirements(requests={"cpu": "1"})
BIG = (core_v1.Container(name="web", image="web:v1", resources=MUCH),)
GIVEN = (core_v1.ContainerStatus(name="web", resources=MUCH),)
GATE = core_v1.PodSchedulingGate(name=workloads.DEPENDS_ON)


def entry(obj: Any, version: int) -> Entry:
    kind = kinds.kind_of(obj)
    raw = canonical.stamp(kind, canonical.rest(obj), version)
    return Entry(kind, obj.metadata.namespace, obj.metadata.name, version, raw)


def told(controller: Controller, before: Any, after: Any, *present: Any) -> bool:
    """Whether a change (from nothing, or to nothing) queues a key."""
    loop = ControlLoop(controller)
    if after is None:
        change = deletion(entry(before, 1), 2)
    else:
        change = replacement(entry(before, 1) if before is not None else None, entry(after, 2))
    seen = view(*present, *([after] if after is not None else []))
    assert Feed([loop]).changed([change], 2, seen, NOW) == []
    return loop.queue.next_due(NOW) is not None


def spec(obj: Any, **changes: Any) -> Any:
    return replace(obj, spec=replace(obj.spec, **changes))


def status(obj: Any, **changes: Any) -> Any:
    return replace(obj, status=replace(obj.status, **changes))


def named(obj: Any, **changes: Any) -> Any:
    return replace(obj, metadata=replace(obj.metadata, **changes))


def with_condition(obj: core_v1.Pod, type_: str) -> core_v1.Pod:
    return status(obj, conditions=(*obj.status.conditions, core_v1.PodCondition(type=type_, status="True")))  # type: ignore[no-any-return]


UNBOUND = spec(BOUND, node_name="")
LEAVING = named(BOUND, deletion_timestamp=at())
AGAIN = named(BOUND, uid="another")
UNREADY = node("n1", ready="False")
OUT = spec(UNREADY, taints=(TAINT,))
GATED = spec(UNBOUND, scheduling_gates=(GATE,))
WAITER = named(GATED, name="w", annotations={workloads.DEPENDS_ON: "deployment/web"})
AVAILABLE = status(
    OWNER,
    observed_generation=1,
    conditions=(apps_v1.DeploymentCondition(type="Available", status="True"),),
)
ASKING = named(OWNER, annotations={workloads.AUTO_ROLLBACK: "true", workloads.CONFIG_ROLLOUT: "true"})
RESTARTS = (core_v1.ContainerStatus(name="web", restart_count=1),)
RESTARTED = status(BOUND, container_statuses=RESTARTS)
OWNED = pod("p", SET, node="n1")
BARE = status(BOUND, pod_ip="", pod_ips=())
TOLERANT = spec(BOUND, tolerations=(core_v1.Toleration(operator="Exists"),))
FOREIGN = (meta_v1.OwnerReference(api_version="v1", kind="ConfigMap", name="c", uid="u"),)
ANNOTATED = named(BOUND, annotations={"a": "b"})
SHORT = core_v1.Node(metadata=NODE.metadata, spec=NODE.spec, status=replace(NODE.status, capacity={}))


@pytest.mark.parametrize(
    ("controller", "before", "after", "present"),
    [
        (tainteviction.CONTROLLER, UNBOUND, BOUND, ()),
        (tainteviction.CONTROLLER, None, BOUND, ()),
        (tainteviction.CONTROLLER, BOUND, TOLERANT, ()),
        (tainteviction.CONTROLLER, BOUND, AGAIN, ()),
        (tainteviction.CONTROLLER, NODE, spec(NODE, taints=(TAINT,)), (BOUND,)),
        (podgc.CONTROLLER, UNBOUND, named(UNBOUND, deletion_timestamp=at()), ()),
        (podgc.CONTROLLER, BOUND, LEAVING, ()),
        (podgc.CONTROLLER, UNREADY, OUT, (LEAVING,)),
        (podgc.CONTROLLER, NODE, None, (BOUND,)),
        (startorder.CONTROLLER, None, GATED, ()),
        (startorder.CONTROLLER, GATED, with_condition(GATED, workloads.DEPENDENCIES_MET), ()),
        (startorder.CONTROLLER, OWNER, AVAILABLE, (WAITER,)),
        (startorder.CONTROLLER, AVAILABLE, named(AVAILABLE, generation=2), (WAITER,)),
        (startorder.CONTROLLER, None, OWNER, (WAITER,)),
        (startorder.CONTROLLER, OWNER, None, (WAITER,)),
        (disruption.STALE, BOUND, with_condition(BOUND, budgets.TARGET), ()),
        (garbage.CONTROLLER, None, SET, ()),
        (garbage.CONTROLLER, BOUND, named(BOUND, owner_references=FOREIGN), ()),
        (garbage.CONTROLLER, OWNER, named(OWNER, deletion_timestamp=at()), (SET,)),
        (garbage.CONTROLLER, OWNER, None, (SET,)),
        (rollback.CONTROLLER, OWNER, ASKING, ()),
        (rollback.CONTROLLER, ASKING, status(ASKING, replicas=1), ()),
        (rollback.CONTROLLER, None, SET, (ASKING,)),
        (rollback.CONTROLLER, OWNED, status(OWNED, container_statuses=RESTARTS), (SET, ASKING)),
        (configrollout.DEPLOYMENTS, ASKING, OWNER, ()),
        (configrollout.DEPLOYMENTS, None, SET, (ASKING,)),
        (resourcequota.CONTROLLER, BOUND, status(BOUND, phase="Succeeded"), (QUOTA,)),
        (resourcequota.CONTROLLER, BOUND, spec(BOUND, containers=BIG), (QUOTA,)),
        (resourcequota.CONTROLLER, BOUND, status(BOUND, container_statuses=GIVEN), (QUOTA,)),
        (resourcequota.CONTROLLER, BOUND, LEAVING, (QUOTA,)),
        (resourcequota.CONTROLLER, BOUND, spec(BOUND, priority_class_name="high"), (QUOTA,)),
        (resourcequota.CONTROLLER, BOUND, None, (QUOTA,)),
        (endpoints.CONTROLLER, BARE, BOUND, (SERVICE,)),
        (endpoints.CONTROLLER, BOUND, BARE, (SERVICE,)),
        (endpoints.CONTROLLER, BOUND, None, (SERVICE,)),
        (endpoints.CONTROLLER, BOUND, named(BOUND, labels={}), (SERVICE,)),
    ],
)
def test_what_matters_is_told(controller: Controller, before: Any, after: Any, present: tuple[Any, ...]) -> None:
    assert told(controller, before, after, *present)


@pytest.mark.parametrize(
    ("controller", "before", "after", "present"),
    [
        (tainteviction.CONTROLLER, None, UNBOUND, ()),
        (tainteviction.CONTROLLER, BOUND, RESTARTED, ()),
        (tainteviction.CONTROLLER, NODE, SHORT, (BOUND,)),
        (podgc.CONTROLLER, None, UNBOUND, ()),
        (podgc.CONTROLLER, BOUND, RESTARTED, ()),
        (podgc.CONTROLLER, NODE, SHORT, (BOUND,)),
        (startorder.CONTROLLER, BOUND, RESTARTED, ()),
        (startorder.CONTROLLER, AVAILABLE, status(AVAILABLE, replicas=2), (WAITER,)),
        (disruption.STALE, BOUND, RESTARTED, ()),
        (garbage.CONTROLLER, None, OWNER, ()),
        (garbage.CONTROLLER, SET, status(SET, replicas=1), (OWNER,)),
        (garbage.CONTROLLER, BOUND, ANNOTATED, ()),
        (rollback.CONTROLLER, OWNER, status(OWNER, replicas=1), ()),
        (rollback.CONTROLLER, None, SET, (OWNER,)),
        (configrollout.DEPLOYMENTS, OWNER, status(OWNER, replicas=1), ()),
        (configrollout.DEPLOYMENTS, None, SET, (OWNER,)),
        (endpoints.CONTROLLER, None, BARE, (SERVICE,)),
        (resourcequota.CONTROLLER, UNBOUND, BOUND, (QUOTA,)),
        (resourcequota.CONTROLLER, BARE, BOUND, (QUOTA,)),
    ],
)
def test_what_does_not_matter_is_not(controller: Controller, before: Any, after: Any, present: tuple[Any, ...]) -> None:
    assert not told(controller, before, after, *present)


def test_budgets_hear_of_numbers_and_not_of_statuses() -> None:
    budget_of = disruption.CONTROLLER.sees[kinds.DEPLOYMENT]
    assert budget_of(OWNER) == budget_of(status(OWNER, replicas=1))
    assert budget_of(OWNER) != budget_of(spec(OWNER, replicas=5))
    assert budget_of(OWNER) != budget_of(named(OWNER, uid="another"))


def test_a_pod_without_an_address_is_behind_nothing() -> None:
    assert backends.behind(BARE) is None
    assert backends.behind(status(BARE, pod_ips=(core_v1.PodIP(ip="fd00::1"),))) is not None


def test_facets_are_of_what_is_watched() -> None:
    for one in every_controller(NOW, node_grace_ms=1, cluster_cidr="10.0.0.0/8", node_prefix=24):
        assert one.sees.keys() <= {one.kind, *(kind for kind, _ in one.watches)}, one.name
