"""Rolls a Deployment's ReplicaSets from one pod template to the next.

One decision takes the next safe step: create the ReplicaSet of the newest template, grow it, or shrink the old ones,
within the bounds of `rollout`. What the status says is in `deployment_status`, which ReplicaSet is which revision in
`revisions`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from controlplane.reconcilers import canary, ownership, podstate, revisions, rollout
from controlplane.reconcilers import deployment_status as status
from mizzen.api import config_versions, kinds, selectors, workloads
from mizzen.api.kinds import Object
from mizzen.api.types import apps_v1, meta_v1
from mizzen.engine import indexes
from mizzen.engine.controller import ByMembership, Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Emit, Update, UpdateStatus
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "deployment-controller"


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One Deployment: its next step, and what its status says."""
    owner = view.get(kinds.DEPLOYMENT, key.namespace, key.name)
    if owner is None:
        return Decision()
    selector = selectors.from_field(owner.spec.selector)
    found = ownership.candidates(view, indexes.REPLICA_SETS_BY_CONTROLLER, owner)
    claimed = ownership.claim(owner, selector, found)
    sets = revisions.split(owner, [rs for rs in claimed.owned if rs.metadata.deletion_timestamp is None])
    effects: list[Effect] = list(claimed.effects)
    news: status.News | None = None
    pods = view.select(indexes.PODS_BY_CONTROLLER, sets.new.metadata.uid) if sets.new is not None else ()
    stage = canary.stage(owner, sets, pods, now)
    going = owner.metadata.deletion_timestamp is not None or config_versions.is_awaited(owner)
    if not going and not claimed.effects:
        step, news = _step(owner, sets, view, stage)
        effects += step
    return _conclude(owner, sets, effects, news, now, stage)


def _conclude(
    owner: apps_v1.Deployment,
    sets: revisions.Sets,
    effects: list[Effect],
    news: status.News | None,
    now: Instant,
    stage: canary.Stage | None,
) -> Decision:
    """Adds what the Deployment itself is told: first the revision, with the next decision the status."""
    current = status.status_of(owner, sets, news, now)
    annotated = revisions.annotate_owner(owner, sets) or _unpromoted(owner, stage)
    if annotated is not None:
        # With the status, or the revision would count as a new generation.
        effects.append(UpdateStatus(annotated))
    elif current != owner.status:
        effects.append(UpdateStatus(msgspec.structs.replace(owner, status=current)))
    wakes = (status.deadline_in_ms(owner, current, now), stage.wake_after_ms if stage is not None else None)
    return Decision(tuple(effects), wake_after_ms=min((ms for ms in wakes if ms is not None), default=None))


def _unpromoted(owner: apps_v1.Deployment, stage: canary.Stage | None) -> apps_v1.Deployment | None:
    """The Deployment without the word that promotes its canary, once it has served or there is none."""
    annotations = dict(owner.metadata.annotations)
    waits = stage is not None and not stage.promoted
    if annotations.pop(workloads.PROMOTE, None) is None or waits or owner.spec.paused:
        return None
    return msgspec.structs.replace(owner, metadata=msgspec.structs.replace(owner.metadata, annotations=annotations))


def _step(
    owner: apps_v1.Deployment, sets: revisions.Sets, view: View, stage: canary.Stage | None
) -> tuple[list[Effect], status.News | None]:
    """The next changes of ReplicaSets."""
    if owner.spec.paused:
        return _scale_evenly(owner, sets) or _forget(owner, sets), None
    if _number_changed(owner, sets):
        return _scale_evenly(owner, sets), None
    if owner.spec.strategy.type == "Recreate":
        shrink = [_scale(owner, rs, 0) for rs in sets.old if _replicas(rs)]
        if shrink:
            return [effect for pair in shrink for effect in pair], None
        if _old_pods_run(sets, view):
            return [], None
    if sets.new is None:
        return _create(owner, sets, stage, view)
    refreshed = revisions.annotate_new(owner, sets)
    if refreshed is not None:
        return [Update(refreshed)], status.found(sets.new.metadata.name)
    if stage is not None and stage.advanced is not None:
        told = Emit(owner, "Normal", status.CANARY_ADVANCED, stage.message, COMPONENT)
        return [Update(stage.advanced), told], status.News(told.reason, told.message)
    step = _grow(owner, sets, sets.new, stage) or _shrink(owner, sets, sets.new, stage)
    if stage is not None and stage.paused:
        return step, status.canary_paused(stage.message)
    return step or _forget(owner, sets), None


def _create(
    owner: apps_v1.Deployment, sets: revisions.Sets, stage: canary.Stage | None, view: View
) -> tuple[list[Effect], status.News | None]:
    """The ReplicaSet of the newest template; a name that another one has taken, whoever's it is, is a collision."""
    desired, limit = _desired(owner), rollout.limits(owner)
    collisions = owner.status.collision_count or 0
    name_hash = rollout.template_hash(owner.spec.template, collisions)
    if view.get(kinds.REPLICA_SET, owner.metadata.namespace, f"{owner.metadata.name}-{name_hash}") is not None:
        return [], status.collision(collisions + 1)
    total = sum(map(_present, sets.old))
    rolling = owner.spec.strategy.type != "Recreate"
    replicas = rollout.new_replicas(desired, total, 0, limit, rolling=rolling)
    if stage is not None:
        replicas = min(replicas, stage.limit)
    labels = {**owner.spec.template.metadata.labels, rollout.HASH_LABEL: name_hash}
    template_metadata = msgspec.structs.replace(owner.spec.template.metadata, labels=labels)
    selector = owner.spec.selector or meta_v1.LabelSelector()
    made = apps_v1.ReplicaSet(
        metadata=meta_v1.ObjectMeta(
            name=f"{owner.metadata.name}-{name_hash}",
            namespace=owner.metadata.namespace,
            labels=labels,
            annotations=revisions.annotations_for_new(owner, sets, desired + limit.surge),
            owner_references=(ownership.controller_reference(owner),),
        ),
        spec=apps_v1.ReplicaSetSpec(
            replicas=replicas,
            min_ready_seconds=owner.spec.min_ready_seconds,
            selector=msgspec.structs.replace(
                selector, match_labels={**selector.match_labels, rollout.HASH_LABEL: name_hash}
            ),
            template=msgspec.structs.replace(owner.spec.template, metadata=template_metadata),
        ),
    )
    effects: list[Effect] = [Create(made)]
    if replicas:
        effects.append(_event(owner, made.metadata.name, 0, replicas))
    return effects, status.created(made.metadata.name)


def _grow(
    owner: apps_v1.Deployment, sets: revisions.Sets, new: apps_v1.ReplicaSet, stage: canary.Stage | None
) -> list[Effect]:
    desired, have = _desired(owner), _replicas(new)
    if have == desired:
        return []
    if have > desired:
        return _scale(owner, new, desired)
    total = have + sum(map(_present, sets.old))
    rolling = owner.spec.strategy.type != "Recreate"
    target = rollout.new_replicas(desired, total, have, rollout.limits(owner), rolling=rolling)
    if stage is not None:
        target = max(have, min(target, stage.limit))
    return _scale(owner, new, target) if target != have else []


def _shrink(
    owner: apps_v1.Deployment, sets: revisions.Sets, new: apps_v1.ReplicaSet, stage: canary.Stage | None
) -> list[Effect]:
    old = [rs for rs in sets.old if _replicas(rs)]
    targets = rollout.scale_down_old(
        _desired(owner),
        rollout.limits(owner),
        _generation(new),
        _replicas(new) - new.status.available_replicas,
        [_generation(rs) for rs in old],
    )
    if stage is not None:
        targets = rollout.keeping(targets, [_generation(rs) for rs in old], stage.keep)
    return [
        effect for rs in old if rs.metadata.name in targets for effect in _scale(owner, rs, targets[rs.metadata.name])
    ]


def _scale_evenly(owner: apps_v1.Deployment, sets: revisions.Sets) -> list[Effect]:
    """Follows a changed desired number without going on with the rollout."""
    desired = _desired(owner)
    active = [rs for rs in sets.all if _replicas(rs)]
    if len(active) <= 1:
        only = active[0] if active else sets.new or (sets.old[-1] if sets.old else None)
        if only is None or (_replicas(only) == desired and not _annotation_differs(owner, only)):
            return []
        return _scale(owner, only, desired)
    if sets.new is not None and _saturated(owner, sets.new):
        return [effect for rs in sets.old if _replicas(rs) for effect in _scale(owner, rs, 0)]
    if owner.spec.strategy.type == "Recreate":
        return []
    limit = rollout.limits(owner)
    grows = desired > 0 and desired + limit.surge > sum(map(_replicas, active))
    # Of equal ones what is left over goes to the newest, and is taken from the oldest.
    active.sort(key=lambda rs: (rs.metadata.creation_timestamp, rs.metadata.name), reverse=grows)
    by_size = sorted(active, key=lambda rs: -_replicas(rs))
    targets = rollout.proportional(desired, limit, [_generation(rs) for rs in by_size], owner.status.replicas)
    return [
        effect
        for rs in by_size
        if _annotation_differs(owner, rs) or rs.metadata.name in targets
        for effect in _scale(owner, rs, targets.get(rs.metadata.name, _replicas(rs)))
    ]


def _forget(owner: apps_v1.Deployment, sets: revisions.Sets) -> list[Effect]:
    """Old revisions beyond the history limit, once the rollout is complete or while it is paused."""
    limit = owner.spec.revision_history_limit
    over = owner.spec.paused or status.is_complete(owner, status.counts(owner, sets))
    if limit is None or not over:
        return []
    idle = [
        rs
        for rs in sets.old
        if not _replicas(rs) and not rs.status.replicas and rs.status.observed_generation >= rs.metadata.generation
    ]
    idle.sort(key=lambda rs: (revisions.revision_of(rs), rs.metadata.name))
    return [
        Delete(Key(kinds.REPLICA_SET.resource, rs.metadata.namespace, rs.metadata.name), rs.metadata.uid)
        for rs in idle[: max(0, len(sets.old) - limit)]
    ]


def _scale(owner: apps_v1.Deployment, rs: apps_v1.ReplicaSet, target: int) -> list[Effect]:
    have = _replicas(rs)
    marks = revisions.size_marks(_desired(owner), _desired(owner) + rollout.limits(owner).surge)
    metadata = msgspec.structs.replace(rs.metadata, annotations={**rs.metadata.annotations, **marks})
    changed = msgspec.structs.replace(rs, metadata=metadata, spec=msgspec.structs.replace(rs.spec, replicas=target))
    effects: list[Effect] = [Update(changed)]
    if target != have:
        effects.append(_event(owner, rs.metadata.name, have, target))
    return effects


def _event(owner: apps_v1.Deployment, name: str, have: int, target: int) -> Emit:
    way = "up" if target > have else "down"
    message = f"Scaled {way} replica set {name} from {have} to {target}"
    return Emit(owner, "Normal", "ScalingReplicaSet", message, COMPONENT)


def _number_changed(owner: apps_v1.Deployment, sets: revisions.Sets) -> bool:
    return any(_replicas(rs) and _annotation_differs(owner, rs) for rs in sets.all)


def _annotation_differs(owner: apps_v1.Deployment, rs: apps_v1.ReplicaSet) -> bool:
    wanted = revisions.wanted_size(rs)
    return wanted is not None and wanted != _desired(owner)


def _saturated(owner: apps_v1.Deployment, rs: apps_v1.ReplicaSet) -> bool:
    desired = _desired(owner)
    return _replicas(rs) == desired == revisions.wanted_size(rs) and rs.status.available_replicas == desired


def _old_pods_run(sets: revisions.Sets, view: View) -> bool:
    return any(
        pod.status.phase not in ("Succeeded", "Failed") or podstate.is_active(pod)
        for rs in sets.old
        for pod in view.select(indexes.PODS_BY_CONTROLLER, rs.metadata.uid)
    )


def _generation(rs: apps_v1.ReplicaSet) -> rollout.Generation:
    available = min(rs.status.available_replicas, _replicas(rs))
    return rollout.Generation(rs.metadata.name, _replicas(rs), available, revisions.noted_maximum(rs))


def _replicas(rs: apps_v1.ReplicaSet) -> int:
    return rs.spec.replicas if rs.spec.replicas is not None else 1


def _present(rs: apps_v1.ReplicaSet) -> int:
    """How many pods a ReplicaSet has or may have: one that shrinks keeps its pods until its controller has acted."""
    return max(_replicas(rs), rs.status.replicas)


def _desired(owner: apps_v1.Deployment) -> int:
    return owner.spec.replicas if owner.spec.replicas is not None else 1


def _pod_owner(obj: Object, view: View) -> Iterable[Key]:
    """Only a Deployment that recreates waits for pods themselves."""
    reference = ownership.controller_of(obj)
    if reference is None or reference.kind != "ReplicaSet":
        return []
    rs = view.get(kinds.REPLICA_SET, obj.metadata.namespace, reference.name)
    above = ownership.controller_of(rs) if rs is not None else None
    if above is None or above.kind != "Deployment":
        return []
    deployment = view.get(kinds.DEPLOYMENT, obj.metadata.namespace, above.name)
    if deployment is None or deployment.spec.strategy.type != "Recreate":
        return []
    return [Key(kinds.DEPLOYMENT.resource, obj.metadata.namespace, above.name)]


CONTROLLER = Controller(
    name="deployment",
    kind=kinds.DEPLOYMENT,
    reconcile=reconcile,
    watches=((kinds.REPLICA_SET, ownership.keys_of(kinds.DEPLOYMENT)), (kinds.POD, ByMembership(_pod_owner))),
)
