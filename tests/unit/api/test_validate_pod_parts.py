"""What may change of a pod that runs: ephemeral containers, and the resources of its containers."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from mizzen.api import codec, defaults, kinds, patch
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_pod_parts import add_ephemeral, resize
from tests.unit.api.test_validate_pod_update import compare, pod

SMALL = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
DEBUGGER = {"name": "d", "image": "i", "stdin": True}


def changed(body: dict[str, Any], old: core.Pod) -> core.Pod:
    """The pod after a merge patch."""
    return defaults.apply(codec.decode_dict(patch.apply_merge_patch(codec.to_dict(old), body), kinds.POD)[0])


def with_debuggers(*debuggers: dict[str, Any], metadata: dict[str, Any] | None = None) -> core.Pod:
    """A pod that is looked into."""
    return pod({"ephemeralContainers": list(debuggers)}, metadata)


@pytest.mark.parametrize(
    ("debuggers", "expected"),
    [
        pytest.param([DEBUGGER], [], id="nothing"),
        pytest.param([DEBUGGER, {"name": "e", "image": "i"}], [], id="one-more"),
        pytest.param([{"name": "e", "image": "i"}, DEBUGGER], [], id="another-order"),
        pytest.param(
            [],
            ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be removed\n'],
            id="removed",
        ),
        pytest.param(
            [DEBUGGER | {"image": "j"}],
            ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be changed\n'],
            id="changed",
        ),
        pytest.param(
            [DEBUGGER, {"name": "c", "image": "i"}],
            ['spec.ephemeralContainers[1].name: Duplicate value: "c"'],
            id="a-name-that-is-taken",
        ),
        pytest.param(
            [DEBUGGER, {"name": "e", "image": "i", "targetContainerName": "x"}],
            ['spec.ephemeralContainers[1].targetContainerName: Not found: "x"'],
            id="nobody-to-look-into",
        ),
        pytest.param(
            [DEBUGGER, {"name": "e", "image": "i", "ports": [{"containerPort": 1}], "restartPolicy": "Always"}],
            [
                "spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral Container",
                "spec.ephemeralContainers[1].restartPolicy: Forbidden: cannot be set for an Ephemeral Container",
            ],
            id="what-they-cannot-have",
        ),
    ],
)
def test_ephemeral_containers_are_only_added(debuggers: list[dict[str, Any]], expected: list[str]) -> None:
    compare([str(e) for e in add_ephemeral(with_debuggers(*debuggers), with_debuggers(DEBUGGER))], expected)


MIRRORED = {"annotations": {"kubernetes.io/config.mirror": "x"}}


def test_static_pods_stay_as_they_are() -> None:
    old = pod({"nodeName": "n"}, MIRRORED)
    assert [e.detail for e in add_ephemeral(old, old)] == ["static pods do not support ephemeral containers"]
    assert [e.detail for e in resize(old, old)] == ["static pods cannot be resized"]


SIZED = pod(
    {
        "containers": [{"name": "c", "image": "i:1", "resources": SMALL}],
        "initContainers": [
            {"name": "first", "image": "i:1", "resources": SMALL},
            {"name": "side", "image": "i:1", "restartPolicy": "Always", "resources": SMALL},
        ],
    }
)


def resized(
    main: dict[str, Any] | None = None, first: dict[str, Any] | None = None, side: dict[str, Any] | None = None
) -> core.Pod:
    """The pod with other resources."""
    containers = [{"name": "c", "image": "i:1", "resources": main or SMALL}]
    inits = [
        {"name": "first", "image": "i:1", "resources": first or SMALL},
        {"name": "side", "image": "i:1", "restartPolicy": "Always", "resources": side or SMALL},
    ]
    return changed({"spec": {"containers": containers, "initContainers": inits}}, SIZED)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        pytest.param(resized(), [], id="nothing"),
        pytest.param(
            resized({"requests": {"cpu": "2", "memory": "1Gi"}, "limits": SMALL["limits"]}), [], id="requests"
        ),
        pytest.param(
            resized({"requests": SMALL["requests"], "limits": {"cpu": "3", "memory": "2Gi"}}), [], id="limits"
        ),
        pytest.param(
            resized(side={"requests": SMALL["requests"], "limits": {"cpu": "3", "memory": "2Gi"}}), [], id="sidecar"
        ),
        pytest.param(
            resized({"requests": {"cpu": "3", "memory": "1Gi"}, "limits": SMALL["limits"]}),
            ['spec.containers[0].resources.requests: Invalid value: "3": must be less than or equal to cpu limit of 2'],
            id="more-than-the-limit",
        ),
        pytest.param(
            resized({"requests": SMALL["requests"]}),
            ["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"],
            id="limits-removed",
        ),
        pytest.param(
            resized({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}),
            [
                "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
                "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
            ],
            id="memory-removed",
        ),
        pytest.param(
            resized(first={"requests": {"cpu": "2", "memory": "1Gi"}, "limits": SMALL["limits"]}),
            ["spec: Forbidden: only cpu and memory resources are mutable\n"],
            id="init-container",
        ),
        pytest.param(
            resized({k: v | {"example.com/gpu": "1"} for k, v in SMALL.items()}),
            ["spec: Forbidden: only cpu and memory resources are mutable\n"],
            id="another-resource",
        ),
        pytest.param(
            changed({"spec": {"containers": [{"name": "x", "image": "i:1", "resources": SMALL}]}}, SIZED),
            ["spec: Forbidden: containers may not be renamed or reordered on resize"],
            id="renamed",
        ),
        pytest.param(
            changed({"spec": {"initContainers": []}}, SIZED),
            ["spec: Forbidden: initContainers may not be added or removed on resize"],
            id="removed",
        ),
    ],
)
def test_only_cpu_and_memory_are_resized(new: core.Pod, expected: list[str]) -> None:
    compare([str(error) for error in resize(new, SIZED)], expected)


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ({}, {"requests": {"cpu": "1"}}, True),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}, False),
        (SMALL, {"requests": SMALL["limits"], "limits": SMALL["limits"]}, True),
    ],
)
def test_the_quality_of_service_stays(before: dict[str, Any], after: dict[str, Any], refused: bool) -> None:
    old = pod({"containers": [{"name": "c", "image": "i", "resources": before}]})
    new = pod({"containers": [{"name": "c", "image": "i", "resources": after}]})
    old = replace(old, status=core.PodStatus(qos_class="Burstable" if before else "BestEffort"))
    found = [str(error) for error in resize(new, old)]
    wanted = 'spec: Invalid value: "": Pod QOS Class may not change as a result of resizing'
    assert found == ([wanted] if refused else [])


def test_windows_pods_are_not_resized() -> None:
    old = pod({"os": {"name": "windows"}})
    assert [e.detail for e in resize(old, old)] == ["windows pods cannot be resized"]
