"""Rollouts of changed ConfigMaps and Secrets, and what an undo brings back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.reconcilers import configrollout, podtemplate
from mizzen.api import config_versions, kinds, workloads
from mizzen.api.config_versions import Config
from mizzen.api.types import apps_v1, core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Decision, Delete, Emit, Update
from mizzen.engine.overlay import Overlay
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, deployment, meta, replica_set, view

KEY = Key("deployments.apps", "default", "web")
MAP, SECRET = Config("ConfigMap", "settings"), Config("Secret", "password")


def settings(colour: str) -> core_v1.ConfigMap:
    return core_v1.ConfigMap(metadata=meta("settings"), data={"COLOUR": colour})


def spec_that_names(*configs: Config) -> core_v1.PodSpec:
    sources = tuple(
        core_v1.EnvFromSource(
            config_map_ref=core_v1.ConfigMapEnvSource(name=name) if kind == "ConfigMap" else None,
            secret_ref=core_v1.SecretEnvSource(name=name) if kind == "Secret" else None,
        )
        for kind, name in configs
    )
    return core_v1.PodSpec(containers=(core_v1.Container(name="web", image="web:v1", env_from=sources),))


def web(*configs: Config, on: str = "true") -> apps_v1.Deployment:
    made = deployment(1)
    template = replace(made.spec.template, spec=spec_that_names(*configs))
    metadata = replace(made.metadata, annotations={workloads.CONFIG_ROLLOUT: on})
    return replace(made, metadata=metadata, spec=replace(made.spec, template=template))


def decide(seen: Overlay) -> Decision:
    return configrollout.DEPLOYMENTS.reconcile(KEY, seen, NOW, SeededIds(1))


def settle(seen: Overlay) -> tuple[apps_v1.Deployment, list[str]]:
    """Decide until nothing more follows; the Deployment then, and the events."""
    told: list[str] = []
    for _ in range(5):
        decision = decide(seen)
        if not decision.effects:
            owner: Any = seen.get(kinds.DEPLOYMENT, "default", "web")
            return owner, told
        for effect in decision.effects:
            if isinstance(effect, Create | Update):
                seen.put(effect.object)
            elif isinstance(effect, Delete):
                seen.remove(kinds.CONFIG_MAP, effect.key.namespace, effect.key.name)
            elif isinstance(effect, Emit):
                told.append(effect.reason)
    raise AssertionError("it does not come to rest")


def pin(owner: apps_v1.Deployment) -> str:
    return config_versions.pins_of(owner.spec.template)[MAP]


def test_a_change_rolls_and_an_undo_stays() -> None:
    seen = view(web(MAP), settings("red"))
    red, told = settle(seen)
    assert told == ["ConfigKept"]
    revision = replace(replica_set("web-1", owner=red), spec=replace(replica_set().spec, template=red.spec.template))
    seen.put(revision)
    seen.put(settings("blue"))
    blue, told = settle(seen)
    assert told == ["ConfigRolledOut"]
    assert pin(blue) != pin(red)
    copy: Any = seen.get(kinds.CONFIG_MAP, "default", pin(red))
    assert (copy.data, copy.immutable) == ({"COLOUR": "red"}, True)
    for notes in (blue.metadata, replace(blue.metadata, annotations={workloads.CONFIG_ROLLOUT: "true"})):
        seen.put(replace(blue, metadata=notes, spec=red.spec))
        undone, told = settle(seen)
        assert (pin(undone), told) == (pin(red), [])
    seen.put(settings("green"))
    green, told = settle(seen)
    assert (pin(green) not in (pin(red), pin(blue)), told) == (True, ["ConfigRolledOut"])


def test_copies_go_with_the_revisions_that_use_them() -> None:
    seen = view(web(MAP), settings("red"))
    red, _ = settle(seen)
    seen.put(settings("blue"))
    blue, _ = settle(seen)
    names = {found.metadata.name for found in seen.list(kinds.CONFIG_MAP, "default")}
    assert names == {"settings", pin(blue)}
    assert pin(red) not in names


def test_what_is_not_there_is_read_by_name_until_it_is() -> None:
    seen = view(web(MAP))
    assert config_versions.is_awaited(web(MAP))
    early, told = settle(seen)
    assert (pin(early), told, config_versions.is_awaited(early)) == ("", [], False)
    seen.put(settings("red"))
    late, told = settle(seen)
    assert (pin(late) != "", told) == (True, ["ConfigKept"])


def test_tokens_are_no_content() -> None:
    token = core_v1.Secret(metadata=meta("password"), type="kubernetes.io/service-account-token", data={"token": b"t"})
    owner, told = settle(view(web(SECRET), token))
    assert (config_versions.pins_of(owner.spec.template), told) == ({SECRET: ""}, [])


@pytest.mark.parametrize("owner", [web(MAP, on="false"), replace(web(MAP), metadata=meta("web"))])
def test_who_does_not_ask_is_left_alone(owner: apps_v1.Deployment) -> None:
    assert decide(view(owner, settings("red"))) == Decision()
    assert not config_versions.is_awaited(owner)


def test_pods_use_the_copies_wherever_the_template_names_them() -> None:
    def of(kind: str, name: str) -> Any:
        return {"ConfigMap": core_v1.ConfigMapProjection, "Secret": core_v1.SecretProjection}[kind](name=name)

    spec = spec_that_names(MAP, SECRET)
    variables = (
        core_v1.EnvVar(name="A", value="plain"),
        core_v1.EnvVar(
            name="B",
            value_from=core_v1.EnvVarSource(
                config_map_key_ref=core_v1.ConfigMapKeySelector(name="settings", key="k"),
                secret_key_ref=core_v1.SecretKeySelector(name="password", key="k"),
            ),
        ),
    )
    sources = tuple(
        core_v1.VolumeProjection(config_map=of(*MAP) if number else None, secret=None if number else of(*SECRET))
        for number in range(2)
    )
    volumes = (
        core_v1.Volume(name="a", config_map=core_v1.ConfigMapVolumeSource(name="settings")),
        core_v1.Volume(name="b", secret=core_v1.SecretVolumeSource(secret_name="password")),
        core_v1.Volume(name="c", projected=core_v1.ProjectedVolumeSource(sources=sources)),
        core_v1.Volume(name="d", empty_dir=core_v1.EmptyDirVolumeSource()),
    )
    spec = replace(spec, containers=(replace(spec.containers[0], env=variables),), volumes=volumes)
    assert config_versions.referenced(spec) == (MAP, SECRET)
    notes = {workloads.CONFIG_VERSIONS: config_versions.render({MAP: "settings-1", SECRET: "password-1"})}
    template = core_v1.PodTemplateSpec(metadata=meta("", annotations=notes), spec=spec)
    made = podtemplate.named_pod(replica_set(), template, "p")
    assert config_versions.referenced(made.spec) == (Config("ConfigMap", "settings-1"), Config("Secret", "password-1"))


@pytest.mark.parametrize("text", ["settings", "Pod/a=b", "ConfigMap/=b", "ConfigMap/a"])
def test_pins_that_nobody_wrote(text: str) -> None:
    with pytest.raises(ValueError, match="remove the annotation, and it is written anew"):
        config_versions.parse(text)
