"""What a volume is to be on the disk, as values: which kind, and for made-up ones which files. Pure.

`plan` turns a pod's volume and the objects it refers to into one of `Scratch`, `HostPath`, `Files`, `Persistent` and
`BlockDevice`; the disk part makes it so and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mizzen.api import quantity, resources
from mizzen.api.nfsvolumes import Place, place_of
from mizzen.api.references import token_wish
from mizzen.api.types import core_v1 as core
from mizzen.api.volumes import LOCAL, PROVISIONED_BY, claims_of
from nodeagent.lifecycle.downward import ConfigError, Sources, field_text, resource_text
from nodeagent.lifecycle.storage import Shown

DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Scratch:
    """An empty folder that lives as long as its pod."""

    in_memory: bool
    size_bytes: int
    """Bound of one in memory; 0 means none. On disk the agent's eviction keeps the bound."""
    page_bytes: int = 0
    """It is made of huge pages of this size; 0 means that it is not."""


@dataclass(frozen=True, slots=True)
class HostPath:
    """A path of the machine."""

    path: str
    type: str
    """One of Kubernetes' words for what has to be there or be made; empty for anything."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a volume."""

    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Files:
    """A folder with exactly these files by their path in it, replaced all at once when they change."""

    files: Mapping[str, File]
    in_memory: bool
    """Keep them off the disk: there are secrets among them."""
    kept: tuple[str, ...] = ()
    """Paths of files that stay as they are, if they are there: nothing better is to be had now."""


@dataclass(frozen=True, slots=True)
class Persistent:
    """Storage that outlives the pod, shown in the pod's own folder."""

    path: str
    """A folder or file of the machine; for network storage the path on the server."""
    server: str = ""
    """The NFS server; empty for the machine itself."""
    options: tuple[str, ...] = ()
    """Of the mount from the server."""
    place: Place | None = None
    """The folder of a share that is the volume's own and is made if need be."""
    is_own: bool = False
    """A folder that this node keeps for the volume and makes if need be."""
    is_owned_by_group: bool = False
    """Its files are given to the pod's `fsGroup`."""
    is_given_once: bool = False
    """They are not looked through where the folder itself belongs to the group already (`OnRootMismatch`)."""


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A block device of the machine, which containers are given as it is."""

    path: str


Plan: TypeAlias = Scratch | HostPath | Files | Persistent | BlockDevice


def plan(pod: core.Pod, volume: core.Volume, sources: Sources) -> Plan:
    """What the volume is to be. Raises ConfigError when something it needs is not there or not supported."""
    if (scratch := volume.empty_dir) is not None:
        return _scratch(pod, scratch, sources)
    if volume.host_path is not None:
        return HostPath(volume.host_path.path, volume.host_path.type or "")
    if volume.nfs is not None:
        return Persistent(volume.nfs.path, server=volume.nfs.server, options=("ro",) if volume.nfs.read_only else ())
    if (shown := sources.storage.shown.get(volume.name)) is not None and (volume.csi or volume.image):
        return Persistent(shown.path, is_owned_by_group=shown.is_owned_by_group, is_given_once=_given_once(pod))
    for name, _ in claims_of(core.Pod(metadata=pod.metadata, spec=core.PodSpec(volumes=(volume,)))):
        return _persistent(pod, name, sources, sources.storage.shown.get(volume.name))
    return _files(pod, volume, sources)


def _scratch(pod: core.Pod, scratch: core.EmptyDirVolumeSource, sources: Sources) -> Scratch:
    size = quantity.units(scratch.size_limit) if scratch.size_limit else 0
    if scratch.medium.startswith("HugePages"):
        return Scratch(in_memory=False, size_bytes=size, page_bytes=_page_bytes(pod, scratch.medium))
    if scratch.medium != "Memory":
        return Scratch(in_memory=False, size_bytes=size)
    # What is in it counts as its pod's memory, so more than that it can't have.
    limits = [resources.amounts(container.resources.limits).get(resources.MEMORY, 0) for container in _containers(pod)]
    bounds = [size, sum(limits) if all(limits) else 0, resources.amounts(sources.allocatable).get(resources.MEMORY, 0)]
    return Scratch(in_memory=True, size_bytes=min((bound for bound in bounds if bound), default=0))


def _containers(pod: core.Pod) -> tuple[core.Container, ...]:
    return (*pod.spec.init_containers, *pod.spec.containers)


def _page_bytes(pod: core.Pod, medium: str) -> int:
    """The size of the pages of a volume of huge pages. Raises ConfigError."""
    asked = {
        name.removeprefix(resources.HUGE_PAGES_PREFIX)
        for container in _containers(pod)
        for name in (*container.resources.requests, *container.resources.limits)
        if name.startswith(resources.HUGE_PAGES_PREFIX)
    }
    named = medium.removeprefix("HugePages").removeprefix("-")
    if named and named not in asked:
        raise ConfigError(f"medium {medium} needs a container that requests {resources.HUGE_PAGES_PREFIX}{named}")
    if not named and len(asked) != 1:
        raise ConfigError("medium HugePages needs containers that request huge pages of one size, no more and no less")
    return quantity.units(named or asked.pop())


def _persistent(pod: core.Pod, name: str, sources: Sources, shown: Shown | None) -> Persistent | BlockDevice:
    found = sources.claims.get(name)
    if found is None:
        raise ConfigError(f"error processing PVC {pod.metadata.namespace}/{name}: PVC is not bound")
    spec = found.spec
    if spec.volume_mode == "Block":
        path = spec.local.path if spec.local is not None else shown.path if shown is not None else ""
        if not path:
            raise ConfigError(f"volume {found.metadata.name} is of a type that has no block devices on this node")
        return BlockDevice(path)
    if shown is not None:
        return Persistent(shown.path, is_owned_by_group=shown.is_owned_by_group, is_given_once=_given_once(pod))
    if spec.local is not None:
        is_own = found.metadata.annotations.get(PROVISIONED_BY) == LOCAL
        return Persistent(spec.local.path, is_own=is_own, is_owned_by_group=True, is_given_once=_given_once(pod))
    if spec.host_path is not None:
        return Persistent(spec.host_path.path)
    if spec.nfs is not None:
        options = (*spec.mount_options, *(("ro",) if spec.nfs.read_only else ()))
        return Persistent(spec.nfs.path, server=spec.nfs.server, options=options, place=place_of(found))
    raise ConfigError(f"volume {found.metadata.name} is of a type that this node does not support")


def _given_once(pod: core.Pod) -> bool:
    context = pod.spec.security_context
    return context is not None and context.fs_group_change_policy == "OnRootMismatch"


def _files(pod: core.Pod, volume: core.Volume, sources: Sources) -> Files:
    found: dict[str, File] = {}
    kept: list[str] = []
    in_memory = False
    for projection, mode in _projections(volume):
        token = projection.service_account_token
        in_memory = in_memory or projection.secret is not None or token is not None
        if token is not None and sources.tokens.get(token_wish(token)) == "":
            kept.append(token.path)
            continue
        found.update(_checked(_projected(pod, projection, mode, sources)))
    return Files(found, in_memory, tuple(kept))


def _projections(volume: core.Volume) -> Iterator[tuple[core.VolumeProjection, int]]:
    """The volume as the sources of a projected one, each with the mode of its files."""
    if (config := volume.config_map) is not None:
        part = core.ConfigMapProjection(name=config.name, items=config.items, optional=config.optional)
        yield core.VolumeProjection(config_map=part), _mode(config.default_mode)
    elif (secret := volume.secret) is not None:
        own = core.SecretProjection(name=secret.secret_name, items=secret.items, optional=secret.optional)
        yield core.VolumeProjection(secret=own), _mode(secret.default_mode)
    elif (downward := volume.downward_api) is not None:
        fields = core.DownwardAPIProjection(items=downward.items)
        yield core.VolumeProjection(downward_api=fields), _mode(downward.default_mode)
    elif (projected := volume.projected) is not None:
        for source in projected.sources:
            yield source, _mode(projected.default_mode)
    else:
        raise ConfigError(f'volume "{volume.name}" is of a type that this node does not support')


def _mode(mode: int | None) -> int:
    return DEFAULT_MODE if mode is None else mode


def _projected(pod: core.Pod, source: core.VolumeProjection, mode: int, sources: Sources) -> Iterator[tuple[str, File]]:
    if (config := source.config_map) is not None:
        found = sources.config_map(config.name, optional=bool(config.optional))
        data: dict[str, bytes] = {key: value.encode() for key, value in found.data.items()} if found else {}
        data |= found.binary_data if found else {}
        yield from _picked(data, config.items, mode, "configmap references non-existent config key", config.optional)
    elif (ref := source.secret) is not None:
        secret = sources.secret(ref.name, optional=bool(ref.optional))
        content = secret.data if secret else {}
        yield from _picked(content, ref.items, mode, "references non-existent secret key", ref.optional)
    elif (downward := source.downward_api) is not None:
        for item in downward.items:
            yield item.path, File(_downward(pod, item, sources).encode(), mode if item.mode is None else item.mode)
    elif (token := source.service_account_token) is not None:
        given = sources.tokens.get(token_wish(token))
        if given is None:
            raise ConfigError(f"no token was asked for the file {token.path}")
        yield token.path, File(given.encode(), mode)
    else:
        raise ConfigError("a projected volume has a source that this node does not support")


def _picked(
    data: Mapping[str, bytes], items: Iterable[core.KeyToPath], mode: int, missing: str, optional: bool | None
) -> Iterator[tuple[str, File]]:
    """All keys, or those that are asked for, under their paths."""
    chosen = tuple(items)
    if not chosen:
        for key in sorted(data):
            yield key, File(data[key], mode)
    for item in chosen:
        if item.key in data:
            yield item.path, File(data[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise ConfigError(f"{missing}: {item.key}")


def _downward(pod: core.Pod, item: core.DownwardAPIVolumeFile, sources: Sources) -> str:
    if item.field_ref is not None:
        return field_text(pod, item.field_ref.field_path, sources)
    if item.resource_field_ref is not None:
        return resource_text(pod, "", item.resource_field_ref, sources)
    raise ConfigError(f"the file {item.path} of a downward API volume refers to nothing")


def _checked(files: Iterable[tuple[str, File]]) -> Iterator[tuple[str, File]]:
    """The API refuses paths that lead out of the volume; a node does not rely on it."""
    for path, file in files:
        parts = path.split("/")
        if path.startswith("/") or ".." in parts or "" in parts or parts[0].startswith(".."):
            raise ConfigError(f'invalid path "{path}" in a volume: it must be relative and without ".."')
        yield path, file
