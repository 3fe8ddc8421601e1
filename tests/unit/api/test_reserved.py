"""What a pod holds on its node while it is being resized."""

from __future__ import annotations

import pytest

from mizzen.api import resources
from mizzen.api.types import core_v1 as core


def pod(wanted: str, granted: str, actual: str, *, infeasible: bool = False) -> core.Pod:
    """A pod of one container, with what it asks for, was granted and has of the CPU."""
    container = core.Container(name="c", resources=core.ResourceRequirements(requests={"cpu": wanted}))
    status = core.ContainerStatus(
        name="c",
        allocated_resources={"cpu": granted} if granted else {},
        resources=core.ResourceRequirements(requests={"cpu": actual}) if actual else None,
    )
    pending = core.PodCondition(
        type="PodResizePending", status="True", reason="Infeasible" if infeasible else "Deferred"
    )
    return core.Pod(
        spec=core.PodSpec(containers=(container,)),
        status=core.PodStatus(container_statuses=(status,), conditions=(pending,)),
    )


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (pod("1", "1", "1"), 1000),
        (pod("1", "", ""), 1000),
        (pod("3", "1", "1"), 3000),
        (pod("1", "3", "1"), 3000),
        (pod("1", "1", "3"), 3000),
        (pod("9", "2", "3", infeasible=True), 3000),
        (pod("9", "", "", infeasible=True), 9000),
    ],
)
def test_the_most_of_what_is_wanted_granted_and_in_use(given: core.Pod, held: int) -> None:
    assert resources.pod_requests(resources.reserved(given)) == {"cpu": held}


def test_a_pod_that_is_not_being_resized_is_counted_as_it_is() -> None:
    given = pod("1", "1", "1")
    assert resources.reserved(given) is given.spec
