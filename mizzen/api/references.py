"""Which ConfigMaps, Secrets and claims a pod names, and which tokens it wants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mizzen.api.types import core_v1

CONFIG_MAPS = "configmaps"
SECRETS = "secrets"


TOKEN_S = 3600
"""How long a token is to be good for where the pod does not say."""


class TokenWish(NamedTuple):
    """A token that a pod wants in a volume: for whom (empty: the API server), and for how many seconds."""

    audience: str
    seconds: int


def token_wish(source: core_v1.ServiceAccountTokenProjection) -> TokenWish:
    """What a source of a projected volume wants."""
    return TokenWish(source.audience, source.expiration_seconds or TOKEN_S)


def tokens_of(pod: core_v1.Pod) -> list[TokenWish]:
    """The tokens that a pod's volumes want, each once and in order."""
    found: dict[TokenWish, None] = {}
    for volume in pod.spec.volumes:
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.service_account_token is not None:
                found[token_wish(source.service_account_token)] = None
    return list(found)


def configs_of(pod: core_v1.Pod) -> list[tuple[str, str, str]]:
    """What a pod's containers and volumes name, as (resource, namespace, name), each once and in order."""
    namespace = pod.metadata.namespace
    found: dict[tuple[str, str, str], None] = {}
    containers: list[core_v1.Container | core_v1.EphemeralContainer] = []
    containers += [*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers]
    for container in containers:
        for resource, name in (*_of_env(container.env), *_of_env_from(container.env_from)):
            found[resource, namespace, name] = None
    for volume in pod.spec.volumes:
        for resource, name in _of_volume(volume):
            found[resource, namespace, name] = None
    for reference in pod.spec.image_pull_secrets:
        found[SECRETS, namespace, reference.name] = None
    return [key for key in found if key[2]]


def _of_env(env: tuple[core_v1.EnvVar, ...]) -> Iterator[tuple[str, str]]:
    for variable in env:
        source = variable.value_from
        if source is not None and source.config_map_key_ref is not None:
            yield CONFIG_MAPS, source.config_map_key_ref.name
        if source is not None and source.secret_key_ref is not None:
            yield SECRETS, source.secret_key_ref.name


def _of_env_from(sources: tuple[core_v1.EnvFromSource, ...]) -> Iterator[tuple[str, str]]:
    for source in sources:
        if source.config_map_ref is not None:
            yield CONFIG_MAPS, source.config_map_ref.name
        if source.secret_ref is not None:
            yield SECRETS, source.secret_ref.name


def _of_volume(volume: core_v1.Volume) -> Iterator[tuple[str, str]]:
    if volume.config_map is not None:
        yield CONFIG_MAPS, volume.config_map.name
    if volume.secret is not None:
        yield SECRETS, volume.secret.secret_name
    if volume.csi is not None and volume.csi.node_publish_secret_ref is not None:
        yield SECRETS, volume.csi.node_publish_secret_ref.name
    for source in volume.projected.sources if volume.projected is not None else ():
        if source.config_map is not None:
            yield CONFIG_MAPS, source.config_map.name
        if source.secret is not None:
            yield SECRETS, source.secret.name
