"""The revisions of a StatefulSet or DaemonSet: pod templates of the past and the present, kept as ControllerRevisions.

A revision's data is the strategic merge patch that brings its template back, which is what `kubectl rollout undo`
sends. Of equal templates there is one revision; one that becomes the newest again gets the highest number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from controlplane.reconcilers import ownership, rollout
from mizzen.api import codec, config_versions, defaults_pod, kinds, selectors
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.engine import indexes
from mizzen.engine.effects import Create, Delete, Effect, Update
from mizzen.engine.values import Key
from mizzen.engine.view import View

Owner: TypeAlias = apps_v1.StatefulSet | apps_v1.DaemonSet

HASH_LABEL = "controller-revision-hash"
"""On pods: which revision they are of."""
LIMIT_DEFAULT = 10
NAME_MAX = 223
"""Characters of an owner's name in those of its revisions: with the hash they stay within what a name may have."""


@dataclass(frozen=True, slots=True)
class History:
    """An owner's revisions, lowest number first, and the one of its present template."""

    all: tuple[apps_v1.ControllerRevision, ...]
    current: apps_v1.ControllerRevision | None
    """None until it is stored, and while a template has not been pinned to its configs."""
    effects: tuple[Effect, ...] = ()
    """What must be stored first; the next decision sees it."""
    collision_count: int | None = None
    """The name that the template hashes to is taken: the owner's status notes this count, and another is tried."""


def of(owner: Owner, view: View, hash_label: str) -> History:
    """The history of an owner that is not being deleted; `hash_label` carries a revision's hash."""
    if config_versions.is_awaited(owner):
        return History((), None)
    selector = selectors.from_field(owner.spec.selector)
    found = ownership.candidates(view, indexes.CONTROLLER_REVISIONS_BY_CONTROLLER, owner)
    claimed = ownership.claim(owner, selector, found)
    ordered = sorted(claimed.owned, key=lambda revision: (revision.revision, revision.metadata.name))
    if claimed.effects:
        return History(tuple(ordered), None, claimed.effects)
    data = _data(owner.spec.template)
    highest = ordered[-1].revision if ordered else 0
    same = next((revision for revision in reversed(ordered) if revision.data == data), None)
    same = same or _meaning_the_same(ordered, owner.spec.template)
    if same is None:
        return _created(owner, view, ordered, data, hash_label)
    if same.revision < highest:
        return History(tuple(ordered), None, (Update(msgspec.structs.replace(same, revision=highest + 1)),))
    return History(tuple(ordered), same)


def _meaning_the_same(
    ordered: Sequence[apps_v1.ControllerRevision], template: core_v1.PodTemplateSpec
) -> apps_v1.ControllerRevision | None:
    """The newest revision that differs by nothing but what is the default now: an upgrade rolls nothing."""
    wanted = defaults_pod.template(template)
    same = (revision for revision in reversed(ordered) if defaults_pod.template(template_of(revision)) == wanted)
    return next(same, None)


def _created(
    owner: Owner, view: View, ordered: Sequence[apps_v1.ControllerRevision], data: Mapping[str, Any], hash_label: str
) -> History:
    collisions = owner.status.collision_count or 0
    digest = rollout.template_hash(owner.spec.template, collisions)
    name = f"{owner.metadata.name[:NAME_MAX]}-{digest}"
    if view.get(kinds.CONTROLLER_REVISION, owner.metadata.namespace, name) is not None:
        return History(tuple(ordered), None, collision_count=collisions + 1)
    made = apps_v1.ControllerRevision(
        metadata=meta_v1.ObjectMeta(
            name=name,
            namespace=owner.metadata.namespace,
            labels={**owner.spec.template.metadata.labels, hash_label: digest},
            annotations=owner.metadata.annotations,
            owner_references=(ownership.controller_reference(owner),),
        ),
        data=data,
        revision=(ordered[-1].revision if ordered else 0) + 1,
    )
    return History(tuple(ordered), None, (Create(made),))


def _data(template: core_v1.PodTemplateSpec) -> dict[str, Any]:
    return {"spec": {"template": {**codec.to_dict(template), "$patch": "replace"}}}


def template_of(revision: apps_v1.ControllerRevision) -> core_v1.PodTemplateSpec:
    """The pod template that a revision keeps."""
    kept = {key: value for key, value in revision.data["spec"]["template"].items() if key != "$patch"}
    return codec.from_dict(kept, core_v1.PodTemplateSpec)


def forget(owner: Owner, history: History, in_use: Collection[str], counted: int = 0) -> list[Effect]:
    """Deletes the oldest revisions beyond the limit; those whose names are `in_use` stay, and so many of them count."""
    limit = owner.spec.revision_history_limit
    unused = [revision for revision in history.all if revision.metadata.name not in in_use]
    surplus = len(unused) + counted - (LIMIT_DEFAULT if limit is None else limit)
    return [
        Delete(Key(kinds.CONTROLLER_REVISION.resource, owner.metadata.namespace, r.metadata.name), r.metadata.uid)
        for r in unused[: max(0, surplus)]
    ]
