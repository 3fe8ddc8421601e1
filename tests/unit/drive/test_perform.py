"""Effects become commits: in order, few, and none after the first that bounces."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controlplane.drive.perform import COMMIT_MAX
from controlplane.store.registry import NotLeader
from controlplane.store.values import UnknownOutcome
from mizzen.api import kinds
from mizzen.api.errors import AlreadyExists, Conflict
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.effects import Bind, Create, Delete, Emit, Update, UpdateStatus
from mizzen.engine.values import Key
from tests.unit.drive.conftest import BEGAN_MS, Cluster, config, pod

CONFIGS = kinds.CONFIG_MAP


def names(cluster: Cluster) -> list[str]:
    return [one.metadata.name for one in cluster.registry.view.list(CONFIGS)]


def delete(obj: Object) -> Delete:
    meta = obj.metadata
    return Delete(Key(kinds.kind_of(obj).resource, meta.namespace, meta.name), meta.uid)


def emit(obj: Object, message: str) -> Emit:
    return Emit(obj, "Normal", "Test", message, "test")


async def test_neighbouring_effects_go_into_one_commit(cluster: Cluster) -> None:
    performed = await cluster.performer.perform([Create(config(f"c{n}")) for n in range(5)], cluster.fence)
    assert names(cluster) == [f"c{n}" for n in range(5)]
    assert cluster.store.commits == [6]
    view = cluster.registry.view
    assert performed.version == max(int(one.metadata.resource_version) for one in view.list(CONFIGS))


async def test_a_commit_holds_only_so_many(cluster: Cluster) -> None:
    await cluster.performer.perform([Create(config(f"c{n:03}")) for n in range(COMMIT_MAX + 1)], cluster.fence)
    assert cluster.store.commits == [COMMIT_MAX + 1, 2]


async def test_what_is_created_is_admitted(cluster: Cluster) -> None:
    performed = await cluster.performer.perform([Create(pod("a"))], cluster.fence)
    assert performed.error is None
    created = cluster.registry.view.get(kinds.POD, "default", "a")
    assert created is not None
    assert (created.status.phase, created.spec.restart_policy, bool(created.metadata.uid)) == (
        "Pending",
        "Always",
        True,
    )


async def test_those_before_the_one_that_bounces_happen_and_those_after_do_not(cluster: Cluster) -> None:
    there = await cluster.registry.create(config("there"))
    effects = [
        Create(config("one")),
        emit(there, "one"),
        Create(config("there")),
        emit(there, "there"),
        Create(config("three")),
    ]
    performed = await cluster.performer.perform(effects, cluster.fence)
    assert isinstance(performed.error, AlreadyExists)
    assert names(cluster) == ["one", "there"]
    assert [one.message for one in cluster.emitted] == ["one"]
    assert performed.version == cluster.registry.cache.entries(CONFIGS)[0].version


async def test_an_owner_is_told_what_may_not_be_made(cluster: Cluster) -> None:
    metadata = meta.ObjectMeta(name="web", namespace="default", uid="u")
    owner = await cluster.registry.create(apps.ReplicaSet(metadata=metadata))
    reference = meta.OwnerReference(api_version="apps/v1", kind="ReplicaSet", name="web", uid="u", controller=True)
    lonely = pod("a", priority_class_name="gold")
    owned = replace(lonely, metadata=replace(lonely.metadata, owner_references=(reference,)))
    for made in (lonely, owned, replace(owned, metadata=replace(owned.metadata, namespace="missing"))):
        assert (await cluster.performer.perform([Create(made)], cluster.fence)).error is not None
    (said,) = cluster.emitted
    assert (said.regarding, said.type, said.reason, said.component) == (
        owner, "Warning", "FailedCreate", "replicaset-controller",
    )  # fmt: skip
    assert said.message == 'Error creating: pods "a" is forbidden: no PriorityClass with name gold was found'


async def test_what_admission_refuses_ends_the_decision(cluster: Cluster) -> None:
    elsewhere = replace(config("x"), metadata=replace(config("x").metadata, namespace="missing"))
    effects = [Create(config("one")), Create(elsewhere), Create(config("three"))]
    performed = await cluster.performer.perform(effects, cluster.fence)
    assert 'namespaces "missing" not found' in str(performed.error)
    assert names(cluster) == ["one"]


async def test_an_effect_on_an_older_state_bounces(cluster: Cluster) -> None:
    first = await cluster.registry.create(config("a", key="1"))
    await cluster.registry.update(replace(first, data={"key": "2"}), int(first.metadata.resource_version))
    performed = await cluster.performer.perform([Update(replace(first, data={"key": "3"}))], cluster.fence)
    assert isinstance(performed.error, Conflict)


async def test_two_effects_on_one_object_are_two_commits(cluster: Cluster) -> None:
    first = await cluster.registry.create(config("a", key="1"))
    cluster.store.commits.clear()
    effects = [Update(replace(first, data={"key": "2"})), delete(first)]
    performed = await cluster.performer.perform(effects, cluster.fence)
    assert performed.error is None
    assert (cluster.store.commits, names(cluster)) == ([2, 2], [])


async def test_an_update_that_changes_nothing_is_not_written(cluster: Cluster) -> None:
    first = await cluster.registry.create(config("a", key="1"))
    cluster.store.commits.clear()
    performed = await cluster.performer.perform([Update(first)], cluster.fence)
    assert (cluster.store.commits, performed.version, performed.error) == ([], 0, None)


async def test_status_and_spec_are_written_apart(cluster: Cluster) -> None:
    await cluster.performer.perform([Create(pod("a"))], cluster.fence)
    before = cluster.registry.view.get(kinds.POD, "default", "a")
    assert before is not None
    both = replace(
        before, status=replace(before.status, phase="Running"), metadata=replace(before.metadata, labels={"a": "b"})
    )
    await cluster.performer.perform([Update(both)], cluster.fence)
    after = cluster.registry.view.get(kinds.POD, "default", "a")
    assert after is not None
    assert (after.metadata.labels, after.status.phase) == ({"a": "b"}, "Pending")
    running = replace(after, status=replace(after.status, phase="Running"))
    await cluster.performer.perform([UpdateStatus(running)], cluster.fence)
    last = cluster.registry.view.get(kinds.POD, "default", "a")
    assert last is not None
    assert last.status.phase == "Running"


async def test_a_bound_pod_is_marked_and_an_unbound_one_removed(cluster: Cluster) -> None:
    await cluster.performer.perform([Create(pod("a")), Create(pod("b"))], cluster.fence)
    view = cluster.registry.view
    first, second = view.list(kinds.POD)
    await cluster.performer.perform([Bind("default", "a", first.metadata.uid, "n1")], cluster.fence)
    await cluster.performer.perform([delete(first), delete(second)], cluster.fence)
    (left,) = view.list(kinds.POD)
    assert (left.metadata.name, left.metadata.deletion_grace_period_seconds) == ("a", 30)


async def test_a_deletion_does_not_care_what_others_write_meanwhile(cluster: Cluster) -> None:
    first = await cluster.registry.create(config("a", key="1"))

    async def meanwhile() -> None:
        await cluster.registry.update(replace(first, data={"key": "2"}), int(first.metadata.resource_version))

    cluster.store.before = meanwhile
    performed = await cluster.performer.perform([delete(first)], cluster.fence)
    assert (performed.error, names(cluster)) == (None, [])


async def test_what_is_gone_or_another_is_deleted_already(cluster: Cluster) -> None:
    first = await cluster.registry.create(replace(config("a"), metadata=replace(config("a").metadata, uid="u1")))
    other = replace(first, metadata=replace(first.metadata, uid="u2"))
    missing = replace(first, metadata=replace(first.metadata, name="b"))
    performed = await cluster.performer.perform([delete(other), delete(missing)], cluster.fence)
    assert (performed.error, names(cluster)) == (None, ["a"])


async def test_events_are_recorded_after_what_they_tell_of(cluster: Cluster) -> None:
    first = await cluster.registry.create(config("a"))
    effects = [emit(first, "before"), Create(config("b")), emit(first, "after")]
    await cluster.performer.perform(effects, cluster.fence)
    assert [one.message for one in cluster.emitted] == ["before", "after"]


async def test_without_leadership_nothing_is_written(cluster: Cluster) -> None:
    async with cluster.other().campaign("test", "other", 5):
        for effects in ([Create(config("a"))], [Create(config("a")), Create(config("b"))]):
            with pytest.raises(NotLeader):
                await cluster.performer.perform(effects, cluster.fence)
    assert names(cluster) == []


async def test_after_an_unknown_outcome_the_view_shows_what_happened(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = cluster.registry.commit

    async def lost(*args: object, **kwargs: object) -> None:
        await commit(*args, **kwargs)  # type: ignore[arg-type]
        raise UnknownOutcome("the answer was lost")

    monkeypatch.setattr(cluster.registry, "commit", lost)
    performed = await cluster.performer.perform([Create(config("a"))], cluster.fence)
    assert isinstance(performed.error, UnknownOutcome)
    assert names(cluster) == ["a"]
    assert performed.version >= cluster.registry.cache.entries(CONFIGS)[0].version
    assert cluster.clock.now() >= BEGAN_MS


def bounded(pods: str) -> core.ResourceQuota:
    """A quota that was counted when there was nothing."""
    return core.ResourceQuota(
        metadata=meta.ObjectMeta(name="q", namespace="default", uid="q"),
        spec=core.ResourceQuotaSpec(hard={"pods": pods}),
        status=core.ResourceQuotaStatus(hard={"pods": pods}, used={"pods": "0"}),
    )


def charged(cluster: Cluster) -> dict[str, str]:
    found = cluster.registry.view.get(kinds.RESOURCE_QUOTA, "default", "q")
    assert found is not None
    return dict(found.status.used)


async def test_what_a_controller_makes_is_charged_in_the_same_commit(cluster: Cluster) -> None:
    await cluster.registry.create(bounded("2"))
    owner = await cluster.registry.create(
        apps.ReplicaSet(metadata=meta.ObjectMeta(name="web", namespace="default", uid="u"))
    )
    reference = meta.OwnerReference(api_version="apps/v1", kind="ReplicaSet", name="web", uid="u", controller=True)
    pods = [pod(name) for name in "abc"]
    pods = [replace(one, metadata=replace(one.metadata, owner_references=(reference,))) for one in pods]
    cluster.store.commits.clear()
    performed = await cluster.performer.perform([Create(one) for one in pods], cluster.fence)
    told = 'pods "c" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
    assert str(performed.error) == told
    assert charged(cluster) == {"pods": "2"}
    assert cluster.store.commits == [3, 3, 2], "each pod, the quota and the fence; then the owner is told"
    assert [(said.reason, said.message) for said in cluster.emitted] == [("FailedCreate", f"Error creating: {told}")]
    noted = cluster.registry.view.get(kinds.REPLICA_SET, "default", "web")
    assert noted is not None
    (condition,) = noted.status.conditions
    assert (condition.type, condition.status, condition.reason) == ("ReplicaFailure", "True", "FailedCreate")
    assert condition.message == told
    await cluster.performer.perform([Create(pods[2])], cluster.fence)
    again = cluster.registry.view.get(kinds.REPLICA_SET, "default", "web")
    assert again == noted, "what is known already is not written"
    assert again != owner


async def test_who_is_charged_in_between_is_in_nobodys_way(cluster: Cluster) -> None:
    made = await cluster.registry.create(bounded("2"))

    async def meanwhile() -> None:
        status = core.ResourceQuotaStatus(hard={"pods": "2"}, used={"pods": "1"})
        await cluster.registry.update(replace(made, status=status), int(made.metadata.resource_version))

    cluster.store.before = meanwhile
    assert (await cluster.performer.perform([Create(pod("a"))], cluster.fence)).error is None
    assert charged(cluster) == {"pods": "2"}
