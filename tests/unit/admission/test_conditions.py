"""Match conditions: one that says no decides, and one without a value leaves the request undecided."""

from __future__ import annotations

import pytest

from controlplane.access.values import UserInfo
from controlplane.admission import Operation, conditions
from controlplane.admission.policy_choice import Seen
from controlplane.admission.request import Request
from mizzen.api import kinds
from mizzen.api.types import admissionregistration_v1 as registration
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.admission import Cluster

OBJECT = core.ConfigMap(metadata=meta.ObjectMeta(name="c", namespace="default"), data={"a": "1"})
NO_KEY = "expression '{}' resulted in error: no such key: {}"


def held(*texts: str, user: UserInfo | None = None) -> bool:
    request = Request(Operation.CREATE, kinds.CONFIG_MAP, "default", "", OBJECT, user=user, dry_run=True)
    given = [registration.MatchCondition(name=f"c{i}", expression=text) for i, text in enumerate(texts)]
    one = Seen(request, OBJECT, None, Cluster.with_namespaces("default").view)
    return conditions.of_webhook(given, one, kinds.CONFIG_MAP)


@pytest.mark.parametrize(
    ("texts", "holds"),
    [
        (("true", "object.data.a == '1' && oldObject == null"), True),
        (("request.dryRun && request.resource.resource == 'configmaps'", "request.namespace == 'default'"), True),
        (("object.data.gone == '1'", "object.data.a == '2'"), False),
        (("ip('10.0.0.1').family() == 4 && semver('1.2.3').major() == 1",), True),
        (("authorizer.group('').resource('configmaps').namespace('default').check('get').allowed()",), False),
    ],
)
def test_all_must_hold(texts: tuple[str, ...], holds: bool) -> None:
    assert held(*texts, user=UserInfo("jane")) is holds


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (("object.data.gone == '1'", "true"), NO_KEY.format("object.data.gone == '1'", "gone")),
        (
            ("object.data.x == '1'", "object.data.y == '1'"),
            "[" + NO_KEY.format("object.data.x == '1'", "x") + ", " + NO_KEY.format("object.data.y == '1'", "y") + "]",
        ),
        (("object.gone(",), "compilation failed: ERROR"),
    ],
)
def test_what_has_no_value_is_told(texts: tuple[str, ...], why: str) -> None:
    with pytest.raises(conditions.NoValue) as failed:
        held(*texts)
    assert str(failed.value).startswith(why)
