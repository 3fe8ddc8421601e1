"""Ranges of limits: what they fill in, and every violation in Kubernetes' words."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Operation
from mizzen.api import codec, kinds
from mizzen.api.errors import Forbidden
from tests.fixtures.admission import Cluster
from tests.unit.admission.test_classes import made

EMPTY = Cluster.with_namespaces("default")
NOTE = "kubernetes.io/limit-ranger"


def limits(*items: dict[str, Any], name: str = "limits") -> Any:
    body: dict[str, Any] = {"metadata": {"name": name, "namespace": "default"}, "spec": {"limits": list(items)}}
    admitted = EMPTY.create(codec.decode_dict(body, kinds.LIMIT_RANGE)[0], "default")
    return admitted.object


def pod(*containers: dict[str, Any], **spec: Any) -> Any:
    named = [{"name": f"c{i}", "image": "i", "resources": one} for i, one in enumerate(containers)]
    return made(kinds.POD, spec={"containers": named, **spec})


def wanted(made_pod: Any) -> list[Any]:
    return [(c.resources.requests, c.resources.limits) for c in made_pod.spec.containers]


def test_containers_get_what_they_leave_out() -> None:
    item = {"type": "Container", "default": {"cpu": "500m", "memory": "64Mi"}, "defaultRequest": {"cpu": "100m"}}
    cluster = EMPTY.having(limits(item))
    spec = {"initContainers": [{"name": "i", "image": "i", "resources": {"limits": {"cpu": "1"}}}]}
    obj = cluster.create(pod({}, {"requests": {"cpu": "200m"}, "limits": {"memory": "1Gi"}}, **spec), "default").object
    # What a range says of limits alone, it says of requests, too.
    assert wanted(obj) == [
        ({"cpu": "100m", "memory": "64Mi"}, {"cpu": "500m", "memory": "64Mi"}),
        ({"cpu": "200m", "memory": "1Gi"}, {"cpu": "500m", "memory": "1Gi"}),
    ]
    assert obj.spec.init_containers[0].resources.limits == {"cpu": "1", "memory": "64Mi"}
    assert obj.metadata.annotations[NOTE] == (
        "LimitRanger plugin set: cpu, memory request for container c0; cpu, memory limit for container c0; "
        "cpu limit for container c1; memory request for init container i; memory limit for init container i"
    )
    assert obj.status.qos_class == "Burstable"


def test_who_says_everything_gets_no_note() -> None:
    cluster = EMPTY.having(limits({"type": "Container", "default": {"cpu": "1"}}))
    obj = cluster.create(pod({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}), "default").object
    assert NOTE not in obj.metadata.annotations


@pytest.mark.parametrize(
    ("item", "resources", "why"),
    [
        (
            {"type": "Container", "min": {"cpu": "100m"}},
            {"requests": {"cpu": "50m"}},
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            {"type": "Container", "max": {"memory": "1Gi"}},
            {"limits": {"memory": "2Gi"}},
            "maximum memory usage per Container is 1Gi, but limit is 2Gi",
        ),
        (
            {"type": "Pod", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}},
            {},
            (
                "[minimum memory usage per Pod is 1Mi.  No request is specified, "
                "maximum cpu usage per Pod is 1.  No limit is specified]"
            ),
        ),
        (
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "200m"}, "limits": {"cpu": "1"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 5.000000",
        ),
        (
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "200m"}},
            "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
        ),
        (
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
            {},
            "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
        ),
    ],
)
def test_what_is_out_of_range_is_refused(item: dict[str, Any], resources: dict[str, Any], why: str) -> None:
    with pytest.raises(Forbidden) as refused:
        EMPTY.having(limits(item)).create(pod(resources), "default")
    assert refused.value.message.endswith(f"is forbidden: {why}")
    fits = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    EMPTY.having(limits(item)).create(pod(fits), "default")


def test_the_range_of_a_pod_is_for_the_sum_of_its_containers() -> None:
    cluster = EMPTY.having(limits({"type": "Pod", "max": {"cpu": "1"}}))
    half = {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m"}}
    cluster.create(pod(half, half), "default")
    starting = {"initContainers": [{"name": "i", "image": "i", "resources": half}]}
    cluster.create(pod(half, half, **starting), "default")
    with pytest.raises(Forbidden, match="maximum cpu usage per Pod is 1, but limit is 1500m"):
        cluster.create(pod(half, half, half), "default")


def test_claims_are_in_range_when_made_and_when_changed() -> None:
    cluster = EMPTY.having(
        limits({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}})
    )

    def claim(size: str) -> Any:
        return made(kinds.PERSISTENT_VOLUME_CLAIM, spec={"resources": {"requests": {"storage": size}}})

    cluster.create(claim("5Gi"), "default")
    with pytest.raises(Forbidden, match="maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi"):
        cluster.create(claim("6Gi"), "default")
    with pytest.raises(Forbidden, match="minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"):
        cluster.create(claim("1Mi"), "default")


def test_a_pod_that_stays_as_it_is_may_be_out_of_range() -> None:
    old = EMPTY.create(pod({"limits": {"cpu": "4"}}), "default").object
    cluster = EMPTY.having(limits({"type": "Container", "max": {"cpu": "1"}}))
    labelled = replace(old, metadata=replace(old.metadata, labels={"a": "b"}))
    assert cluster.update(labelled, old, Operation.UPDATE).object.metadata.labels == {"a": "b"}
