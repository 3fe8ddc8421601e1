"""Annotations of ours that can't work are refused, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api import validate
from mizzen.api.types import apps_v1
from tests.fixtures.cluster_objects import deployment


def complaints(annotations: dict[str, str], obj: Any = None) -> list[str]:
    obj = obj or deployment(3)
    obj = replace(obj, metadata=replace(obj.metadata, annotations=annotations))
    return [str(error) for error in validate.validate_create(obj) if "annotations" in error.field]


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        (
            {"mizzen.dev/auto-rollback": "yes"},
            'annotations[mizzen.dev/auto-rollback]: Invalid value: "yes": write "true"',
        ),
        ({"mizzen.dev/canary": "pause"}, "begins with a pause: begin with a share such as 20%"),
        ({"mizzen.dev/canary": "50%, 20%"}, "each share must be larger than the one before"),
        ({"mizzen.dev/canary": "20%, wait 3s"}, "there is no step 'wait 3s': write shares from 1% to 99%, `pause`"),
        ({"mizzen.dev/canary": "100%"}, "there is no step '100%'"),
        ({"mizzen.dev/canary": ", ".join(["1%"] + ["pause"] * 50)}, "has 51 steps: write at most 50"),
        ({"mizzen.dev/depends-on": "job/a"}, "this is for pods: move it to spec.template.metadata.annotations"),
        ({"mizzen.dev/surge-before-evict": "1"}, 'write "true" or "false"'),
        ({"mizzen.dev/rebalance": "yes"}, 'write "true" or "false", or "with-empty-dirs" to move pods that lose'),
        ({"mizzen.dev/promote": "yes"}, 'write "true" for the next step, "full" for all of them'),
        ({"mizzen.dev/auto-rolback": "true"}, "there is no such setting: remove it, or use one of"),
    ],
)
def test_what_is_wrong_is_named_with_the_fix(annotations: dict[str, str], wanted: str) -> None:
    (said,) = complaints(annotations)
    assert wanted in said


@pytest.mark.parametrize(
    "annotations",
    [
        {"mizzen.dev/auto-rollback": "true"},
        {"mizzen.dev/auto-rollback": "false", "mizzen.dev/failed-revision": "3", "mizzen.dev/was-available": "true"},
        {"mizzen.dev/canary": "20%, pause 30s, 50%, pause 1m, pause", "mizzen.dev/promote": "full"},
        {
            "mizzen.dev/rebalance": "with-empty-dirs",
            "mizzen.dev/rebalancing": "web-1",
            "mizzen.dev/rebalance-after": "x",
        },
        {"example.com/anything": "goes"},
    ],
)
def test_what_is_right_passes(annotations: dict[str, str]) -> None:
    assert complaints(annotations) == []


def test_a_setting_on_the_wrong_kind_says_where_it_works() -> None:
    (said,) = complaints({"mizzen.dev/auto-rollback": "true"}, apps_v1.StatefulSet(spec=apps_v1.StatefulSetSpec()))
    assert "this works on a Deployment, not on a StatefulSet: remove it" in said


def test_a_canary_wants_a_rolling_update() -> None:
    recreated = deployment(3, strategy=apps_v1.DeploymentStrategy(type="Recreate"))
    (said,) = complaints({"mizzen.dev/canary": "20%, pause"}, recreated)
    assert "set spec.strategy.type to RollingUpdate" in said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("deployment/db, statefulset/queue,job/migrate", ""),
        ("db", "'db' names no workload: write deployment/NAME, statefulset/NAME, daemonset/NAME, job/NAME"),
        ("service/db", "'service/db' names no workload"),
        ("", "'' names no workload"),
        (",".join(["job/a"] * 21), "names 21 workloads: name at most 20"),
    ],
)
def test_dependencies_stand_in_the_template(text: str, wanted: str) -> None:
    made = deployment(3)
    template = made.spec.template
    metadata = replace(template.metadata, annotations={"mizzen.dev/depends-on": text})
    made = replace(made, spec=replace(made.spec, template=replace(template, metadata=metadata)))
    said = [str(error) for error in validate.validate_create(made) if "annotations" in error.field]
    assert [wanted in one for one in said] == [True] * bool(wanted)
    assert all(one.startswith("spec.template.metadata.annotations[mizzen.dev/depends-on]") for one in said)
