"""What is stored without effect says so."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.admission.warnings import warnings_for
from mizzen.api import codec, kinds
from tests.fixtures.examples import example

WITHOUT_EFFECT = (
    kinds.INGRESS, kinds.CSI_DRIVER,
)  # fmt: skip


@pytest.mark.parametrize("kind", WITHOUT_EFFECT, ids=lambda kind: str(kind.kind))
def test_whoever_relies_on_what_nobody_acts_on_is_told(kind: kinds.Kind[Any]) -> None:
    obj, _ = codec.decode_dict(example(kind), kind)
    assert warnings_for(obj) == (f"{kind.kind} is stored, but this server does not act on it",)


@pytest.mark.parametrize(
    "kind",
    [
        kinds.DEPLOYMENT,
        kinds.RESOURCE_QUOTA,
        kinds.LIMIT_RANGE,
        kinds.SERVICE,
        kinds.PERSISTENT_VOLUME,
        kinds.PERSISTENT_VOLUME_CLAIM,
        kinds.STORAGE_CLASS,
    ],
    ids=lambda kind: kind.kind,
)
def test_what_has_an_effect_is_stored_in_silence(kind: kinds.Kind[Any]) -> None:
    obj, _ = codec.decode_dict(example(kind), kind)
    assert warnings_for(obj) == ()
