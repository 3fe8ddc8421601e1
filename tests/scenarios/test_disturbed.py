"""Every controller, disturbed: its leader changes after each write, or it sees the cluster late and skips states.

A story is told once as it should be, and again in each of these ways; the end has to be the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import surging
from controlplane.admission.deletion import Deletion, delete
from controlplane.admission.effects import write_of
from controlplane.admission.request import Settings
from controlplane.plan import brain
from controlplane.reconcilers import podstate
from mizzen.api import errors, kinds, workloads
from mizzen.api.types import (
    admissionregistration_v1,
    apps_v1,
    batch_v1,
    core_v1,
    discovery_v1,
    meta_v1,
    policy_v1,
    rbac_v1,
)
from mizzen.engine.effects import Evict
from mizzen.engine.writes import removal, replacement
from tests.fixtures.definitions import definition
from tests.fixtures.likeness import likeness
from tests.scenarios import autoscaled, expired
from tests.scenarios.test_controllers import APP, LOST_MS, SELECTOR, Story, named, template
from tests.scenarios.volume_stories import (
    attached,
    ended_attached,
    ended_shared_volumes,
    ended_volumes,
    shared_volumes,
    volumes,
)

COMPARED = tuple(kind for kind in kinds.KINDS if kind.stored and kind not in (kinds.EVENT, kinds.LEASE))
CHANGE_MS = 200
"""How soon a leader is followed by the next one."""
LATE_MS = (800, 3_000)
"""How late news comes to who sees the cluster late; what happens meanwhile is seen in one."""


class Disturbed(Story):
    """A story of three nodes; with `die_after` each leader dies before its write of that number."""

    def __init__(self, die_after: int = 0) -> None:
        super().__init__(21, nodes=3)
        self.leaders = 1
        self.drained = ""
        if die_after:
            self.run.brain.stop()
            self._follow(die_after)

    def _follow(self, die_after: int) -> None:
        if not self.run.brain.alive:
            self.run._next_brain(die_after)
            self.leaders += 1
        self.run.world.after(CHANGE_MS, lambda: self._follow(die_after))

    def create(self, *objects: Any) -> None:
        """A user creates objects."""
        for obj in objects:
            self.run._create(obj)

    def delete(self, kind: kinds.Kind[Any], name: str, namespace: str = "default", how: str = "Background") -> None:
        """A user deletes an object."""
        old = self.get(kind, name, namespace)
        left, version = delete(old, Deletion(propagation=how), self.run.world.now), int(old.metadata.resource_version)
        write = removal(kind, namespace, name, version) if left is None else replacement(left, version)
        self.run.store.commit((write,))


def web(name: str = "db", replicas: int = 2, namespace: str = "default", **annotations: str) -> apps_v1.Deployment:
    """A Deployment."""
    labels = {"app": name}
    made = replace(template(), metadata=meta_v1.ObjectMeta(labels=labels))
    selector = meta_v1.LabelSelector(match_labels=labels)
    notes = {f"{workloads.PREFIX}{key.replace('_', '-')}": value for key, value in annotations.items()}
    return apps_v1.Deployment(
        metadata=meta_v1.ObjectMeta(name=name, namespace=namespace, annotations=notes),
        spec=apps_v1.DeploymentSpec(replicas=replicas, selector=selector, template=made),
    )


def services(story: Disturbed) -> float:
    """Backends come and go; somebody writes endpoints by hand."""
    ports = (core_v1.ServicePort(name="http", port=80),)
    by_hand = core_v1.Endpoints(
        metadata=named("hand"),
        subsets=(
            core_v1.EndpointSubset(
                addresses=(core_v1.EndpointAddress(ip="192.0.2.9"),),
                ports=(core_v1.EndpointPort(name="http", port=80),),
            ),
        ),
    )
    story.create(
        web(),
        core_v1.Service(metadata=named("db"), spec=core_v1.ServiceSpec(selector=APP, ports=ports)),
        core_v1.Service(metadata=named("hand"), spec=core_v1.ServiceSpec(ports=ports)),
        by_hand,
    )
    story.at(30, lambda: story.change(kinds.DEPLOYMENT, "db", replicas=4))
    story.at(60, lambda: story.change(kinds.DEPLOYMENT, "db", replicas=1))
    story.at(60, lambda: story.delete(kinds.SERVICE, "hand"))
    return 120


def ended_services(story: Disturbed) -> None:
    pieces: list[discovery_v1.EndpointSlice] = story.list(kinds.ENDPOINT_SLICE)
    assert [len(piece.endpoints) for piece in pieces] == [1]
    assert {one.metadata.name for one in story.list(kinds.ENDPOINTS)} == {"db", "hand"}


def deletions(story: Disturbed) -> float:
    """A namespace goes with all that is in it; owners go before, with or without what they own."""
    shop = core_v1.Namespace(metadata=meta_v1.ObjectMeta(name="shop"))
    note = core_v1.ConfigMap(metadata=meta_v1.ObjectMeta(name="note", namespace="shop", finalizers=("example.com/f",)))
    story.create(shop, web("a", namespace="shop"), note, web("b"), web("c"), web("d"))
    story.at(30, lambda: story.delete(kinds.NAMESPACE, "shop", ""))
    story.at(30, lambda: story.delete(kinds.DEPLOYMENT, "b", how="Foreground"))
    story.at(30, lambda: story.delete(kinds.DEPLOYMENT, "c", how="Orphan"))
    story.at(30, lambda: story.delete(kinds.DEPLOYMENT, "d"))

    def let_go() -> None:
        said = {
            c.type: c.message for c in story.get(kinds.NAMESPACE, "shop", "").status.conditions if c.status == "True"
        }
        assert "configmaps. has 1 resource instances" in said["NamespaceContentRemaining"]
        old = story.get(kinds.CONFIG_MAP, "note", "shop")
        story.run.store.commit((removal(kinds.CONFIG_MAP, "shop", "note", int(old.metadata.resource_version)),))

    story.at(100, let_go)
    return 160


def ended_deletions(story: Disturbed) -> None:
    assert story.run.store.cache.get(kinds.NAMESPACE, "", "shop") is None
    (left,) = story.list(kinds.REPLICA_SET)
    assert (left.metadata.labels["app"], left.metadata.owner_references) == ("c", ())
    assert len(story.pods()) == 2


def quotas(story: Disturbed) -> float:
    """More is wanted than there may be; then more may be; then less is wanted."""
    quota = core_v1.ResourceQuota(metadata=named("q"), spec=core_v1.ResourceQuotaSpec(hard={"pods": "3"}))
    story.create(quota)

    def held() -> None:
        assert len(story.list(kinds.POD)) <= int(story.get(kinds.RESOURCE_QUOTA, "q").spec.hard["pods"])

    story.run.world.checks.append(held)
    story.at(5, lambda: story.create(web("a", 3), web("b", 3)))
    story.at(120, lambda: story.change(kinds.RESOURCE_QUOTA, "q", hard={"pods": "5"}))
    story.at(700, lambda: story.change(kinds.DEPLOYMENT, "a", replicas=1))
    story.at(700, lambda: story.change(kinds.DEPLOYMENT, "b", replicas=2))
    return 1_500


def ended_quotas(story: Disturbed) -> None:
    assert story.get(kinds.RESOURCE_QUOTA, "q").status.used == {"pods": "3"}
    assert len(story.pods()) == 3


def nodes(story: Disturbed) -> float:
    """A node is lost with all kinds of pods on it, and returns; another is taken away for good."""
    daemons = apps_v1.DaemonSetSpec(
        selector=meta_v1.LabelSelector(match_labels={"app": "d"}),
        template=replace(template(), metadata=meta_v1.ObjectMeta(labels={"app": "d"})),
    )
    bare = core_v1.Pod(metadata=named("bare"), spec=template().spec)
    story.create(web(replicas=3), apps_v1.DaemonSet(metadata=named("d"), spec=daemons), bare)
    story.at(30, lambda: story.run.nodes[0].power_off(LOST_MS))

    def take_away() -> None:
        story.run.nodes[2].power_off(0)
        story.delete(kinds.NODE, "node-2", "")

    story.at(600, take_away)
    return 1_200


def ended_nodes(story: Disturbed) -> None:
    assert [node.metadata.name for node in story.run.store.cache.list(kinds.NODE)] == ["node-0", "node-1"]
    assert len([pod for pod in story.pods() if pod.metadata.labels.get("app") == "db"]) == 3
    assert len([pod for pod in story.pods() if pod.metadata.labels.get("app") == "d"]) == 2


def replicas(story: Disturbed) -> float:
    """The oldest kinds grow, shrink, adopt and release; a budget counts them."""
    rc = core_v1.ReplicationController(
        metadata=named("old"), spec=core_v1.ReplicationControllerSpec(replicas=2, selector=APP, template=template())
    )
    keep = policy_v1.PodDisruptionBudgetSpec(min_available=2, selector=SELECTOR)
    labels = {"app": "rs"}
    one = replace(template(), metadata=meta_v1.ObjectMeta(labels=labels))
    rs = apps_v1.ReplicaSetSpec(replicas=3, selector=meta_v1.LabelSelector(match_labels=labels), template=one)
    orphan = core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name="orphan", namespace="default", labels=labels), spec=template().spec
    )
    story.create(orphan, rc, policy_v1.PodDisruptionBudget(metadata=named("b"), spec=keep))
    story.create(apps_v1.ReplicaSet(metadata=named("rs"), spec=rs))
    story.at(30, lambda: story.change(kinds.REPLICATION_CONTROLLER, "old", replicas=4))
    story.at(60, lambda: story.change(kinds.REPLICATION_CONTROLLER, "old", replicas=3))

    def release() -> None:
        pod = story.get(kinds.POD, "orphan")
        freed = replace(pod, metadata=replace(pod.metadata, labels={"app": "free"}))
        story.run.store.commit((replacement(freed, int(pod.metadata.resource_version)),))

    story.at(60, release)
    return 120


def ended_replicas(story: Disturbed) -> None:
    assert story.get(kinds.POD, "orphan").metadata.owner_references == ()
    assert len(story.pods()) == 3 + 3 + 1
    assert story.get(kinds.POD_DISRUPTION_BUDGET, "b").status.disruptions_allowed == 1


def jobs(story: Disturbed) -> float:
    """Jobs end well, badly and by the clock, and are cleaned away."""
    story.work(lambda state: int(state.pod.name.startswith("bad")))
    well = batch_v1.JobSpec(
        completions=3, parallelism=2, completion_mode="Indexed", template=template(policy="Never"),
        ttl_seconds_after_finished=600,
    )  # fmt: skip
    gone = replace(well, completions=1, completion_mode=None, ttl_seconds_after_finished=30)
    bad = batch_v1.JobSpec(backoff_limit=0, template=template(policy="Never"))
    story.create(batch_v1.Job(metadata=named("well"), spec=well), batch_v1.Job(metadata=named("bad"), spec=bad))
    story.create(batch_v1.Job(metadata=named("gone"), spec=gone))
    every = batch_v1.CronJobSpec(
        schedule="* * * * *", concurrency_policy="Forbid", successful_jobs_history_limit=2,
        job_template=batch_v1.JobTemplateSpec(spec=batch_v1.JobSpec(template=template(policy="Never"))),
    )  # fmt: skip
    story.create(batch_v1.CronJob(metadata=named("every"), spec=every))
    story.at(200, lambda: story.change(kinds.CRON_JOB, "every", suspend=True))
    return 300


def ended_jobs(story: Disturbed) -> None:
    found = {job.metadata.name: job.status for job in story.list(kinds.JOB)}
    assert (found["well"].succeeded, found["bad"].failed) == (3, 1)
    assert "gone" not in found
    assert len(found) == 4


def asked(story: Disturbed) -> float:
    """A canary is promoted, a failed revision is taken back, a config rolls, and a pod waits for others."""
    source = core_v1.EnvFromSource(config_map_ref=core_v1.ConfigMapEnvSource(name="settings"))

    def with_image(image: str) -> core_v1.PodTemplateSpec:
        return template(image)

    def of(name: str, made: core_v1.PodTemplateSpec) -> core_v1.PodTemplateSpec:
        return replace(made, metadata=replace(made.metadata, labels={"app": name}))

    config = web("conf", 2, config_rollout="true")
    (container,) = config.spec.template.spec.containers
    pods = replace(config.spec.template.spec, containers=(replace(container, env_from=(source,)),))
    config = replace(config, spec=replace(config.spec, template=replace(config.spec.template, spec=pods)))
    waits = web("waits", 1)
    notes = {workloads.DEPENDS_ON: "deployment/late"}
    metadata = replace(waits.spec.template.metadata, annotations=notes)
    waits = replace(waits, spec=replace(waits.spec, template=replace(waits.spec.template, metadata=metadata)))
    settings = core_v1.ConfigMap(metadata=named("settings"), data={"COLOUR": "red"})
    story.create(
        settings, config, waits, web("can", 4, canary="25%, pause 1m, 50%"), web("bad", 2, auto_rollback="true")
    )

    def colour() -> None:
        old = story.get(kinds.CONFIG_MAP, "settings")
        story.run.store.commit(
            (replacement(replace(old, data={"COLOUR": "blue"}), int(old.metadata.resource_version)),)
        )

    story.at(60, lambda: story.change(kinds.DEPLOYMENT, "can", template=of("can", with_image("web:v2"))))
    story.at(60, lambda: story.change(
        kinds.DEPLOYMENT, "bad", template=of("bad", with_image("web:v9")), progress_deadline_seconds=60
    ))  # fmt: skip
    story.at(60, colour)
    story.at(60, lambda: story.create(web("late", 1)))
    return 600


def ended_asked(story: Disturbed) -> None:
    shown = {one.metadata.name: one.spec.template.spec.containers[0].image for one in story.list(kinds.DEPLOYMENT)}
    assert (shown["can"], shown["bad"]) == ("web:v2", "web:v1")
    assert all(one.status.available_replicas == one.spec.replicas for one in story.list(kinds.DEPLOYMENT))
    assert story.get(kinds.DEPLOYMENT, "bad").metadata.annotations[workloads.FAILED_REVISION] == "2"


def accounts(story: Disturbed) -> float:
    """Namespaces get their accounts, and roles follow their parts."""
    part = {"example.com/part": "true"}
    rule = rbac_v1.PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",))
    whole = rbac_v1.AggregationRule(cluster_role_selectors=(meta_v1.LabelSelector(match_labels=part),))
    story.create(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name="shop")))
    story.create(rbac_v1.ClusterRole(metadata=meta_v1.ObjectMeta(name="whole"), aggregation_rule=whole))
    role = rbac_v1.ClusterRole(metadata=meta_v1.ObjectMeta(name="part", labels=part), rules=(rule,))
    story.at(20, lambda: story.create(role))
    story.at(20, lambda: story.delete(kinds.SERVICE_ACCOUNT, "default", "shop"))
    return 60


def ended_accounts(story: Disturbed) -> None:
    assert len(story.get(kinds.CLUSTER_ROLE, "whole", "").rules) == 1
    assert story.get(kinds.SERVICE_ACCOUNT, "default", "shop")


def drained(story: Disturbed) -> float:
    """A node is drained under a Deployment that surges before its pods are evicted."""
    story.create(web(surge_before_evict="true"))

    def serving() -> None:
        assert sum(podstate.is_ready(pod) for pod in story.pods()) >= 2

    def drain(node: str) -> None:
        for pod in story.pods():
            if pod.spec.node_name == node:
                try:
                    write = write_of(
                        Evict("default", pod.metadata.name, pod.metadata.uid),
                        story.run.store.cache, story.run.world.now, story.run.world.ids, Settings(),
                    )  # fmt: skip
                except errors.TooManyRequests as refused:
                    noted = surging.wanted_away(pod, story.run.world.now)
                    assert "replacement" in str(refused)
                    write = None if noted is pod else replacement(noted, int(pod.metadata.resource_version))
                if write is not None:
                    story.run.store.commit((write,))
        story.run.world.after(5_000, lambda: drain(node))

    def begin() -> None:
        story.run.world.checks.append(serving)
        node = story.holder(story.pods()[0].metadata.name).name
        story.drained = node
        story.change(kinds.NODE, node, "", unschedulable=True)
        drain(node)

    story.at(60, begin)
    return 120


def ended_drained(story: Disturbed) -> None:
    assert story.drained not in {pod.spec.node_name for pod in story.pods()}
    assert len(story.pods()) == 2
    story.change(kinds.NODE, story.drained, "", unschedulable=False)
    story.go(130)


def extending(story: Disturbed) -> float:
    """Kinds that users define get their names, policies are checked, and every group has its object."""
    rule = admissionregistration_v1.Validation(expression="object.spec.nothing > 1")
    rules = admissionregistration_v1.NamedRuleWithOperations(
        api_groups=("apps",), api_versions=("v1",), resources=("deployments",), operations=("CREATE",)
    )
    spec = admissionregistration_v1.ValidatingAdmissionPolicySpec(
        validations=(rule,),
        match_constraints=admissionregistration_v1.MatchResources(resource_rules=(rules,)),
    )
    policy = admissionregistration_v1.ValidatingAdmissionPolicy(metadata=meta_v1.ObjectMeta(name="p"), spec=spec)
    bare = definition()
    bare = replace(bare, metadata=meta_v1.ObjectMeta(name=bare.metadata.name), status=type(bare.status)())
    story.create(bare, policy)
    return 60


def ended_extending(story: Disturbed) -> None:
    conditions = story.get(kinds.CUSTOM_RESOURCE_DEFINITION, "widgets.example.com", "").status.conditions
    assert {"NamesAccepted", "Established"} <= {one.type for one in conditions if one.status == "True"}
    (warning,) = story.get(kinds.VALIDATING_POLICY, "p", "").status.type_checking.expression_warnings
    assert "nothing" in warning.warning
    groups = {one.metadata.name for one in story.run.store.cache.list(kinds.API_SERVICE)}
    assert {"v1.", "v1.apps", "v1.batch"} <= groups


STORIES: dict[Callable[[Disturbed], float], Callable[[Disturbed], None]] = {
    services: ended_services,
    deletions: ended_deletions,
    quotas: ended_quotas,
    volumes: ended_volumes,
    shared_volumes: ended_shared_volumes,
    attached: ended_attached,
    nodes: ended_nodes,
    replicas: ended_replicas,
    jobs: ended_jobs,
    asked: ended_asked,
    accounts: ended_accounts,
    drained: ended_drained,
    extending: ended_extending,
    autoscaled.scaled: autoscaled.ended_scaled,
    expired.expiring: expired.ended_expiring,
}
_UNDISTURBED: dict[Callable[[Disturbed], float], list[str]] = {}


def told(begin: Callable[[Disturbed], float], story: Disturbed) -> list[str]:
    """The end of a story."""
    story.go(2)
    story.go(begin(story))
    STORIES[begin](story)
    return likeness(story.run.store.cache, COMPARED)


def undisturbed(begin: Callable[[Disturbed], float]) -> list[str]:
    """How a story ends that nobody disturbs."""
    if begin not in _UNDISTURBED:
        _UNDISTURBED[begin] = told(begin, Disturbed())
    return _UNDISTURBED[begin]


each = pytest.mark.parametrize("begin", STORIES, ids=lambda begin: begin.__name__)


@each
@pytest.mark.parametrize("die_after", [2, 4])
def test_leaders_change_at_every_step(begin: Callable[[Disturbed], float], die_after: int) -> None:
    story = Disturbed(die_after)
    assert told(begin, story) == undisturbed(begin)
    assert story.leaders > 3


@each
def test_observations_are_stale_and_skipped(
    begin: Callable[[Disturbed], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = undisturbed(begin)
    monkeypatch.setattr(brain, "LAG_MS", LATE_MS)
    assert told(begin, Disturbed()) == wanted
