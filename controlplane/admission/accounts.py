"""A pod's service account: it must be there, it lends its pull secrets, and its token is mounted into containers."""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from controlplane.admission.request import Request
from mizzen.api import kinds
from mizzen.api.errors import Forbidden
from mizzen.api.types import core_v1 as core
from mizzen.api.validate_pod import MIRROR
from mizzen.engine.values import Ids
from mizzen.engine.view import View

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
ROOT_CA = "kube-root-ca.crt"
TOKEN_S = 3607
"""An hour, and a number by which such tokens are told from others."""
_MODE = 0o644

C = TypeVar("C", bound=core.Container)


class NoAccount(Forbidden):
    """The pod's account is not there; in a new namespace it may be in a moment."""


def complete(request: Request, pod: core.Pod, view: View, ids: Ids) -> core.Pod:
    """The new pod with what its account gives it. Raises NoAccount without one."""
    if MIRROR in pod.metadata.annotations:
        return pod
    spec = pod.spec
    name, namespace = spec.service_account_name, request.namespace
    account = view.get(kinds.SERVICE_ACCOUNT, namespace, name)
    if account is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise NoAccount(request.kind, pod.metadata.name, why)
    if _wants_token(spec, account):
        spec = _with_token(spec, ids)
    if not spec.image_pull_secrets:
        spec = replace(spec, image_pull_secrets=account.image_pull_secrets)
    return replace(pod, spec=spec)


def _wants_token(spec: core.PodSpec, account: core.ServiceAccount) -> bool:
    if spec.automount_service_account_token is not None:
        return spec.automount_service_account_token
    return account.automount_service_account_token is not False


def _with_token(spec: core.PodSpec, ids: Ids) -> core.PodSpec:
    """A volume with token, authority and namespace, mounted where a container has not mounted something itself."""
    own = next((volume.name for volume in spec.volumes if volume.name.startswith(VOLUME_PREFIX)), "")
    name = own or VOLUME_PREFIX + ids.suffix("kube-api-access")
    containers = tuple(_mounted(container, name) for container in spec.containers)
    init_containers = tuple(_mounted(container, name) for container in spec.init_containers)
    if (containers, init_containers) == (spec.containers, spec.init_containers):
        return spec
    volumes = spec.volumes if own else (*spec.volumes, _volume(name))
    return replace(spec, containers=containers, init_containers=init_containers, volumes=volumes)


def _mounted(container: C, volume: str) -> C:
    if any(mount.mount_path == MOUNT_PATH for mount in container.volume_mounts):
        return container
    mount = core.VolumeMount(name=volume, read_only=True, mount_path=MOUNT_PATH)
    return replace(container, volume_mounts=(*container.volume_mounts, mount))


def _volume(name: str) -> core.Volume:
    token = core.ServiceAccountTokenProjection(path="token", expiration_seconds=TOKEN_S)
    authority = core.ConfigMapProjection(name=ROOT_CA, items=(core.KeyToPath(key="ca.crt", path="ca.crt"),))
    field = core.ObjectFieldSelector(api_version="v1", field_path="metadata.namespace")
    namespace = core.DownwardAPIVolumeFile(path="namespace", field_ref=field)
    sources = (
        core.VolumeProjection(service_account_token=token),
        core.VolumeProjection(config_map=authority),
        core.VolumeProjection(downward_api=core.DownwardAPIProjection(items=(namespace,))),
    )
    return core.Volume(name=name, projected=core.ProjectedVolumeSource(sources=sources, default_mode=_MODE))
