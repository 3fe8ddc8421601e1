"""When two JSON values are the same."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api.json_values import same


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ([{"a": {"x": 1, "y": 2}}], [{"a": {"y": 2, "x": 1}}], True),
        (True, 1, False),
        ({"a": [False]}, {"a": [0]}, False),
        (1, 1.0, False),
        (None, None, True),
        ([1, 2], [2, 1], False),
        ({"a": None}, {}, False),
    ],
)
def test_same(left: Any, right: Any, equal: bool) -> None:
    assert same(left, right) is equal
