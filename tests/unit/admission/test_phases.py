"""Admission in two halves: what others do to an object in between is held to what the request may do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from controlplane.admission import Operation, Request, Settings, complete, finish, redone
from mizzen.api import kinds
from mizzen.api.errors import Invalid
from mizzen.api.managed.entries import Writer
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import batch_v1 as batch
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.base.ids import SeededIds
from mizzen.engine import canonical
from tests.fixtures.admission import NOW_MS, Cluster

CLUSTER = Cluster.with_namespaces("shop")
LABELS = {"app": "web"}
TEMPLATE = core.PodTemplateSpec(
    metadata=meta.ObjectMeta(labels=LABELS), spec=core.PodSpec(containers=(core.Container(name="c", image="i"),))
)
WEB = apps.Deployment(
    metadata=meta.ObjectMeta(name="web"),
    spec=apps.DeploymentSpec(selector=meta.LabelSelector(match_labels=LABELS), template=TEMPLATE),
)


def request(operation: Operation, obj: Any, name: str = "") -> Request:
    kind = kinds.kind_of(obj)
    return Request(operation, kind, "shop", name, obj, writer=Writer("me", kind.api_version))


def completed(asked: Request, old: Any = None) -> Any:
    return complete(asked, old, CLUSTER.view, NOW_MS, SeededIds(1), CLUSTER.settings)


def test_both_halves_in_a_row_are_admission() -> None:
    asked = request(Operation.CREATE, WEB)
    whole = CLUSTER.create(WEB, "shop", writer=asked.writer).object
    halves = finish(asked, completed(asked), None, CLUSTER.view, Settings())
    ignored = {"uid": "", "resource_version": ""}
    assert replace(halves.object, metadata=replace(halves.object.metadata, **ignored)) == replace(
        whole, metadata=replace(whole.metadata, **ignored)
    )
    assert halves.object.metadata.generation == 1


def test_a_change_of_somebody_else_gets_defaults_and_is_nobodys() -> None:
    asked = request(Operation.CREATE, WEB)
    before = completed(asked)
    more = (*before.spec.template.spec.containers, core.Container(name="side", image="s"))
    template = replace(before.spec.template, spec=replace(before.spec.template.spec, containers=more))
    labels = {"seen": "yes"}
    changed = replace(
        before,
        metadata=replace(before.metadata, labels=labels, uid="forged", managed_fields=()),
        spec=replace(before.spec, template=template),
    )
    after = redone(asked, changed, before, None, NOW_MS)
    side = after.spec.template.spec.containers[1]
    assert side.termination_message_path == "/dev/termination-log"
    assert after.metadata.labels == labels
    assert after.metadata.uid == before.metadata.uid
    assert after.metadata.managed_fields == before.metadata.managed_fields


def test_what_an_update_does_not_own_stays_whoever_changes_it() -> None:
    old = CLUSTER.create(WEB, "shop").object
    asked = request(Operation.UPDATE, replace(old, spec=replace(old.spec, replicas=3)), "web")
    before = completed(asked, old)
    assert before.metadata.generation == 2
    back = replace(before, spec=old.spec, status=apps.DeploymentStatus(replicas=7))
    after = redone(asked, back, before, old, NOW_MS)
    assert after.status == old.status
    assert after.metadata.generation == 1
    assert finish(asked, after, old, CLUSTER.view, Settings()).object == old


def test_the_second_half_judges_what_others_have_made() -> None:
    asked = request(Operation.CREATE, WEB)
    before = completed(asked)
    wrong = redone(asked, replace(before, spec=replace(before.spec, replicas=-1)), before, None, NOW_MS)
    with pytest.raises(Invalid, match=r"spec\.replicas"):
        finish(asked, wrong, None, CLUSTER.view, Settings())


def test_the_second_half_completes_what_is_made_of_the_final_object() -> None:
    template = replace(TEMPLATE, spec=replace(TEMPLATE.spec, restart_policy="Never"))
    asked = request(
        Operation.CREATE, batch.Job(metadata=meta.ObjectMeta(name="j"), spec=batch.JobSpec(template=template))
    )
    before = completed(asked)
    relabelled = replace(before.spec.template, metadata=meta.ObjectMeta(labels={"other": "x"}))
    after = redone(asked, replace(before, spec=replace(before.spec, template=relabelled)), before, None, NOW_MS)
    made = canonical.at_version(finish(asked, after, None, CLUSTER.view, Settings()).object, 1)
    assert made.spec.template.metadata.labels["other"] == "x"
    assert set(made.spec.selector.match_labels) <= set(made.spec.template.metadata.labels)
