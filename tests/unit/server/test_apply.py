"""Applying through the verbs: made or merged, whole or in part, and who is known to have done it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Operation
from controlplane.server.verbs_write import WriteOptions
from mizzen.api import errors, kinds
from mizzen.api.managed import applying, entries, sets
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.unit.server.test_verbs import PLAIN, cluster, config_map

MERGE = "application/merge-patch+json"
MINE = WriteOptions(manager="mine")
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
    "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]},
        },
    },
}  # fmt: skip


def data(_name: str = "a", /, **values: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _name}, "data": values}


def who(obj: Any) -> list[tuple[str, str, str]]:
    return [(entry.manager, entry.operation, entry.subresource) for entry in obj.metadata.managed_fields]


def paths_of(obj: Any, manager: str) -> list[str]:
    (entry,) = [entry for entry in obj.metadata.managed_fields if entry.manager == manager]
    return list(sets.paths(entries.fields_in(entry)))


async def test_an_apply_makes_and_merges() -> None:
    async with cluster() as (verbs,):
        apply = verbs.writes.apply
        first = await apply(kinds.CONFIG_MAP, "shop", "a", data(a="1", b="1"), MINE)
        assert first.created
        second = await apply(kinds.CONFIG_MAP, "shop", "a", data(a="2"), MINE)
        assert not second.created
        assert second.object.data == {"a": "2"}
        assert second.object.metadata.uid == first.object.metadata.uid
        assert who(second.object) == [("mine", "Apply", "")]


async def test_an_apply_that_changes_nothing_writes_nothing() -> None:
    async with cluster() as (verbs,):
        first = await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", DEPLOYMENT, MINE)
        again = await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", DEPLOYMENT, MINE)
        assert again.object == first.object
        shared = await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", DEPLOYMENT, WriteOptions(manager="two"))
        assert shared.object.metadata.resource_version != first.object.metadata.resource_version
        assert shared.object.metadata.generation == 1
        assert who(shared.object) == [("mine", "Apply", ""), ("two", "Apply", "")]


SPEC = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m"}}}], "volumes": [
    {"name": "v", "emptyDir": {}},
]}  # fmt: skip
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
EVERY: dict[Any, dict[str, Any]] = {
    kinds.SERVICE: {"spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80}]}},
    kinds.SECRET: {"stringData": {"a": "b"}},
    kinds.NAMESPACE: {},
    # Its taints are one value, and admission adds to those of a new node.
    kinds.NODE: {"spec": {"unschedulable": True}},
    kinds.POD: {"spec": SPEC},
    kinds.SERVICE_ACCOUNT: {"automountServiceAccountToken": False},
    kinds.ENDPOINTS: {"subsets": [{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 80}]}]},
    kinds.REPLICA_SET: {"spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}},
    kinds.LEASE: {"spec": {"holderIdentity": "x"}},
    kinds.ENDPOINT_SLICE: {"addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"]}], "ports": [{"port": 80}]},
}


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.kind)
async def test_every_kind_is_applied_applied_again_and_changed(kind: Any) -> None:
    async with cluster() as (verbs,):
        namespace = "shop" if kind.namespaced else ""

        async def apply(labels: dict[str, str]) -> Any:
            metadata = {"name": "a", **({"labels": labels} if labels else {})}
            value = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **EVERY[kind]}
            checked = applying.checked(value, kind, namespace)
            return (await verbs.writes.apply(kind, namespace, "a", checked, MINE)).object

        first = await apply({"tier": "front"})
        assert await apply({"tier": "front"}) == first
        assert first.metadata.labels["tier"] == "front"
        last = await apply({})
        assert "tier" not in last.metadata.labels
        assert replace(last, metadata=first.metadata) == first


async def test_a_dry_apply_stores_nothing() -> None:
    async with cluster() as (verbs,):
        dry = WriteOptions(dry_run=True, manager="mine")
        assert (await verbs.writes.apply(kinds.CONFIG_MAP, "shop", "a", data(a="1"), dry)).created
        with pytest.raises(errors.NotFound):
            await verbs.reads.get(kinds.CONFIG_MAP, "shop", "a")
        await verbs.writes.apply(kinds.CONFIG_MAP, "shop", "a", data(a="1"), MINE)
        assert (await verbs.writes.apply(kinds.CONFIG_MAP, "shop", "a", data(a="2"), dry)).object.data == {"a": "2"}
        assert (await verbs.reads.get(kinds.CONFIG_MAP, "shop", "a")).object().data == {"a": "1"}


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"name": "b"}, "does not match the name on the URL"),
        ({}, "does not match the name on the URL"),
        ({"name": "a", "uid": "u"}, "uid mismatch: the provided object specified uid u, and no existing object"),
        ({"name": "a", "resourceVersion": "5"}, "the object has been modified"),
        ({"name": "a", "namespace": "elsewhere"}, "namespace of the provided object does not match"),
    ],
)
async def test_what_is_not_there_cannot_be_anything(metadata: dict[str, Any], error: str) -> None:
    async with cluster() as (verbs,):
        with pytest.raises(errors.ApiError, match=error):
            await verbs.writes.apply(kinds.CONFIG_MAP, "shop", "a", {**data(), "metadata": metadata}, MINE)


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"name": "b"}, errors.BadRequest),
        ({"uid": "other"}, errors.Conflict),
        ({"resourceVersion": "5"}, errors.Conflict),
        ({"namespace": "elsewhere"}, errors.BadRequest),
    ],
)
async def test_what_is_there_must_be_what_is_meant(metadata: dict[str, Any], error: type[Exception]) -> None:
    async with cluster() as (verbs,):
        await verbs.writes.create(kinds.CONFIG_MAP, "shop", config_map("a"), PLAIN)
        with pytest.raises(error):
            await verbs.writes.apply(kinds.CONFIG_MAP, "shop", "a", {**data(), "metadata": metadata}, MINE)


async def test_a_version_that_is_still_there_may_be_applied_to() -> None:
    async with cluster() as (verbs,):
        made = (await verbs.writes.create(kinds.CONFIG_MAP, "shop", config_map("a"), PLAIN)).object
        metadata = {"name": "a", "resourceVersion": made.metadata.resource_version, "uid": made.metadata.uid}
        applied = await verbs.writes.apply(kinds.CONFIG_MAP, "shop", "a", {**data(x="1"), "metadata": metadata}, MINE)
        assert applied.object.data == {"k": "v", "x": "1"}
        assert paths_of(applied.object, "mine") == [".data.x"]


async def test_a_conflict_is_told_and_can_be_forced() -> None:
    async with cluster() as (verbs,):
        await verbs.writes.create(kinds.CONFIG_MAP, "shop", config_map("a"), WriteOptions(manager="editor"))
        with pytest.raises(errors.ApiError, match='conflict with "editor" using v1: \\.data\\.k'):
            await verbs.writes.apply(kinds.CONFIG_MAP, "shop", "a", data(k="x"), MINE)
        forced = WriteOptions(manager="mine", force=True)
        taken = await verbs.writes.apply(kinds.CONFIG_MAP, "shop", "a", data(k="x"), forced)
        assert paths_of(taken.object, "editor") == [".data"]


async def test_the_rules_of_a_kind_hold_for_applies() -> None:
    async with cluster() as (verbs,):
        bad = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": -1}}  # type: ignore[dict-item]
        with pytest.raises(errors.Invalid, match=r"spec\.replicas"):
            await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", bad, MINE)
        await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", DEPLOYMENT, MINE)
        with pytest.raises(errors.Invalid):
            await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", bad, MINE)


async def test_applies_through_several_servers_all_count() -> None:
    async with cluster(3) as every:

        async def one(number: int) -> None:
            options = WriteOptions(manager=f"m{number}")
            await every[number % 3].writes.apply(kinds.CONFIG_MAP, "shop", "a", data(**{f"k{number}": "v"}), options)

        await asyncio.gather(*(one(number) for number in range(6)))
        obj = (await every[0].reads.get(kinds.CONFIG_MAP, "shop", "a")).object()
        assert obj.data == {f"k{number}": "v" for number in range(6)}
        assert sorted(who(obj)) == [(f"m{number}", "Apply", "") for number in range(6)]


async def test_a_scale_is_applied_to_its_workload() -> None:
    async with cluster() as (verbs,):
        await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", DEPLOYMENT, MINE)
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
        with pytest.raises(errors.ApiError, match='conflict with "mine": \\.spec\\.replicas'):
            await verbs.scales.apply(kinds.DEPLOYMENT, "shop", "web", scale, WriteOptions(manager="scaler"))
        made, written = await verbs.scales.apply(
            kinds.DEPLOYMENT, "shop", "web", scale, WriteOptions(manager="scaler", force=True)
        )
        assert (made.spec.replicas, written.object.spec.replicas) == (5, 5)
        assert ("scaler", "Apply", "scale") in who(written.object)
        assert ".spec.replicas" not in paths_of(written.object, "mine")
        (entry,) = made.metadata.managed_fields
        assert (entry.manager, entry.api_version, entry.subresource) == ("scaler", "autoscaling/v1", "scale")
        with pytest.raises(errors.NotFound):
            await verbs.scales.apply(kinds.DEPLOYMENT, "shop", "none", scale, MINE)
        with pytest.raises(errors.BadRequest, match="invalid object type"):
            await verbs.scales.apply(kinds.DEPLOYMENT, "shop", "web", DEPLOYMENT, MINE)


async def test_a_status_is_applied_only_to_what_is_there() -> None:
    async with cluster() as (verbs,):
        status = {**DEPLOYMENT, "status": {"observedGeneration": 1}}
        with pytest.raises(errors.NotFound):
            await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", status, MINE, Operation.UPDATE_STATUS)
        await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", status, MINE)
        written = await verbs.writes.apply(kinds.DEPLOYMENT, "shop", "web", status, MINE, Operation.UPDATE_STATUS)
        assert written.object.status.observed_generation == 1
        assert who(written.object) == [("mine", "Apply", ""), ("mine", "Apply", "status")]


# Updates


async def test_updates_patches_and_scales_are_known_by_their_managers() -> None:
    async with cluster() as (verbs,):
        options = [WriteOptions(manager=name) for name in ("creator", "patcher", "scaler", "updater")]
        made = (await verbs.writes.create(kinds.DEPLOYMENT, "shop", deployment(), options[0])).object
        assert who(made) == [("creator", "Update", "")]
        body = b'{"metadata":{"labels":{"a":"b"}}}'
        await verbs.writes.patch(kinds.DEPLOYMENT, "shop", "web", MERGE, body, options[1])
        await verbs.scales.patch(kinds.DEPLOYMENT, "shop", "web", MERGE, b'{"spec":{"replicas":3}}', options[2])
        now = (await verbs.reads.get(kinds.DEPLOYMENT, "shop", "web")).object()
        now = replace(now, spec=replace(now.spec, paused=True))
        obj = (await verbs.writes.update(kinds.DEPLOYMENT, "shop", "web", now, options[3])).object
        assert sorted(who(obj)) == [
            ("creator", "Update", ""), ("patcher", "Update", ""), ("scaler", "Update", "scale"),
            ("updater", "Update", ""),
        ]  # fmt: skip
        assert paths_of(obj, "scaler") == [".spec.replicas"]
        assert paths_of(obj, "patcher") == [".metadata.labels", ".metadata.labels.a"]
        assert paths_of(obj, "updater") == [".spec.paused"]
        assert ".spec.replicas" not in paths_of(obj, "creator")


def deployment() -> apps.Deployment:
    selector = meta.LabelSelector(match_labels={"app": "web"})
    container = core.Container(name="c", image="i:1")
    template = core.PodTemplateSpec(
        metadata=meta.ObjectMeta(labels={"app": "web"}), spec=core.PodSpec(containers=(container,))
    )
    spec = apps.DeploymentSpec(replicas=1, selector=selector, template=template)
    return apps.Deployment(metadata=meta.ObjectMeta(name="web"), spec=spec)


async def test_a_client_may_forget_all_managers_and_give_others() -> None:
    async with cluster() as (verbs,):
        made = (await verbs.writes.create(kinds.CONFIG_MAP, "shop", config_map("a"), PLAIN)).object
        given = replace(made.metadata, managed_fields=(replace(made.metadata.managed_fields[0], manager="new"),))
        other = (await verbs.writes.update(kinds.CONFIG_MAP, "shop", "a", replace(made, metadata=given), PLAIN)).object
        assert who(other) == [("new", "Update", "")]
        # Clients that know nothing of managers take nothing away.
        bare = config_map("a")
        kept = (await verbs.writes.update(kinds.CONFIG_MAP, "shop", "a", bare, PLAIN)).object
        assert who(kept) == [("new", "Update", "")]
        wrong = replace(given, resource_version="", managed_fields=(meta.ManagedFieldsEntry(manager="x"),))
        kept = (await verbs.writes.update(kinds.CONFIG_MAP, "shop", "a", replace(made, metadata=wrong), PLAIN)).object
        assert who(kept) == [("new", "Update", "")]
        body = b'{"metadata":{"managedFields":[{}]}}'
        reset = (await verbs.writes.patch(kinds.CONFIG_MAP, "shop", "a", MERGE, body, PLAIN)).object
        assert who(reset) == []
        applied = await verbs.writes.apply(kinds.CONFIG_MAP, "shop", "a", data(x="1"), MINE)
        assert who(applied.object) == [("mine", "Apply", ""), ("before-first-apply", "Update", "")]


async def test_a_subresource_has_no_say_in_the_managers() -> None:
    async with cluster() as (verbs,):
        made = (await verbs.writes.create(kinds.DEPLOYMENT, "shop", deployment(), MINE)).object
        metadata = replace(made.metadata, managed_fields=(meta.ManagedFieldsEntry(),))
        status = replace(made, metadata=metadata, status=replace(made.status, replicas=1))
        written = await verbs.writes.update(
            kinds.DEPLOYMENT, "shop", "web", status, WriteOptions(manager="controller"), Operation.UPDATE_STATUS
        )
        assert who(written.object) == [("controller", "Update", "status"), ("mine", "Update", "")]
        assert paths_of(written.object, "controller") == [".status.replicas"]
