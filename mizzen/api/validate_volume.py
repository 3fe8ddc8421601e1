"""The rules for a pod's volumes and for what containers mount of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mizzen.api import formats, quantity
from mizzen.api.errors import FieldError
from mizzen.api.schema import message
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_common import (
    Errors,
    checked,
    maybe_one_of,
    required,
    required_and,
    unique,
)
from mizzen.api.validate_env import field_selector, resource_selector

FILE_MODE_MAX = 0o777

_SOURCES = tuple((field.attr, field.json_name) for field in message("core_v1.VolumeSource").fields)
_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_MEDIA = ("", "HugePages", "Memory")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_READ_ONLY_DEPTHS = ("Disabled", "Enabled", "IfPossible")
_TOKEN_MIN_S = 600
_VOLUME_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_PROJECTIONS = (
    "secret",
    "downward_api",
    "config_map",
    "service_account_token",
    "cluster_trust_bundle",
    "pod_certificate",
)


def volumes(path: str, items: Iterable[core.Volume]) -> Errors:
    """The volumes of a pod."""
    seen: set[str] = set()
    for i, volume in enumerate(items):
        at = f"{path}[{i}]"
        yield from required_and(f"{at}.name", volume.name, formats.dns_label)
        yield from unique(f"{at}.name", volume.name, seen)
        yield from one_source(at, volume, _SOURCES, _RULES)


def one_source(
    path: str, holder: Any, sources: Iterable[tuple[str, str]], rules: Mapping[str, Callable[[str, Any], Errors]]
) -> Errors:
    """Exactly one kind of storage must be given, and be right; `sources` are attributes with their JSON names."""
    found = 0
    for attr, name in sources:
        source = getattr(holder, attr)
        if source is None:
            continue
        found += 1
        if found > 1:
            yield FieldError.forbidden(f"{path}.{name}", "may not specify more than 1 volume type")
        elif attr in rules:
            yield from rules[attr](f"{path}.{name}", source)
    if not found:
        yield FieldError.required(path, "must specify a volume type")


def _empty_dir(path: str, source: core.EmptyDirVolumeSource) -> Errors:
    if source.size_limit is not None and quantity.parse(source.size_limit).nano < 0:
        yield FieldError.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")
    if source.medium not in _MEDIA and not source.medium.startswith("HugePages-"):
        yield FieldError.unsupported(f"{path}.medium", source.medium, _MEDIA)


def host_path(path: str, source: core.HostPathVolumeSource) -> Errors:
    """A file or directory of the node."""
    yield from required(f"{path}.path", source.path)
    yield from no_backsteps(f"{path}.path", source.path)
    yield from maybe_one_of(f"{path}.type", source.type, _HOST_PATH_TYPES)


def _secret(path: str, source: core.SecretVolumeSource) -> Errors:
    yield from required(f"{path}.secretName", source.secret_name)
    yield from _mode(f"{path}.defaultMode", source.default_mode)
    yield from _items(f"{path}.items", source.items)


def _config_map(path: str, source: core.ConfigMapVolumeSource) -> Errors:
    yield from required(f"{path}.name", source.name)
    yield from _mode(f"{path}.defaultMode", source.default_mode)
    yield from _items(f"{path}.items", source.items)


def _downward_api(path: str, source: core.DownwardAPIVolumeSource) -> Errors:
    yield from _mode(f"{path}.defaultMode", source.default_mode)
    for i, file in enumerate(source.items):
        yield from _downward_file(f"{path}[{i}]", file)


def _downward_file(path: str, file: core.DownwardAPIVolumeFile) -> Errors:
    yield from required(f"{path}.path", file.path)
    yield from _inside(f"{path}.path", file.path)
    if file.field_ref is not None:
        yield from field_selector(f"{path}.fieldRef", file.field_ref, _VOLUME_FIELDS)
        if file.resource_field_ref is not None:
            yield FieldError.invalid(
                path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"
            )
    elif file.resource_field_ref is not None:
        yield from resource_selector(f"{path}.resourceFieldRef", file.resource_field_ref, in_volume=True)
    else:
        yield FieldError.required(path, "one of fieldRef and resourceFieldRef is required")
    yield from _mode(f"{path}.mode", file.mode)


def _projected(path: str, source: core.ProjectedVolumeSource) -> Errors:
    yield from _mode(f"{path}.defaultMode", source.default_mode)
    paths: set[str] = set()
    for i, projection in enumerate(source.sources):
        at = f"{path}.sources[{i}]"
        given = [name for name in _PROJECTIONS if getattr(projection, name) is not None]
        if len(given) != 1:
            yield FieldError.forbidden(at, f"must specify exactly one of the sources, found {len(given)}")
        yield from _projection(at, projection)
        for file in _files_of(projection):
            if file in paths:
                why = f"conflicting duplicate paths: {file}"
                yield FieldError.invalid(path, source.sources[i], why)
            paths.add(file)


def _projection(path: str, projection: core.VolumeProjection) -> Errors:
    if projection.secret is not None:
        yield from required(f"{path}.secret.name", projection.secret.name)
        yield from _items(f"{path}.secret.items", projection.secret.items)
    if projection.config_map is not None:
        yield from required(f"{path}.configMap.name", projection.config_map.name)
        yield from _items(f"{path}.configMap.items", projection.config_map.items)
    if projection.downward_api is not None:
        for i, file in enumerate(projection.downward_api.items):
            yield from _downward_file(f"{path}.downwardAPI.items[{i}]", file)
    token = projection.service_account_token
    if token is not None:
        yield from required(f"{path}.serviceAccountToken.path", token.path)
        yield from _inside(f"{path}.serviceAccountToken.path", token.path)
        if token.expiration_seconds is not None and token.expiration_seconds < _TOKEN_MIN_S:
            why = "may not specify a duration less than 10 minutes"
            yield FieldError.invalid(f"{path}.serviceAccountToken.expirationSeconds", token.expiration_seconds, why)


def _files_of(projection: core.VolumeProjection) -> list[str]:
    """The files that a projection is known to make."""
    files: list[str] = []
    for source in (projection.secret, projection.config_map, projection.downward_api):
        if source is not None:
            files += [item.path for item in source.items]
    token = projection.service_account_token
    return files if token is None else [*files, token.path]


def _claim(path: str, source: core.PersistentVolumeClaimVolumeSource) -> Errors:
    yield from required(f"{path}.claimName", source.claim_name)


def nfs(path: str, source: core.NFSVolumeSource) -> Errors:
    """A directory of an NFS server."""
    yield from required(f"{path}.server", source.server)
    yield from required(f"{path}.path", source.path)
    if source.path and not source.path.startswith("/"):
        yield FieldError.invalid(f"{path}.path", source.path, "must be an absolute path")


def _csi(path: str, source: core.CSIVolumeSource) -> Errors:
    yield from required(f"{path}.driver", source.driver)


def _ephemeral(path: str, source: core.EphemeralVolumeSource) -> Errors:
    yield from required(f"{path}.volumeClaimTemplate", source.volume_claim_template)


def _image(path: str, source: core.ImageVolumeSource) -> Errors:
    yield from required(f"{path}.reference", source.reference)
    yield from maybe_one_of(f"{path}.pullPolicy", source.pull_policy or None, _PULL_POLICIES)


_RULES: dict[str, Callable[[str, Any], Errors]] = {
    "empty_dir": _empty_dir,
    "host_path": host_path,
    "secret": _secret,
    "config_map": _config_map,
    "downward_api": _downward_api,
    "projected": _projected,
    "persistent_volume_claim": _claim,
    "nfs": nfs,
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}


def _mode(path: str, mode: int | None) -> Errors:
    if mode is not None and not 0 <= mode <= FILE_MODE_MAX:
        yield FieldError.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def _items(path: str, items: tuple[core.KeyToPath, ...]) -> Errors:
    for i, item in enumerate(items):
        at = f"{path}[{i}]"
        yield from required_and(f"{at}.key", item.key, formats.config_key)
        yield from required(f"{at}.path", item.path)
        yield from _inside(f"{at}.path", item.path)
        yield from _mode(f"{at}.mode", item.mode)


def _inside(path: str, value: str) -> Errors:
    """A path must stay inside its volume and clear of the names that atomic updates use."""
    yield from _descending(path, value)
    if value.startswith("..") and not value.startswith("../"):
        yield FieldError.invalid(path, value, "must not start with '..'")


def _descending(path: str, value: str) -> Errors:
    if value.startswith("/"):
        yield FieldError.invalid(path, value, "must be a relative path")
    yield from no_backsteps(path, value)


def no_backsteps(path: str, value: str) -> Errors:
    """A path must not lead upwards."""
    if ".." in value.split("/"):
        yield FieldError.invalid(path, value, "must not contain '..'")


# What containers do with volumes


def mounts(path: str, container: core.Container, known: frozenset[str]) -> Errors:
    """The mounts of a container; `known` are the names of the pod's volumes."""
    seen: set[str] = set()
    for i, mount in enumerate(container.volume_mounts):
        at = f"{path}[{i}]"
        yield from required(f"{at}.name", mount.name)
        if mount.name not in known:
            yield FieldError.not_found(f"{at}.name", mount.name)
        yield from required(f"{at}.mountPath", mount.mount_path)
        if mount.mount_path in seen:
            yield FieldError.invalid(f"{at}.mountPath", mount.mount_path, "must be unique")
        seen.add(mount.mount_path)
        yield from _sub_paths(at, mount)
        yield from _propagation(f"{at}.mountPropagation", mount, container)
        yield from _recursive(f"{at}.recursiveReadOnly", mount)


def _sub_paths(path: str, mount: core.VolumeMount) -> Errors:
    yield from _descending(f"{path}.subPath", mount.sub_path)
    if mount.sub_path and mount.sub_path_expr:
        why = "subPathExpr and subPath are mutually exclusive"
        yield FieldError.invalid(f"{path}.subPathExpr", mount.sub_path_expr, why)
    yield from _descending(f"{path}.subPathExpr", mount.sub_path_expr)


def _propagation(path: str, mount: core.VolumeMount, container: core.Container) -> Errors:
    yield from maybe_one_of(path, mount.mount_propagation, _PROPAGATIONS)
    context = container.security_context
    if mount.mount_propagation == "Bidirectional" and not (context and context.privileged):
        yield FieldError.forbidden(path, "Bidirectional mount propagation is available only to privileged containers")


def _recursive(path: str, mount: core.VolumeMount) -> Errors:
    depth = mount.recursive_read_only
    yield from maybe_one_of(path, depth, _READ_ONLY_DEPTHS)
    if depth not in ("Enabled", "IfPossible"):
        return
    if not mount.read_only:
        yield FieldError.forbidden(path, "may only be specified when readOnly is true")
    if mount.mount_propagation not in (None, "None"):
        yield FieldError.forbidden(path, "may only be specified when mountPropagation is None or not specified")


def devices(path: str, container: core.Container, block: frozenset[str]) -> Errors:
    """The raw block devices of a container; `block` are the names of the volumes that can be devices."""
    names: set[str] = set()
    paths: set[str] = set()
    mounted = {mount.name: mount.mount_path for mount in container.volume_mounts}
    for i, device in enumerate(container.volume_devices):
        at = f"{path}[{i}]"
        yield from required(f"{at}.name", device.name)
        yield from required(f"{at}.devicePath", device.device_path)
        if device.name in names:
            yield FieldError.invalid(f"{at}.name", device.name, "must be unique")
        if device.device_path in paths:
            yield FieldError.invalid(f"{at}.devicePath", device.device_path, "must be unique")
        names.add(device.name)
        paths.add(device.device_path)
        if device.name not in block:
            yield FieldError.not_found(f"{at}.name", device.name)
        if device.name in mounted:
            yield FieldError.invalid(f"{at}.name", device.name, "must not already exist in volumeMounts")
        yield from checked(f"{at}.devicePath", device.device_path, _backsteps_check)


def _backsteps_check(value: str) -> tuple[str, ...]:
    return ("can not contain backsteps ('..')",) if ".." in value.split("/") else ()
