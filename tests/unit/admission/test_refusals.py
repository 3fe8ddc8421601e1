"""What owners are told of objects that may not be made."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission.refusals import complaint, failure
from mizzen.api import kinds
from mizzen.api.errors import ApiError, Conflict, Forbidden
from mizzen.api.types import meta_v1 as meta
from mizzen.engine.effects import Create
from tests.fixtures.admission import NOW, NOW_MS, Cluster
from tests.unit.admission.test_classes import made

NO = Forbidden(kinds.POD, "p", "no")


def case(kind: kinds.Kind[Any]) -> tuple[Create, Any, Cluster]:
    """A pod to be made, its owner, and the cluster."""
    owner = Cluster.with_namespaces("default").create(made(kind, "web"), "default").object
    reference = meta.OwnerReference(
        api_version=kind.api_version, kind=kind.kind, name="web", uid=owner.metadata.uid, controller=True
    )
    pod = made(kinds.POD, "p", {"namespace": "default"})
    pod = replace(pod, metadata=replace(pod.metadata, owner_references=(reference,)))
    return Create(pod), owner, Cluster((owner,))


@pytest.mark.parametrize(
    ("kind", "component", "message"),
    [
        (kinds.CRON_JOB, "cronjob-controller", 'Error creating job: pods "p" is forbidden: no'),
        (kinds.REPLICA_SET, "replicaset-controller", 'Error creating: pods "p" is forbidden: no'),
        (kinds.REPLICATION_CONTROLLER, "replication-controller", 'Error creating: pods "p" is forbidden: no'),
        (kinds.JOB, "job-controller", 'Error creating: pods "p" is forbidden: no'),
        (
            kinds.STATEFUL_SET,
            "statefulset-controller",
            'create Pod p in StatefulSet web failed error: pods "p" is forbidden: no',
        ),
    ],
)
def test_an_event_at_the_owner(kind: kinds.Kind[Any], component: str, message: str) -> None:
    effect, _, cluster = case(kind)
    said = complaint(effect, NO, cluster.view)
    assert said is not None
    assert (said.type, said.reason, said.component, said.message) == ("Warning", "FailedCreate", component, message)
    by_webhook = complaint(effect, ApiError("not today", code=400), cluster.view)
    assert by_webhook is not None
    assert by_webhook.message == message.replace(NO.message, "not today"), "whatever the code of a webhook's refusal"
    assert complaint(effect, Conflict(kinds.POD, "p"), cluster.view) is None, "another try will do"


@pytest.mark.parametrize("kind", [kinds.REPLICA_SET, kinds.REPLICATION_CONTROLLER])
def test_a_condition_at_what_keeps_replicas(kind: kinds.Kind[Any]) -> None:
    effect, owner, cluster = case(kind)
    noted = failure(effect, NO, cluster.view, NOW_MS)
    assert noted is not None
    (condition,) = noted.object.status.conditions  # type: ignore[attr-defined]
    assert (condition.type, condition.status, condition.reason) == ("ReplicaFailure", "True", "FailedCreate")
    assert (condition.message, condition.last_transition_time) == (NO.message, NOW)
    assert failure(effect, NO, Cluster((replace(owner, status=noted.object.status),)).view, NOW_MS) is None  # type: ignore[attr-defined]


def test_a_claim_that_may_not_be_made_is_told_at_its_set() -> None:
    _, owner, cluster = case(kinds.STATEFUL_SET)
    claim = made(kinds.PERSISTENT_VOLUME_CLAIM, "data-web-2", {"namespace": "default"})
    assert complaint(Create(claim), NO, cluster.view) is None, "nobody controls it"
    said = complaint(Create(claim, told=owner), NO, cluster.view)
    assert said is not None
    told = 'create Claim data-web-2 for Pod web-2 in StatefulSet web failed error: pods "p" is forbidden: no'
    assert (said.reason, said.message) == ("FailedCreate", told)


def test_a_deployment_tells_that_its_replica_set_may_not_be_made() -> None:
    effect, owner, cluster = case(kinds.DEPLOYMENT)
    told = 'Failed to create new replica set "p": pods "p" is forbidden: no'
    said, noted = complaint(effect, NO, cluster.view), failure(effect, NO, cluster.view, NOW_MS)
    assert said is not None
    assert noted is not None
    assert (said.reason, said.message) == ("ReplicaSetCreateError", told)
    (condition,) = noted.object.status.conditions  # type: ignore[attr-defined]
    assert (condition.type, condition.status) == ("Progressing", "False")
    assert (condition.reason, condition.message) == ("ReplicaSetCreateError", told)
    boundless = replace(owner, spec=replace(owner.spec, progress_deadline_seconds=2_147_483_647))
    assert failure(effect, NO, Cluster((boundless,)).view, NOW_MS) is None


def test_others_have_no_such_condition() -> None:
    effect, _, cluster = case(kinds.JOB)
    assert failure(effect, NO, cluster.view, NOW_MS) is None
