"""Plans say what would happen, and what would not be well."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.plan.model_node import HEARTBEAT_MS
from controlplane.plan.script import GRACE_MS, Run
from controlplane.plan.whatif import Snapshot, planner
from mizzen.api import codec, errors, kinds
from mizzen.api.catalog import BUILT_IN, Catalog
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.engine.plans import Plan, PlanStep, Question
from mizzen.engine.values import Key
from tests.fixtures.definitions import definition, established, widget


@pytest.fixture(scope="module")
def cluster() -> Run:
    """Four nodes, six pods behind a service."""
    made = Run(3)
    made.world.after(1_000, made._begin)
    made.world.run_until(60_000)
    return made


def ask(
    cluster: Run,
    question: Question,
    heartbeat_ms: int = HEARTBEAT_MS,
    grace_ms: int = GRACE_MS,
    *,
    extra: tuple[Any, ...] = (),
    catalog: Catalog = BUILT_IN,
) -> Plan:
    def snapshot() -> Snapshot:
        cache = cluster.store.cache
        objects = [obj for kind in kinds.KINDS if kind.stored for obj in cache.list(kind)]
        return Snapshot([*objects, *extra], cache.revision, catalog)

    prepare = planner(snapshot, lambda: cluster.world.now, heartbeat_ms=heartbeat_ms, grace_ms=grace_ms)
    return prepare(question)()


def steps(plan: Plan, action: str, resource: str = "pods") -> list[PlanStep]:
    return [step for step in plan.steps if step.action == action and step.object.resource == resource]


def web(cluster: Run, **spec: Any) -> apps_v1.Deployment:
    """The deployment as a user's manifest would have it."""
    old = cluster.store.cache.get(kinds.DEPLOYMENT, "default", "web")
    assert old is not None
    metadata = meta_v1.ObjectMeta(name="web", namespace="default")
    return apps_v1.Deployment(metadata=metadata, spec=msgspec.structs.replace(old.spec, **spec))


def test_nothing_changes_nothing(cluster: Run) -> None:
    plan = ask(cluster, Question(apply=(web(cluster),), horizon_s=120))
    assert plan.steps == ()
    assert plan.problems == ()


def test_nodes_are_as_impatiently_watched_as_in_the_cluster(cluster: Run) -> None:
    """A node that speaks every two seconds is no lost one where ten seconds of silence count as death."""
    plan = ask(cluster, Question(apply=(web(cluster),), horizon_s=120), heartbeat_ms=2_000, grace_ms=10_000)
    assert (plan.steps, plan.problems) == ((), ())


def test_more_replicas_are_created_bound_and_ready(cluster: Run) -> None:
    plan = ask(cluster, Question(apply=(web(cluster, replicas=9),), horizon_s=120))
    assert [len(steps(plan, action)) for action in ("create", "bind", "ready")] == [3, 3, 3]
    assert plan.problems == ()


def test_what_does_not_fit_is_a_problem_with_its_reason(cluster: Run) -> None:
    plan = ask(cluster, Question(apply=(web(cluster, replicas=60),), horizon_s=120))
    assert any("has no node: 0/4 nodes are available: 4 Insufficient cpu." in problem for problem in plan.problems)
    assert any(problem.startswith("deployments.apps/default/web has 32 available") for problem in plan.problems)


def test_a_rollout_never_goes_below_its_bound(cluster: Run) -> None:
    template = web(cluster).spec.template
    container = msgspec.structs.replace(template.spec.containers[0], image="web:v2")
    template = msgspec.structs.replace(template, spec=msgspec.structs.replace(template.spec, containers=(container,)))
    plan = ask(cluster, Question(apply=(web(cluster, template=template),), horizon_s=300))
    ready = 6
    lowest = ready
    for step in plan.steps:
        if step.object.resource == "pods":
            ready += {"ready": 1, "stop": -1}.get(step.action, 0)
            lowest = min(lowest, ready)
    assert lowest >= 5
    assert plan.problems == ()


def test_a_lost_node_is_replaced_after_the_toleration(cluster: Run) -> None:
    lost = next(p.spec.node_name for p in cluster.store.cache.list(kinds.POD) if p.spec.node_name)
    on_it = [p for p in cluster.store.cache.list(kinds.POD) if p.spec.node_name == lost]
    plan = ask(cluster, Question(lose_nodes=(lost,), horizon_s=600))
    stopped = steps(plan, "stop")
    assert {step.object.name for step in stopped} == {pod.metadata.name for pod in on_it}
    assert all(300_000 <= step.at_ms <= 400_000 for step in stopped)
    assert all(step.message != f"to {lost}" for step in steps(plan, "bind"))
    assert plan.problems == ()


def test_a_deleted_deployment_takes_its_pods_and_leaves_a_service_with_nobody(cluster: Run) -> None:
    plan = ask(cluster, Question(delete=(Key("deployments.apps", "default", "web"),), horizon_s=120))
    assert len(steps(plan, "delete")) == 6
    assert plan.problems == ("services/default/web has no ready endpoint",)


def test_a_node_that_is_not_there_is_refused(cluster: Run) -> None:
    with pytest.raises(errors.NotFound, match='nodes "moon" not found'):
        ask(cluster, Question(lose_nodes=("moon",)))


def test_the_cluster_itself_is_untouched(cluster: Run) -> None:
    before = cluster.store.cache.revision
    ask(cluster, Question(apply=(web(cluster, replicas=1),), horizon_s=60))
    assert cluster.store.cache.revision == before


ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_objects_of_kinds_that_users_define_are_created_changed_and_deleted(cluster: Run) -> None:
    catalog = BUILT_IN.with_definition(established(definition(ANYTHING)))
    (kind,) = catalog.defined["widgets.example.com"].versions
    key = Key("widgets.example.com", "default", "a")

    def told(question: Question, *present: Any) -> list[tuple[str, Key]]:
        plan = ask(cluster, question, extra=present, catalog=catalog)
        return [(step.action, step.object) for step in plan.steps]

    new = widget(kind, spec={"size": "small"})
    assert told(Question(apply=(new,), horizon_s=30)) == [("create", key)]
    stored = msgspec.structs.replace(new, of=kind.storage)
    stored = msgspec.structs.replace(stored, metadata=msgspec.structs.replace(new.metadata, uid="u1"))
    assert told(Question(apply=(new,), horizon_s=30), stored) == []
    large = widget(kind, spec={"size": "large"})
    assert told(Question(apply=(large,), horizon_s=30), stored) == [("change", key)]
    assert told(Question(delete=(key,), horizon_s=30), stored) == [("delete", key)]


def test_what_belongs_to_an_object_of_a_users_kind_goes_with_it(cluster: Run) -> None:
    catalog = BUILT_IN.with_definition(established(definition(ANYTHING)))
    (kind,) = catalog.defined["widgets.example.com"].versions
    owner = msgspec.structs.replace(widget(kind), of=kind.storage)
    owner = msgspec.structs.replace(owner, metadata=msgspec.structs.replace(owner.metadata, uid="u1"))
    reference = meta_v1.OwnerReference(api_version=kind.api_version, kind=kind.kind, name="a", uid="u1")
    metadata = meta_v1.ObjectMeta(name="owned", namespace="default", uid="u2", owner_references=(reference,))
    owned = codec.from_dict(codec.to_dict(web(cluster)), apps_v1.Deployment)
    owned = msgspec.structs.replace(owned, metadata=metadata, spec=msgspec.structs.replace(owned.spec, replicas=0))
    question = Question(delete=(Key("widgets.example.com", "default", "a"),), horizon_s=60)
    plan = ask(cluster, question, extra=(owner, owned), catalog=catalog)
    assert [step.object.name for step in plan.steps if step.action == "delete"][:2] == ["a", "owned"]


def test_a_quota_holds_a_plan_as_it_holds_the_cluster() -> None:
    made = Run(3)
    quota = core_v1.ResourceQuota(
        metadata=meta_v1.ObjectMeta(name="q", namespace="default"),
        spec=core_v1.ResourceQuotaSpec(hard={"pods": "8", "requests.cpu": "10"}),
    )
    made.world.after(1_000, made._begin)
    made.world.after(2_000, lambda: made._create(quota))
    made.world.run_until(60_000)
    counted = made.store.cache.get(kinds.RESOURCE_QUOTA, "default", "q")
    assert counted is not None
    assert counted.status.used["pods"] == "6"
    plan = ask(made, Question(apply=(web(made, replicas=12),), horizon_s=120))
    assert len(steps(plan, "create")) == 2
    assert any(problem.startswith("deployments.apps/default/web has 8 available") for problem in plan.problems)
    back = ask(made, Question(apply=(web(made, replicas=2),), horizon_s=120))
    assert (len(steps(back, "delete")), back.problems) == (4, ())
