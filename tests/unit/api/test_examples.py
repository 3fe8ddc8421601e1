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
