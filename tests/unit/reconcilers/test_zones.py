"""When lost nodes are emptied, and when that is held back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers import nodelifecycle, podgc
from controlplane.reconcilers.nodelifecycle import UNREACHABLE
from mizzen.api.types import core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Delete, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, node, pod, view

NO_EXECUTE = core_v1.Taint(key=UNREACHABLE, effect="NoExecute", time_added=at(-30))
NO_SCHEDULE = core_v1.Taint(key=UNREACHABLE, effect="NoSchedule", time_added=at(-30))


def nodes(lost: int, alive: int, zone: str = "", **more: Any) -> list[core_v1.Node]:
    """Nodes of a zone, of which some are lost; their names begin with the zone's."""
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    return [
        *(node(f"{zone}lost-{n}", ready="Unknown", labels=labels, **more) for n in range(lost)),
        *(node(f"{zone}well-{n}", labels=labels) for n in range(alive)),
    ]


def emptied(cluster: list[core_v1.Node], name: str = "lost-0") -> tuple[bool, int | None]:
    """Whether a node gets, or keeps, the taint that empties it, and when that is looked at again."""
    found = next(one for one in cluster if one.metadata.name == name)
    taints, wake_ms = nodelifecycle.wanted_taints(found, view(*cluster), NOW)
    return any(taint.effect == "NoExecute" for taint in taints), wake_ms


@pytest.mark.parametrize(
    ("lost", "alive", "expected"),
    [
        pytest.param(1, 2, (True, None), id="one of three"),
        pytest.param(2, 1, (True, None), id="two are never too many"),
        pytest.param(3, 3, (True, None), id="half"),
        pytest.param(3, 2, (False, 5_000), id="most of a small zone"),
        pytest.param(40, 20, (True, None), id="most of a large zone"),
        pytest.param(1, 0, (False, 5_000), id="the only one"),
        pytest.param(600, 0, (False, 6_000), id="all of many"),
    ],
)
def test_how_many_are_lost(lost: int, alive: int, expected: tuple[bool, int | None]) -> None:
    assert emptied(nodes(lost, alive)) == expected


def test_zones_are_judged_apart() -> None:
    cluster = [*nodes(3, 2, "a-"), *nodes(1, 4, "b-"), *nodes(3, 0, "c-")]
    assert emptied(cluster, "a-lost-0") == (False, 5_000)
    assert emptied(cluster, "b-lost-0") == (True, None)
    assert emptied(cluster, "c-lost-0") == (True, None), "a zone that is gone as a whole has others to go to"


def test_one_after_the_other() -> None:
    def after(seconds: float, lost: int, alive: int) -> tuple[bool, int | None]:
        taint = msgspec.structs.replace(NO_EXECUTE, time_added=at(-seconds))
        begun = node("begun", ready="Unknown", spec={"taints": (taint,)})
        return emptied([*nodes(lost, alive), begun])

    assert after(4, 1, 5) == (False, 6_000)
    assert after(10, 1, 5) == (True, None)
    assert after(10, 40, 20) == (False, 90_000), "slower in a large zone that is mostly lost"


def test_what_was_begun_goes_on_unless_nobody_may_be_emptied() -> None:
    begun = {"spec": {"taints": (NO_EXECUTE, NO_SCHEDULE)}}
    assert emptied(nodes(3, 2, **begun)) == (True, 5_000)
    assert emptied(nodes(3, 0, **begun)) == (False, 5_000)
    taints, _ = nodelifecycle.wanted_taints(nodes(3, 0, **begun)[0], view(*nodes(3, 0, **begun)), NOW)
    assert taints == (NO_SCHEDULE,)


def test_the_controller_looks_again() -> None:
    decision = nodelifecycle.decide(Key("nodes", "", "lost-0"), view(*nodes(3, 2)), NOW, 3_600_000, NOW)
    (update,) = decision.effects
    assert isinstance(update, Update)
    assert [taint.effect for taint in update.object.spec.taints] == ["NoSchedule"]  # type: ignore[attr-defined]
    assert decision.wake_after_ms == 5_000


@pytest.mark.parametrize("ready", ["Unknown", "True"])
@pytest.mark.parametrize("leaving", [True, False], ids=["leaving", "staying"])
def test_a_node_that_a_person_gave_up(ready: str, leaving: bool) -> None:
    taint = core_v1.Taint(key="node.kubernetes.io/out-of-service", effect="NoExecute", value="nodeshutdown")
    off = node("n1", ready=ready, spec={"taints": (taint,)})
    stamp = {"deletion_timestamp": at(-1)} if leaving else {}
    key = Key("pods", "default", "p")
    decision = podgc.reconcile(key, view(off, pod("p", node="n1", **stamp)), NOW, SeededIds(1))
    if ready == "True" or not leaving:
        assert decision.effects == ()
        return
    status, deletion = decision.effects
    assert isinstance(status, UpdateStatus)
    assert status.object.status.phase == "Failed"  # type: ignore[attr-defined]
    assert deletion == Delete(key, "uid-p", grace_period_s=0)
