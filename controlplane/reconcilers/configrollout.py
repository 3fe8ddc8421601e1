"""Rolls a workload when a ConfigMap or Secret that its pods use changes, where the workload asks for that.

The content is kept in immutable copies, and the template is pinned to them (`mizzen.api.config_versions`). What was
seen last is noted at the workload: only content that has changed since moves a pin, so an undo keeps what it brought
back. Copies go when no revision is pinned to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from controlplane.reconcilers import history, ownership
from mizzen.api import config_versions, kinds, workloads
from mizzen.api.config_versions import Config, Owner
from mizzen.api.kinds import Kind, Object
from mizzen.api.types import core_v1, meta_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Emit, Update
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "config-rollout"
_KINDS: dict[str, Kind[Any]] = {"ConfigMap": kinds.CONFIG_MAP, "Secret": kinds.SECRET}
_TOKENS = "kubernetes.io/service-account-token"
"""Secrets that are not content: they are filled by the control plane, and their copies would be, too."""
_NAME_MAX = 240


def controller(kind: Kind[Any], name: str) -> Controller:
    """The controller for the workloads of a kind."""

    def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
        owner = view.get(kind, key.namespace, key.name)
        if owner is None or owner.metadata.deletion_timestamp is not None:
            return Decision()
        return _decide(owner, view)

    def users(obj: Object, view: View) -> Iterable[Key]:
        """The workloads that name a config, and the one that a copy is for."""
        value = indexes.config_user(obj.metadata.namespace, obj.kind, obj.metadata.name)
        for found in view.select(indexes.config_users(kind), value):
            yield Key(kind.resource, found.metadata.namespace, found.metadata.name)
        yield from of_owner(obj, view)

    def of_owner(obj: Object, view: View) -> Iterable[Key]:
        for reference in obj.metadata.owner_references:
            if reference.kind != kind.kind:
                continue
            owner = view.get(kind, obj.metadata.namespace, reference.name)
            if owner is not None and _asking(owner) is not None:
                yield Key(kind.resource, obj.metadata.namespace, reference.name)

    revisions = kinds.REPLICA_SET if kind is kinds.DEPLOYMENT else kinds.CONTROLLER_REVISION
    watches = ((kinds.CONFIG_MAP, users), (kinds.SECRET, users), (revisions, of_owner))
    return Controller(name=name, kind=kind, reconcile=reconcile, watches=watches, sees={kind: _asking})


def _asking(owner: Owner) -> Owner | None:
    """What of a workload is looked at: nothing where it neither asks for such rollouts nor is left with pins."""
    pinned = workloads.CONFIG_VERSIONS in owner.spec.template.metadata.annotations
    return owner if pinned or workloads.is_on(owner.metadata, workloads.CONFIG_ROLLOUT) else None


def _decide(owner: Owner, view: View) -> Decision:
    template = owner.spec.template
    pins = config_versions.pins_of(template)
    if not workloads.is_on(owner.metadata, workloads.CONFIG_ROLLOUT):
        return Decision(tuple(_forgotten(owner, view))) if pins else Decision()
    seen = config_versions.parse(owner.metadata.annotations.get(workloads.CONFIG_SEEN, ""))
    now_seen: dict[Config, str] = {}
    now_pinned: dict[Config, str] = {}
    effects: list[Effect] = []
    moved: list[Config] = []
    for config in config_versions.referenced(template.spec):
        found = view.get(_KINDS[config.kind], owner.metadata.namespace, config.name)
        pin = pins.get(config, "")
        if found is not None and getattr(found, "type", "") != _TOKENS:
            copy = _copy(owner, found)
            now_seen[config] = copy.metadata.name
            if not pin or seen.get(config, copy.metadata.name) != copy.metadata.name:
                moved += [config] if pin != copy.metadata.name else []
                pin = copy.metadata.name
            if pin == copy.metadata.name and not view.get(_KINDS[config.kind], copy.metadata.namespace, pin):
                effects.append(Create(copy))
        now_pinned[config] = pin
    if (now_pinned, now_seen) == (pins, seen):
        return Decision((*effects, *_forgotten(owner, view)))
    changed = _noted(owner, now_pinned, now_seen)
    if changed != owner:
        effects.append(Update(changed))
    effects += [_told(owner, config, pins.get(config, ""), now_pinned[config]) for config in moved]
    return Decision(tuple(effects))


def _noted(owner: Owner, pins: config_versions.Pins, seen: config_versions.Pins) -> Owner:
    template = owner.spec.template
    metadata = _annotated(template.metadata, workloads.CONFIG_VERSIONS, config_versions.render(pins))
    template = replace(template, metadata=metadata)
    noted = _annotated(owner.metadata, workloads.CONFIG_SEEN, config_versions.render(seen))
    spec: Any = replace(owner.spec, template=template)
    return replace(owner, metadata=noted, spec=spec)


def _annotated(metadata: meta_v1.ObjectMeta, name: str, value: str) -> meta_v1.ObjectMeta:
    return replace(metadata, annotations={**metadata.annotations, name: value})


def _told(owner: Owner, config: Config, before: str, now: str) -> Emit:
    name = f"{config.kind} {config.name}"
    message = f"{name} has changed: pods get {now}" if before else f"{name} is kept as {now}"
    return Emit(owner, "Normal", "ConfigRolledOut" if before else "ConfigKept", message, COMPONENT)


def _copy(owner: Owner, found: core_v1.ConfigMap | core_v1.Secret) -> Any:
    """The immutable copy of a config as it is now, for this workload alone."""
    content = replace(found, metadata=meta_v1.ObjectMeta(), immutable=None)
    digest = hashlib.sha256(f"{owner.kind}/{owner.metadata.name}/".encode())
    digest.update(msgspec.json.encode(content, order="deterministic"))
    name = f"{found.metadata.name[:_NAME_MAX].rstrip('.-')}-{digest.hexdigest()[:10]}"
    reference = replace(ownership.controller_reference(owner), block_owner_deletion=None)
    metadata = meta_v1.ObjectMeta(
        name=name,
        namespace=owner.metadata.namespace,
        labels={workloads.COPY_OF: owner.metadata.uid},
        owner_references=(reference,),
    )
    return replace(content, metadata=metadata, immutable=True)


def _forgotten(owner: Owner, view: View) -> Iterator[Effect]:
    """Deletes the copies that no revision is pinned to."""
    copies = [
        (kind, copy)
        for kind in _KINDS.values()
        for copy in view.select(indexes.by_owner(kind), owner.metadata.uid)
        if copy.metadata.labels.get(workloads.COPY_OF) == owner.metadata.uid
    ]
    if not copies:
        return
    templates = [owner.spec.template]
    templates += [r.spec.template for r in view.select(indexes.REPLICA_SETS_BY_CONTROLLER, owner.metadata.uid)]
    kept = view.select(indexes.CONTROLLER_REVISIONS_BY_CONTROLLER, owner.metadata.uid)
    templates += [history.template_of(revision) for revision in kept]
    used = {(c.kind, pin) for template in templates for c, pin in config_versions.pins_of(template).items()}
    for kind, copy in copies:
        if (kind.kind, copy.metadata.name) not in used:
            yield Delete(Key(kind.resource, copy.metadata.namespace, copy.metadata.name), copy.metadata.uid)


DEPLOYMENTS = controller(kinds.DEPLOYMENT, "config-rollout-deployment")
STATEFUL_SETS = controller(kinds.STATEFUL_SET, "config-rollout-statefulset")
DAEMON_SETS = controller(kinds.DAEMON_SET, "config-rollout-daemonset")
