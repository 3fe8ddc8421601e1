"""Plays the controllers and the node's agent, as far as a client must see them act."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from controlplane.admission import Operation
from controlplane.server.verbs_write import WriteOptions
from mizzen.api import kinds, times
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.api_server import ApiServer

REVISION = "deployment.kubernetes.io/revision"
INTERNAL = WriteOptions(internal=True)
THEN = times.render(1_767_225_600_000)


async def roll_out(server: ApiServer, name: str, revision: int) -> None:
    """Bring a deployment to where its controller would: a replica set of this revision, everything available."""
    deployment = (await server.verbs.reads.get(kinds.DEPLOYMENT, "default", name)).object()
    await _replica_set(server, deployment, revision)
    replicas = deployment.spec.replicas or 0
    noted = replace(deployment.metadata, annotations={**deployment.metadata.annotations, REVISION: str(revision)})
    status = apps.DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=replicas,
        updated_replicas=replicas,
        ready_replicas=replicas,
        available_replicas=replicas,
        conditions=(apps.DeploymentCondition(type="Available", status="True", last_transition_time=THEN),),
    )
    await _status(server, replace(deployment, metadata=noted, status=status))


async def _replica_set(server: ApiServer, deployment: apps.Deployment, revision: int) -> None:
    owner = meta.OwnerReference(
        api_version="apps/v1", kind="Deployment", name=deployment.metadata.name, uid=deployment.metadata.uid,
        controller=True,
    )  # fmt: skip
    labels = {**deployment.spec.template.metadata.labels, "pod-template-hash": f"h{revision}"}
    template = deployment.spec.template
    replica_set = apps.ReplicaSet(
        metadata=meta.ObjectMeta(
            name=f"{deployment.metadata.name}-h{revision}", labels=labels, annotations={REVISION: str(revision)},
            owner_references=(owner,),
        ),
        spec=apps.ReplicaSetSpec(
            replicas=deployment.spec.replicas,
            selector=meta.LabelSelector(match_labels=labels),
            template=replace(template, metadata=replace(template.metadata, labels=labels)),
        ),
    )  # fmt: skip
    await server.verbs.writes.create(kinds.REPLICA_SET, "default", replica_set, INTERNAL)


async def run_pod(server: ApiServer, name: str, node: str = "n1") -> None:
    """Bring a pod to where scheduler and agent would."""
    binding = core.Binding(metadata=meta.ObjectMeta(name=name), target=core.ObjectReference(kind="Node", name=node))
    pod: core.Pod = (await server.verbs.bind("default", name, binding)).object
    statuses = tuple(
        core.ContainerStatus(
            name=container.name, image=container.image, ready=True, started=True, container_id="docker://1",
            state=core.ContainerState(running=core.ContainerStateRunning(started_at=THEN)),
        )
        for container in pod.spec.containers
    )  # fmt: skip
    ready = core.PodCondition(type="Ready", status="True", last_transition_time=THEN)
    status = replace(
        pod.status, phase="Running", container_statuses=statuses, conditions=(*pod.status.conditions, ready)
    )
    await _status(server, replace(pod, status=status))


async def _status(server: ApiServer, obj: Any) -> None:
    kind, metadata = kinds.kind_of(obj), obj.metadata
    await server.verbs.writes.update(kind, metadata.namespace, metadata.name, obj, INTERNAL, Operation.UPDATE_STATUS)
