"""What the API refuses of pods."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import codec, defaults, kinds, validate
from mizzen.api.types import core_v1 as core

META = {"name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "1"}
CONTAINER = {"name": "c", "image": "i:1"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def pod(spec: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **container: Any) -> core.Pod:
    body = {
        "metadata": META | (metadata or {}),
        "spec": {"containers": [CONTAINER | container]} | (spec or {}),
    }
    return defaults.apply(codec.decode_dict(body, kinds.POD)[0])


def lines(obj: core.Pod) -> list[str]:
    return [str(error) for error in validate.validate_create(obj)]


def test_a_good_pod() -> None:
    spec = {
        "volumes": [
            {"name": "v"},
            {"name": "s", "secret": {"secretName": "s", "items": [{"key": "k", "path": "a/b"}]}},
        ],
        "initContainers": [
            {"name": "side", "image": "i", "restartPolicy": "Always", "readinessProbe": {"tcpSocket": {"port": 1}}},
            {"name": "init", "image": "i"},
        ],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
                ]
            }
        },
    }
    good = pod(
        spec,
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
        ports=[{"name": "http", "containerPort": 80}],
        env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}],
        resources={"limits": {"cpu": "1", "example.com/gpu": "1"}},
        livenessProbe={"httpGet": {"port": "http"}},
    )
    assert lines(good) == []


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        pytest.param({"image": ""}, ["spec.containers[0].image: Required value"], id="image"),
        pytest.param({"name": ""}, ["spec.containers[0].name: Required value"], id="name"),
        pytest.param(
            {"name": "A_b"}, ['spec.containers[0].name: Invalid value: "A_b": a lowercase RFC 1123'], id="name-form"
        ),
        pytest.param(
            {"name": "a.b"}, ['spec.containers[0].name: Invalid value: "a.b": must not contain dots'], id="dots"
        ),
        pytest.param(
            {"image": " i"},
            ['spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace'],
            id="image-space",
        ),
        pytest.param(
            {"imagePullPolicy": "Sometimes"},
            [
                'spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "If',
            ],
            id="pull-policy",
        ),
        pytest.param({"ports": [{}]}, ["spec.containers[0].ports[0].containerPort: Required value"], id="port"),
        pytest.param(
            {"ports": [{"containerPort": 70000}]},
            ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
            id="port-range",
        ),
        pytest.param(
            {"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]},
            ['spec.containers[0].ports[1].name: Duplicate value: "a"'],
            id="port-names",
        ),
        pytest.param(
            {"ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]},
            ['spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//5"'],
            id="host-ports",
        ),
        pytest.param(
            {"ports": [{"containerPort": 1, "protocol": "tcp"}]},
            ['spec.containers[0].ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'],
            id="protocol",
        ),
        pytest.param({"env": [{"value": "x"}]}, ["spec.containers[0].env[0].name: Required value"], id="env-name"),
        pytest.param(
            {"env": [{"name": "a=b"}]},
            ['spec.containers[0].env[0].name: Invalid value: "a=b": a valid environment variable name'],
            id="env-name-form",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
            ['spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
            id="env-both",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {}}]},
            ['spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`'],
            id="env-none",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}]},
            ['spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.foo"'],
            id="env-field",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}]},
            ['spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor'],
            id="env-divisor",
        ),
        pytest.param(
            {"envFrom": [{}]},
            ['spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'],
            id="env-from",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "x", "mountPath": "/x"}]},
            ['spec.containers[0].volumeMounts[0].name: Not found: "x"'],
            id="mount-of-nothing",
        ),
        pytest.param(
            {"livenessProbe": {}},
            ["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
            id="probe",
        ),
        pytest.param(
            {"livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}},
            ["spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
            id="two-handlers",
        ),
        pytest.param(
            {"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}},
            ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
            id="liveness-success",
        ),
        pytest.param(
            {"readinessProbe": {"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 2}},
            ["spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 2: must not be set"],
            id="readiness-grace",
        ),
        pytest.param(
            {"livenessProbe": {"httpGet": {"port": "UPPER", "scheme": "FTP"}}},
            [
                'spec.containers[0].livenessProbe.httpGet.port: Invalid value: "UPPER": must contain only',
                'spec.containers[0].livenessProbe.httpGet.port: Invalid value: "UPPER": must contain at least one',
                'spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "FTP"',
            ],
            id="http",
        ),
        pytest.param(
            {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
            ["spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than"],
            id="sleep",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
            id="request-over-limit",
        ),
        pytest.param(
            {"resources": {"requests": {"example.com/gpu": "1"}}},
            ["spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"],
            id="overcommit",
        ),
        pytest.param(
            {"resources": {"limits": {"cpu": "-1"}}},
            [
                'spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
                'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
            ],
            id="negative",
        ),
        pytest.param(
            {"resources": {"limits": {"disk": "1"}}},
            [
                'spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard resource type',
                'spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard resource for',
                'spec.containers[0].resources.requests[disk]: Invalid value: "disk": must be a standard resource type',
                'spec.containers[0].resources.requests[disk]: Invalid value: "disk": must be a standard resource for',
            ],
            id="unknown-resource",
        ),
        pytest.param(
            {"resources": {"limits": {"example.com/x": "500m"}}},
            [
                'spec.containers[0].resources.limits[example.com/x]: Invalid value: "500m": must be an integer',
                'spec.containers[0].resources.requests[example.com/x]: Invalid value: "500m": must be an integer',
            ],
            id="part-of-a-device",
        ),
        pytest.param(
            {"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
            ["spec.containers[0].securityContext: Invalid value: {"],
            id="escalation",
        ),
        pytest.param(
            {"securityContext": {"runAsUser": -1, "seccompProfile": {"type": "X"}}},
            [
                "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295",
                'spec.containers[0].securityContext.seccompProfile.type: Unsupported value: "X"',
            ],
            id="security",
        ),
        pytest.param(
            {"terminationMessagePolicy": "X"},
            ['spec.containers[0].terminationMessagePolicy: Unsupported value: "X"'],
            id="message-policy",
        ),
    ],
)
def test_container(container: dict[str, Any], expected: list[str]) -> None:
    compare(lines(pod(**container)), expected)


def compare(found: list[str], expected: list[str]) -> None:
    """Each found line begins with the expected one."""
    assert [line[: len(start)] for line, start in zip(found, expected, strict=False)] == expected, found
    assert len(found) == len(expected), found


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"containers": []}, ["spec.containers: Required value"], id="no-containers"),
        pytest.param(
            {"containers": [CONTAINER, CONTAINER]}, ['spec.containers[1].name: Duplicate value: "c"'], id="same-names"
        ),
        pytest.param(
            {"initContainers": [CONTAINER]}, ['spec.initContainers[0].name: Duplicate value: "c"'], id="init-same-name"
        ),
        pytest.param(
            {"initContainers": [{"name": "i", "image": "i", "livenessProbe": {"exec": {"command": ["a"]}}}]},
            ["spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers"],
            id="init-probe",
        ),
        pytest.param(
            {"ephemeralContainers": [{"name": "e", "image": "i"}]},
            ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
            id="ephemeral",
        ),
        pytest.param(
            {"restartPolicy": "Sometimes"},
            ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"'],
            id="restart-policy",
        ),
        pytest.param({"dnsPolicy": "x"}, ['spec.dnsPolicy: Unsupported value: "x"'], id="dns-policy"),
        pytest.param(
            {"dnsPolicy": "None"},
            ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
            id="dns",
        ),
        pytest.param(
            {"dnsConfig": {"nameservers": ["x"]}},
            ['spec.dnsConfig.nameservers[0]: Invalid value: "x": must be a valid IP address'],
            id="nameserver",
        ),
        pytest.param(
            {"nodeSelector": {"a b": "c"}}, ['spec.nodeSelector: Invalid value: "a b": name part'], id="node-selector"
        ),
        pytest.param(
            {"activeDeadlineSeconds": 0},
            ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
            id="deadline",
        ),
        pytest.param(
            {"hostname": "a.b"}, ['spec.hostname: Invalid value: "a.b": must not contain dots'], id="hostname"
        ),
        pytest.param(
            {"hostNetwork": True, "containers": [CONTAINER | {"ports": [{"containerPort": 1, "hostPort": 2}]}]},
            ["spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when"],
            id="host-network",
        ),
        pytest.param(
            {"tolerations": [{"operator": "Equal"}]},
            ['spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty'],
            id="toleration-key",
        ),
        pytest.param(
            {"tolerations": [{"key": "k", "operator": "Exists", "value": "v", "effect": "X", "tolerationSeconds": 1}]},
            [
                "spec.tolerations[0].effect: Invalid value: \"X\": effect must be 'NoExecute' when `tolerationSeconds`",
                'spec.tolerations[0].operator: Invalid value: {"key":"k","operator":"Exists","value":"v","effect":"X",',
                'spec.tolerations[0].effect: Unsupported value: "X": supported values: "NoExecute", "NoSchedule", ',
            ],
            id="toleration",
        ),
        pytest.param(
            {
                "affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
                }
            },
            [
                f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms: Required value: must have at least one node",
            ],
            id="node-affinity",
        ),
        pytest.param(
            {
                "affinity": {
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 0, "preference": {"matchExpressions": [{"key": "a", "operator": "In"}]}}
                        ]
                    }
                }
            },
            [
                f"spec.affinity.nodeAffinity.{PREFERRED}[0].weight: Invalid value: 0: must be in the range 1-100",
                f"spec.affinity.nodeAffinity.{PREFERRED}[0].preference.matchExpressions[0].values: Required value",
            ],
            id="preference",
        ),
        pytest.param(
            {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}},
            [
                f"spec.affinity.podAffinity.{REQUIRED}[0].topologyKey: Required value: can not be empty",
                f'spec.affinity.podAffinity.{REQUIRED}[0].topologyKey: Invalid value: "": name part must be non-empty',
                f'spec.affinity.podAffinity.{REQUIRED}[0].topologyKey: Invalid value: "": name part must consist of',
            ],
            id="pod-affinity",
        ),
        pytest.param(
            {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "X"}]},
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "X"',
            ],
            id="spreading",
        ),
        pytest.param(
            {"schedulingGates": [{"name": "g"}], "nodeName": "n"},
            ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
            id="gated",
        ),
        pytest.param(
            {"volumes": [{"name": "v"}, {"name": "v"}]},
            ['spec.volumes[1].name: Duplicate value: "v"'],
            id="same-volumes",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
            ["spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type"],
            id="two-sources",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "hostPath": {"path": "/a/../b", "type": "X"}}]},
            [
                "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                'spec.volumes[0].hostPath.type: Unsupported value: "X"',
            ],
            id="host-path",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "secret": {"defaultMode": 512, "items": [{"key": "k", "path": "/a"}]}}]},
            [
                "spec.volumes[0].secret.secretName: Required value",
                "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal)",
                'spec.volumes[0].secret.items[0].path: Invalid value: "/a": must be a relative path',
            ],
            id="secret-volume",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            [
                "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified",
            ],
            id="token-without-account",
        ),
        pytest.param(
            {"securityContext": {"sysctls": [{"name": "net.x"}, {"name": "net.x"}]}, "hostNetwork": True},
            [
                'spec.securityContext.sysctls[0].name: Invalid value: "net.x": may not be specified when',
                'spec.securityContext.sysctls[1].name: Duplicate value: "net.x"',
                'spec.securityContext.sysctls[1].name: Invalid value: "net.x": may not be specified when',
            ],
            id="sysctls",
        ),
    ],
)
def test_spec(spec: dict[str, Any], expected: list[str]) -> None:
    compare(lines(pod(spec)), expected)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"name": ""}, ["metadata.name: Required value: name or generateName is required"]),
        ({"name": "A"}, ['metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of']),
        ({"name": "a" * 254}, [f'metadata.name: Invalid value: "{"a" * 254}": must be no more than 253 characters']),
        ({"generateName": "a-"}, []),
        ({"generateName": "AB-"}, ['metadata.generateName: Invalid value: "AB-": a lowercase']),
        ({"namespace": ""}, ["metadata.namespace: Required value"]),
        ({"labels": {"a": "-"}}, ['metadata.labels: Invalid value: "-": a valid label must be']),
        ({"labels": {"a/b/c": ""}}, ['metadata.labels: Invalid value: "a/b/c": a valid label key']),
        ({"annotations": {"A/B": "x"}}, []),
        ({"annotations": {"-": "x"}}, ['metadata.annotations: Invalid value: "-": name part']),
        (
            {"annotations": {"a": "x" * 262145}},
            ["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        ({"finalizers": ["x y"]}, ['metadata.finalizers: Invalid value: "x y": name part']),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n"}]},
            ['metadata.ownerReferences.uid: Invalid value: "": must not be empty'],
        ),
    ],
    ids=lambda value: None,
)
def test_metadata(metadata: dict[str, Any], expected: list[str]) -> None:
    compare(lines(pod(metadata=metadata)), expected)


def test_two_controllers() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u", "controller": True}
    found = lines(pod(metadata={"ownerReferences": [owner | {"name": "a"}, owner | {"name": "b"}]}))
    assert len(found) == 1
    assert found[0].endswith('Found "true" in references for ReplicaSet/a and ReplicaSet/b')


def test_mirror_pods_have_a_node() -> None:
    compare(
        lines(pod(metadata={"annotations": {"kubernetes.io/config.mirror": "x"}})),
        ['metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName'],
    )
