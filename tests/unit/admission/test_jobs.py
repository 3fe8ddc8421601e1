"""Jobs get a selector of their own; volumes note since when they are in their phase."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Operation
from mizzen.api import codec, kinds
from mizzen.api.errors import Invalid
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import core_v1 as core
from tests.fixtures.admission import NOW, Cluster
from tests.fixtures.examples import JOB_TEMPLATE, example

CLUSTER = Cluster.with_namespaces("default")


def job(**spec: Any) -> batch.Job:
    body = example(kinds.JOB)
    body["spec"] = {"template": JOB_TEMPLATE} | spec
    made: batch.Job = codec.decode_dict(body, kinds.JOB)[0]
    return made


def test_selector_and_labels_are_made_from_the_uid() -> None:
    made = CLUSTER.create(job(), "default").object
    uid = made.metadata.uid
    assert made.spec.selector.match_labels == {"batch.kubernetes.io/controller-uid": uid}
    assert made.spec.template.metadata.labels == {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "example",
        "controller-uid": uid,
        "job-name": "example",
    }
    assert made.metadata.generation == 1
    assert made.status == batch.JobStatus()


def test_a_selector_that_its_author_answers_for_stays() -> None:
    template = JOB_TEMPLATE | {"metadata": {"labels": {"app": "mine"}}}
    selector = {"matchLabels": {"app": "mine"}}
    made = CLUSTER.create(job(manualSelector=True, selector=selector, template=template), "default").object
    assert made.spec.selector.match_labels == {"app": "mine"}
    assert made.spec.template.metadata.labels == {"app": "mine"}


def test_labels_of_another_job_are_refused() -> None:
    template = JOB_TEMPLATE | {"metadata": {"labels": {"job-name": "other"}}}
    with pytest.raises(
        Invalid, match=r"spec\.template\.metadata\.labels\[job-name\]: Invalid value.*must be 'example'"
    ):
        CLUSTER.create(job(template=template), "default")


def test_resuming_a_job_is_a_new_generation() -> None:
    old = CLUSTER.create(job(suspend=True), "default").object
    made = CLUSTER.update(replace(old, spec=replace(old.spec, suspend=False)), old).object
    assert made.metadata.generation == 2
    assert made.spec.selector == old.spec.selector


def test_a_volume_notes_since_when_it_is_in_its_phase() -> None:
    volume, _ = codec.decode_dict(example(kinds.PERSISTENT_VOLUME), kinds.PERSISTENT_VOLUME)
    made = CLUSTER.create(volume, "").object
    assert made.status == core.PersistentVolumeStatus(phase="Pending", last_phase_transition_time=NOW)
    old = replace(made, status=replace(made.status, last_phase_transition_time="2026-01-01T00:00:00Z"))
    bound = replace(old, status=replace(old.status, phase="Bound"))
    assert CLUSTER.update(bound, old, Operation.UPDATE_STATUS).object.status.last_phase_transition_time == NOW
    reason = replace(old, status=replace(old.status, reason="Slow"))
    same = CLUSTER.update(reason, old, Operation.UPDATE_STATUS).object.status
    assert same.last_phase_transition_time == "2026-01-01T00:00:00Z"


def test_a_claim_waits() -> None:
    claim, _ = codec.decode_dict(example(kinds.PERSISTENT_VOLUME_CLAIM), kinds.PERSISTENT_VOLUME_CLAIM)
    made = CLUSTER.create(replace(claim, status=core.PersistentVolumeClaimStatus(phase="Bound")), "default").object
    assert made.status == core.PersistentVolumeClaimStatus(phase="Pending")
