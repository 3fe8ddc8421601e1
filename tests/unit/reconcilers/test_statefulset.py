"""What the StatefulSet controller decides, turn by turn."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.reconcilers import statefulset
from mizzen.api import codec, defaults, kinds, strategic
from mizzen.api.schema import message
from mizzen.api.types import apps_v1, core_v1, meta_v1
from tests.fixtures.cluster_objects import LABELS, meta, owned_by, pod, template
from tests.unit.reconcilers.sets import Rig, faithful, running

replace = msgspec.structs.replace


def stateful_set(replicas: int = 3, image: str = "web:v1", **spec: Any) -> apps_v1.StatefulSet:
    """A StatefulSet `web` with defaults."""
    selector = meta_v1.LabelSelector(match_labels=LABELS)
    made = apps_v1.StatefulSetSpec(
        replicas=replicas, selector=selector, template=template(image), service_name="peers", **spec
    )
    return defaults.apply(apps_v1.StatefulSet(metadata=meta("web", generation=1), spec=made))


def rig(*more: Any, **spec: Any) -> Rig:
    return Rig(statefulset.CONTROLLER, stateful_set(**spec), *more)


def change(rig: Rig, **spec: Any) -> None:
    """The user changes the spec."""
    owner = rig.get(kinds.STATEFUL_SET, "web")
    metadata = replace(owner.metadata, generation=owner.metadata.generation + 1)
    rig.put(defaults.apply(replace(owner, metadata=metadata, spec=replace(owner.spec, **spec))))


def images(rig: Rig) -> list[str]:
    return [pod.spec.containers[0].image for pod in rig.list(kinds.POD)]


def status(rig: Rig) -> apps_v1.StatefulSetStatus:
    found: apps_v1.StatefulSetStatus = rig.get(kinds.STATEFUL_SET, "web").status
    return found


def test_pods_come_one_after_the_other_with_names_and_labels_of_their_own() -> None:
    world = rig()
    world.settle()
    assert world.pods == ["web-0"]
    first = world.get(kinds.POD, "web-0")
    assert (first.spec.hostname, first.spec.subdomain) == ("web-0", "peers")
    assert first.metadata.generate_name == "web-"
    assert first.metadata.labels["statefulset.kubernetes.io/pod-name"] == "web-0"
    assert first.metadata.labels["apps.kubernetes.io/pod-index"] == "0"
    assert first.metadata.labels["controller-revision-hash"] == status(world).update_revision
    world.kubelets()
    world.settle()
    assert world.pods == ["web-0", "web-1"]
    world.rounds(2)
    assert world.pods == ["web-0", "web-1", "web-2"]
    assert (status(world).replicas, status(world).ready_replicas, status(world).current_replicas) == (3, 3, 3)
    assert "SuccessfulCreate: create Pod web-0 in StatefulSet web successful" in world.told


def test_an_unready_pod_holds_up_its_successors_and_the_set_says_so() -> None:
    world = rig()
    world.rounds(3, lambda pod: running(pod, ready=False))
    assert world.pods == ["web-0"]
    (waiting,) = world.turn().waiting
    assert (waiting.reason, waiting.message) == ("WaitingForPod", "pod web-0 is not ready")


def test_in_parallel_nobody_waits() -> None:
    world = rig(pod_management_policy="Parallel")
    world.settle()
    assert world.pods == ["web-0", "web-1", "web-2"]
    change(world, replicas=0)
    world.kubelets()
    world.settle()
    assert world.pods == ["(web-0)", "(web-1)", "(web-2)"]


def test_ordinals_may_start_elsewhere() -> None:
    world = rig(replicas=2, ordinals=apps_v1.StatefulSetOrdinals(start=5))
    world.rounds(2)
    assert world.pods == ["web-5", "web-6"]


def test_a_scale_down_takes_the_highest_and_waits_for_it_to_go() -> None:
    world = rig()
    world.rounds(3)
    change(world, replicas=1)
    world.settle()
    assert world.pods == ["web-0", "web-1", "(web-2)"]
    world.settle()
    assert world.pods == ["web-0", "web-1", "(web-2)"]
    world.rounds(2)
    assert world.pods == ["web-0"]


def test_a_pod_on_its_way_out_keeps_its_name_to_itself() -> None:
    world = rig()
    world.rounds(3)
    lost = world.get(kinds.POD, "web-1")
    world.put(replace(lost, metadata=replace(lost.metadata, deletion_timestamp="2026-03-01T12:00:00Z")))
    for _ in range(3):
        world.settle()
        world.kubelets(lambda pod: pod)  # its node is gone, and nobody says that it has stopped
    assert world.pods == ["web-0", "(web-1)", "web-2"]
    world.rounds(1)
    assert world.pods == ["web-0", "web-1", "web-2"]


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_pod_that_has_ended_is_made_anew(phase: str, policy: str) -> None:
    world = rig(replicas=1, pod_management_policy=policy)
    world.rounds(1)
    ended = world.get(kinds.POD, "web-0")
    world.put(replace(ended, status=core_v1.PodStatus(phase=phase)))
    world.settle()
    assert "SuccessfulDelete: delete Pod web-0 in StatefulSet web successful" in world.told
    assert world.get(kinds.POD, "web-0").metadata.uid != ended.metadata.uid


def test_an_update_goes_from_the_highest_to_the_lowest() -> None:
    world = rig()
    world.rounds(3)
    old = status(world).current_revision
    change(world, template=template("web:v2"))
    world.settle()
    assert world.pods == ["web-0", "web-1", "(web-2)"]
    assert (status(world).current_revision, status(world).update_revision != old) == (old, True)
    world.rounds(2)
    assert images(world) == ["web:v1", "web:v1", "web:v2"]
    world.rounds(4)
    assert images(world) == ["web:v2"] * 3
    assert status(world).current_revision == status(world).update_revision != old
    assert (status(world).current_replicas, status(world).updated_replicas) == (3, 3)


def test_a_partition_holds_the_lower_ones_back_also_when_they_are_made_anew() -> None:
    rolling = apps_v1.RollingUpdateStatefulSetStrategy(partition=2)
    world = rig(update_strategy=apps_v1.StatefulSetUpdateStrategy(rolling_update=rolling))
    world.rounds(3)
    change(world, template=template("web:v2"))
    world.rounds(4)
    assert images(world) == ["web:v1", "web:v1", "web:v2"]
    first = world.get(kinds.POD, "web-0")
    del world.objects[("pods", "default", "web-0")]
    world.rounds(2)
    assert world.get(kinds.POD, "web-0").metadata.uid != first.metadata.uid
    assert images(world) == ["web:v1", "web:v1", "web:v2"]
    assert (status(world).updated_replicas, status(world).current_replicas) == (1, 2)


def test_on_delete_replaces_only_what_somebody_deletes() -> None:
    world = rig(update_strategy=apps_v1.StatefulSetUpdateStrategy(type="OnDelete"))
    world.rounds(3)
    change(world, template=template("web:v2"))
    world.rounds(3)
    assert images(world) == ["web:v1"] * 3
    del world.objects[("pods", "default", "web-1")]
    world.rounds(2)
    assert images(world) == ["web:v1", "web:v2", "web:v1"]


def test_several_may_be_down_at_once_if_the_user_says_so() -> None:
    rolling = apps_v1.RollingUpdateStatefulSetStrategy(max_unavailable=2)
    strategy = apps_v1.StatefulSetUpdateStrategy(rolling_update=rolling)
    world = rig(replicas=4, pod_management_policy="Parallel", update_strategy=strategy)
    world.rounds(2)
    change(world, template=template("web:v2"))
    world.settle()
    assert world.pods == ["web-0", "web-1", "(web-2)", "(web-3)"]


@pytest.mark.parametrize(("most", "goes_on"), [(None, True), (1, False)])
def test_a_pod_that_is_held_back_and_not_ready_holds_up_others_only_by_the_number(
    most: int | None, goes_on: bool
) -> None:
    rolling = apps_v1.RollingUpdateStatefulSetStrategy(partition=1, max_unavailable=most)
    strategy = apps_v1.StatefulSetUpdateStrategy(rolling_update=rolling)
    world = rig(pod_management_policy="Parallel", update_strategy=strategy)
    world.rounds(2)
    world.put(running(world.get(kinds.POD, "web-0"), ready=False))
    change(world, template=template("web:v2"))
    world.settle()
    assert world.pods == ["web-0", "web-1", "(web-2)" if goes_on else "web-2"]
    world.settle()
    assert world.pods[1] == "web-1", "one at a time"


def test_a_broken_update_is_mended_by_a_new_template_alone() -> None:
    world = rig()
    world.rounds(3)

    def kubelet(pod: core_v1.Pod) -> core_v1.Pod | None:
        return faithful(pod) if pod.metadata.deletion_timestamp else running(pod, ready="broken" not in images_of(pod))

    change(world, template=template("web:broken"))
    world.rounds(3, kubelet)
    assert images(world) == ["web:v1", "web:v1", "web:broken"]
    change(world, template=template("web:v3"))
    world.rounds(8, kubelet)
    assert images(world) == ["web:v3"] * 3


def images_of(pod: core_v1.Pod) -> str:
    return pod.spec.containers[0].image


def test_going_back_makes_the_old_revision_the_newest() -> None:
    world = rig(replicas=1)
    world.rounds(1)
    change(world, template=template("web:v2"))
    world.rounds(3)
    one, two = sorted(world.list(kinds.CONTROLLER_REVISION), key=lambda r: r.revision)
    patch = codec.to_dict(one)["data"]
    undone = strategic.merge(codec.to_dict(world.get(kinds.STATEFUL_SET, "web")), patch, message("apps_v1.StatefulSet"))
    change(world, template=codec.from_dict(undone, apps_v1.StatefulSet).spec.template)
    world.rounds(3)
    assert images(world) == ["web:v1"]
    assert {r.metadata.name: r.revision for r in world.list(kinds.CONTROLLER_REVISION)} == {
        one.metadata.name: 3,
        two.metadata.name: 2,
    }


def test_a_revision_from_before_there_was_a_default_is_the_same() -> None:
    world = rig()
    world.rounds(3)
    (only,) = world.list(kinds.CONTROLLER_REVISION)
    kept = codec.to_dict(only)["data"]
    del kept["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    world.put(replace(only, data=kept))
    world.settle()
    assert world.pods == ["web-0", "web-1", "web-2"]
    assert len(world.list(kinds.CONTROLLER_REVISION)) == 1


def test_old_revisions_are_forgotten_beyond_the_limit() -> None:
    world = rig(replicas=1, revision_history_limit=2)
    for number in range(1, 6):
        change(world, template=template(f"web:v{number}"))
        world.rounds(3)
    assert [r.revision for r in world.list(kinds.CONTROLLER_REVISION)].count(5) == 1
    assert len(world.list(kinds.CONTROLLER_REVISION)) == 3


def test_a_name_of_a_revision_that_is_taken_counts_as_a_collision() -> None:
    world = rig(replicas=1)
    world.turn()
    (mine,) = world.list(kinds.CONTROLLER_REVISION)
    foreign = rig(replicas=1)
    stranger = replace(mine.metadata, owner_references=owned_by(replace(stateful_set(), metadata=meta("other"))))
    foreign.put(replace(mine, data={"spec": {}}, metadata=stranger))
    foreign.rounds(1)
    assert status(foreign).collision_count == 1
    assert foreign.pods == ["web-0"]


CLAIM = core_v1.PersistentVolumeClaim(metadata=meta_v1.ObjectMeta(name="data"))


def claims(rig: Rig) -> dict[str, list[str]]:
    """The claims, and the kinds of their owners."""
    return {
        c.metadata.name: [r.kind for r in c.metadata.owner_references] for c in rig.list(kinds.PERSISTENT_VOLUME_CLAIM)
    }


def test_every_member_has_claims_that_outlive_it() -> None:
    world = rig(replicas=2, volume_claim_templates=(CLAIM,))
    world.rounds(2)
    assert claims(world) == {"data-web-0": [], "data-web-1": []}
    assert "SuccessfulCreate: create Claim data-web-0 Pod web-0 in StatefulSet web success" in world.told
    (volume,) = world.get(kinds.POD, "web-1").spec.volumes
    assert (volume.name, volume.persistent_volume_claim.claim_name) == ("data", "data-web-1")
    change(world, replicas=1)
    world.rounds(2)
    assert (world.pods, claims(world)) == (["web-0"], {"data-web-0": [], "data-web-1": []})


def test_claims_go_with_the_set_or_with_a_scale_down_where_the_policy_says_so() -> None:
    policy = apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy(when_deleted="Delete", when_scaled="Delete")
    world = rig(replicas=2, volume_claim_templates=(CLAIM,), persistent_volume_claim_retention_policy=policy)
    world.rounds(2)
    assert claims(world) == {"data-web-0": ["StatefulSet"], "data-web-1": ["StatefulSet"]}
    change(world, replicas=1)
    world.settle()
    assert claims(world) == {"data-web-0": ["StatefulSet"], "data-web-1": ["Pod"]}


def test_whoever_owns_a_claim_controls_it() -> None:
    policy = apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy(when_deleted="Delete")
    world = rig(replicas=1, volume_claim_templates=(CLAIM,), persistent_volume_claim_retention_policy=policy)
    world.rounds(2)
    claim = world.get(kinds.PERSISTENT_VOLUME_CLAIM, "data-web-0")
    assert [(r.controller, r.block_owner_deletion) for r in claim.metadata.owner_references] == [(True, True)]
    plain = tuple(replace(r, controller=None) for r in claim.metadata.owner_references)
    world.put(replace(claim, metadata=replace(claim.metadata, owner_references=plain)))
    world.settle()
    (reference,) = world.get(kinds.PERSISTENT_VOLUME_CLAIM, "data-web-0").metadata.owner_references
    assert reference.controller


@pytest.mark.parametrize(
    ("kind", "uid", "name", "owners"),
    [
        ("Backup", "u", "nightly", ["Backup"]),
        ("StatefulSet", "before", "web", ["StatefulSet", "StatefulSet"]),
        ("Pod", "before", "web-0", ["StatefulSet", "Pod"]),
    ],
)
def test_claims_that_others_control_or_controlled_are_left_to_them(
    kind: str, uid: str, name: str, owners: list[str]
) -> None:
    policy = apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy(when_deleted="Delete")
    world = rig(replicas=1, volume_claim_templates=(CLAIM,), persistent_volume_claim_retention_policy=policy)
    world.rounds(2)
    claim = world.get(kinds.PERSISTENT_VOLUME_CLAIM, "data-web-0")
    other = meta_v1.OwnerReference(api_version="v1", kind=kind, name=name, uid=uid, controller=True)
    references = (*claim.metadata.owner_references, other)
    world.put(replace(claim, metadata=replace(claim.metadata, owner_references=references)))
    world.settle()
    assert claims(world) == {"data-web-0": owners}
    assert ("ConflictingController" in " ".join(world.told)) is (kind == "Backup")


def test_a_claim_that_a_waiting_pod_lost_is_made_again() -> None:
    world = rig(replicas=1, volume_claim_templates=(CLAIM,))
    world.settle()
    world.put(replace(world.get(kinds.POD, "web-0"), status=core_v1.PodStatus(phase="Pending")))
    del world.objects[("persistentvolumeclaims", "default", "data-web-0")]
    world.settle()
    assert claims(world) == {"data-web-0": []}


def test_a_pod_waits_until_the_claim_of_the_one_before_has_gone() -> None:
    policy = apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy(when_scaled="Delete")
    world = rig(replicas=2, volume_claim_templates=(CLAIM,), persistent_volume_claim_retention_policy=policy)
    world.rounds(2)
    change(world, replicas=1)
    world.rounds(2)
    change(world, replicas=2)
    (waiting,) = world.turn().waiting
    assert waiting.message == "claim data-web-1 of a pod that was before is on its way out"
    world.settle()
    assert world.pods == ["web-0"]
    del world.objects[("persistentvolumeclaims", "default", "data-web-1")]
    world.rounds(2)
    assert (world.pods, claims(world)) == (["web-0", "web-1"], {"data-web-0": [], "data-web-1": []})


def test_a_scale_down_waits_for_pods_that_are_not_available_for_long_enough() -> None:
    world = rig(replicas=3, min_ready_seconds=10)
    for _ in range(3):
        world.rounds(1)
        world.now += 10_000
    world.settle()
    change(world, replicas=1)
    for name in ("web-1", "web-2"):
        world.put(running(world.get(kinds.POD, name), now=world.now))
    world.settle()
    assert world.pods == ["web-0", "web-1", "web-2"], "the lower of the two that are not is looked at first"


def test_strangers_with_a_similar_name_are_not_counted() -> None:
    names = ("web-00", "web-x", "webby-0")
    orphans = [replace(pod(name), metadata=replace(pod(name).metadata, owner_references=())) for name in names]
    world = rig(*orphans, replicas=0)
    world.settle()
    assert world.pods == sorted(names)


def test_a_matching_orphan_is_adopted_and_named() -> None:
    world = rig(replicas=1)
    world.put(running(pod("web-0")))
    world.settle()
    adopted = world.get(kinds.POD, "web-0")
    assert adopted.metadata.owner_references[0].uid == "uid-web"
    assert adopted.metadata.labels["statefulset.kubernetes.io/pod-name"] == "web-0"
    assert "SuccessfulUpdate: update Pod web-0 in StatefulSet web successful" in world.told


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_set_on_its_way_out_only_says_what_is_left(policy: str) -> None:
    world = rig(pod_management_policy=policy)
    world.rounds(3)
    owner, told = world.get(kinds.STATEFUL_SET, "web"), len(world.told)
    world.put(replace(owner, metadata=replace(owner.metadata, deletion_timestamp="2026-03-01T12:00:00Z")))
    del world.objects[("pods", "default", "web-1")]
    world.settle()
    assert (world.pods, world.told[told:]) == (["web-0", "web-2"], [])
    assert (status(world).replicas, status(world).current_replicas) == (2, 2)


def test_min_ready_seconds_are_waited_for() -> None:
    world = rig(replicas=2, min_ready_seconds=10)
    world.settle()
    world.kubelets()
    world.settle()
    assert world.pods == ["web-0"]
    assert world.turn().wake_after_ms == 10_000
    assert (status(world).ready_replicas, status(world).available_replicas) == (1, 0)
    world.now += 10_000
    world.settle()
    assert world.pods == ["web-0", "web-1"]
