"""What the API refuses of kinds other than pods."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import codec, defaults, kinds, patch, validate

META = {"name": "x", "namespace": "ns", "uid": "u", "resourceVersion": "1"}
CLUSTER_META = {key: value for key, value in META.items() if key != "namespace"}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
SELECTOR = {"matchLabels": {"app": "web"}}


def make(kind: kinds.Kind[Any], body: dict[str, Any]) -> Any:
    meta = META if kind.namespaced else CLUSTER_META
    body = {**body, "metadata": meta | body.get("metadata", {})}
    return defaults.apply(codec.decode_dict(body, kind)[0])


def created(kind: kinds.Kind[Any], **body: Any) -> list[str]:
    return [str(error) for error in validate.validate_create(make(kind, body))]


def updated(kind: kinds.Kind[Any], old: dict[str, Any], change: dict[str, Any]) -> list[str]:
    before = make(kind, old)
    after = patch.apply_merge_patch(codec.to_dict(before), change)
    new = defaults.apply(codec.decode_dict(after, kind)[0])
    return [str(error) for error in validate.validate_update(new, before)]


def compare(found: list[str], expected: list[str]) -> None:
    """Each found line begins with the expected one."""
    assert [line[: len(start)] for line, start in zip(found, expected, strict=False)] == expected, found
    assert len(found) == len(expected), found


GOOD: list[tuple[kinds.Kind[Any], dict[str, Any]]] = [
    (kinds.DEPLOYMENT, {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    (kinds.REPLICA_SET, {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    (kinds.SERVICE, {"spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}),
    (kinds.SERVICE, {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}),
    (kinds.SERVICE, {"spec": {"type": "ExternalName", "externalName": "example.com."}}),
    (kinds.SERVICE, {"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}),
    (kinds.CONFIG_MAP, {"data": {"a": "b"}, "binaryData": {"c": "AA=="}}),
    (kinds.SECRET, {"data": {"a": "AA=="}}),
    (kinds.SERVICE_ACCOUNT, {}),
    (kinds.NAMESPACE, {"spec": {"finalizers": ["kubernetes"]}}),
    (kinds.NODE, {"spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "4", "pods": "110"}}}),
    (kinds.LEASE, {"spec": {"leaseDurationSeconds": 10}}),
    (kinds.ENDPOINT_SLICE, {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 1}]}),
    (kinds.ENDPOINTS, {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}]}]}),
    (kinds.EVENT, {"involvedObject": {"namespace": "ns"}}),
    (
        kinds.EVENTS_EVENT,
        {
            "eventTime": "2024-01-01T00:00:00.000000Z",
            "reportingController": "a.io/b",
            "reportingInstance": "i",
            "action": "a",
            "reason": "r",
            "type": "Normal",
        },
    ),
]


@pytest.mark.parametrize(("kind", "body"), GOOD, ids=lambda value: getattr(value, "kind", ""))
def test_good(kind: kinds.Kind[Any], body: dict[str, Any]) -> None:
    assert created(kind, **body) == []
    assert updated(kind, body, {}) == []


def test_every_kind_has_rules() -> None:
    for kind in (kind for kind in kinds.KINDS if "create" in kind.verbs):
        validate.validate_create(kind.type())
        validate.validate_update(kind.type(), kind.type())
        validate.validate_status_update(kind.type(), kind.type())


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"selector": None}, ["spec.selector: Required value"], id="no-selector"),
        pytest.param(
            {"selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"], id="empty"
        ),
        pytest.param(
            {"selector": {"matchLabels": {"app": "other"}}},
            ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template'],
            id="mismatch",
        ),
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}},
            ['spec.selector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator'],
            id="operator",
        ),
        pytest.param(
            {"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"], id="replicas"
        ),
        pytest.param(
            {"strategy": {"type": "X"}},
            ['spec.strategy.type: Unsupported value: "X": supported values: "Recreate", "RollingUpdate"'],
            id="strategy",
        ),
        pytest.param(
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
            id="recreate",
        ),
        pytest.param(
            {"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}},
            ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
            id="stuck",
        ),
        pytest.param(
            {"strategy": {"rollingUpdate": {"maxUnavailable": "120%", "maxSurge": "x"}}},
            [
                'spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be',
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "120%": must not be greater than 100%',
            ],
            id="percent",
        ),
        pytest.param(
            {"progressDeadlineSeconds": 5, "minReadySeconds": 5},
            ["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
            id="deadline",
        ),
        pytest.param(
            {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}},  # type: ignore[dict-item]
            ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
            id="restart-policy",
        ),
        pytest.param(
            {"template": {**TEMPLATE, "spec": {"containers": [{"name": "c"}]}}},
            ["spec.template.spec.containers[0].image: Required value"],
            id="template",
        ),
    ],
)
def test_deployment(spec: dict[str, Any], expected: list[str]) -> None:
    compare(created(kinds.DEPLOYMENT, spec={"selector": SELECTOR, "template": TEMPLATE, **spec}), expected)


def test_selectors_stay() -> None:
    body = {"spec": {"selector": SELECTOR, "template": TEMPLATE}}
    change = {
        "spec": {
            "selector": {"matchLabels": {"app": None, "new": "x"}},
            "template": {"metadata": {"labels": {"new": "x"}}},
        }
    }
    expected = ['spec.selector: Invalid value: {"matchLabels":{"new":"x"}}: field is immutable']
    assert updated(kinds.DEPLOYMENT, body, change) == expected
    assert updated(kinds.REPLICA_SET, body, change) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, ["spec.ports: Required value"], id="no-ports"),
        pytest.param({"type": "X", "ports": [{"port": 1}]}, ['spec.type: Unsupported value: "X"'], id="type"),
        pytest.param(
            {"ports": [{"port": 1}, {"port": 2}]},
            ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
            id="names",
        ),
        pytest.param(
            {"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]},
            ['spec.ports[1]: Duplicate value: {"protocol":"TCP","port":1}'],
            id="duplicate",
        ),
        pytest.param(
            {"ports": [{"port": 0, "targetPort": "No_"}]},
            ["spec.ports[0].port: Invalid value: 0: must be", 'spec.ports[0].targetPort: Invalid value: "No_"'],
            id="port",
        ),
        pytest.param(
            {"ports": [{"port": 1, "nodePort": 30000}]},
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            id="node-port",
        ),
        pytest.param({"type": "ExternalName"}, ["spec.externalName: Required value"], id="external-name"),
        pytest.param(
            {"ports": [{"port": 1}], "clusterIP": "x", "clusterIPs": ["x"]},
            ['spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address'],
            id="address",
        ),
        pytest.param(
            {"ports": [{"port": 1}], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]},
            ['spec.clusterIPs: Invalid value: ["10.0.0.2"]: first value must match `clusterIP`'],
            id="two-addresses",
        ),
        pytest.param(
            {"type": "NodePort", "ports": [{"port": 1}], "clusterIP": "None", "clusterIPs": ["None"]},
            ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
            id="headless-node-port",
        ),
        pytest.param(
            {"ports": [{"port": 1}], "externalTrafficPolicy": "Local"},
            ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
            id="external-policy",
        ),
        pytest.param(
            {"ports": [{"port": 1}], "sessionAffinity": "X"},
            ['spec.sessionAffinity: Unsupported value: "X"'],
            id="affinity",
        ),
        pytest.param(
            {"ports": [{"port": 1}], "externalIPs": ["127.0.0.1"]},
            ['spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range'],
            id="loopback",
        ),
        pytest.param(
            {"ports": [{"port": 1}], "selector": {"a": "b c"}}, ['spec.selector: Invalid value: "b c"'], id="selector"
        ),
    ],
)
def test_service(spec: dict[str, Any], expected: list[str]) -> None:
    found = created(kinds.SERVICE, spec=spec)
    if spec.get("sessionAffinity") == "X":
        found = found[:1]
    compare(found, expected)


def test_service_names_begin_with_a_letter() -> None:
    compare(
        created(kinds.SERVICE, metadata={"name": "1a"}, spec={"ports": [{"port": 1}]}),
        ['metadata.name: Invalid value: "1a": a DNS-1035 label must consist of'],
    )


def test_service_addresses_stay() -> None:
    body = {"spec": {"ports": [{"port": 1}], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}}
    compare(
        updated(kinds.SERVICE, body, {"spec": {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}}),
        ['spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set'],
    )
    compare(
        updated(kinds.SERVICE, body, {"spec": {"clusterIP": None, "clusterIPs": None}}),
        ["spec.clusterIPs[0]: Invalid value: []: primary clusterIP can not be unset"],
    )


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (
            kinds.CONFIG_MAP,
            {"data": {"a b": ""}},
            ['data[a b]: Invalid value: "a b": a valid config key must consist of'],
        ),
        (kinds.CONFIG_MAP, {"data": {"..": ""}}, ["data[..]: Invalid value: \"..\": must not be '..'"]),
        (
            kinds.CONFIG_MAP,
            {"data": {"a": ""}, "binaryData": {"a": ""}},
            ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
        ),
        (kinds.CONFIG_MAP, {"data": {"a": "x" * 1048577}}, ["[]: Too long: may not be more than 1048576 bytes"]),
        (kinds.SECRET, {"stringData": {"a": "x" * 1048577}}, ["data: Too long: may not be more than 1048576 bytes"]),
        (
            kinds.SECRET,
            {"type": "kubernetes.io/tls"},
            ["data[tls.crt]: Required value", "data[tls.key]: Required value"],
        ),
        (
            kinds.SECRET,
            {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{"}},
            ['data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": '],
        ),
        (
            kinds.SECRET,
            {"type": "kubernetes.io/service-account-token"},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        (
            kinds.NAMESPACE,
            {"metadata": {"name": "a.b"}},
            ['metadata.name: Invalid value: "a.b": must not contain dots'],
        ),
        (
            kinds.NAMESPACE,
            {"metadata": {"namespace": "a"}},
            ["metadata.namespace: Forbidden: not allowed on this type"],
        ),
        (
            kinds.NODE,
            {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}},
            ['metadata.taints[1]: Duplicate value: {"key":"a","effect":"NoSchedule"}: taints must be unique'],
        ),
        (kinds.NODE, {"spec": {"taints": [{"key": "a"}]}}, ["metadata.taints[0].effect: Required value"]),
        (
            kinds.NODE,
            {"spec": {"podCIDRs": ["x"]}},
            ['spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value'],
        ),
        (
            kinds.LEASE,
            {"spec": {"leaseDurationSeconds": 0}},
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            kinds.ENDPOINT_SLICE,
            {"addressType": "IPv6", "endpoints": [{"addresses": ["10.0.0.1"]}, {}]},
            [
                'endpoints[0].addresses[0]: Invalid value: "10.0.0.1": must be an IPv6 address',
                "endpoints[1].addresses: Required value: must contain at least 1 address",
            ],
        ),
        (kinds.ENDPOINT_SLICE, {}, ["addressType: Required value"]),
        (kinds.ENDPOINTS, {"subsets": [{}]}, ["subsets[0]: Required value: must specify `addresses` or"]),
        (
            kinds.EVENT,
            {"involvedObject": {"namespace": "other"}},
            ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_others(kind: kinds.Kind[Any], body: dict[str, Any], expected: list[str]) -> None:
    compare(created(kind, **body), expected)


@pytest.mark.parametrize(
    ("kind", "old", "change", "expected"),
    [
        (
            kinds.CONFIG_MAP,
            {"immutable": True, "data": {"a": "b"}},
            {"data": {"a": "c"}, "immutable": False},
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ],
        ),
        (kinds.SECRET, {}, {"type": "x"}, ['type: Invalid value: "x": field is immutable']),
        (
            kinds.NODE,
            {"spec": {"podCIDR": "10.0.0.0/24"}},
            {"spec": {"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.1.0/24"]}},
            ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'],
        ),
        (kinds.NODE, {}, {"spec": {"podCIDR": "10.0.1.0/24", "unschedulable": True}}, []),
        (
            kinds.ENDPOINT_SLICE,
            {"addressType": "IPv4"},
            {"addressType": "IPv6"},
            ['addressType: Invalid value: "IPv6": field is immutable'],
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_updates(kind: kinds.Kind[Any], old: dict[str, Any], change: dict[str, Any], expected: list[str]) -> None:
    compare(updated(kind, old, change), expected)


def test_the_phase_of_a_namespace_follows_its_deletion() -> None:
    old = make(kinds.NAMESPACE, {})
    new = make(kinds.NAMESPACE, {"status": {"phase": "Terminating"}})
    errors = validate.validate_status_update(new, old)
    assert [str(error) for error in errors] == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_status_counts() -> None:
    body = {"spec": {"selector": SELECTOR, "template": TEMPLATE}}
    old = make(kinds.DEPLOYMENT, body)
    new = make(kinds.DEPLOYMENT, {**body, "status": {"replicas": 1, "readyReplicas": 2}})
    errors = validate.validate_status_update(new, old)
    assert [str(error) for error in errors] == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
    ]
