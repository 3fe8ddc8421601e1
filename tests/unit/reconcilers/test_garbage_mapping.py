"""Which keys a change concerns: few while nothing goes, or each status of a workload would cost as much as its size."""

from __future__ import annotations

from typing import Any

import msgspec

from controlplane.reconcilers import garbage
from mizzen.api import kinds
from tests.fixtures.cluster_objects import at, deployment, replica_set, view

OWNER = deployment()
HELD = replica_set(owner=OWNER)


def concerned(obj: Any, *present: Any) -> set[str]:
    mapper = dict(garbage.CONTROLLER.watches)[kinds.kind_of(obj)]
    return {key.name for key in mapper(obj, view(*present))}


def leaving(obj: Any) -> Any:
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, deletion_timestamp=at()))


def test_a_change_of_what_stays_concerns_nothing_else() -> None:
    assert concerned(OWNER, OWNER, HELD) == {"web"}
    assert concerned(HELD, OWNER, HELD) == {"web-1"}


def test_what_is_owned_is_asked_when_its_owner_goes() -> None:
    assert concerned(OWNER, leaving(OWNER), HELD) == {"web", "web-1"}
    assert concerned(OWNER, HELD) == {"web", "web-1"}


def test_another_of_the_same_name_is_no_owner() -> None:
    again = msgspec.structs.replace(OWNER, metadata=msgspec.structs.replace(OWNER.metadata, uid="other"))
    assert concerned(OWNER, again, HELD) == {"web", "web-1"}


def test_an_owner_that_goes_hears_of_what_it_waits_for() -> None:
    assert concerned(HELD, leaving(OWNER)) == {"web", "web-1"}
