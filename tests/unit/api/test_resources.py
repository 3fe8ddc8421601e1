"""What pods ask for."""

from __future__ import annotations

import pytest

from mizzen.api import resources
from mizzen.api.types import core_v1 as core


def container(
    name: str = "c", *, sidecar: bool = False, limits: dict[str, str] | None = None, **requests: str
) -> core.Container:
    wanted = core.ResourceRequirements(requests=requests, limits=limits or {})
    return core.Container(name=name, resources=wanted, restart_policy="Always" if sidecar else None)


def spec(*containers: core.Container, init: tuple[core.Container, ...] = (), **overhead: str) -> core.PodSpec:
    return core.PodSpec(containers=containers, init_containers=init, overhead=overhead)


@pytest.mark.parametrize(
    ("pod", "cpu"),
    [
        pytest.param(spec(), 0, id="nothing"),
        pytest.param(spec(container(cpu="100m"), container(cpu="1")), 1100, id="sum"),
        pytest.param(spec(container(cpu="1"), init=(container(cpu="3"),)), 3000, id="init-larger"),
        pytest.param(spec(container(cpu="2"), init=(container(cpu="1"), container(cpu="1"))), 2000, id="init-in-turn"),
        pytest.param(spec(container(cpu="1"), init=(container(sidecar=True, cpu="1"),)), 2000, id="sidecar-beside"),
        pytest.param(
            spec(container(cpu="1"), init=(container(sidecar=True, cpu="1"), container(cpu="3"))),
            4000,
            id="init-after-sidecar",
        ),
        pytest.param(
            spec(container(cpu="1"), init=(container(cpu="3"), container(sidecar=True, cpu="1"))),
            3000,
            id="init-before-sidecar",
        ),
        pytest.param(spec(container(cpu="1"), cpu="50m"), 1050, id="overhead"),
    ],
)
def test_pod_requests(pod: core.PodSpec, cpu: int) -> None:
    assert resources.pod_requests(pod).get("cpu", 0) == cpu


def test_requests_of_the_whole_pod_stand_in() -> None:
    pod = core.PodSpec(
        containers=(container(cpu="1", memory="1Gi"),),
        resources=core.ResourceRequirements(requests={"cpu": "3", "example.com/gpu": "1"}),
    )
    assert resources.pod_requests(pod) == {"cpu": 3000, "memory": 2**30}


@pytest.mark.parametrize(
    ("pod", "quality"),
    [
        (spec(container()), "BestEffort"),
        (spec(container(cpu="0")), "BestEffort"),
        (spec(container(cpu="1")), "Burstable"),
        (spec(container(cpu="1", memory="1Gi", limits={"cpu": "1", "memory": "1Gi"})), "Guaranteed"),
        (spec(container(cpu="1", memory="1Gi", limits={"cpu": "1", "memory": "2Gi"})), "Burstable"),
        (spec(container(cpu="1", limits={"cpu": "1"})), "Burstable"),
        (spec(container(cpu="1", memory="1Gi", limits={"cpu": "1", "memory": "1Gi"}), container()), "Burstable"),
    ],
)
def test_quality_of_service(pod: core.PodSpec, quality: str) -> None:
    assert resources.qos_class(pod) == quality


def test_amounts_and_back() -> None:
    amounts = resources.amounts({"cpu": "1500m", "memory": "1Gi", "pods": "110", "example.com/gpu": "2"})
    assert amounts == {"cpu": 1500, "memory": 2**30, "pods": 110, "example.com/gpu": 2}
    assert resources.quantities(amounts) == {"cpu": "1500m", "example.com/gpu": "2", "memory": "1Gi", "pods": "110"}


def test_arithmetic() -> None:
    a, b = {"cpu": 1, "x": 5}, {"cpu": 2, "y": 3}
    assert resources.add(a, b) == {"cpu": 3, "x": 5, "y": 3}
    assert resources.maximum(a, b) == {"cpu": 2, "x": 5, "y": 3}
    assert resources.total([a, b, a]) == {"cpu": 4, "x": 10, "y": 3}
