"""Questions to webhooks in the versions that they accept, and what their answers mean."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from controlplane.admission import reviews

PATCH = base64.b64encode(b'[{"op": "add", "path": "/a", "value": 1}]').decode()


def answered(version: str, *, mutating: bool = True, **response: Any) -> reviews.Answer:
    review = {"apiVersion": f"admission.k8s.io/{version}", "kind": "AdmissionReview", "response": response}
    return reviews.read(json.dumps(review).encode(), "u", version, mutating=mutating)


@pytest.mark.parametrize(
    ("accepted", "version"), [(["v1", "v1beta1"], "v1"), (["v2", "v1beta1", "v1"], "v1beta1"), (["v1beta1"], "v1beta1")]
)
def test_the_first_version_that_there_is(accepted: list[str], version: str) -> None:
    assert reviews.version_for(accepted) == version
    asked = json.loads(reviews.encoded("u", version, {"name": "n"}))
    assert asked["apiVersion"] == f"admission.k8s.io/{version}"
    assert asked["request"] == {"uid": "u", "name": "n"}


def test_a_webhook_that_accepts_none_is_not_called() -> None:
    with pytest.raises(reviews.CallFailed, match=r"does not accept known AdmissionReview versions \(v1, v1beta1\)"):
        reviews.version_for(["v2"])


def test_the_old_version_asks_for_less() -> None:
    assert answered("v1beta1", allowed=True, patch=PATCH).patch == ({"op": "add", "path": "/a", "value": 1},)
    assert answered("v1beta1", mutating=False, allowed=True, patch=PATCH).patch == ()
    assert not answered("v1beta1").allowed


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ({"allowed": True}, 'expected response.uid="u", got ""'),
        ({"uid": "u", "patch": PATCH}, "webhook returned response.patch but not response.patchType"),
        ({"uid": "u", "patch": PATCH, "patchType": "Merge"}, 'invalid webhook response.patchType of "Merge"'),
    ],
)
def test_what_is_no_answer(response: dict[str, Any], why: str) -> None:
    with pytest.raises(reviews.BadAnswer, match=why):
        answered("v1", **response)
