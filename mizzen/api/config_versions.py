"""Which version of each ConfigMap and Secret a pod template is pinned to, and the pods that come of it.

A template names what its user named; an annotation says which copy of each its pods get in its place. So whatever
brings an old template back, `kubectl rollout undo` too, brings the old content back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from mizzen.api import workloads
from mizzen.api.types import apps_v1, core_v1

Owner = apps_v1.Deployment | apps_v1.StatefulSet | apps_v1.DaemonSet


class Config(NamedTuple):
    """A ConfigMap or Secret in the template's namespace."""

    kind: str
    name: str


Pins = Mapping[Config, str]
"""The copy of each; empty where there is none and pods get what the template names."""
_Renaming = Callable[[Config], str]


def parse(text: str) -> dict[Config, str]:
    """Pins as `render` writes them. Raises ValueError."""
    pins: dict[Config, str] = {}
    for word in text.split(",") if text else ():
        config, equals, copy = word.partition("=")
        kind, slash, name = config.partition("/")
        if not (equals and slash and name) or kind not in ("ConfigMap", "Secret"):
            raise ValueError(f"there is no pin {word!r}: remove the annotation, and it is written anew")
        pins[Config(kind, name)] = copy
    return pins


def render(pins: Pins) -> str:
    """Pins as the value of an annotation, in order."""
    return ",".join(f"{config.kind}/{config.name}={copy}" for config, copy in sorted(pins.items()))


def pins_of(template: core_v1.PodTemplateSpec) -> dict[Config, str]:
    """What a template is pinned to. Raises ValueError."""
    return parse(template.metadata.annotations.get(workloads.CONFIG_VERSIONS, ""))


def referenced(spec: core_v1.PodSpec) -> tuple[Config, ...]:
    """What a pod's environment and volumes name, in order."""
    found: set[Config] = set()

    def note(config: Config) -> str:
        found.add(config)
        return config.name

    _renamed(spec, note)
    return tuple(sorted(found))


def is_awaited(owner: Owner) -> bool:
    """Whether a workload's template still has to be pinned before anything is made of it."""
    if not workloads.is_on(owner.metadata, workloads.CONFIG_ROLLOUT):
        return False
    return not set(referenced(owner.spec.template.spec)) <= set(pins_of(owner.spec.template))


def pod_spec(template: core_v1.PodTemplateSpec) -> core_v1.PodSpec:
    """The spec of a template's pods: with the copies that it is pinned to."""
    if workloads.CONFIG_VERSIONS not in template.metadata.annotations:
        return template.spec
    pins = pins_of(template)
    return _renamed(template.spec, lambda config: pins.get(config) or config.name)


def _renamed(spec: core_v1.PodSpec, how: _Renaming) -> core_v1.PodSpec:
    return replace(
        spec,
        init_containers=tuple(_container(container, how) for container in spec.init_containers),
        containers=tuple(_container(container, how) for container in spec.containers),
        volumes=tuple(_volume(volume, how) for volume in spec.volumes),
    )


def _container(container: core_v1.Container, how: _Renaming) -> core_v1.Container:
    return replace(
        container,
        env=tuple(
            variable if variable.value_from is None else replace(variable, value_from=_source(variable.value_from, how))
            for variable in container.env
        ),
        env_from=tuple(
            replace(
                source,
                config_map_ref=_named(source.config_map_ref, "ConfigMap", how),
                secret_ref=_named(source.secret_ref, "Secret", how),
            )
            for source in container.env_from
        ),
    )


def _source(source: core_v1.EnvVarSource, how: _Renaming) -> core_v1.EnvVarSource:
    return replace(
        source,
        config_map_key_ref=_named(source.config_map_key_ref, "ConfigMap", how),
        secret_key_ref=_named(source.secret_key_ref, "Secret", how),
    )


def _volume(volume: core_v1.Volume, how: _Renaming) -> core_v1.Volume:
    secret, projected = volume.secret, volume.projected
    if secret is not None:
        secret = replace(secret, secret_name=how(Config("Secret", secret.secret_name)))
    if projected is not None:
        sources = tuple(
            replace(
                source,
                config_map=_named(source.config_map, "ConfigMap", how),
                secret=_named(source.secret, "Secret", how),
            )
            for source in projected.sources
        )
        projected = replace(projected, sources=sources)
    return replace(volume, config_map=_named(volume.config_map, "ConfigMap", how), secret=secret, projected=projected)


def _named(reference: Any, kind: str, how: _Renaming) -> Any:
    return None if reference is None else replace(reference, name=how(Config(kind, reference.name)))
