"""What is charged to a quota, and what it refuses, in Kubernetes' words."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Operation, Request, quotas
from mizzen.api import kinds
from mizzen.api.errors import Forbidden
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.writes import Write
from tests.fixtures.admission import NOW_MS, Cluster
from tests.unit.admission.test_classes import made

EMPTY = Cluster.with_namespaces("default")


def quota(hard: dict[str, str], used: dict[str, str] | None = None, name: str = "q", **spec: Any) -> core.ResourceQuota:
    counted = dict.fromkeys(hard, "0") if used is None else used
    return core.ResourceQuota(
        metadata=meta.ObjectMeta(name=name, namespace="default", uid=name),
        spec=core.ResourceQuotaSpec(hard=hard, **spec),
        status=core.ResourceQuotaStatus(hard=hard, used=counted),
    )


def pod(**resources: Any) -> Any:
    return made(kinds.POD, "p", spec={"containers": [{"name": "c", "image": "i", "resources": resources}]})


def charge(cluster: Cluster, new: Any, old: Any = None, change: Operation = Operation.UPDATE) -> tuple[Write, ...]:
    kind = kinds.kind_of(new)
    operation = Operation.CREATE if old is None else change
    request = Request(operation, kind, "default", "", new)
    return quotas.charges(request, new, old, cluster.view, NOW_MS)


def test_what_a_pod_uses_is_charged_to_every_quota_that_bounds_it() -> None:
    cluster = EMPTY.having(
        quota({"pods": "2", "requests.cpu": "1"}, {"pods": "1", "requests.cpu": "500m"}, "a"),
        quota({"configmaps": "1"}, name="b"),
        quota({"pods": "5"}, name="c", scopes=("Terminating",)),
        quota({"count/pods": "9", "secrets": "1"}, name="d"),
    )
    charged = charge(cluster, pod(requests={"cpu": "250m"}))
    assert [(write.name, dict(write.object.status.used)) for write in charged] == [
        ("a", {"pods": "2", "requests.cpu": "750m"}),
        ("d", {"count/pods": "1", "secrets": "0"}),
    ]
    assert all(write.expect == int(write.object.metadata.resource_version) > 0 for write in charged)


@pytest.mark.parametrize(
    ("hard", "used", "why"),
    [
        ({"pods": "2"}, {"pods": "2"}, "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
        (
            {"requests.cpu": "1", "requests.memory": "1Gi", "pods": "9"},
            {"requests.cpu": "800m", "requests.memory": "1Gi", "pods": "1"},
            (
                "exceeded quota: q, requested: requests.cpu=500m,requests.memory=64Mi, "
                "used: requests.cpu=800m,requests.memory=1Gi, limited: requests.cpu=1,requests.memory=1Gi"
            ),
        ),
        ({"limits.cpu": "1"}, None, "failed quota: q: must specify limits.cpu for: c"),
        ({"limits.cpu": "1", "limits.memory": "1"}, None,
         "failed quota: q: must specify limits.cpu for: c; limits.memory for: c"),
        ({"pods": "2", "requests.cpu": "9"}, {"requests.cpu": "0"},
         "status unknown for quota: q, resources: pods,requests.cpu"),
    ],
)  # fmt: skip
def test_what_is_too_much_is_refused(hard: dict[str, str], used: dict[str, str] | None, why: str) -> None:
    with pytest.raises(Forbidden) as refused:
        charge(EMPTY.having(quota(hard, used)), pod(requests={"cpu": "500m", "memory": "64Mi"}))
    assert refused.value.message == f'pods "p" is forbidden: {why}'


def test_a_quota_that_nobody_has_looked_at_bounds_nothing() -> None:
    fresh = replace(quota({"pods": "0"}), status=core.ResourceQuotaStatus())
    assert charge(EMPTY.having(fresh), pod()) == ()


def test_a_change_is_charged_for_what_it_adds() -> None:
    cluster = EMPTY.having(
        quota({"services": "1", "services.nodeports": "2"}, {"services": "1", "services.nodeports": "1"})
    )

    def service(kind: str, *ports: int) -> Any:
        return made(kinds.SERVICE, spec={"type": kind, "ports": [{"port": port} for port in ports]})

    (write,) = charge(cluster, service("NodePort", 1, 2), service("NodePort", 1))
    assert write.object.status.used == {"services": "1", "services.nodeports": "2"}
    assert charge(cluster, service("ClusterIP", 1), service("NodePort", 1)) == (), "the controller gives back"
    with pytest.raises(Forbidden, match=r"requested: services.nodeports=2, used: services.nodeports=1"):
        charge(cluster, service("NodePort", 1, 2), service("ClusterIP", 1, 2))


@pytest.mark.parametrize("change", [Operation.UPDATE, Operation.RESIZE])
def test_a_pod_is_charged_again_when_it_is_resized(change: Operation) -> None:
    cluster = EMPTY.having(quota({"pods": "1", "requests.cpu": "2"}, {"pods": "1", "requests.cpu": "1"}))
    old = pod(requests={"cpu": "1"})
    (write,) = charge(cluster, pod(requests={"cpu": "1500m"}), old, change)
    assert write.object.status.used == {"pods": "1", "requests.cpu": "1500m"}
    assert charge(cluster, replace(old, metadata=replace(old.metadata, labels={"a": "b"})), old) == ()
    with pytest.raises(Forbidden, match=r"requested: requests\.cpu=3"):
        charge(cluster, pod(requests={"cpu": "4"}), old, change)


def test_objects_outside_of_namespaces_and_events_are_not_counted() -> None:
    cluster = EMPTY.having(quota({"count/events": "0", "count/nodes": "0"}))
    assert charge(cluster, made(kinds.EVENT)) == ()
    request = Request(Operation.CREATE, kinds.NODE, "", "", made(kinds.NODE))
    assert quotas.charges(request, made(kinds.NODE), None, cluster.view, NOW_MS) == ()
