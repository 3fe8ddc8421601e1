"""Has the volumes of storage drivers attached to the nodes whose pods need them, and detached from others.

A VolumeAttachment is the wish; the driver's external attacher fulfils it and takes it back. What is attached stands in
the node's status, and the node mounts only what stands there. So detaching has two steps: first the volume leaves the
status, and the next run, which sees that and still finds no pod that needs it, deletes the attachment. A pod that came
in between has either been seen, or waits until the volume is back in the status.

A node says what it still has mounted (`volumesInUse`), and that stays attached, unless the node has been silent for six
minutes, somebody says that it is out of service, or it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from controlplane.reconcilers import podstate
from mizzen.api import csivolumes, kinds, times, volumes
from mizzen.api.edit import edited
from mizzen.api.types import core_v1, meta_v1, storage_v1
from mizzen.engine import indexes
from mizzen.engine.controller import Controller
from mizzen.engine.effects import Create, Decision, Delete, Effect, Emit, UpdateStatus, Waiting
from mizzen.engine.values import Ids, Instant, Key
from mizzen.engine.view import View

COMPONENT = "attachdetach-controller"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
FORCED_AFTER_MS = 360_000
"""How long a node that is not well keeps what it says that it has mounted."""
AGAIN_MS = 15_000
"""After this time a volume that is attached elsewhere is asked for again, and the pod is told so again."""
_NAMES = "kubernetes.io/csi/"
_ALONE = ("ReadWriteOnce", "ReadWriteOncePod")


class _Need(NamedTuple):
    volume: core_v1.PersistentVolume
    pods: tuple[core_v1.Pod, ...]

    @property
    def name(self) -> str:
        """As in the node's status."""
        csi = self.volume.spec.csi
        return csivolumes.unique_name(csi.driver, csi.volume_handle) if csi is not None else ""


def reconcile(key: Key, view: View, now: Instant, ids: Ids) -> Decision:
    """One node."""
    node = view.get(kinds.NODE, "", key.name)
    there = {one.metadata.name: one for one in view.select(indexes.ATTACHMENTS_BY_NODE, key.name) if _is_ours(one)}
    if node is None:
        return Decision(tuple(_deletion(one) for one in there.values() if not _is_going(one)))
    needs = _needs(key.name, view)
    effects: list[Effect] = []
    waiting: list[Waiting] = []
    for name, need in needs.items():
        if name not in there:
            blocked = _blocked(need, key.name, view)
            waiting += blocked
            effects += _told(blocked, need) if blocked else (_attachment(name, need, key.name),)
        elif (error := there[name].status.attach_error) is not None and not there[name].status.attached:
            why = f'AttachVolume.Attach failed for volume "{need.volume.metadata.name}" : {error.message}'
            waiting.append(Waiting("FailedAttachVolume", why))
            effects += _told(waiting[-1:], need)
    attached = _attached(needs, there)
    if attached != _ours(node.status.volumes_attached):
        effects += _shown(node, attached, needs)
    unneeded = {name: one for name, one in there.items() if name not in needs and not _is_going(one)}
    deletions, wake_ms = _detached(unneeded, node, view, now)
    wakes = [after for after in (wake_ms, AGAIN_MS if waiting else 0) if after]
    return Decision((*effects, *deletions), min(wakes, default=0) or None, tuple(waiting))


def _is_ours(attachment: storage_v1.VolumeAttachment) -> bool:
    """Whether this controller has made it: others may make some by hand, and keep them."""
    return attachment.metadata.name.startswith("csi-") and attachment.spec.source.persistent_volume_name is not None


def _is_going(attachment: storage_v1.VolumeAttachment) -> bool:
    return attachment.metadata.deletion_timestamp is not None


def _needs(node: str, view: View) -> Mapping[str, _Need]:
    """The volumes that pods of the node need attached, by the name of the attachment."""
    found: dict[str, _Need] = {}
    for pod in view.select(indexes.PODS_BY_NODE, node):
        if podstate.is_finished(pod):
            continue
        for mounted in volumes.claims_of(pod):
            claim = view.get(kinds.PERSISTENT_VOLUME_CLAIM, pod.metadata.namespace, mounted.name)
            if claim is None or not volumes.is_bound(claim):
                continue
            volume = view.get(kinds.PERSISTENT_VOLUME, "", claim.spec.volume_name)
            csi = volume.spec.csi if volume is not None else None
            if volume is None or csi is None or not volumes.is_for(volume, claim):
                continue
            if csivolumes.must_be_attached(view.get(kinds.CSI_DRIVER, "", csi.driver)):
                name = csivolumes.attachment_name(csi.driver, csi.volume_handle, node)
                before = found[name].pods if name in found else ()
                found[name] = _Need(volume, (*before, pod))
    return dict(sorted(found.items()))


def _blocked(need: _Need, node: str, view: View) -> list[Waiting]:
    """Why a volume can't be attached now: it is for one node alone, and attached to another."""
    volume = need.volume
    if not all(mode in _ALONE for mode in volume.spec.access_modes):
        return []
    others = view.select(indexes.ATTACHMENTS_BY_VOLUME, volume.metadata.name)
    elsewhere = sorted(one.spec.node_name for one in others if one.spec.node_name != node)
    if not elsewhere:
        return []
    ref = volume.spec.claim_ref
    users = view.select(indexes.PODS_BY_CLAIM, indexes.namespaced(ref.namespace, ref.name)) if ref is not None else ()
    names = sorted(pod.metadata.name for pod in users if pod.spec.node_name in elsewhere)
    why = (
        f"Volume is already used by pod(s) {', '.join(names)}"
        if names
        else "Volume is already exclusively attached to one node and can't be attached to another"
    )
    message = f'Multi-Attach error for volume "{volume.metadata.name}" {why}'
    return [Waiting("FailedAttachVolume", message)]


def _told(waiting: Iterable[Waiting], need: _Need) -> Iterable[Effect]:
    for one in waiting:
        for pod in need.pods:
            yield Emit(pod, "Warning", one.reason, one.message, COMPONENT)


def _attachment(name: str, need: _Need, node: str) -> Create:
    csi = need.volume.spec.csi
    source = storage_v1.VolumeAttachmentSource(persistent_volume_name=need.volume.metadata.name)
    spec = storage_v1.VolumeAttachmentSpec(
        attacher=csi.driver if csi is not None else "", source=source, node_name=node
    )
    return Create(storage_v1.VolumeAttachment(metadata=meta_v1.ObjectMeta(name=name), spec=spec))


def _attached(
    needs: Mapping[str, _Need], there: Mapping[str, storage_v1.VolumeAttachment]
) -> tuple[core_v1.AttachedVolume, ...]:
    """What is attached, needed, and to stay so."""
    names = {
        need.name
        for name, need in needs.items()
        if name in there and there[name].status.attached and not _is_going(there[name])
    }
    return tuple(core_v1.AttachedVolume(name=name, device_path="") for name in sorted(names))


def _ours(attached: Iterable[core_v1.AttachedVolume]) -> tuple[core_v1.AttachedVolume, ...]:
    return tuple(sorted((one for one in attached if one.name.startswith(_NAMES)), key=lambda one: one.name))


def _shown(
    node: core_v1.Node, attached: tuple[core_v1.AttachedVolume, ...], needs: Mapping[str, _Need]
) -> Iterable[Effect]:
    before = node.status.volumes_attached
    others = tuple(one for one in before if not one.name.startswith(_NAMES))
    yield UpdateStatus(edited(node, status=edited(node.status, volumes_attached=(*others, *attached))))
    known = {one.name for one in before}
    new = {one.name for one in attached} - known
    for need in needs.values():
        if need.name in new:
            message = f'AttachVolume.Attach succeeded for volume "{need.volume.metadata.name}" '
            for pod in need.pods:
                yield Emit(pod, "Normal", "SuccessfulAttachVolume", message, COMPONENT)


def _detached(
    unneeded: Mapping[str, storage_v1.VolumeAttachment], node: core_v1.Node, view: View, now: Instant
) -> tuple[list[Effect], int]:
    """The attachments that go, and in how many milliseconds others may; 0 for none."""
    shown = {one.name for one in node.status.volumes_attached}
    in_use = set(node.status.volumes_in_use)
    forced_in = _forced_in(node, now)
    effects: list[Effect] = []
    wake_ms = 0
    for one in unneeded.values():
        volume = view.get(kinds.PERSISTENT_VOLUME, "", one.spec.source.persistent_volume_name or "")
        csi = volume.spec.csi if volume is not None else None
        name = csivolumes.unique_name(csi.driver, csi.volume_handle) if csi is not None else ""
        if name in shown:
            continue  # it leaves the status first
        if name in in_use and forced_in != 0:
            wake_ms = min(wake_ms or forced_in, forced_in) if forced_in > 0 else wake_ms
            continue
        effects.append(_deletion(one))
    return effects, wake_ms


def _forced_in(node: core_v1.Node, now: Instant) -> int:
    """In how many milliseconds what a node says no longer counts: 0 for now, -1 as long as it is well."""
    ready = next((one for one in node.status.conditions if one.type == "Ready"), None)
    if ready is None or ready.status == "True":
        return -1
    if any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints):
        return 0
    since = times.parse(ready.last_transition_time) if ready.last_transition_time else now
    return max(0, since + FORCED_AFTER_MS - now)


def _deletion(attachment: storage_v1.VolumeAttachment) -> Delete:
    meta = attachment.metadata
    return Delete(Key(kinds.VOLUME_ATTACHMENT.resource, "", meta.name), meta.uid)


# What concerns which nodes


def _key(node: str) -> Key:
    return Key(kinds.NODE.resource, "", node)


def _of_pod(pod: core_v1.Pod, view: View) -> Iterable[Key]:
    if pod.spec.node_name and any(volumes.claims_of(pod)):
        yield _key(pod.spec.node_name)


def _of_attachment(attachment: storage_v1.VolumeAttachment, view: View) -> Iterable[Key]:
    yield _key(attachment.spec.node_name)
    # Who waits for the volume on another node has its turn.
    name = attachment.spec.source.persistent_volume_name or ""
    volume = view.get(kinds.PERSISTENT_VOLUME, "", name)
    if volume is not None:
        yield from _of_volume(volume, view)


def _of_volume(volume: core_v1.PersistentVolume, view: View) -> Iterable[Key]:
    if volume.spec.csi is not None and volume.spec.claim_ref is not None:
        yield from _users(volume.spec.claim_ref.namespace, volume.spec.claim_ref.name, view)


def _of_claim(claim: core_v1.PersistentVolumeClaim, view: View) -> Iterable[Key]:
    yield from _users(claim.metadata.namespace, claim.metadata.name, view)


def _users(namespace: str, claim: str, view: View) -> Iterable[Key]:
    pods = view.select(indexes.PODS_BY_CLAIM, indexes.namespaced(namespace, claim))
    return [_key(name) for name in sorted({pod.spec.node_name for pod in pods} - {""})]


def _of_driver(driver: storage_v1.CSIDriver, view: View) -> Iterable[Key]:
    return [_key(node.metadata.name) for node in view.list(kinds.NODE)]


def _seen_of_pod(pod: core_v1.Pod) -> tuple[object, ...] | None:
    """What of a pod says that it needs volumes; most need none."""
    if not pod.spec.node_name or not any(volumes.claims_of(pod)):
        return None
    return pod.metadata.uid, pod.spec.node_name, podstate.is_finished(pod)


def _seen_of_node(node: core_v1.Node) -> tuple[object, ...]:
    ready = tuple((one.status, one.last_transition_time) for one in node.status.conditions if one.type == "Ready")
    out = any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)
    return node.metadata.uid, node.status.volumes_attached, node.status.volumes_in_use, ready, out


CONTROLLER = Controller(
    name="attachdetach",
    kind=kinds.NODE,
    reconcile=reconcile,
    watches=(
        (kinds.POD, _of_pod),
        (kinds.VOLUME_ATTACHMENT, _of_attachment),
        (kinds.PERSISTENT_VOLUME, _of_volume),
        (kinds.PERSISTENT_VOLUME_CLAIM, _of_claim),
        (kinds.CSI_DRIVER, _of_driver),
    ),
    sees={kinds.POD: _seen_of_pod, kinds.NODE: _seen_of_node},
    # Two nodes that ask for the same volume at once would both be given it.
    workers=1,
)
