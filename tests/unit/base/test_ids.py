"""Names that do not repeat, and those that repeat on purpose."""

from __future__ import annotations

import uuid

import pytest

from mizzen.base.ids import ALPHABET, RandomIds, SeededIds
from mizzen.engine.values import Ids


@pytest.mark.parametrize("ids", [RandomIds(), SeededIds(1)], ids=["random", "seeded"])
def test_names_have_kubernetes_form_and_do_not_repeat(ids: Ids) -> None:
    uids = [ids.uid("pods") for _ in range(100)]
    assert len(set(uids)) == 100
    assert all(uuid.UUID(uid).version == 4 for uid in uids)
    suffixes = [ids.suffix("pods", 10) for _ in range(100)]
    assert len(set(suffixes)) == 100
    assert all(len(suffix) == 10 and set(suffix) <= set(ALPHABET) for suffix in suffixes)


def test_the_same_seed_gives_the_same_names_and_streams_do_not_disturb_each_other() -> None:
    one, other = SeededIds(5), SeededIds(5)
    other.uid("nodes")
    other.suffix("pods")
    assert [one.uid("pods"), one.uid("pods")] == [other.uid("pods"), other.uid("pods")]
    assert SeededIds(6).uid("pods") != SeededIds(5).uid("pods")
