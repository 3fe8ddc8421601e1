"""What the API fills in."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import codec, defaults, kinds
from mizzen.api.defaults_pod import pull_policy
from mizzen.api.types import core_v1 as core


def defaulted(kind: kinds.Kind[Any], **body: Any) -> dict[str, Any]:
    obj, warnings = codec.decode_dict(body, kind)
    assert warnings == ()
    result = defaults.apply(obj)
    assert defaults.apply(result) is result, "defaults of what has its defaults change nothing"
    return codec.to_dict(result)


def pod(**spec: Any) -> dict[str, Any]:
    return dict(defaulted(kinds.POD, spec=spec)["spec"])


def container(**fields: Any) -> dict[str, Any]:
    return dict(pod(containers=[{"name": "c", "image": "i:1", **fields}])["containers"][0])


def volume(**fields: Any) -> dict[str, Any]:
    return dict(pod(volumes=[{"name": "v", **fields}])["volumes"][0])


CONTAINER = {
    "name": "c",
    "image": "i:1",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "IfNotPresent",
}


def test_pod() -> None:
    assert pod(containers=[{"name": "c", "image": "i:1"}]) == {
        "containers": [CONTAINER],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }


def test_what_is_set_stays() -> None:
    spec = {
        "containers": [],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "dnsPolicy": "Default",
        "securityContext": {"runAsUser": 0},
        "schedulerName": "mine",
        "enableServiceLinks": False,
    }
    assert pod(**spec) == spec


def test_service_account_by_either_name() -> None:
    for name in ("serviceAccount", "serviceAccountName"):
        spec = pod(**{name: "robot"})
        assert spec["serviceAccount"] == spec["serviceAccountName"] == "robot"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "a" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "a" * 64, "Always"),
        ("", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"ports": [{"containerPort": 1}]}, {"ports": [{"containerPort": 1, "protocol": "TCP"}]}),
        (
            {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}},
            {
                "resources": {
                    "limits": {"cpu": "1", "memory": "1Gi"},
                    "requests": {"cpu": "500m", "memory": "1Gi"},
                }
            },
        ),
        ({"resources": {"requests": {"cpu": "1n"}}}, {"resources": {"requests": {"cpu": "1m"}}}),
        (
            {"livenessProbe": {"httpGet": {"port": 80}}},
            {
                "livenessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                }
            },
        ),
        (
            {"readinessProbe": {"grpc": {"port": 80}, "periodSeconds": 3}},
            {
                "readinessProbe": {
                    "grpc": {"port": 80, "service": ""},
                    "timeoutSeconds": 1,
                    "periodSeconds": 3,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                }
            },
        ),
        (
            {"lifecycle": {"preStop": {"httpGet": {"port": "x"}}}},
            {"lifecycle": {"preStop": {"httpGet": {"port": "x", "path": "/", "scheme": "HTTP"}}}},
        ),
        (
            {
                "env": [
                    {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                    {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                ]
            },
            {
                "env": [
                    {"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "x"}}},
                    {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}},
                ]
            },
        ),
    ],
)
def test_container(given: dict[str, Any], made: dict[str, Any]) -> None:
    assert container(**given) == CONTAINER | made


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 420}}),
        ({"configMap": {"name": "s", "defaultMode": 0}}, {"configMap": {"name": "s", "defaultMode": 0}}),
        ({"hostPath": {"path": "/x"}}, {"hostPath": {"path": "/x", "type": ""}}),
        (
            {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "x"}}]}},
            {
                "downwardAPI": {
                    "items": [{"path": "a", "fieldRef": {"apiVersion": "v1", "fieldPath": "x"}}],
                    "defaultMode": 420,
                }
            },
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {
                "projected": {
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                    "defaultMode": 420,
                }
            },
        ),
    ],
)
def test_volume(given: dict[str, Any], made: dict[str, Any]) -> None:
    assert volume(**given) == {"name": "v", **made}


def test_host_network_takes_host_ports() -> None:
    spec = pod(hostNetwork=True, containers=[{"name": "c", "image": "i:1", "ports": [{"containerPort": 80}]}])
    assert spec["containers"][0]["ports"] == [{"hostPort": 80, "containerPort": 80, "protocol": "TCP"}]


def test_requests_of_the_whole_pod() -> None:
    wanted = {"limits": {"cpu": "4", "memory": "1Gi"}}
    spec = pod(resources=wanted, containers=[{"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "1"}}}])
    assert spec["resources"] == {**wanted, "requests": {"cpu": "1", "memory": "1Gi"}}


def test_template_gets_no_more_than_its_share() -> None:
    containers = [{"name": "c", "image": "i:1", "resources": {"limits": {"cpu": "1"}}, "ports": [{"containerPort": 1}]}]
    template = defaulted(
        kinds.DEPLOYMENT, spec={"template": {"spec": {"hostNetwork": True, "containers": containers}}}
    )["spec"]["template"]["spec"]
    assert "enableServiceLinks" not in template
    assert template["containers"][0]["resources"] == {"limits": {"cpu": "1"}}
    assert template["containers"][0]["ports"] == [{"containerPort": 1, "protocol": "TCP"}]
    assert template["restartPolicy"] == "Always"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (
            {},
            {
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            },
        ),
        (
            {
                "replicas": 0,
                "revisionHistoryLimit": 0,
                "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            },
            {
                "replicas": 0,
                "revisionHistoryLimit": 0,
                "progressDeadlineSeconds": 600,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            },
        ),
        (
            {"strategy": {"type": "Recreate"}},
            {
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                "strategy": {"type": "Recreate"},
            },
        ),
    ],
)
def test_deployment(given: dict[str, Any], made: dict[str, Any]) -> None:
    spec = defaulted(kinds.DEPLOYMENT, spec=given)["spec"]
    assert {key: spec[key] for key in made} == made


def test_replica_set() -> None:
    assert defaulted(kinds.REPLICA_SET)["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (
            {"ports": [{"port": 80}]},
            {
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
            },
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "targetPort": "http", "protocol": "UDP"}]},
            {
                "type": "NodePort",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "externalTrafficPolicy": "Cluster",
                "ports": [{"port": 80, "targetPort": "http", "protocol": "UDP"}],
            },
        ),
        (
            {"type": "LoadBalancer"},
            {
                "type": "LoadBalancer",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "externalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": True,
            },
        ),
        (
            {"type": "ExternalName", "externalName": "x"},
            {"type": "ExternalName", "externalName": "x", "sessionAffinity": "None"},
        ),
        (
            {"sessionAffinity": "ClientIP"},
            {
                "type": "ClusterIP",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "internalTrafficPolicy": "Cluster",
            },
        ),
    ],
)
def test_service(given: dict[str, Any], made: dict[str, Any]) -> None:
    assert defaulted(kinds.SERVICE, spec=given)["spec"] == made


def test_secret() -> None:
    made = defaulted(kinds.SECRET, data={"a": "MQ=="}, stringData={"b": "2"})
    assert (made["type"], made["data"]) == ("Opaque", {"a": "MQ==", "b": "Mg=="})
    assert "stringData" not in made


def test_namespace() -> None:
    made = defaulted(kinds.NAMESPACE, metadata={"name": "x", "labels": {"a": "b", "kubernetes.io/metadata.name": "y"}})
    assert made["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "x"}
    assert made["status"] == {"phase": "Active"}


def test_node() -> None:
    made = defaulted(kinds.NODE, spec={"podCIDR": "10.0.0.0/24"}, status={"capacity": {"cpu": "4"}})
    assert made["spec"]["podCIDRs"] == ["10.0.0.0/24"]
    assert made["status"]["allocatable"] == {"cpu": "4"}


def test_endpoints() -> None:
    assert defaulted(kinds.ENDPOINTS, subsets=[{"ports": [{"port": 1}]}])["subsets"][0]["ports"] == [
        {"port": 1, "protocol": "TCP"}
    ]
    assert defaulted(kinds.ENDPOINT_SLICE, ports=[{"port": 1}])["ports"] == [{"name": "", "port": 1, "protocol": "TCP"}]


def test_kinds_without_defaults_stay() -> None:
    config = core.ConfigMap(data={"a": "b"})
    assert defaults.apply(config) is config
