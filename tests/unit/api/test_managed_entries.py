"""Whose fields they are, after updates and applies."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from mizzen.api import codec, kinds
from mizzen.api.errors import ApiError, BadRequest
from mizzen.api.managed import applying, entries, objects, sets
from mizzen.api.managed.applying import Configuration
from mizzen.api.managed.entries import Writer
from mizzen.api.managed.values import Difference
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta

T1, T2, T3 = (f"2026-01-01T00:00:0{n}Z" for n in (1, 2, 3))
EDIT = Writer("kubectl-edit", "v1")
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def config_map(**data: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name="c", namespace="default", uid="u"), data=data)


def made(obj: Any, manager: str = "kubectl-create") -> Any:
    """The object as it is after one has created it."""
    return objects.with_entries(obj, objects.created(obj, Writer(manager, obj.api_version), T1))


def changed(old: Any, new: Any, writer: Writer = EDIT, time: str = T2) -> Any:
    """The object as it is after one has changed it."""
    new = objects.with_entries(new, old.metadata.managed_fields)
    return objects.with_entries(new, objects.updated(old, new, writer, time))


def applied(old: Any, manager: str = "gitops", time: str = T3, *, force: bool = False, **data: Any) -> Any:
    """A config map after an apply of these data."""
    value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}
    value = applying.checked(value, kinds.CONFIG_MAP, "default")
    return applying.apply(old, kinds.CONFIG_MAP, Configuration(value, manager, force), time)


def owners(obj: Any) -> dict[str, list[str]]:
    """What each manager owns."""
    return {
        f"{entry.manager}:{entry.operation}": list(sets.paths(entries.fields_in(entry)))
        for entry in obj.metadata.managed_fields
    }


def test_a_creator_owns_what_it_made_and_not_what_the_server_gives() -> None:
    entry = made(config_map(a="1")).metadata.managed_fields[0]
    assert json.loads(codec.encode_json(entry)) == {
        "manager": "kubectl-create",
        "operation": "Update",
        "apiVersion": "v1",
        "time": T1,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {".": {}, "f:a": {}}},
    }


def test_who_changes_a_field_takes_it_and_what_is_gone_is_nobodys() -> None:
    first = made(config_map(a="1", b="1", c="1"))
    second = changed(first, config_map(a="2", b="1"))
    assert owners(second) == {"kubectl-create:Update": [".data", ".data.b"], "kubectl-edit:Update": [".data.a"]}
    third = changed(second, config_map(b="1"))
    assert owners(third) == {"kubectl-create:Update": [".data", ".data.b"]}


def test_a_change_of_an_own_field_brings_the_time_forward_and_no_change_does_not() -> None:
    first = made(config_map(a="1"))
    second = changed(first, config_map(a="2"), Writer("kubectl-create", "v1"))
    assert owners(second) == owners(first)
    assert [entry.time for entry in second.metadata.managed_fields] == [T2]
    assert changed(second, config_map(a="2"), EDIT, T3).metadata.managed_fields is second.metadata.managed_fields


def test_subresources_and_versions_have_entries_of_their_own() -> None:
    writers = (EDIT, Writer("kubectl-edit", "v1", subresource="status"), Writer("kubectl-edit", "v2"))
    obj = made(config_map(a="0"))
    for number, writer in enumerate(writers, 1):
        obj = changed(obj, replace(obj, data={**obj.data, f"k{number}": "v"}), writer)
    assert len(obj.metadata.managed_fields) == 4
    assert [entry.subresource for entry in obj.metadata.managed_fields].count("status") == 1


def test_an_object_without_account_gets_none_by_an_update() -> None:
    assert changed(config_map(a="1"), config_map(a="2")).metadata.managed_fields == ()


def test_the_oldest_of_more_than_ten_updaters_become_one() -> None:
    obj = made(config_map(k0="v"), "m0")
    for number in range(1, 13):
        writer = Writer(f"m{number}", "v1", subresource="status" if number == 2 else "")
        obj = changed(obj, replace(obj, data={**obj.data, f"k{number}": "v"}), writer, f"2026-01-01T00:01:{number:02}Z")
    managers = [entry.manager for entry in obj.metadata.managed_fields]
    assert managers == ["ancient-changes", *(f"m{number}" for number in range(4, 13))]
    oldest = obj.metadata.managed_fields[0]
    assert (oldest.time, oldest.subresource) == ("2026-01-01T00:01:03Z", "")
    assert owners(obj)["ancient-changes:Update"] == [".data", ".data.k0", ".data.k1", ".data.k2", ".data.k3"]


def test_appliers_do_not_count_among_the_ten() -> None:
    obj = made(config_map(k0="v"))
    for number in range(12):
        obj = applied(obj, f"applier{number}", **{f"a{number}": "v"})
    assert len(obj.metadata.managed_fields) == 13
    assert [entry.operation for entry in obj.metadata.managed_fields] == ["Apply"] * 12 + ["Update"]


# Applying


def test_an_apply_owns_what_it_says_and_leaves_the_rest() -> None:
    after = applied(made(config_map(a="1")), b="2")
    assert after.data == {"a": "1", "b": "2"}
    assert owners(after) == {"gitops:Apply": [".data.b"], "kubectl-create:Update": [".data", ".data.a"]}


def test_what_is_no_longer_applied_goes_unless_others_have_it() -> None:
    first = applied(applied(None, a="1", b="1"), "other", b="1")
    assert owners(first) == {"gitops:Apply": [".data.a", ".data.b"], "other:Apply": [".data.b"]}
    second = applied(first, c="1")
    assert second.data == {"b": "1", "c": "1"}
    assert owners(second) == {"gitops:Apply": [".data.c"], "other:Apply": [".data.b"]}


def test_an_object_keeps_its_name_when_nobody_owns_anything_else_of_its_metadata() -> None:
    value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": {"a": "b"}}}
    first = applying.apply(None, kinds.CONFIG_MAP, Configuration(value, "gitops"), T1)
    assert first.metadata.labels == {"a": "b"}
    last = applied(first)
    assert (last.metadata.name, last.metadata.labels) == ("c", {})


def test_a_manager_that_applies_nothing_any_more_has_no_entry() -> None:
    first = applied(made(config_map(a="1")), b="1")
    last = applying.apply(
        first, kinds.CONFIG_MAP, Configuration({"apiVersion": "v1", "kind": "ConfigMap"}, "gitops"), T3
    )
    assert last.data == {"a": "1"}
    assert list(owners(last)) == ["kubectl-create:Update"]


def test_the_same_value_is_shared_and_another_is_a_conflict() -> None:
    first = made(config_map(a="1"))
    assert applied(first, a="1").data == {"a": "1"}
    with pytest.raises(ApiError) as refused:
        applied(first, a="2")
    status = refused.value.status
    assert (status.code, status.reason) == (409, "Conflict")
    assert status.message == 'Apply failed with 1 conflict: conflict with "kubectl-create" using v1: .data.a'
    assert status.details is not None
    (cause,) = status.details.causes
    assert (cause.reason, cause.message, cause.field) == (
        "FieldManagerConflict",
        'conflict with "kubectl-create" using v1',
        ".data.a",
    )
    taken = applied(first, a="2", force=True)
    assert owners(taken) == {"gitops:Apply": [".data.a"], "kubectl-create:Update": [".data"]}


def test_many_conflicts_are_told_manager_by_manager() -> None:
    obj = changed(
        made(config_map(a="1", b="1")), config_map(a="2", b="1", s="1"), Writer("top", "v1", "Update", "status")
    )
    obj = applied(obj, "other", c="1")
    with pytest.raises(ApiError) as refused:
        applied(obj, a="x", b="x", c="x")
    assert refused.value.message == (
        "Apply failed with 3 conflicts: "
        'conflicts with "kubectl-create" using v1:\n- .data.b\n'
        'conflicts with "other":\n- .data.c\n'
        'conflicts with "top" with subresource "status" using v1:\n- .data.a'
    )


def test_what_was_there_before_the_first_apply_has_a_manager() -> None:
    after = applied(config_map(a="1", b="1"), a="1")
    assert owners(after) == {"gitops:Apply": [".data.a"], "before-first-apply:Update": [".data", ".data.a", ".data.b"]}
    with pytest.raises(ApiError, match=r'conflict with "before-first-apply" using v1: \.data\.b'):
        applied(config_map(a="1", b="1"), b="2")


def test_null_is_applied_as_not_set() -> None:
    after = applied(made(config_map(a="1")), b=None)
    assert after.data == {"a": "1", "b": ""}
    deployment = apps.Deployment(metadata=meta.ObjectMeta(name="d"), spec=apps.DeploymentSpec(replicas=3))
    value = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": None}}
    unset = applying.apply(deployment, kinds.DEPLOYMENT, Configuration(value, "g", force=True), T1)
    assert unset.spec.replicas is None
    assert owners(unset)["g:Apply"] == [".spec.replicas"]


def test_amounts_are_the_same_however_they_are_written() -> None:
    limits = core.ResourceRequirements(limits={"cpu": "500m"})
    pod = made(core.Pod(spec=core.PodSpec(containers=(core.Container(name="c", resources=limits),))))
    value = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": 0.5}}}]}}
    checked = applying.checked({"apiVersion": "v1", "kind": "Pod", **value}, kinds.POD, "default")
    assert applying.apply(pod, kinds.POD, Configuration(checked, "g"), T2).spec == pod.spec


def test_a_status_is_applied_apart_from_the_rest() -> None:
    pod = made(core.Pod(spec=core.PodSpec(hostname="h")))
    value = {"apiVersion": "v1", "kind": "Pod", "spec": {"hostname": "x"}, "status": {"phase": "Running"}}
    main = applying.apply(pod, kinds.POD, Configuration(value, "g", force=True), T2)
    assert (main.spec.hostname, main.status.phase) == ("x", "")
    assert owners(main)["g:Apply"] == [".spec.hostname"]
    status = applying.apply(pod, kinds.POD, Configuration(value, "g", subresource="status"), T2)
    assert (status.spec.hostname, status.status.phase) == ("h", "Running")
    assert owners(status)["g:Apply"] == [".status.phase"]


# From client-side apply


def client_side(**data: str) -> Any:
    last = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"annotations": {}, "name": "c"}, "data": data}
    obj = config_map(**data)
    metadata = replace(obj.metadata, annotations={ANNOTATION: json.dumps(last)})
    return made(replace(obj, metadata=metadata), "kubectl-client-side-apply")


def test_kubectl_takes_over_what_it_applied_and_keeps_the_annotation_true() -> None:
    after = applied(client_side(a="1", b="1"), "kubectl", a="2")
    assert after.data == {"a": "2", "b": "1"}
    last = json.loads(after.metadata.annotations[ANNOTATION])
    assert last == {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"annotations": {}, "name": "c"}, "data": {"a": "2"},
    }  # fmt: skip
    assert ".data.a" not in owners(after)["kubectl-client-side-apply:Update"]


def test_others_and_values_that_have_changed_since_still_conflict() -> None:
    with pytest.raises(ApiError, match="1 conflict"):
        applied(client_side(a="1"), "gitops", a="2")
    since = client_side(a="1", b="1")
    since = changed(since, replace(since, data={"a": "9", "b": "1"}))
    with pytest.raises(ApiError, match=r'1 conflict: conflict with "kubectl-edit" using v1: \.data\.a'):
        applied(since, "kubectl", a="2", b="2")


def test_an_annotation_that_cannot_be_read_gives_no_rights() -> None:
    for text in ("{", "[]", '{"apiVersion":"v2","data":{"a":"1"}}', '{"apiVersion":"v1","foo":1}'):
        obj = client_side(a="1")
        annotated = replace(obj.metadata, annotations={ANNOTATION: text})
        with pytest.raises(ApiError, match="1 conflict"):
            applied(replace(obj, metadata=annotated), "kubectl", a="2")


# What clients send


def test_entries_of_clients_are_checked_and_made_canonical() -> None:
    good = meta.ManagedFieldsEntry(
        manager="m", operation="Update", api_version="v1", fields_type="FieldsV1",
        fields_v1=msgspec.Raw(b'{"f:l": {"k:{ \\"name\\": \\"a\\" }": {}}}'),
    )  # fmt: skip
    accepted = entries.accepted((good,))
    assert accepted is not None
    assert bytes(accepted[0].fields_v1) == b'{"f:l":{"k:{\\"name\\":\\"a\\"}":{}}}'
    for bad in (
        replace(good, operation="Delete"),
        replace(good, fields_type="FieldsV2"),
        replace(good, fields_v1=msgspec.Raw(b'{"a":1}')),
        replace(good, fields_v1=msgspec.Raw(b"")),
    ):
        assert entries.accepted((good, bad)) is None
    assert entries.is_reset((meta.ManagedFieldsEntry(),))
    assert not entries.is_reset((good,))


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"kind": "ConfigMap"}, "invalid object type: /, Kind=ConfigMap; this path is for /v1, Kind=ConfigMap"),
        (
            {"apiVersion": "apps/v1", "kind": "Deployment"},
            "invalid object type: apps/v1, Kind=Deployment; this path is for /v1, Kind=ConfigMap",
        ),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"managedFields": []}},
            "metadata.managedFields must be nil",
        ),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "foo": 1},
            "failed to create typed patch object (default/c; /v1, Kind=ConfigMap): .foo: field not declared in schema",
        ),
    ],
)
def test_what_cannot_be_applied(config: Any, problem: str) -> None:
    with pytest.raises(BadRequest) as refused:
        applying.checked(config, kinds.CONFIG_MAP, "default")
    assert refused.value.message == problem


def test_the_system_s_own_fields_are_nobodys() -> None:
    difference = Difference({"f:kind": {}, "f:metadata": {".": {}, "f:uid": {}, "f:resourceVersion": {}}}, {})
    assert entries.updated((), difference, EDIT, T1) == ()
