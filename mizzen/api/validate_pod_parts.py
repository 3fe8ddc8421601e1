"""What may change of a pod that runs: ephemeral containers are added, and CPU and memory of containers change."""

from __future__ import annotations

from collections.abc import Mapping

from mizzen.api import resources, validate_meta, validate_pod
from mizzen.api.edit import edited
from mizzen.api.errors import FieldError
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import Errors

_RESIZED = (resources.CPU, resources.MEMORY)


def add_ephemeral(new: core.Pod, old: core.Pod) -> Errors:
    """Ephemeral containers, once there, stay as they are."""
    if validate_pod.MIRROR in old.metadata.annotations:
        yield FieldError.forbidden("", "static pods do not support ephemeral containers")
        return
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from validate_pod.whole(new)
    path = "spec.ephemeralContainers"
    there = {container.name: container for container in new.spec.ephemeral_containers}
    for before in old.spec.ephemeral_containers:
        after = there.get(before.name)
        if after is None:
            yield FieldError.forbidden(path, f'existing ephemeral containers "{before.name}" may not be removed\n')
        elif after != before:
            changed = "\n".join(f"  {line}" for line in validate_pod.differences(after, before, path))
            why = f'existing ephemeral containers "{before.name}" may not be changed\n{changed}'
            yield FieldError.forbidden(path, why)


def resize(new: core.Pod, old: core.Pod) -> Errors:
    """Only amounts of CPU and memory change, and neither the containers nor the pod's quality of service."""
    if validate_pod.MIRROR in old.metadata.annotations:
        yield FieldError.forbidden("", "static pods cannot be resized")
        return
    if old.spec.os is not None and old.spec.os.name == "windows":
        yield FieldError.forbidden("", "windows pods cannot be resized")
        return
    yield from validate_meta.update(new.metadata, old.metadata)
    yield from validate_pod.whole(new)
    if (old.status.qos_class or resources.qos_class(old.spec)) != resources.qos_class(new.spec):
        why = "Pod QOS Class may not change as a result of resizing"
        yield FieldError.invalid("spec", new.status.qos_class, why)
    others = tuple(
        error
        for field, after, before in (
            ("containers", new.spec.containers, old.spec.containers),
            ("initContainers", new.spec.init_containers, old.spec.init_containers),
        )
        for error in _same_containers(field, after, before)
    )
    yield from others
    if not others:
        yield from _amounts(new.spec, old.spec)


def _same_containers(field: str, new: tuple[core.Container, ...], old: tuple[core.Container, ...]) -> Errors:
    if len(new) != len(old):
        yield FieldError.forbidden("spec", f"{field} may not be added or removed on resize")
    elif [container.name for container in new] != [container.name for container in old]:
        yield FieldError.forbidden("spec", f"{field} may not be renamed or reordered on resize")


def _amounts(new: core.PodSpec, old: core.PodSpec) -> Errors:
    for i, (after, before) in enumerate(zip(new.init_containers, old.init_containers, strict=True)):
        if resources.is_sidecar(before):
            yield from _kept(f"spec.initContainers[{i}].resources", after.resources, before.resources)
    for i, (after, before) in enumerate(zip(new.containers, old.containers, strict=True)):
        yield from _kept(f"spec.containers[{i}].resources", after.resources, before.resources)
    reset = edited(
        new,
        containers=tuple(_reset(after, before) for after, before in zip(new.containers, old.containers, strict=True)),
        init_containers=tuple(
            _reset(after, before) if resources.is_sidecar(before) else after
            for after, before in zip(new.init_containers, old.init_containers, strict=True)
        ),
    )
    if reset != old:
        changed = "\n".join(f"  {line}" for line in validate_pod.differences(reset, old, "spec"))
        yield FieldError.forbidden("spec", f"only cpu and memory resources are mutable\n{changed}")


def _kept(path: str, new: core.ResourceRequirements, old: core.ResourceRequirements) -> Errors:
    for field, after, before in (("requests", new.requests, old.requests), ("limits", new.limits, old.limits)):
        if any(name not in after for name in before):
            yield FieldError.forbidden(f"{path}.{field}", f"resource {field} cannot be removed")


def _reset(new: core.Container, old: core.Container) -> core.Container:
    """The container with the CPU and memory that it had before, if it had any or still has them."""
    wanted = new.resources
    return edited(
        new,
        resources=edited(
            wanted,
            requests=_with_old(wanted.requests, old.resources.requests),
            limits=_with_old(wanted.limits, old.resources.limits),
        ),
        resize_policy=old.resize_policy,
    )


def _with_old(new: Mapping[str, str], old: Mapping[str, str]) -> Mapping[str, str]:
    kept = {name: text for name, text in new.items() if name not in _RESIZED}
    return kept | {name: old[name] for name in _RESIZED if name in old}
