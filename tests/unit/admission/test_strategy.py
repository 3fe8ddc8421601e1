"""Who owns which part of an object, and what counts as a new generation."""

from __future__ import annotations

from msgspec.structs import replace

from controlplane.admission import Operation
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.admission import Cluster

CLUSTER = Cluster.with_namespaces("shop")
CONTAINER = core.Container(name="c", image="img:1")
POD = core.Pod(metadata=meta.ObjectMeta(name="p"), spec=core.PodSpec(containers=(CONTAINER,)))
DEPLOYMENT = apps.Deployment(
    metadata=meta.ObjectMeta(name="web"),
    spec=apps.DeploymentSpec(
        selector=meta.LabelSelector(match_labels={"a": "b"}),
        template=core.PodTemplateSpec(
            metadata=meta.ObjectMeta(labels={"a": "b"}), spec=core.PodSpec(containers=(CONTAINER,))
        ),
    ),
)


def test_a_new_object_brings_no_status() -> None:
    made = CLUSTER.create(replace(POD, status=core.PodStatus(phase="Running", pod_ip="1.2.3.4")), "shop").object
    assert made.status == core.PodStatus(phase="Pending", qos_class="BestEffort")
    deployment = replace(DEPLOYMENT, status=apps.DeploymentStatus(replicas=3))
    assert CLUSTER.create(deployment, "shop").object.status == apps.DeploymentStatus()


def test_only_a_node_does() -> None:
    status = core.NodeStatus(capacity={"cpu": "2"})
    made = CLUSTER.create(core.Node(metadata=meta.ObjectMeta(name="n"), status=status), "").object
    assert made.status.capacity == {"cpu": "2"}


def test_the_generation_counts_changes_of_the_spec() -> None:
    old = CLUSTER.create(DEPLOYMENT, "shop").object
    assert old.metadata.generation == 1
    same = CLUSTER.update(replace(old, metadata=replace(old.metadata, labels={"x": "y"})), old).object
    assert same.metadata.generation == 1
    more = CLUSTER.update(replace(old, spec=replace(old.spec, replicas=3)), old).object
    assert more.metadata.generation == 2
    status = replace(old, status=apps.DeploymentStatus(replicas=1))
    assert CLUSTER.update(status, old, Operation.UPDATE_STATUS).object.metadata.generation == 1


def test_a_deployments_annotations_are_a_new_generation_unless_they_come_with_its_status() -> None:
    old = CLUSTER.create(DEPLOYMENT, "shop").object
    noted = replace(old, metadata=replace(old.metadata, annotations={"x": "y"}))
    assert CLUSTER.update(noted, old).object.metadata.generation == 2
    reported = CLUSTER.update(noted, old, Operation.UPDATE_STATUS).object
    assert (reported.metadata.annotations, reported.metadata.generation) == ({"x": "y"}, 1)


def test_an_update_leaves_the_status_and_a_status_update_the_spec() -> None:
    old = replace(CLUSTER.create(DEPLOYMENT, "shop").object, status=apps.DeploymentStatus(replicas=2))
    both = replace(old, spec=replace(old.spec, replicas=9), status=apps.DeploymentStatus(replicas=7))
    updated = CLUSTER.update(both, old).object
    assert (updated.spec.replicas, updated.status.replicas) == (9, 2)
    status = CLUSTER.update(both, old, Operation.UPDATE_STATUS).object
    assert (status.spec.replicas, status.status.replicas) == (old.spec.replicas, 7)


def test_what_changes_nothing_is_the_stored_object_itself() -> None:
    old = CLUSTER.create(DEPLOYMENT, "shop").object
    assert CLUSTER.update(DEPLOYMENT, old).object is old


def test_namespaces_are_marked_and_keep_their_finalizer() -> None:
    made = CLUSTER.create(core.Namespace(metadata=meta.ObjectMeta(name="new")), "").object
    assert made.metadata.labels == {"kubernetes.io/metadata.name": "new"}
    assert made.spec.finalizers == ("kubernetes",)
    assert made.status.phase == "Active"
    bare = replace(made, spec=core.NamespaceSpec())
    assert CLUSTER.update(bare, made).object == made
    assert CLUSTER.update(bare, made, internal=True).object.spec.finalizers == ()
    assert CLUSTER.update(bare, made, Operation.FINALIZE).object.spec.finalizers == ()


def test_repeated_variables_are_warned_of() -> None:
    env = (core.EnvVar(name="A", value="1"), core.EnvVar(name="A", value="2"))
    pod = replace(POD, spec=core.PodSpec(containers=(replace(CONTAINER, env=env),)))
    (warning,) = CLUSTER.create(pod, "shop").warnings
    assert warning.startswith('spec.containers[0].env[1]: hides previous definition of "A"')
