"""Defaults of pods and pod templates.

Some hold for pods only and not for templates, so that a template stays what its author wrote: requests from limits,
service links, host ports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from mizzen.api import quantity, resources
from mizzen.api.edit import each, edited, filled, maybe
from mizzen.api.types import core_v1 as core

TERMINATION_GRACE_S = 30
SCHEDULER_NAME = "default-scheduler"
TERMINATION_MESSAGE_PATH = "/dev/termination-log"
FILE_MODE = 0o644
TOKEN_EXPIRATION_S = 3600

AnyContainer = TypeVar("AnyContainer", core.Container, core.EphemeralContainer)


def pod(obj: core.Pod) -> core.Pod:
    """A pod with its defaults."""
    spec = pod_spec(obj.spec)
    host = spec.host_network
    spec = edited(
        spec,
        containers=each(spec.containers, lambda container: _of_pod(container, host)),
        init_containers=each(spec.init_containers, lambda container: _of_pod(container, host)),
    )
    if spec.resources is not None and spec.resources.limits:
        spec = edited(spec, resources=_whole_pod(spec, spec.resources))
    return edited(obj, spec=filled(spec, enable_service_links=True), status=_status(obj.status))


def template(obj: core.PodTemplateSpec) -> core.PodTemplateSpec:
    """A pod template with its defaults."""
    return edited(obj, spec=pod_spec(obj.spec))


def pod_spec(spec: core.PodSpec) -> core.PodSpec:
    """What holds for pods and for templates."""
    account = spec.service_account_name or spec.service_account
    spec = edited(
        spec,
        volumes=each(spec.volumes, _volume),
        init_containers=each(spec.init_containers, _container),
        containers=each(spec.containers, _container),
        ephemeral_containers=each(spec.ephemeral_containers, _container),
        resources=maybe(spec.resources, _resources),
        overhead=_rounded(spec.overhead),
    )
    if account:
        # The old and the new name of the field say the same.
        spec = filled(edited(spec, service_account=account), service_account_name=account)
    if spec.security_context is None:
        spec = edited(spec, security_context=core.PodSecurityContext())
    return filled(
        spec,
        dns_policy="ClusterFirst",
        restart_policy="Always",
        termination_grace_period_seconds=TERMINATION_GRACE_S,
        scheduler_name=SCHEDULER_NAME,
    )


def pull_policy(image: str) -> str:
    """`Always` for what can change under its name: no tag, or the tag `latest`, and no digest alone."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or (name and not tag and not digest) else "IfNotPresent"


def _of_pod(container: core.Container, host_network: bool) -> core.Container:
    """What only containers of pods get."""
    limits, requests = container.resources.limits, container.resources.requests
    if any(name not in requests for name in limits):
        container = edited(container, resources=edited(container.resources, requests={**limits, **requests}))
    if host_network:
        container = edited(
            container,
            ports=each(container.ports, lambda p: edited(p, host_port=p.host_port or p.container_port)),
        )
    return container


def _whole_pod(spec: core.PodSpec, wanted: core.ResourceRequirements) -> core.ResourceRequirements:
    """Requests of the pod as a whole: what its containers ask for together, else what it is limited to."""
    of_containers = resources.quantities(resources.pod_requests(edited(spec, resources=None, overhead={})))
    summed = {name: of_containers[name] for name in (resources.CPU, resources.MEMORY) if name in of_containers}
    requests = {**wanted.limits, **summed, **wanted.requests}
    return edited(wanted, requests=wanted.requests if requests == wanted.requests else requests)


def _status(status: core.PodStatus) -> core.PodStatus:
    if status.pod_ip and not status.pod_ips:
        return edited(status, pod_ips=(core.PodIP(ip=status.pod_ip),))
    if status.pod_ips and not status.pod_ip:
        return edited(status, pod_ip=status.pod_ips[0].ip)
    return status


# Containers


def _container(container: AnyContainer) -> AnyContainer:
    container = edited(
        container,
        ports=each(container.ports, lambda port: filled(port, protocol="TCP")),
        env=each(container.env, _env),
        resources=_resources(container.resources),
        liveness_probe=maybe(container.liveness_probe, _probe),
        readiness_probe=maybe(container.readiness_probe, _probe),
        startup_probe=maybe(container.startup_probe, _probe),
        lifecycle=maybe(container.lifecycle, _lifecycle),
    )
    return filled(
        container,
        image_pull_policy=pull_policy(container.image),
        termination_message_path=TERMINATION_MESSAGE_PATH,
        termination_message_policy="File",
    )


def _env(variable: core.EnvVar) -> core.EnvVar:
    return variable if variable.value_from is None else edited(variable, value_from=_env_source(variable.value_from))


def _env_source(source: core.EnvVarSource) -> core.EnvVarSource:
    return edited(
        source,
        field_ref=maybe(source.field_ref, _field_ref),
        resource_field_ref=maybe(source.resource_field_ref, _resource_field_ref),
        file_key_ref=maybe(source.file_key_ref, lambda key: filled(key, optional=False)),
    )


def _field_ref(selector: core.ObjectFieldSelector) -> core.ObjectFieldSelector:
    return filled(selector, api_version="v1")


def _resource_field_ref(selector: core.ResourceFieldSelector) -> core.ResourceFieldSelector:
    return filled(selector, divisor="0")


def _resources(wanted: core.ResourceRequirements) -> core.ResourceRequirements:
    return edited(wanted, limits=_rounded(wanted.limits), requests=_rounded(wanted.requests))


def _rounded(amounts: Mapping[str, str]) -> Mapping[str, str]:
    """Amounts finer than a thousandth are rounded up."""
    fine = {name: text for name, text in amounts.items() if quantity.parse(text).nano % 10**6}
    return (
        {**amounts, **{name: quantity.of_milli(quantity.milli(text)) for name, text in fine.items()}}
        if fine
        else amounts
    )


def _probe(probe: core.Probe) -> core.Probe:
    return edited(
        probe,
        http_get=maybe(probe.http_get, _http_get),
        grpc=maybe(probe.grpc, lambda grpc: edited(grpc, service=grpc.service or "")),
        timeout_seconds=probe.timeout_seconds or 1,
        period_seconds=probe.period_seconds or 10,
        success_threshold=probe.success_threshold or 1,
        failure_threshold=probe.failure_threshold or 3,
    )


def _lifecycle(lifecycle: core.Lifecycle) -> core.Lifecycle:
    return edited(
        lifecycle,
        post_start=maybe(lifecycle.post_start, _handler),
        pre_stop=maybe(lifecycle.pre_stop, _handler),
    )


def _handler(handler: core.LifecycleHandler) -> core.LifecycleHandler:
    return edited(handler, http_get=maybe(handler.http_get, _http_get))


def _http_get(action: core.HTTPGetAction) -> core.HTTPGetAction:
    return filled(action, path="/", scheme="HTTP")


# Volumes


def _volume(volume: core.Volume) -> core.Volume:
    if volume == core.Volume(name=volume.name):
        return edited(volume, empty_dir=core.EmptyDirVolumeSource())
    return edited(
        volume,
        secret=maybe(volume.secret, lambda source: filled(source, default_mode=FILE_MODE)),
        config_map=maybe(volume.config_map, lambda source: filled(source, default_mode=FILE_MODE)),
        downward_api=maybe(volume.downward_api, _downward_api),
        projected=maybe(volume.projected, _projected),
        host_path=maybe(volume.host_path, lambda path: edited(path, type=path.type or "")),
        image=maybe(volume.image, lambda image: filled(image, pull_policy=pull_policy(image.reference))),
        ephemeral=maybe(volume.ephemeral, _ephemeral),
        iscsi=maybe(volume.iscsi, lambda iscsi: filled(iscsi, iscsi_interface="default")),
        rbd=maybe(volume.rbd, lambda rbd: filled(rbd, pool="rbd", user="admin", keyring="/etc/ceph/keyring")),
        azure_disk=maybe(volume.azure_disk, _azure_disk),
        scale_io=maybe(volume.scale_io, lambda io: filled(io, storage_mode="ThinProvisioned", fs_type="xfs")),
    )


def _downward_api(source: core.DownwardAPIVolumeSource) -> core.DownwardAPIVolumeSource:
    return filled(edited(source, items=each(source.items, _downward_file)), default_mode=FILE_MODE)


def _downward_file(file: core.DownwardAPIVolumeFile) -> core.DownwardAPIVolumeFile:
    return edited(
        file,
        field_ref=maybe(file.field_ref, _field_ref),
        resource_field_ref=maybe(file.resource_field_ref, _resource_field_ref),
    )


def _projected(source: core.ProjectedVolumeSource) -> core.ProjectedVolumeSource:
    return filled(edited(source, sources=each(source.sources, _projection)), default_mode=FILE_MODE)


def _projection(projection: core.VolumeProjection) -> core.VolumeProjection:
    return edited(
        projection,
        downward_api=maybe(projection.downward_api, lambda api: edited(api, items=each(api.items, _downward_file))),
        service_account_token=maybe(
            projection.service_account_token, lambda token: filled(token, expiration_seconds=TOKEN_EXPIRATION_S)
        ),
    )


def _ephemeral(source: core.EphemeralVolumeSource) -> core.EphemeralVolumeSource:
    claim = source.volume_claim_template
    if claim is None:
        return source
    return edited(source, volume_claim_template=edited(claim, spec=filled(claim.spec, volume_mode="Filesystem")))


def _azure_disk(disk: core.AzureDiskVolumeSource) -> core.AzureDiskVolumeSource:
    return filled(disk, caching_mode="ReadWrite", fs_type="ext4", read_only=False, kind="Shared")
