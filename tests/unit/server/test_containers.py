"""Which container is meant, and what is said where there is none to enter."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.server.containers import container_to_enter
from mizzen.api.errors import BadRequest
from tests.fixtures.cluster_objects import pod


@pytest.mark.parametrize(
    ("given", "container", "words"),
    [
        ({}, "", "^pod a does not have a host assigned$"),
        ({"node": "n1", "phase": "Succeeded"}, "", "completed pod; current phase is Succeeded$"),
        ({"node": "n1"}, "other", "^container other is not valid for pod a$"),
    ],
)
def test_there_must_be_something_to_enter(given: dict[str, Any], container: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        container_to_enter(pod("a", **given), container)
