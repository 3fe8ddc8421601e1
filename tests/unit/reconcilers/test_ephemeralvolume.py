"""Claims of ephemeral volumes: made with the pod, its own, and never somebody else's."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from controlplane.reconcilers import ephemeralvolume
from mizzen.api import kinds
from mizzen.api.types import core_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.effects import Create, Effect, Emit
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, meta, pod, view

TEMPLATE = {
    "metadata": {"labels": {"kind": "scratch"}, "annotations": {"note": "x"}},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
VOLUMES = msgspec.convert(
    [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": TEMPLATE}}, {"name": "other", "emptyDir": {}}],
    tuple[core_v1.Volume, ...],
)
PLAIN = pod("p")
POD = replace(PLAIN, spec=replace(PLAIN.spec, volumes=VOLUMES))


def decide(*present: Any) -> tuple[Effect, ...]:
    """What is done about the pod."""
    key = Key(kinds.POD.resource, "default", "p")
    return ephemeralvolume.reconcile(key, view(*present), NOW, SeededIds(1)).effects


def test_a_claim_is_made_once() -> None:
    (effect,) = decide(POD)
    assert isinstance(effect, Create)
    claim: Any = effect.object
    assert (claim.metadata.name, claim.metadata.namespace) == ("p-scratch", "default")
    assert (claim.metadata.labels, claim.metadata.annotations) == ({"kind": "scratch"}, {"note": "x"})
    (owner,) = claim.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("Pod", "p", POD.metadata.uid, True)
    assert claim.spec.resources.requests == {"storage": "1Gi"}
    assert decide(POD, claim) == ()


def test_the_claim_of_somebody_else_is_not_taken() -> None:
    (effect,) = decide(POD, core_v1.PersistentVolumeClaim(metadata=meta("p-scratch")))
    assert isinstance(effect, Emit)
    assert (effect.type, effect.reason) == ("Warning", "FailedBinding")
    assert effect.message == (
        "ephemeral volume scratch: PVC default/p-scratch was not created for pod default/p (pod is not owner)"
    )


def test_who_gets_none() -> None:
    assert decide(PLAIN) == ()
    assert decide() == ()
    assert decide(replace(POD, metadata=replace(POD.metadata, deletion_timestamp=at()))) == ()
