"""The three kinds of patches."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mizzen.api import patch, schema
from mizzen.api.errors import ApiError, BadRequest, RequestEntityTooLarge, UnsupportedMediaType

POD = schema.message("core_v1.Pod")
DEPLOYMENT = schema.message("apps_v1.Deployment")
SERVICE = schema.message("core_v1.Service")


def strategic(current: dict[str, Any], body: dict[str, Any], message: schema.MessageSchema = POD) -> dict[str, Any]:
    before = json.dumps([current, body])
    result = patch.apply(patch.STRATEGIC_MERGE_PATCH, json.dumps(body).encode(), current, message)
    assert json.dumps([current, body]) == before
    return result


def containers(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(items), **more}}


A = {"name": "a", "image": "a:1"}
B = {"name": "b", "image": "b:1"}
C = {"name": "c", "image": "c:1"}


@pytest.mark.parametrize(
    ("current", "body", "expected"),
    [
        pytest.param({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="add"),
        pytest.param({"a": 1, "b": 2}, {"b": None}, {"a": 1}, id="remove"),
        pytest.param({"a": {"x": 1}}, {"a": {"y": None, "z": 3}}, {"a": {"x": 1, "z": 3}}, id="nested"),
        pytest.param({"a": [1, 2]}, {"a": [3]}, {"a": [3]}, id="list"),
        pytest.param({"a": 1}, {"a": {"x": None, "y": 1}}, {"a": {"y": 1}}, id="other-type"),
        pytest.param({}, {"a": {"x": {"y": None}}}, {"a": {"x": {}}}, id="nulls-of-new"),
    ],
)
def test_merge_patch(current: dict[str, Any], body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert patch.apply(patch.MERGE_PATCH, json.dumps(body).encode(), current, POD) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            containers({"name": "a", "image": "a:2"}), containers({"name": "a", "image": "a:2"}, B), id="item"
        ),
        pytest.param(containers(C), containers(C, A, B), id="new-item"),
        pytest.param(containers({"name": "a", "image": None}), containers({"name": "a"}, B), id="null-in-item"),
        pytest.param(containers({"name": "a", "$patch": "delete"}), containers(B), id="delete-item"),
        pytest.param(containers({"$patch": "replace"}, C), containers(C), id="replace-list"),
        pytest.param(containers({"$patch": "replace"}), containers(), id="empty-list"),
        pytest.param({"spec": {"containers": None}}, {"spec": {}}, id="null-list"),
        pytest.param(
            {"spec": {"$patch": "replace", "hostname": "h"}}, {"spec": {"hostname": "h"}}, id="replace-object"
        ),
        pytest.param({"spec": {"$patch": "delete"}}, {"spec": {}}, id="delete-object"),
        pytest.param(
            {"spec": {"$patch": "merge", "hostname": "h"}},
            {"spec": {"containers": [A, B], "hostname": "h"}},
            id="merge",
        ),
        pytest.param(
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}, containers(B, A), id="order-only"
        ),
        pytest.param(
            {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [C]}},
            containers(C, A, B),
            id="order-and-new",
        ),
        pytest.param(
            {
                "spec": {
                    "$setElementOrder/containers": [{"name": "b"}],
                    "containers": [{"name": "b", "image": "b:2"}, {"name": "a", "$patch": "delete"}],
                }
            },
            containers({"name": "b", "image": "b:2"}),
            id="order-and-delete",
        ),
        pytest.param(
            {"spec": {"nodeSelector": {"x": "1", "y": None}}},
            {"spec": {"containers": [A, B], "nodeSelector": {"x": "1"}}},
            id="new-map",
        ),
        pytest.param(
            {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}]}},
            {"spec": {"containers": [A, B], "volumes": [{"name": "v", "emptyDir": {}}]}},
            id="directives-of-new-items-go",
        ),
    ],
)
def test_strategic_on_two_containers(body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert strategic(containers(A, B), body) == expected


def test_server_items_keep_their_place() -> None:
    current = {"metadata": {"finalizers": ["x", "server", "y"]}}
    body = {"metadata": {"$setElementOrder/finalizers": ["y", "x", "z"], "finalizers": ["z"]}}
    assert strategic(current, body) == {"metadata": {"finalizers": ["server", "y", "x", "z"]}}


def test_scalars_merge_as_a_set() -> None:
    current = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic(current, {"metadata": {"finalizers": ["b", "c"]}})["metadata"]["finalizers"] == ["a", "b", "c"]
    body = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic(current, body) == {"metadata": {"finalizers": ["b"]}}


def test_lists_without_a_merge_key_are_replaced() -> None:
    current = containers({"name": "a", "command": ["x", "y"]}, tolerations=[{"key": "k"}])
    body = containers({"name": "a", "command": ["z"]}, tolerations=[{"key": "l"}])
    assert strategic(current, body) == body


def test_retain_keys() -> None:
    current = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    body = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic(current, body, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_equal_merge_keys_are_not_lost() -> None:
    current = {"spec": {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}
    body = {"spec": {"$setElementOrder/ports": [{"port": 53}, {"port": 53}, {"port": 80}], "ports": [{"port": 80}]}}
    assert strategic(current, body, SERVICE)["spec"]["ports"] == [*current["spec"]["ports"], {"port": 80}]


def test_deep_merge_of_an_environment() -> None:
    def deployment(env: list[dict[str, str]]) -> dict[str, Any]:
        return {"spec": {"template": {"spec": {"containers": [{"name": "a", "env": env}]}}}}

    current = deployment([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    body = deployment([{"name": "B", "value": "3"}, {"name": "C", "value": "4"}])
    merged = deployment([{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}])
    assert strategic(current, body, DEPLOYMENT) == merged


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (containers({"image": "x"}), 422, "does not contain declared merge key: name"),
        (containers("x"), 400, "is no object"),  # type: ignore[arg-type]
        ({"spec": {"$patch": "nope"}}, 400, "unknown patch type [nope]"),
        ({"spec": {"$retainKeys": ["a"], "hostname": "x"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": "a"}}, 400, "invalid patch format of retainKeys"),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [B, A]}},
            400,
            "invalid patch format of setElementOrder list",
        ),
        ({"spec": {"$setElementOrder/containers": "a"}}, 400, "invalid patch format of setElementOrder list"),
        ({"metadata": {"finalizers": [{}]}}, 400, "is no scalar"),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}, 400, "invalid patch format of primitive list"),
    ],
)
def test_malformed_strategic(body: dict[str, Any], code: int, message: str) -> None:
    current = {**containers(A, B), "metadata": {"finalizers": ["a"]}}
    with pytest.raises(ApiError) as caught:
        strategic(current, body)
    assert caught.value.status.code == code
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/b", "value": 2}], {"a": [1, 2], "b": 2}),
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ([{"op": "replace", "path": "/a", "value": {"x~/y": 1}}, {"op": "remove", "path": "/a/x~0~1y"}], {"a": {}}),
        ([{"op": "test", "path": "/a/0", "value": 1}, {"op": "move", "from": "/a", "path": "/b"}], {"b": [1, 2]}),
        (
            [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/0", "value": 0}],
            {"a": [1, 2], "b": [0, 1, 2]},
        ),
        ([], {"a": [1, 2]}),
    ],
)
def test_json_patch(operations: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    current = {"a": [1, 2]}
    assert patch.apply(patch.JSON_PATCH, json.dumps(operations).encode(), current, POD) == expected
    assert current == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("operations", "code", "message"),
    [
        ({}, 400, "a JSON patch is an array of operations"),
        ([1], 400, "error decoding patch"),
        ([{"op": "nope", "path": "/a"}], 400, "error decoding patch"),
        ([{"op": "add", "path": "/a"}], 400, "error decoding patch"),
        ([{"op": "test", "path": "/a", "value": 1}], 422, "testing path /a failed"),
        ([{"op": "remove", "path": "/x"}], 422, "remove operation does not apply at /x"),
        ([{"op": "add", "path": "/x/y", "value": 1}], 422, "add operation does not apply at /x/y"),
        ([{"op": "replace", "path": "/a/9", "value": 1}], 422, "replace operation does not apply at /a/9"),
        ([{"op": "replace", "path": "", "value": 1}], 422, "no object"),
        ([{"op": "copy", "from": "/nope", "path": "/x"}], 422, "copy operation does not apply"),
    ],
)
def test_json_patch_that_fails(operations: Any, code: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        patch.apply(patch.JSON_PATCH, json.dumps(operations).encode(), {"a": [1, 2]}, POD)
    status = caught.value.status
    assert status.code == code
    if code == 400:
        assert message in status.message
    else:  # the same words for all, which clients compare; why stands beside them
        assert status.message == "the server rejected our request due to an error in our request"
        assert message in status.details.causes[0].message


@pytest.mark.parametrize(
    ("media_type", "why", "text"),
    [
        (patch.STRATEGIC_MERGE_PATCH, "any", 'Invalid value: "map[spec:map[a:[1 true <nil>] b:x]]": any'),
        (patch.MERGE_PATCH, "any", 'Invalid value: "{\\"kind\\":\\"Pod\\"}": any'),
        (
            patch.STRATEGIC_MERGE_PATCH,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.priority of type int32",
            'Invalid value: "map[spec:map[a:[1 true <nil>] b:x]]": unrecognized type: int32',
        ),
        (
            patch.STRATEGIC_MERGE_PATCH,
            "json: cannot unmarshal number into Go struct field PodSpec.spec.nodeName of type string",
            'Invalid value: "map[spec:map[a:[1 true <nil>] b:x]]": cannot convert int64 to string',
        ),
    ],
)
def test_a_patch_that_leaves_no_object_is_shown(media_type: str, why: str, text: str) -> None:
    body = json.dumps({"spec": {"b": "x", "a": [1, True, None]}}).encode()
    status = patch.no_object(media_type, body, {"kind": "Pod"}, why).status
    assert (status.code, status.reason) == (422, "Invalid")
    assert status.message == f' "" is invalid: patch: {text}'


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/nope/x", "value": 1},
        {"op": "test", "path": "/data/password", "value": "guess"},
        {"op": "remove", "path": "/data/password/x"},
        {"op": "move", "from": "/nope", "path": "/x"},
    ],
)
def test_a_json_patch_that_fails_does_not_tell_what_is_there(operation: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        patch.apply_json_patch({"data": {"password": "s3cr3t"}}, [operation])
    assert "s3cr3t" not in caught.value.message


def test_json_patch_has_bounds() -> None:
    many = [{"op": "test", "path": "/a", "value": 1}] * (patch.OPERATIONS_MAX + 1)
    with pytest.raises(RequestEntityTooLarge, match="maximum operations in a JSON patch is 10000, got 10001"):
        patch.apply_json_patch({"a": 1}, many)
    doubling = [{"op": "copy", "from": "", "path": f"/x{i}"} for i in range(60)]
    with pytest.raises(ApiError) as caught:
        patch.apply_json_patch({"a": "x" * 1000}, doubling)
    assert "exceeds the limit" in caught.value.status.details.causes[0].message


@pytest.mark.parametrize("media_type", [patch.MERGE_PATCH, patch.STRATEGIC_MERGE_PATCH])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1"])
def test_no_object(media_type: str, body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"error decoding patch|json: cannot unmarshal (array|number) into Go value"):
        patch.apply(media_type, body, {}, POD)


def test_unknown_media_type() -> None:
    with pytest.raises(UnsupportedMediaType):
        patch.apply("application/json", b"{}", {}, POD)


@pytest.mark.parametrize(
    ("last", "wanted", "current", "expected"),
    [
        ({}, {"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1, "server": 2}, {"a": None}),
        ({"a": 1}, {}, {"server": 2}, {}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"x": 5, "y": 2, "z": 3}}, {"a": {"x": 1, "y": None}}),
        ({"a": [1]}, {"a": [1]}, {"a": [1]}, {}),
    ],
)
def test_three_way(
    last: dict[str, Any], wanted: dict[str, Any], current: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert patch.create_three_way_patch(last, wanted, current) == expected
