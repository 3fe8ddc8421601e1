"""What fields a value sets, how values differ and merge, and what of them can't."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api.managed import sets, values
from mizzen.api.managed.shapes import ANY, of_message

POD = of_message("core_v1.Pod")
SPEC = of_message("core_v1.PodSpec")
SERVICE = of_message("core_v1.Service")
MAP = of_message("core_v1.ConfigMap")
PORT = {"containerPort": 80}
PORT_PATH = '.ports[containerPort=80,protocol="TCP"]'


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"containers": [{"name": name, **more}]}


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        ({"hostNetwork": True}, [".hostNetwork"]),
        ({"hostname": None}, [".hostname"]),
        ({"securityContext": {}}, [".securityContext"]),
        ({"securityContext": {"runAsUser": 1}}, [".securityContext.runAsUser"]),
        ({"nodeSelector": {"a": "b"}}, [".nodeSelector"]),
        ({"tolerations": [{"key": "a"}]}, [".tolerations"]),
        ({"containers": []}, []),
        ({"containers": None}, [".containers"]),
        (
            container("a", image="i", ports=[PORT]),
            [
                '.containers[name="a"]', '.containers[name="a"].image', '.containers[name="a"].name',
                f'.containers[name="a"]{PORT_PATH}', f'.containers[name="a"]{PORT_PATH}.containerPort',
            ],
        ),
        (
            container("a", env=[{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]),
            [
                '.containers[name="a"]', '.containers[name="a"].env[name="X"]',
                '.containers[name="a"].env[name="X"].name',
                '.containers[name="a"].env[name="X"].valueFrom.configMapKeyRef', '.containers[name="a"].name',
            ],
        ),
    ],
)  # fmt: skip
def test_fields_that_a_configuration_sets(config: Any, paths: list[str]) -> None:
    assert list(sets.paths(values.fields_of(config, SPEC))) == paths


def test_fields_of_maps_sets_and_unknown_values() -> None:
    assert list(sets.paths(values.fields_of({"data": {"a": "1"}}, MAP))) == [".data.a"]
    meta = {"metadata": {"finalizers": ["a/b"], "labels": {}}}
    assert list(sets.paths(values.fields_of(meta, POD))) == ['.metadata.finalizers[="a/b"]', ".metadata.labels"]
    assert list(sets.paths(values.fields_of({"a": {"b": [1], "c": {}}}, ANY))) == [".a", ".a.b", ".a.c"]


@pytest.mark.parametrize(
    ("old", "new", "changed", "removed"),
    [
        ({}, {"hostname": "a"}, [".hostname"], []),
        ({"hostname": "a"}, {"hostname": "b"}, [".hostname"], []),
        ({"hostname": "a"}, {}, [], [".hostname"]),
        ({"hostname": "a"}, {"hostname": "a"}, [], []),
        ({}, {"securityContext": {"runAsUser": 1}}, [".securityContext", ".securityContext.runAsUser"], []),
        ({"securityContext": {}}, {"securityContext": {"runAsUser": 1}}, [".securityContext.runAsUser"], []),
        ({"securityContext": {"runAsUser": 1}}, {"securityContext": {}}, [], [".securityContext.runAsUser"]),
        ({"nodeSelector": {"a": "b"}}, {"nodeSelector": {"c": "d"}}, [".nodeSelector"], []),
        ({"containers": []}, {"containers": None}, [".containers"], []),
        (
            container("a", image="i"), container("b"),
            ['.containers[name="b"]', '.containers[name="b"].name'],
            ['.containers[name="a"]', '.containers[name="a"].image', '.containers[name="a"].name'],
        ),
        (
            {"containers": [{"name": "a"}, {"name": "b"}]}, {"containers": [{"name": "b"}, {"name": "a"}]}, [], [],
        ),
        (
            {"containers": [{"name": "a"}, {"name": "a", "image": "i"}]}, container("a"), ['.containers[name="a"]'], [],
        ),
    ],
)  # fmt: skip
def test_differences(old: Any, new: Any, changed: list[str], removed: list[str]) -> None:
    found = values.compare(old, new, SPEC)
    assert (list(sets.paths(found.changed)), list(sets.paths(found.removed))) == (changed, removed)


def test_a_value_of_another_kind_is_another_value() -> None:
    found = values.compare({"a": {"b": 1}}, {"a": 2}, ANY)
    assert (list(sets.paths(found.changed)), list(sets.paths(found.removed))) == ([".a"], [".a.b"])
    found = values.compare({"a": 1}, {"a": {"b": 1}}, ANY)
    assert list(sets.paths(found.changed)) == [".a", ".a.b"]
    assert list(sets.paths(values.compare({"a": 1}, {"a": True}, ANY).changed)) == [".a"]


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ({"hostname": "a", "subdomain": "s"}, {"hostname": "b"}, {"hostname": "b", "subdomain": "s"}),
        ({"hostname": "a"}, {"hostname": None}, {"hostname": None}),
        ({"securityContext": {"runAsUser": 1}}, {"securityContext": None}, {"securityContext": {"runAsUser": 1}}),
        ({"securityContext": {"runAsUser": 1}}, {"securityContext": {}}, {"securityContext": {"runAsUser": 1}}),
        ({"nodeSelector": {"a": "b"}}, {"nodeSelector": {"c": "d"}}, {"nodeSelector": {"c": "d"}}),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": []}, {"tolerations": []}),
        (container("a", image="i"), container("a", args=["x"]), container("a", image="i", args=["x"])),
        ({}, container("a"), container("a")),
    ],
)
def test_merges(live: Any, config: Any, merged: Any) -> None:
    assert values.merge(live, config, SPEC) == merged


def test_ports_are_told_from_each_other_with_their_default() -> None:
    live = container("a", ports=[{"containerPort": 80, "protocol": "TCP", "name": "http"}, {"containerPort": 53}])
    config = container("a", ports=[{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}])
    (merged,) = values.merge(live, config, SPEC)["containers"]
    assert merged["ports"] == [
        {"containerPort": 80, "protocol": "TCP", "name": "http"},
        {"containerPort": 53},
        {"containerPort": 53, "protocol": "UDP"},
    ]


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("ab", "ab", "ab"),
        ("ab", "ba", "ba"),
        ("ab", "c", "abc"),
        ("ab", "ca", "cab"),
        ("axb", "ba", "xba"),
        ("axbyc", "cb", "axycb"),
        ("abc", "axc", "abxc"),
        ("", "ab", "ab"),
    ],
)
def test_applied_items_keep_their_order_and_others_their_place(live: str, config: str, merged: str) -> None:
    def of(names: str) -> dict[str, Any]:
        return {"metadata": {"finalizers": [f"x/{name}" for name in names]}}

    def items(names: str) -> dict[str, Any]:
        return {"spec": {"containers": [{"name": name} for name in names]}}

    assert values.merge(of(live), of(config), POD)["metadata"] == of(merged)["metadata"]
    assert values.merge(items(live), items(config), POD)["spec"] == items(merged)["spec"]


def prune(merged: Any, last: Any, owned: Any) -> Any:
    return values.prune(merged, values.fields_of(last, SPEC), values.fields_of(owned, SPEC), SPEC)


@pytest.mark.parametrize(
    ("merged", "last", "owned", "left"),
    [
        ({"hostname": "a", "subdomain": "s"}, {"hostname": "a"}, {}, {"subdomain": "s"}),
        ({"hostname": "a"}, {"hostname": "a"}, {"hostname": "b"}, {"hostname": "a"}),
        ({"hostname": "a"}, {}, {}, {"hostname": "a"}),
        # A struct goes with what was filled in, unless somebody else has something in it.
        ({"securityContext": {"runAsUser": 1, "fsGroup": 2}}, {"securityContext": {"runAsUser": 1}}, {}, None),
        (
            {"securityContext": {"runAsUser": 1, "fsGroup": 2}}, {"securityContext": {"runAsUser": 1}},
            {"securityContext": {"fsGroup": 3}}, {"securityContext": {"fsGroup": 2}},
        ),
        (
            {"containers": [{"name": "a", "image": "i"}, {"name": "b"}]},
            {"containers": [{"name": "a"}, {"name": "b"}]}, container("b"), container("b"),
        ),
        (container("a", image="i"), container("a", image="i"), container("a"), container("a")),
    ],
)  # fmt: skip
def test_what_nobody_owns_any_more_goes(merged: Any, last: Any, owned: Any, left: Any) -> None:
    assert prune(merged, last, owned) == left


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"foo": 1}, ".foo: field not declared in schema"),
        ({"securityContext": 1}, ".securityContext: expected map, got number"),
        ({"containers": {}}, ".containers: expected list, got map"),
        (
            {"containers": [{"image": "i"}]},
            (
                '.containers: element 0: associative list with keys has an element that omits key field "name" '
                "(and doesn't have default value)"
            ),
        ),
        ({"containers": ["a"]}, ".containers: element 0: associative list with keys may not have non-map elements"),
        (
            {"containers": [{"name": "a"}, {"name": "a"}]}, '.containers: duplicate entries for key [name="a"]',
        ),
        (
            container("a", ports=[PORT, {"containerPort": 80, "protocol": "TCP"}]),
            '.containers[name="a"].ports: duplicate entries for key [containerPort=80,protocol="TCP"]',
        ),
        (
            {"containers": [{"name": {}}]},
            '.containers: element 0: associative list with keys has an element whose key field "name" is not a scalar',
        ),
        (
            {"foo": 1, "bar": 2},
            "errors:\n  .foo: field not declared in schema\n  .bar: field not declared in schema",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_said(config: Any, problem: str) -> None:
    with pytest.raises(values.BadValue) as refused:
        values.checked(config, SPEC)
    assert str(refused.value) == problem


def test_items_of_sets_are_scalars_and_differ() -> None:
    for finalizers, problem in (
        (["a", "a"], '.metadata.finalizers: duplicate entries for key [="a"]'),
        ([{}], ".metadata.finalizers: element 0: associative list without keys has an element that is not a scalar"),
    ):
        with pytest.raises(values.BadValue) as refused:
            values.checked({"metadata": {"finalizers": finalizers}}, POD)
        assert str(refused.value) == problem


def test_scalars_become_canonical() -> None:
    resources = {"requests": {"cpu": 0.5, "memory": "1024Mi", "wrong": "x y"}}
    (checked,) = values.checked(container("a", resources=resources), SPEC)["containers"]
    assert checked["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi", "wrong": "x y"}
    spec = {"spec": {"ports": [{"port": 80.0, "targetPort": 8080.0}]}}
    assert values.checked(spec, SERVICE)["spec"]["ports"] == [{"port": 80, "targetPort": 8080}]
    stamp = {"metadata": {"creationTimestamp": "2024-01-01T01:00:00+01:00"}}
    assert values.checked(stamp, POD)["metadata"] == {"creationTimestamp": "2024-01-01T00:00:00Z"}
