"""What objects use up of a quota, and which quotas bound them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api import codec, kinds, quota, times
from mizzen.api.kinds import Kind
from mizzen.api.types import core_v1 as core
from tests.fixtures.examples import example

NOW = times.parse("2026-03-01T12:00:00Z")
GOLD = "gold.storageclass.storage.k8s.io/"


def made(kind: Kind[Any], **parts: Any) -> Any:
    """The example of a kind with other parts."""
    body = example(kind)
    for part, fields in parts.items():
        body[part] = body.get(part, {}) | fields
    return codec.decode_dict(body, kind)[0]


def pod(*resources: dict[str, Any], status: dict[str, Any] | None = None, **spec: Any) -> core.Pod:
    containers = [{"name": f"c{i}", "image": "i", "resources": one} for i, one in enumerate(resources)]
    found: core.Pod = made(kinds.POD, spec={"containers": containers, **spec}, status=status or {})
    return found


def used(kind: Kind[Any], obj: Any) -> dict[str, str]:
    return quota.usage(kind, obj, NOW)


def test_a_pod_uses_what_its_containers_ask_for() -> None:
    obj = pod(
        {"requests": {"cpu": "100m", "memory": "64Mi", "example.com/gpu": "1"}, "limits": {"cpu": "1"}},
        {"requests": {"cpu": "200m", "hugepages-2Mi": "4Mi"}, "limits": {"memory": "1Gi"}},
        initContainers=[{"name": "i", "image": "i", "resources": {"requests": {"cpu": "2"}}}],
        overhead={"cpu": "10m"},
    )
    assert used(kinds.POD, obj) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "2010m",
        "requests.cpu": "2010m",
        "limits.cpu": "1010m",
        "memory": "64Mi",
        "requests.memory": "64Mi",
        "limits.memory": "1Gi",
        "requests.example.com/gpu": "1",
        "hugepages-2Mi": "4Mi",
        "requests.hugepages-2Mi": "4Mi",
    }


def test_sidecars_run_beside_the_others() -> None:
    sidecar = {"name": "s", "image": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}
    first = {"name": "i", "image": "i", "resources": {"requests": {"cpu": "3"}}}
    obj = pod({"requests": {"cpu": "1"}}, initContainers=[sidecar, first])
    assert used(kinds.POD, obj)["requests.cpu"] == "4", "the sidecar and what starts after it"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_only_there(phase: str) -> None:
    assert used(kinds.POD, pod({"requests": {"cpu": "1"}}, status={"phase": phase})) == {"count/pods": "1"}


def test_a_pod_that_should_have_ended_counts_no_more() -> None:
    obj = pod({})
    going: dict[str, Any] = {"deletion_timestamp": times.render(NOW - 31_000), "deletion_grace_period_seconds": 30}
    late = replace(obj, metadata=replace(obj.metadata, **going))
    assert used(kinds.POD, late) == {"count/pods": "1"}
    in_time = replace(late, metadata=replace(late.metadata, deletion_timestamp=times.render(NOW - 29_000)))
    assert used(kinds.POD, in_time)["pods"] == "1"


@pytest.mark.parametrize(
    ("spec", "ports", "balancers"),
    [
        ({"type": "ClusterIP"}, "0", "0"),
        ({"type": "NodePort"}, "2", "0"),
        ({"type": "LoadBalancer"}, "2", "1"),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, "1", "1"),
    ],
)
def test_services_use_ports_of_nodes(spec: dict[str, Any], ports: str, balancers: str) -> None:
    obj = made(kinds.SERVICE, spec={"ports": [{"port": 1, "nodePort": 30001}, {"port": 2}], **spec})
    assert used(kinds.SERVICE, obj) == {
        "count/services": "1",
        "services": "1",
        "services.nodeports": ports,
        "services.loadbalancers": balancers,
    }


def test_claims_use_storage_of_their_class() -> None:
    obj = made(
        kinds.PERSISTENT_VOLUME_CLAIM,
        spec={"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}},
        status={"allocatedResources": {"storage": "2Gi"}},
    )
    assert used(kinds.PERSISTENT_VOLUME_CLAIM, obj) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "2Gi",
        f"{GOLD}persistentvolumeclaims": "1",
        f"{GOLD}requests.storage": "2Gi",
    }


@pytest.mark.parametrize(
    ("kind", "bounded"),
    [
        (kinds.POD, ("count/pods", "pods", "limits.cpu", "requests.example.com/gpu", "hugepages-2Mi")),
        (kinds.SERVICE, ("services.nodeports",)),
        (kinds.PERSISTENT_VOLUME_CLAIM, (f"{GOLD}requests.storage",)),
        (kinds.CONFIG_MAP, ("configmaps",)),
        (kinds.DEPLOYMENT, ("count/deployments.apps",)),
        (kinds.JOB, ()),
    ],
)
def test_what_is_bounded_of_a_kind(kind: Kind[Any], bounded: tuple[str, ...]) -> None:
    hard = (
        "count/pods", "pods", "limits.cpu", "requests.example.com/gpu", "hugepages-2Mi", "services.nodeports",
        f"{GOLD}requests.storage", "configmaps", "count/deployments.apps",
    )  # fmt: skip
    assert quota.resources_of(kind, hard) == bounded


def in_scope(obj: Any, scope: str, operator: str = "Exists", *values: str) -> bool:
    term = core.ScopedResourceSelectorRequirement(scope_name=scope, operator=operator, values=values)
    return quota.in_scopes(core.ResourceQuotaSpec(scope_selector=core.ScopeSelector(match_expressions=(term,))), obj)


@pytest.mark.parametrize(
    ("obj", "scopes"),
    [
        (pod({}), ("NotTerminating", "BestEffort")),
        (pod({"requests": {"cpu": "1"}}, activeDeadlineSeconds=5), ("Terminating", "NotBestEffort")),
        (pod({}, priorityClassName="gold"), ("NotTerminating", "BestEffort", "PriorityClass")),
        (
            pod({}, affinity={"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "namespaces": ["other"]}}]}}),
            ("NotTerminating", "BestEffort", "CrossNamespacePodAffinity"),
        ),
        (made(kinds.PERSISTENT_VOLUME_CLAIM, spec={"volumeAttributesClassName": "fast"}), ("VolumeAttributesClass",)),
        (made(kinds.CONFIG_MAP), ()),
    ],
)  # fmt: skip
def test_scopes(obj: Any, scopes: tuple[str, ...]) -> None:
    every = (
        "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    )  # fmt: skip
    assert tuple(scope for scope in every if in_scope(obj, scope)) == scopes
    assert tuple(s for s in every if quota.in_scopes(core.ResourceQuotaSpec(scopes=(s,)), obj)) == scopes


def test_scopes_have_values() -> None:
    gold, plain = pod({}, priorityClassName="gold"), pod({})
    assert in_scope(gold, "PriorityClass", "In", "gold", "silver")
    assert not in_scope(plain, "PriorityClass", "In", "gold")
    assert in_scope(plain, "PriorityClass", "NotIn", "gold")
    assert in_scope(plain, "PriorityClass", "DoesNotExist")
    claim = made(kinds.PERSISTENT_VOLUME_CLAIM, status={"currentVolumeAttributesClassName": "slow"})
    assert in_scope(claim, "VolumeAttributesClass", "In", "slow")
    assert not in_scope(claim, "VolumeAttributesClass", "In", "fast")
