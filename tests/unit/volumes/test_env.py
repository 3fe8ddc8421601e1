"""The environment of containers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.lifecycle.env import environment, expand, expand_path, service_variables
from tests.unit.volumes.pods import UID, config_map, pod, secret, service


def _env(*variables: core.EnvVar, sources: Sources | None = None, **container: Any) -> dict[str, str]:
    main = core.Container(name="main", env=variables, **container)
    return environment(pod(containers=(main,)), main, sources or Sources())


def _from_key(**source: Any) -> core.EnvVar:
    return core.EnvVar(name="X", value_from=core.EnvVarSource(**source))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "one"),
        ("-$(A)$(A)-", "-oneone-"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$(NONE)", "$(NONE)"),
        ("$(A", "$(A"),
        ("$A ${A} $", "$A ${A} $"),
        ("$()", "$()"),
        ("$(A$(A))", "$(A$(A))"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "one"}) == expected


@given(st.text(alphabet="$()AB ", max_size=30))
@settings(max_examples=300, deadline=None)
def test_expanding_never_fails_and_leaves_text_without_dollars_alone(text: str) -> None:
    found = expand(text, {"A": "a"})
    assert "$" in text or found == text


def test_later_variables_see_earlier_ones() -> None:
    found = _env(
        core.EnvVar(name="A", value="1"),
        core.EnvVar(name="B", value="$(A)2"),
        core.EnvVar(name="C", value="$(D)"),
        core.EnvVar(name="D", value="4"),
    )
    assert found == {"A": "1", "B": "12", "C": "$(D)", "D": "4"}
    assert list(found) == ["A", "B", "C", "D"]


def test_env_from_comes_first_and_env_wins() -> None:
    sources = Sources(
        config_maps={"c": config_map("c", {"KEY": "map", "ONLY": "c"})}, secrets={"s": secret("s", KEY=b"secret")}
    )
    found = _env(
        core.EnvVar(name="ONLY", value="$(P_KEY)!"),
        sources=sources,
        env_from=(
            core.EnvFromSource(config_map_ref=core.ConfigMapEnvSource(name="c")),
            core.EnvFromSource(prefix="P_", secret_ref=core.SecretEnvSource(name="s")),
            core.EnvFromSource(config_map_ref=core.ConfigMapEnvSource(name="none", optional=True)),
        ),
    )
    assert found == {"KEY": "map", "ONLY": "secret!", "P_KEY": "secret"}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (
            {"env_from": (core.EnvFromSource(config_map_ref=core.ConfigMapEnvSource(name="x")),)},
            'configmap "x" not found',
        ),
        ({"env_from": (core.EnvFromSource(secret_ref=core.SecretEnvSource(name="x")),)}, 'secret "x" not found'),
        (
            {"env": (_from_key(config_map_key_ref=core.ConfigMapKeySelector(name="c", key="k")),)},
            "couldn't find key k in ConfigMap shop/c",
        ),
        (
            {"env": (_from_key(secret_key_ref=core.SecretKeySelector(name="s", key="k")),)},
            "couldn't find key k in Secret shop/s",
        ),
        (
            {"env": (_from_key(secret_key_ref=core.SecretKeySelector(name="t", key="k")),)},
            'secret "t" not found',
        ),
        (
            {"env": (_from_key(field_ref=core.ObjectFieldSelector(field_path="spec.nope")),)},
            "field label not supported: spec.nope",
        ),
    ],
)
def test_what_is_missing_is_named(container: dict[str, Any], message: str) -> None:
    main = core.Container(name="main", **container)
    sources = Sources(config_maps={"c": config_map("c")}, secrets={"s": secret("s")})
    with pytest.raises(ConfigError) as failure:
        environment(pod(containers=(main,)), main, sources)
    assert failure.value.message == message
    assert failure.value.reason == "CreateContainerConfigError"


def test_optional_references_leave_the_variable_out() -> None:
    sources = Sources(config_maps={"c": config_map("c", {"k": "v"})})
    assert (
        _env(
            _from_key(config_map_key_ref=core.ConfigMapKeySelector(name="none", key="k", optional=True)),
            _from_key(secret_key_ref=core.SecretKeySelector(name="none", key="k", optional=True)),
            _from_key(config_map_key_ref=core.ConfigMapKeySelector(name="c", key="none", optional=True)),
            sources=sources,
        )
        == {}
    )
    assert _env(_from_key(config_map_key_ref=core.ConfigMapKeySelector(name="c", key="k")), sources=sources) == {
        "X": "v"
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", UID),
        ("metadata.labels['a.b/c']", 'x"y'),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "10.0.0.1"),
        ("status.podIPs", "10.0.0.1,fd00::1"),
        ("status.hostIP", "192.0.2.1"),
    ],
)
def test_fields_of_the_pod(path: str, expected: str) -> None:
    main = core.Container(name="main", env=(_from_key(field_ref=core.ObjectFieldSelector(field_path=path)),))
    sources = Sources(pod_ips=("10.0.0.1", "fd00::1"), host_ips=("192.0.2.1",))
    subject = pod(containers=(main,), node_name="node-1", service_account_name="robot")
    assert environment(subject, main, sources) == {"X": expected}


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", "", "1"),
        ("limits.cpu", "1m", "250"),
        ("limits.memory", "", "67108864"),
        ("limits.memory", "1Mi", "64"),
        ("limits.memory", "1Gi", "1"),
        ("requests.cpu", "1m", "100"),
        ("requests.memory", "0", "0"),
        ("limits.ephemeral-storage", "1Gi", "10"),
    ],
)
def test_resources_of_the_container(resource: str, divisor: str, expected: str) -> None:
    ref = core.ResourceFieldSelector(resource=resource, divisor=divisor)
    found = _env(
        _from_key(resource_field_ref=ref),
        resources=core.ResourceRequirements(limits={"cpu": "250m", "memory": "64Mi"}, requests={"cpu": "100m"}),
        sources=Sources(allocatable={"ephemeral-storage": "10Gi"}),
    )
    assert found == {"X": expected}


def test_services_of_the_namespace() -> None:
    http = core.ServicePort(name="http-web", port=80)
    dns = core.ServicePort(name="dns", port=53, protocol="UDP")
    services = (
        service("my-svc", "10.96.0.7", http, dns),
        service("headless", "None", http),
        service("elsewhere", "10.96.0.8", http, namespace="other"),
        service("kubernetes", "10.96.0.1", core.ServicePort(name="https", port=443), namespace="default"),
    )
    found = service_variables(pod(), services)
    assert {name: value for name, value in found.items() if name.startswith("MY_SVC")} == {
        "MY_SVC_SERVICE_HOST": "10.96.0.7",
        "MY_SVC_SERVICE_PORT": "80",
        "MY_SVC_SERVICE_PORT_HTTP_WEB": "80",
        "MY_SVC_SERVICE_PORT_DNS": "53",
        "MY_SVC_PORT": "tcp://10.96.0.7:80",
        "MY_SVC_PORT_80_TCP": "tcp://10.96.0.7:80",
        "MY_SVC_PORT_80_TCP_PROTO": "tcp",
        "MY_SVC_PORT_80_TCP_PORT": "80",
        "MY_SVC_PORT_80_TCP_ADDR": "10.96.0.7",
        "MY_SVC_PORT_53_UDP": "udp://10.96.0.7:53",
        "MY_SVC_PORT_53_UDP_PROTO": "udp",
        "MY_SVC_PORT_53_UDP_PORT": "53",
        "MY_SVC_PORT_53_UDP_ADDR": "10.96.0.7",
    }
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert not [name for name in found if name.startswith(("HEADLESS", "ELSEWHERE"))]
    assert {name.partition("_")[0] for name in service_variables(pod(enable_service_links=False), services)} == {
        "KUBERNETES"
    }


def test_services_yield_to_env_but_can_be_referred_to() -> None:
    sources = Sources(services=(service("db", "10.96.0.9", core.ServicePort(port=5432)),))
    found = _env(
        core.EnvVar(name="DB_SERVICE_HOST", value="mine"),
        core.EnvVar(name="URL", value="$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)"),
        sources=sources,
    )
    assert found["DB_SERVICE_HOST"] == "mine"
    assert found["URL"] == "mine:5432"


def test_a_path_with_an_unknown_variable_is_an_error() -> None:
    assert expand_path("logs/$(POD)", {"POD": "web"}) == "logs/web"
    with pytest.raises(ConfigError, match='missing value for "NONE"'):
        expand_path("logs/$(NONE)", {"POD": "web"})
