"""The texts that `kubectl get` prints."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from controlplane.server.tables import cluster, pods, render, services, workloads
from controlplane.server.tables.model import duration, selector_text
from mizzen.api import times
from mizzen.api.types import admissionregistration_v1 as admission
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import core_v1 as core
from mizzen.api.types import flowcontrol_v1 as flowcontrol
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import networking_v1 as networking
from mizzen.api.types import node_v1 as node
from mizzen.api.types import policy_v1 as policy
from mizzen.api.types import resource_v1 as resource
from mizzen.api.types import scheduling_v1 as scheduling
from mizzen.api.types import storage_v1 as storage

NOW = times.parse("2026-05-01T12:00:00Z")
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5 * SECOND, "<invalid>"),
        (-1 * SECOND, "0s"),
        (0, "0s"),
        (119 * SECOND, "119s"),
        (120 * SECOND, "2m"),
        (9 * MINUTE + 59 * SECOND, "9m59s"),
        (10 * MINUTE + 5 * SECOND, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (7 * HOUR + 30 * MINUTE, "7h30m"),
        (47 * HOUR, "47h"),
        (48 * HOUR, "2d"),
        (7 * DAY + 3 * HOUR, "7d3h"),
        (8 * DAY + 3 * HOUR, "8d"),
        (729 * DAY, "729d"),
        (730 * DAY, "2y"),
        (731 * DAY, "2y1d"),
        (365 * 8 * DAY, "8y"),
    ],
)
def test_durations_lose_precision_as_they_grow(ms: int, text: str) -> None:
    assert duration(ms) == text


def _status(name: str = "c", **changes: object) -> core.ContainerStatus:
    return core.ContainerStatus(name=name, **changes)  # type: ignore[arg-type]


def _running() -> core.ContainerState:
    return core.ContainerState(running=core.ContainerStateRunning())


def _ended(code: int, reason: str = "", signal: int = 0, finished: str = "") -> core.ContainerState:
    ended = core.ContainerStateTerminated(exit_code=code, reason=reason, signal=signal, finished_at=finished)
    return core.ContainerState(terminated=ended)


def _waiting(reason: str) -> core.ContainerState:
    return core.ContainerState(waiting=core.ContainerStateWaiting(reason=reason))


def _pod(
    *statuses: core.ContainerStatus,
    phase: str = "Running",
    init: tuple[core.ContainerStatus, ...] = (),
    deleted: bool = False,
    ready: bool = False,
    reason: str = "",
    sidecar: str = "",
) -> core.Pod:
    return core.Pod(
        metadata=meta.ObjectMeta(
            name="web-1",
            creation_timestamp=times.render(NOW - 90 * SECOND),
            deletion_timestamp=times.render(NOW) if deleted else None,
        ),
        spec=core.PodSpec(
            containers=tuple(core.Container(name=s.name) for s in statuses),
            init_containers=tuple(
                core.Container(name=s.name, restart_policy="Always" if s.name == sidecar else None) for s in init
            ),
        ),
        status=core.PodStatus(
            phase=phase,
            reason=reason,
            container_statuses=statuses,
            init_container_statuses=init,
            conditions=(core.PodCondition(type="Ready", status="True"),) if ready else (),
        ),
    )


@pytest.mark.parametrize(
    ("pod", "ready", "status"),
    [
        (_pod(_status(), phase="Pending"), "0/1", "Pending"),
        (_pod(_status(ready=True, state=_running())), "1/1", "Running"),
        (_pod(_status(state=_waiting("CrashLoopBackOff"))), "0/1", "CrashLoopBackOff"),
        (_pod(_status(state=_waiting("ErrImagePull")), phase="Pending"), "0/1", "ErrImagePull"),
        (_pod(_status(state=_ended(0, "Completed")), phase="Succeeded"), "0/1", "Completed"),
        (_pod(_status(state=_ended(137, "OOMKilled")), phase="Failed"), "0/1", "OOMKilled"),
        (_pod(_status(state=_ended(3))), "0/1", "ExitCode:3"),
        (_pod(_status(state=_ended(137, signal=9))), "0/1", "Signal:9"),
        (_pod(_status(state=_running()), deleted=True), "0/1", "Terminating"),
        (_pod(_status(state=_ended(0, "Completed")), deleted=True, phase="Succeeded"), "0/1", "Completed"),
        (_pod(_status(state=_running()), deleted=True, reason="NodeLost"), "0/1", "Unknown"),
        (_pod(_status(), phase="Failed", reason="Evicted"), "0/1", "Evicted"),
        (_pod(_status(), phase="Pending", init=(_status("i", state=_running()),)), "0/1", "Init:0/1"),
        (_pod(_status(), phase="Pending", init=(_status("i", state=_waiting("PodInitializing")),)), "0/1", "Init:0/1"),
        (_pod(_status(), phase="Pending", init=(_status("i", state=_waiting("ErrImagePull")),)), "0/1",
         "Init:ErrImagePull"),
        (_pod(_status(), phase="Pending", init=(_status("i", state=_ended(2, "Error")),)), "0/1", "Init:Error"),
        (_pod(_status(), phase="Pending", init=(_status("i", state=_ended(2)),)), "0/1", "Init:ExitCode:2"),
        (_pod(_status(), phase="Pending", init=(_status("i", state=_ended(0)), _status("j"))), "0/1", "Init:1/2"),
        (_pod(_status("a", ready=True, state=_running()), _status("b", state=_ended(0, "Completed")), ready=True),
         "1/2", "Running"),
        (_pod(_status("a", ready=True, state=_running()), _status("b", state=_ended(0, "Completed"))), "1/2",
         "NotReady"),
        (_pod(_status("a", ready=True, state=_running()),
              init=(_status("s", state=_running(), ready=True, started=True),), sidecar="s"), "2/2", "Running"),
    ],
)  # fmt: skip
def test_the_status_of_a_pod(pod: core.Pod, ready: str, status: str) -> None:
    assert pods.pod_row(pod, NOW).cells[:5] == ("web-1", ready, status, "0", "90s")


def test_a_gated_pod_says_so() -> None:
    pod = core.Pod(
        status=core.PodStatus(
            phase="Pending",
            conditions=(core.PodCondition(type="PodScheduled", status="False", reason="SchedulingGated"),),
        )
    )
    assert pods.pod_row(pod, NOW).cells[2] == "SchedulingGated"


def test_restarts_name_the_last_one() -> None:
    pod = _pod(
        _status("a", restart_count=2, last_state=_ended(1, finished=times.render(NOW - 5 * MINUTE))),
        _status("b", restart_count=1, last_state=_ended(1, finished=times.render(NOW - 9 * MINUTE))),
    )
    assert pods.pod_row(pod, NOW).cells[3] == "3 (5m ago)"


def test_the_wide_cells_of_a_pod() -> None:
    pod = core.Pod(
        spec=core.PodSpec(node_name="n1", readiness_gates=(core.PodReadinessGate(condition_type="x"),)),
        status=core.PodStatus(pod_ips=(core.PodIP(ip="10.1.0.4"),)),
    )
    assert pods.pod_row(pod, NOW).cells[5:] == ("10.1.0.4", "n1", "<none>", "0/1")
    assert pods.pod_row(core.Pod(), NOW).cells[5:] == ("<none>",) * 4


def test_a_deployment() -> None:
    spec = apps.DeploymentSpec(
        replicas=3,
        selector=meta.LabelSelector(
            match_labels={"b": "2", "a": "1"},
            match_expressions=(meta.LabelSelectorRequirement(key="c", operator="In", values=("y", "x")),),
        ),
        template=core.PodTemplateSpec(spec=core.PodSpec(containers=(core.Container(name="c", image="img:1"),))),
    )
    row = workloads.deployment_row(
        apps.Deployment(
            metadata=meta.ObjectMeta(name="web"), spec=spec, status=apps.DeploymentStatus(ready_replicas=2)
        ),
        NOW,
    )
    assert row.cells == ("web", "2/3", 0, 0, "<unknown>", "c", "img:1", "a=1,b=2,c in (x,y)")


def test_selectors_without_a_term() -> None:
    assert selector_text(None) == selector_text(meta.LabelSelector()) == "<none>"
    gone = meta.LabelSelectorRequirement(key="k", operator="DoesNotExist")
    there = meta.LabelSelectorRequirement(key="l", operator="Exists")
    assert selector_text(meta.LabelSelector(match_expressions=(there, gone))) == "!k,l"


@pytest.mark.parametrize(
    ("spec", "ingress", "external"),
    [
        (core.ServiceSpec(type="ClusterIP"), (), "<none>"),
        (core.ServiceSpec(type="NodePort", external_ips=("1.2.3.4", "5.6.7.8")), (), "1.2.3.4,5.6.7.8"),
        (core.ServiceSpec(type="LoadBalancer"), (), "<pending>"),
        (core.ServiceSpec(type="LoadBalancer"), (core.LoadBalancerIngress(ip="9.9.9.9"),), "9.9.9.9"),
        (core.ServiceSpec(type="ExternalName", external_name="a.example"), (), "a.example"),
    ],
)
def test_the_external_addresses_of_a_service(
    spec: core.ServiceSpec, ingress: tuple[core.LoadBalancerIngress, ...], external: str
) -> None:
    status = core.ServiceStatus(load_balancer=core.LoadBalancerStatus(ingress=ingress))
    assert services.service_row(core.Service(spec=spec, status=status), NOW).cells[3] == external


def test_the_ports_of_a_service() -> None:
    ports = (
        core.ServicePort(port=80, protocol="TCP", node_port=30080),
        core.ServicePort(port=53, protocol="UDP"),
    )
    assert services.service_row(core.Service(spec=core.ServiceSpec(ports=ports)), NOW).cells[4] == "80:30080/TCP,53/UDP"


def test_endpoints_beyond_three_are_counted() -> None:
    subset = core.EndpointSubset(
        addresses=tuple(core.EndpointAddress(ip=f"10.0.0.{i}") for i in range(1, 6)),
        ports=(core.EndpointPort(port=80),),
    )
    row = services.endpoints_row(core.Endpoints(subsets=(subset,)), NOW)
    assert row.cells[1] == "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."


def test_a_node() -> None:
    node = core.Node(
        metadata=meta.ObjectMeta(name="n1", labels={"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "db"}),
        spec=core.NodeSpec(unschedulable=True),
        status=core.NodeStatus(
            conditions=(core.NodeCondition(type="Ready", status="Unknown"),),
            addresses=(core.NodeAddress(type="InternalIP", address="10.0.0.1"),),
        ),
    )
    assert cluster.node_row(node, NOW).cells == (
        "n1", "NotReady,SchedulingDisabled", "db,worker", "<unknown>", "", "10.0.0.1", "<none>",
        "<unknown>", "<unknown>", "<unknown>",
    )  # fmt: skip
    assert cluster.node_row(core.Node(), NOW).cells[1:3] == ("Unknown", "<none>")


def test_an_event() -> None:
    event = core.Event(
        metadata=meta.ObjectMeta(name="e"),
        involved_object=core.ObjectReference(kind="Pod", name="web-1", field_path="spec.containers{c}"),
        type="Warning",
        reason="BackOff",
        message=" restarting \n",
        source=core.EventSource(component="kubelet", host="n1"),
        first_timestamp=times.render(NOW - HOUR * 4),
        last_timestamp=times.render(NOW - MINUTE),
        count=7,
    )
    assert cluster.event_row(event, NOW).cells == (
        "60s", "Warning", "BackOff", "pod/web-1", "spec.containers{c}", "kubelet, n1", "restarting", "4h", 7, "e",
    )  # fmt: skip


def test_a_table_carries_the_stored_metadata_of_its_rows() -> None:
    config_map = core.ConfigMap(
        metadata=meta.ObjectMeta(name="cm", resource_version="7", labels={"a": "b"}), data={"k": "v"}
    )
    raw = msgspec.json.encode(config_map)
    rows = [(render.row(core.ConfigMap, config_map, raw, NOW), raw)]
    made = json.loads(
        render.rows(rows, NOW).join(render.table(core.ConfigMap, list_metadata=b'{"resourceVersion":"9"}'))
    )
    assert made["kind"] == "Table"
    assert made["apiVersion"] == "meta.k8s.io/v1"
    assert made["metadata"] == {"resourceVersion": "9"}
    assert [c["name"] for c in made["columnDefinitions"]] == ["Name", "Data", "Age"]
    (row,) = made["rows"]
    assert row["cells"] == ["cm", 1, "<unknown>"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"] == {"name": "cm", "resourceVersion": "7", "labels": {"a": "b"}}
    whole = json.loads(render.rows(rows, NOW, include="Object").join(render.table(core.ConfigMap, headed=False)))
    assert whole["columnDefinitions"] == []
    assert whole["rows"][0]["object"] == json.loads(raw)
    bare = json.loads(render.rows(rows, NOW, include="None").join(render.table(core.ConfigMap)))
    assert "object" not in bare["rows"][0]


def test_a_row_that_is_kept_is_shown_with_the_ages_of_the_moment() -> None:
    metadata = meta.ObjectMeta(name="p", creation_timestamp=times.render(NOW - MINUTE))
    kept = core.Pod(metadata=metadata)
    raw = msgspec.json.encode(kept)
    row = render.row(core.Pod, kept, raw, NOW)
    for now in (NOW, NOW + MINUTE, NOW + 60 * MINUTE):
        made = json.loads(render.rows([(row, raw)], now).join(render.table(core.Pod)))
        assert made["rows"][0]["cells"] == list(pods.pod_row(kept, now).cells)


def test_a_text_that_looks_like_an_age_is_shown_as_it_is() -> None:
    event = core.Event(message=f"at \0{NOW}\0", last_timestamp=times.render(NOW - MINUTE))
    raw = msgspec.json.encode(event)
    assert not render.lasts(raw)
    made = json.loads(render.rows([(render.row(core.Event, event, raw, NOW), raw)], NOW).join(render.table(core.Event)))
    assert made["rows"][0]["cells"] == list(cluster.event_row(event, NOW).cells)


_FACTS_NAMES = {
    "pod": core.Pod, "replicaSet": apps.ReplicaSet, "service": core.Service, "endpoint": core.Endpoints,
    "node": core.Node, "event": core.Event, "namespace": core.Namespace, "secret": core.Secret,
    "serviceAccount": core.ServiceAccount, "deployment": apps.Deployment, "configMap": core.ConfigMap,
    "podTemplate": core.PodTemplate, "replicationController": core.ReplicationController,
    "daemonSet": apps.DaemonSet, "statefulSet": apps.StatefulSet, "job": batch.Job, "cronJob": batch.CronJob,
    "controllerRevisionColumnDefinition": apps.ControllerRevision, "persistentVolume": core.PersistentVolume,
    "persistentVolumeClaim": core.PersistentVolumeClaim, "resourceQuota": core.ResourceQuota,
    "ingress": networking.Ingress, "ingressClass": networking.IngressClass,
    "networkPolicyColumnDefinitioins": networking.NetworkPolicy, "ipAddress": networking.IPAddress,
    "serviceCIDR": networking.ServiceCIDR, "podDisruptionBudget": policy.PodDisruptionBudget,
    "horizontalPodAutoscaler": autoscaling.HorizontalPodAutoscaler, "storageClass": storage.StorageClass,
    "volumeAttributesClass": storage.VolumeAttributesClass, "volumeAttachment": storage.VolumeAttachment,
    "csiNode": storage.CSINode, "csiStorageCapacity": storage.CSIStorageCapacity,
    "priorityClass": scheduling.PriorityClass, "runtimeClass": node.RuntimeClass,
    "flowSchema": flowcontrol.FlowSchema, "priorityLevel": flowcontrol.PriorityLevelConfiguration,
    "deviceClass": resource.DeviceClass, "resourceClaim": resource.ResourceClaim,
    "resourceClaimTemplate": resource.ResourceClaimTemplate, "nodeResourceSlice": resource.ResourceSlice,
    "mutatingWebhook": admission.MutatingWebhookConfiguration,
    "validatingWebhook": admission.ValidatingWebhookConfiguration,
    "validatingAdmissionPolicy": admission.ValidatingAdmissionPolicy,
    "validatingAdmissionPolicyBinding": admission.ValidatingAdmissionPolicyBinding,
    "mutatingAdmissionPolicy": admission.MutatingAdmissionPolicy,
    "mutatingAdmissionPolicyBinding": admission.MutatingAdmissionPolicyBinding,
}  # fmt: skip


_FACTS_TYPES = {"integer": ":integer", "boolean": ":boolean"}


def test_the_columns_are_those_of_the_facts(upstream: Path) -> None:
    facts = {}
    for line in (upstream / "table_columns.txt").read_text().splitlines():
        name, _, columns = line.partition(": ")
        facts[name] = columns
    for name, type_ in _FACTS_NAMES.items():
        made = json.loads(b"".join(render.table(type_)))["columnDefinitions"]
        texts = [
            column["name"] + _FACTS_TYPES.get(column["type"], "") + ("*" if column["priority"] else "")
            for column in made
        ]
        assert ", ".join(texts) == facts[name], name
