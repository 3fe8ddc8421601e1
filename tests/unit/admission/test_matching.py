"""Whom a request concerns, as Kubernetes' webhooks and policies choose."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.admission import Operation, Request, matching
from mizzen.api import kinds
from mizzen.api.catalog import BUILT_IN
from mizzen.api.errors import NotFound
from mizzen.api.kinds import Kind
from mizzen.api.types import admissionregistration_v1 as registration
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from tests.fixtures.admission import Cluster
from tests.fixtures.definitions import definition, established

Rule = registration.RuleWithOperations
POD = core.Pod(metadata=meta.ObjectMeta(name="p", namespace="shop", labels={"app": "web"}))


def about(operation: Operation = Operation.CREATE, kind: Kind[Any] = kinds.POD, below: str = "") -> matching.Asked:
    namespace = "shop" if kind.namespaced else ""
    return matching.asked(Request(operation, kind, namespace, "p", POD, subresource=below))


def rule(*resources: str, **more: Any) -> Rule:
    given = {"operations": ("*",), "api_groups": ("*",), "api_versions": ("*",), **more}
    return Rule(resources=resources, **given)


@pytest.mark.parametrize(
    ("one", "asked", "fits"),
    [
        (rule("pods"), about(), True),
        (rule("pods"), about(below="status"), False),
        (rule("pods"), about(Operation.UPDATE_STATUS), False),
        (rule("pods/status"), about(Operation.UPDATE_STATUS), True),
        (rule("pods/status", operations=("UPDATE",)), about(Operation.UPDATE_STATUS), True),
        (rule("pods/*"), about(below="exec"), True),
        (rule("pods/*"), about(), True),
        (rule("*"), about(), True),
        (rule("*"), about(below="exec"), False),
        (rule("*/*"), about(below="exec"), True),
        (rule("*/scale"), about(kind=kinds.DEPLOYMENT, below="scale"), True),
        (rule("*/scale"), about(kind=kinds.DEPLOYMENT), False),
        (rule("deployments"), about(), False),
        (rule("pods", operations=("UPDATE", "DELETE")), about(), False),
        (rule("pods", operations=("CREATE", "UPDATE")), about(Operation.UPDATE), True),
        (rule("pods/exec", operations=("CONNECT",)), about(Operation.CONNECT, below="exec"), True),
        (rule("pods", api_groups=("",)), about(), True),
        (rule("pods", api_groups=("apps",)), about(), False),
        (rule("deployments", api_versions=("v1beta1",)), about(kind=kinds.DEPLOYMENT), False),
        (rule("pods", scope="Namespaced"), about(), True),
        (rule("pods", scope="Cluster"), about(), False),
        (rule("nodes", scope="Cluster"), about(kind=kinds.NODE), True),
        (rule("nodes", scope="Namespaced"), about(kind=kinds.NODE), False),
        (rule("namespaces", scope="Cluster"), about(kind=kinds.NAMESPACE), True),
        (rule("namespaces", scope="Namespaced"), about(kind=kinds.NAMESPACE), False),
        (rule("nodes", scope="*"), about(kind=kinds.NODE), True),
    ],
)
def test_rules(one: Rule, asked: matching.Asked, fits: bool) -> None:
    assert matching.fits(one, asked, asked.kind) is fits


def test_another_version_of_the_same_objects_will_do_unless_the_policy_is_exact() -> None:
    asked = about(kind=kinds.EVENTS_EVENT)
    others = matching.equivalents(kinds.EVENTS_EVENT, BUILT_IN)
    old = rule("events", api_groups=("",))
    assert others == (kinds.EVENT,)
    assert matching.chosen([old], "Equivalent", asked, others) is kinds.EVENT
    assert matching.chosen([old], "Exact", asked, others) is None
    own = rule("events", api_groups=("events.k8s.io",))
    assert matching.chosen([old, own], None, asked, others) is kinds.EVENTS_EVENT
    assert matching.equivalents(kinds.POD, BUILT_IN) == ()


def test_the_versions_of_a_users_kind_are_equivalent() -> None:
    schema = {"openAPIV3Schema": {"type": "object"}}
    versions = [{"name": name, "served": True, "storage": name == "v1", "schema": schema} for name in ("v1", "v2")]
    catalog = BUILT_IN.with_definition(established(definition(versions=versions)))
    one, two = catalog.by_path["example.com", "v1", "widgets"], catalog.by_path["example.com", "v2", "widgets"]
    assert matching.equivalents(one, catalog) == (two,)
    asked = about(kind=one)
    assert matching.chosen([rule("widgets", api_versions=("v2",))], "Equivalent", asked, (two,)) is two


NAMES = meta.LabelSelector(match_labels={"team": "a"})
LABELLED = core.Namespace(metadata=meta.ObjectMeta(name="shop", labels={"team": "a"}))
OTHER = core.Namespace(metadata=meta.ObjectMeta(name="shop", labels={"team": "b"}))


@pytest.mark.parametrize(
    ("request_", "stored", "taken"),
    [
        (Request(Operation.CREATE, kinds.POD, "shop", "", POD), LABELLED, True),
        (Request(Operation.CREATE, kinds.POD, "shop", "", POD), OTHER, False),
        (Request(Operation.CREATE, kinds.NODE, "", "", core.Node()), OTHER, True),
        (Request(Operation.UPDATE, kinds.NAMESPACE, "", "shop", LABELLED), OTHER, True),
        (Request(Operation.UPDATE_STATUS, kinds.NAMESPACE, "", "shop", LABELLED), OTHER, False),
        (Request(Operation.DELETE, kinds.NAMESPACE, "", "shop", LABELLED), OTHER, False),
    ],
)
def test_namespaces_are_chosen_by_their_labels(request_: Request, stored: core.Namespace, taken: bool) -> None:
    view = Cluster().having(stored).view
    assert matching.in_namespace(NAMES, request_, matching.asked(request_), view) is taken


def test_a_namespace_that_is_not_there_is_an_error_only_for_who_looks_at_it() -> None:
    request = Request(Operation.CREATE, kinds.POD, "shop", "", POD)
    asked, view = matching.asked(request), Cluster().view
    assert matching.in_namespace(None, request, asked, view)
    assert matching.in_namespace(meta.LabelSelector(), request, asked, view)
    with pytest.raises(NotFound):
        matching.in_namespace(NAMES, request, asked, view)


def test_objects_are_chosen_by_what_they_are_or_were() -> None:
    selector = meta.LabelSelector(match_labels={"app": "web"})
    other = core.Pod()
    assert matching.of_object(selector, other, POD)
    assert matching.of_object(selector, POD, other)
    assert not matching.of_object(selector, other, None)
    assert not matching.of_object(selector, None, None)
    assert matching.of_object(meta.LabelSelector(), None, None)
    assert not matching.of_object(selector, apps.DeploymentSpec())


def test_the_configuration_of_admission_concerns_nobody() -> None:
    assert matching.is_exempt(kinds.MUTATING_WEBHOOKS)
    assert matching.is_exempt(kinds.VALIDATING_POLICY_BINDING)
    assert not matching.is_exempt(kinds.CONFIG_MAP)
