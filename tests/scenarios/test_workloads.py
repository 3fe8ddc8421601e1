"""What workloads ask for by annotations, over a whole simulated cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from controlplane import admission
from controlplane.admission.request import Operation, Request, Settings
from controlplane.plan.script import Run
from mizzen.api import kinds, workloads
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.engine.writes import replacement

MINUTE_MS = 60_000


class Cluster:
    """Four nodes and six pods of a Deployment `web`, at rest."""

    def __init__(self, seed: int = 3) -> None:
        self.run = Run(seed)
        self.run.world.after(1_000, self.run._begin)
        self.go(1)

    def go(self, minutes: float) -> None:
        """Let so much time pass."""
        world = self.run.world
        world.run_until(world.now - world.start + round(minutes * MINUTE_MS))

    def get(self, kind: kinds.Kind[Any], name: str) -> Any:
        """An object that is there."""
        found = self.run.store.cache.get(kind, "default", name)
        assert found is not None
        return found

    def change(self, kind: kinds.Kind[Any], name: str, how: Callable[[Any], Any]) -> None:
        """Change an object as a user does."""
        old = self.get(kind, name)
        request = Request(Operation.UPDATE, kind, "default", name, how(old))
        view, world = self.run.store.cache, self.run.world
        admitted = admission.admit(request, old, view, world.now, world.ids, Settings())
        self.run.store.commit((replacement(admitted.object, int(old.metadata.resource_version)),))

    def web(self) -> apps_v1.Deployment:
        """The deployment."""
        found: apps_v1.Deployment = self.get(kinds.DEPLOYMENT, "web")
        return found

    def pods(self) -> list[core_v1.Pod]:
        """The pods that are to stay."""
        return [p for p in self.run.store.cache.list(kinds.POD) if p.metadata.deletion_timestamp is None]


def asking(**annotations: str) -> Callable[[Any], Any]:
    """Adds annotations of ours."""
    names = {f"{workloads.PREFIX}{name.replace('_', '-')}": value for name, value in annotations.items()}

    def change(obj: Any) -> Any:
        return replace(obj, metadata=replace(obj.metadata, annotations={**obj.metadata.annotations, **names}))

    return change


def with_image(image: str, **spec: Any) -> Callable[[Any], Any]:
    """Another image."""

    def change(obj: Any) -> Any:
        template = obj.spec.template
        container = replace(template.spec.containers[0], image=image)
        template = replace(template, spec=replace(template.spec, containers=(container,)))
        return replace(obj, spec=replace(obj.spec, template=template, **spec))

    return change


@pytest.fixture
def cluster() -> Cluster:
    """A fresh cluster."""
    return Cluster()


def test_a_revision_that_makes_no_progress_is_taken_back(cluster: Cluster) -> None:
    cluster.change(kinds.DEPLOYMENT, "web", asking(auto_rollback="true"))
    cluster.go(0.5)
    for tried in (1, 2):
        cluster.change(kinds.DEPLOYMENT, "web", with_image("web:v9", progress_deadline_seconds=60))
        cluster.go(4)
        web = cluster.web()
        assert {pod.spec.containers[0].image for pod in cluster.pods()} == {"web:v1"}
        assert (web.status.available_replicas, web.status.updated_replicas) == (6, 6)
        assert web.metadata.annotations[workloads.FAILED_REVISION] == str(2 * tried)
        assert [c.status for c in web.status.conditions if c.type == "RolledBack"] == ["True"]
    cluster.change(kinds.DEPLOYMENT, "web", with_image("web:v2"))
    cluster.go(2)
    assert {pod.spec.containers[0].image for pod in cluster.pods()} == {"web:v2"}
    assert workloads.FAILED_REVISION not in cluster.web().metadata.annotations
    assert not [c for c in cluster.web().status.conditions if c.type == "RolledBack"]


def test_nothing_is_taken_back_unasked(cluster: Cluster) -> None:
    cluster.change(kinds.DEPLOYMENT, "web", with_image("web:v9", progress_deadline_seconds=60))
    cluster.go(4)
    assert cluster.web().spec.template.spec.containers[0].image == "web:v9"


def shares(cluster: Cluster) -> dict[str, int]:
    """Available pods by image."""
    found: dict[str, int] = {}
    for rs in cluster.run.store.cache.list(kinds.REPLICA_SET):
        if rs.status.available_replicas:
            found[rs.spec.template.spec.containers[0].image] = rs.status.available_replicas
    return found


def progress(cluster: Cluster) -> str:
    """The reason of the deployment's progress."""
    return next(c.reason for c in cluster.web().status.conditions if c.type == "Progressing")


def test_a_canary_takes_its_steps_whoever_leads(cluster: Cluster) -> None:
    cluster.change(kinds.DEPLOYMENT, "web", asking(canary="20%, pause 3m, 50%, pause"))
    cluster.go(0.5)
    cluster.change(kinds.DEPLOYMENT, "web", with_image("web:v2", progress_deadline_seconds=60))
    cluster.go(2)
    assert (shares(cluster), progress(cluster)) == ({"web:v1": 4, "web:v2": 2}, "CanaryPaused")
    cluster.run._next_brain(0)
    cluster.go(4)
    assert (shares(cluster), progress(cluster)) == ({"web:v1": 3, "web:v2": 3}, "CanaryPaused")
    cluster.go(10)
    assert shares(cluster) == {"web:v1": 3, "web:v2": 3}
    cluster.change(kinds.DEPLOYMENT, "web", asking(promote="true"))
    cluster.go(2)
    assert (shares(cluster), progress(cluster)) == ({"web:v2": 6}, "NewReplicaSetAvailable")
    assert workloads.PROMOTE not in cluster.web().metadata.annotations


def test_a_canary_whose_pods_restart_goes_back(cluster: Cluster) -> None:
    cluster.change(kinds.DEPLOYMENT, "web", asking(canary="20%, pause"))
    cluster.go(0.5)
    cluster.change(kinds.DEPLOYMENT, "web", with_image("web:v2"))
    cluster.go(2)
    for node in cluster.run.nodes:
        for identity, state in list(node.runtime.containers.items()):
            if "web:v2" in state.image:
                node.runtime.end(identity, 1, cluster.run.world.now)
                node._step_later(state.pod.uid)
    cluster.go(3)
    assert shares(cluster) == {"web:v1": 6}
    assert cluster.web().metadata.annotations[workloads.FAILED_REVISION] == "2"
    assert any("of its canary has restarted" in line for line in cluster.run.world.trace)


def test_a_canary_is_skipped_as_a_whole(cluster: Cluster) -> None:
    cluster.change(kinds.DEPLOYMENT, "web", asking(canary="20%, pause, 50%, pause"))
    cluster.change(kinds.DEPLOYMENT, "web", with_image("web:v2"))
    cluster.go(1)
    assert progress(cluster) == "CanaryPaused"
    cluster.change(kinds.DEPLOYMENT, "web", asking(promote="full"))
    cluster.go(2)
    assert shares(cluster) == {"web:v2": 6}


def test_pods_start_after_what_they_depend_on(cluster: Cluster) -> None:
    def named(name: str, image: str, **notes: str) -> apps_v1.Deployment:
        spec = with_image(image)(cluster.web()).spec
        template = replace(spec.template, metadata=meta_v1.ObjectMeta(labels={"app": name}, annotations=notes))
        selector = meta_v1.LabelSelector(match_labels={"app": name})
        spec = replace(spec, replicas=2, selector=selector, template=template)
        return apps_v1.Deployment(metadata=meta_v1.ObjectMeta(name=name, namespace="default"), spec=spec)

    cluster.run.checkers.allow("app", 3)
    cluster.run.checkers.allow("db", 3)
    cluster.run._create(named("app", "web:v1", **{workloads.DEPENDS_ON: "deployment/db"}))
    cluster.go(1)
    gated = [pod for pod in cluster.pods() if workloads.is_gated(pod)]
    assert [pod.spec.node_name for pod in gated] == ["", ""]
    said = {c.message for pod in gated for c in pod.status.conditions if c.type == workloads.DEPENDENCIES_MET}
    assert said == {"deployment/db is not there"}
    cluster.run._create(named("db", "web:v2"))
    cluster.go(1)
    assert not [pod for pod in cluster.pods() if workloads.is_gated(pod)]
    assert cluster.get(kinds.DEPLOYMENT, "app").status.available_replicas == 2


def test_a_changed_config_rolls_and_an_undo_brings_it_back(cluster: Cluster) -> None:
    def colours() -> set[str]:
        """What the pods read."""
        names = {pod.spec.containers[0].env_from[0].config_map_ref.name for pod in cluster.pods()}  # type: ignore[union-attr]
        return {cluster.get(kinds.CONFIG_MAP, name).data["COLOUR"] for name in names}

    def reading(web: apps_v1.Deployment) -> apps_v1.Deployment:
        source = core_v1.EnvFromSource(config_map_ref=core_v1.ConfigMapEnvSource(name="settings"))
        (container,) = web.spec.template.spec.containers
        spec = replace(web.spec.template.spec, containers=(replace(container, env_from=(source,)),))
        changed = replace(web, spec=replace(web.spec, template=replace(web.spec.template, spec=spec)))
        return asking(config_rollout="true")(changed)  # type: ignore[no-any-return]

    metadata = meta_v1.ObjectMeta(name="settings", namespace="default")
    cluster.run._create(core_v1.ConfigMap(metadata=metadata, data={"COLOUR": "red"}))
    cluster.change(kinds.DEPLOYMENT, "web", reading)
    cluster.go(2)
    assert colours() == {"red"}
    red = cluster.web().spec.template
    cluster.change(kinds.CONFIG_MAP, "settings", lambda obj: replace(obj, data={"COLOUR": "blue"}))
    cluster.go(2)
    assert (colours(), cluster.web().status.updated_replicas) == ({"blue"}, 6)
    cluster.change(kinds.DEPLOYMENT, "web", lambda web: replace(web, spec=replace(web.spec, template=red)))
    cluster.go(2)
    assert (colours(), cluster.web().status.updated_replicas) == ({"red"}, 6)
