"""Which keys a change concerns: few while nothing goes, or each status of a workload would cost as much as its size."""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane.reconcilers import garbage
from mizzen.api import codec, kinds
from mizzen.api.types import meta_v1
from mizzen.base.ids import SeededIds
from mizzen.engine.values import Key
from tests.fixtures.cluster_objects import NOW, at, deployment, replica_set, view
from tests.fixtures.examples import example

OWNER = deployment()
HELD = replica_set(owner=OWNER)


def concerned(obj: Any, *present: Any) -> set[str]:
    mapper = dict(garbage.CONTROLLER.watches)[kinds.kind_of(obj)]
    return {key.name for key in mapper(obj, view(*present))}


def leaving(obj: Any) -> Any:
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, deletion_timestamp=at()))


def test_a_change_of_what_stays_concerns_nothing_else() -> None:
    assert concerned(OWNER, OWNER, HELD) == set()
    assert concerned(HELD, OWNER, HELD) == {"web-1"}


def test_what_is_owned_is_asked_when_its_owner_goes() -> None:
    assert concerned(OWNER, leaving(OWNER), HELD) == {"web", "web-1"}
    assert concerned(OWNER, HELD) == {"web-1"}


def test_an_owner_counts_in_each_of_its_versions() -> None:
    body = example(kinds.HORIZONTAL_POD_AUTOSCALER) | {"metadata": {"name": "a", "namespace": "default", "uid": "u"}}
    owner = codec.decode_dict(body, kinds.HORIZONTAL_POD_AUTOSCALER)[0]
    for version in ("autoscaling/v1", "autoscaling/v2"):
        reference = meta_v1.OwnerReference(api_version=version, kind=owner.kind, name="a", uid="u")
        held = msgspec.structs.replace(
            HELD, metadata=msgspec.structs.replace(HELD.metadata, owner_references=(reference,))
        )
        key = Key(kinds.REPLICA_SET.resource, "default", held.metadata.name)
        assert garbage.reconcile(key, view(owner, held), NOW, SeededIds(1)).effects == ()
        assert garbage.reconcile(key, view(held), NOW, SeededIds(1)).effects != ()


def test_another_of_the_same_name_is_no_owner() -> None:
    again = msgspec.structs.replace(OWNER, metadata=msgspec.structs.replace(OWNER.metadata, uid="other"))
    assert concerned(OWNER, again, HELD) == {"web-1"}


def test_an_owner_that_goes_hears_of_what_it_waits_for() -> None:
    assert concerned(HELD, leaving(OWNER)) == {"web"}
    assert concerned(HELD, leaving(OWNER), leaving(HELD)) == {"web", "web-1"}
