"""What may change of a pod."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import codec, defaults, kinds, patch, validate
from mizzen.api.types import core_v1 as core

CONTAINER = {"name": "c", "image": "i:1"}


def pod(spec: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None) -> core.Pod:
    body = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "1"} | (metadata or {}),
        "spec": {"containers": [CONTAINER]} | (spec or {}),
    }
    return defaults.apply(codec.decode_dict(body, kinds.POD)[0])


def compare(found: list[str], expected: list[str]) -> None:
    """Each found line begins with the expected one."""
    assert [line[: len(start)] for line, start in zip(found, expected, strict=False)] == expected, found
    assert len(found) == len(expected), found


def changed(body: dict[str, Any], old: core.Pod) -> list[str]:
    after = patch.apply_merge_patch(codec.to_dict(old), body)
    new = defaults.apply(codec.decode_dict(after, kinds.POD)[0])
    return [str(error) for error in validate.validate_update(new, old)]


OLD = pod({"tolerations": [{"key": "a", "operator": "Exists"}], "terminationGracePeriodSeconds": 30})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"spec": {"containers": [CONTAINER | {"image": "i:2"}]}}, [], id="image"),
        pytest.param({"spec": {"activeDeadlineSeconds": 5}}, [], id="deadline"),
        pytest.param({"metadata": {"labels": {"a": "b"}}}, [], id="labels"),
        pytest.param(
            {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]}},
            [],
            id="more-tolerations",
        ),
        pytest.param(
            {"spec": {"tolerations": []}},
            ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
            id="fewer-tolerations",
        ),
        pytest.param(
            {"spec": {"containers": [CONTAINER, {"name": "d", "image": "i"}]}},
            ["spec.containers: Forbidden: pod updates may not add or remove containers"],
            id="more-containers",
        ),
        pytest.param(
            {"spec": {"nodeName": "n"}},
            ["spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"],
            id="node",
        ),
        pytest.param(
            {"spec": {"terminationGracePeriodSeconds": 1}},
            ["spec: Forbidden: pod updates may not change fields other than"],
            id="grace",
        ),
        pytest.param({"metadata": {"name": "q"}}, ['metadata.name: Invalid value: "q": field is immutable'], id="name"),
        pytest.param({"metadata": {"uid": "q"}}, ['metadata.uid: Invalid value: "q": field is immutable'], id="uid"),
        pytest.param(
            {"metadata": {"resourceVersion": None}},
            ['metadata.resourceVersion: Invalid value: "": must be specified for an update'],
            id="version",
        ),
        pytest.param(
            {"spec": {"schedulingGates": [{"name": "g"}]}},
            ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'"],
            id="gate",
        ),
    ],
)
def test_update(body: dict[str, Any], expected: list[str]) -> None:
    compare(changed(body, OLD), expected)


def test_update_tells_what_differs() -> None:
    (line,) = changed({"spec": {"hostname": "h", "containers": [CONTAINER | {"command": ["x"]}]}}, OLD)
    assert line.endswith('\n  spec.containers[0].command: null -> ["x"]\n  spec.hostname: null -> "h"')


def test_a_gated_pod_may_narrow_its_choice() -> None:
    gated = pod({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}})
    assert changed({"spec": {"nodeSelector": {"c": "d"}}}, gated) == []
    compare(changed({"spec": {"nodeSelector": {"a": "x"}}}, gated), ["spec.nodeSelector: Invalid value: "])


def test_the_deadline_only_comes_nearer() -> None:
    old = pod({"activeDeadlineSeconds": 10})
    assert changed({"spec": {"activeDeadlineSeconds": 5}}, old) == []
    compare(
        changed({"spec": {"activeDeadlineSeconds": 20}}, old),
        ["spec.activeDeadlineSeconds: Invalid value: 20: must be less than or equal to previous value"],
    )


def test_finalizers_of_a_deleted_pod() -> None:
    old = pod(metadata={"deletionTimestamp": "2024-01-01T00:00:00Z", "finalizers": ["x.io/a"]})
    assert changed({"metadata": {"finalizers": None}}, old) == []
    compare(
        changed({"metadata": {"finalizers": ["x.io/a", "x.io/b"]}}, old),
        ["metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"],
    )


def test_status_update() -> None:
    old = pod({"restartPolicy": "Never"})
    ended = {"name": "c", "state": {"terminated": {"exitCode": 0}}}
    running = {"name": "c", "state": {"running": {}}}

    def with_status(**status: Any) -> core.Pod:
        after = patch.apply_merge_patch(codec.to_dict(old), {"status": status})
        return defaults.apply(codec.decode_dict(after, kinds.POD)[0])

    before = with_status(containerStatuses=[ended])
    assert validate.validate_status_update(with_status(containerStatuses=[ended]), before) == ()
    errors = validate.validate_status_update(with_status(containerStatuses=[running], podIP="x"), before)
    assert [str(error)[:60] for error in errors] == [
        'status.podIPs[0]: Invalid value: "x": must be a valid IP add',
        "status.containerStatuses[0].state: Forbidden: may not be tra",
    ]
