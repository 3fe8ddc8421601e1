"""Every kind has an example, and the rules like it."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import codec, defaults, kinds, validate
from tests.fixtures.examples import EXAMPLES, KEPT, example


def test_every_kind_has_an_example() -> None:
    missing = [kind.resource for kind in KEPT if kind not in EXAMPLES]
    assert missing == [], "add a small valid object for each to tests/fixtures/examples.py"


@pytest.mark.parametrize("kind", KEPT, ids=lambda kind: f"{kind.resource}-{kind.version}")
def test_examples_have_no_unknown_fields_and_settle(kind: kinds.Kind[Any]) -> None:
    obj, warnings = codec.decode_dict(example(kind), kind)
    assert warnings == ()
    complete = defaults.apply(obj)
    assert defaults.apply(complete) is complete
    if kind is not kinds.JOB:  # its selector is made by admission
        assert [str(error) for error in validate.validate_create(complete)] == []


def test_an_amount_that_is_always_shown_can_be_read_again() -> None:
    body = example(kinds.RESOURCE_SLICE)
    body["spec"]["sharedCounters"] = [{"name": "c", "counters": {"memory": {}}}]
    obj, _ = codec.decode_dict(body, kinds.RESOURCE_SLICE)
    assert codec.to_dict(obj)["spec"]["sharedCounters"][0]["counters"] == {"memory": {"value": "0"}}
    assert codec.decode_dict(codec.to_dict(obj), kinds.RESOURCE_SLICE)[0] == obj
