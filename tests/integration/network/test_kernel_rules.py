"""The kernel and the pure rules agree: whatever changes, in the end it holds what a full load would have made."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodeagent.network.layers import Layers
from nodeagent.network.nft import Nftables
from nodeagent.network.rules import EMPTY, base_script, diff, remove_script, render
from nodeagent.network.services import ServiceRule
from tests.integration.network.netlab import NetLab, inside
from tests.unit.network.test_rules import CONFIG, RULES

pytestmark = pytest.mark.lab
TABLES = st.lists(st.lists(RULES, max_size=3, unique_by=lambda one: one.key), min_size=1, max_size=3)


def test_steps_equal_a_full_load(fresh: Callable[[int], NetLab]) -> None:
    """Small tables in a row, compared as nftables lists them."""
    lab = fresh(1)

    def work() -> None:
        nft = Nftables()

        @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(TABLES)
        def steps(tables: list[list[ServiceRule]]) -> None:
            layers, known = Layers(), set[str]()
            nft.run(base_script(CONFIG))
            for table in tables:
                pieces = {one.key: render(one, CONFIG) for one in table}
                gone = dict.fromkeys(known - pieces.keys(), EMPTY)
                nft.run(diff(*layers.exchange(gone | pieces)) or "list tables")
                known = set(pieces)
            stepwise = listed(nft)
            nft.run(base_script(CONFIG) + diff(EMPTY, layers.whole))
            assert listed(nft) == stepwise

        steps()
        nft.run(remove_script())
        nft.close()

    inside(lab.machines[0].netns, work)


def listed(nft: Nftables) -> list[str]:
    """The table's pieces, in an order that does not depend on its history."""
    return sorted(re.split(r"[,\n]\s*", nft.run("list table ip mizzen")))
