"""Metrics of pods: which are wanted, what a path asks for, and what comes out of the series of pods."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from multidict import MultiDict

from controlplane.server.metric_apis import forms, paths, wishes
from controlplane.server.metric_apis.values import MetricValues
from controlplane.server.metric_apis.wishes import Wishes
from controlplane.server.usage import KEPT_MS, SERIES_MAX, Usages
from mizzen.api import errors, kinds
from mizzen.api.metric_values import CUSTOM, EXTERNAL, Asked, Value
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.api.types import networking_v1 as networking
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Change, ChangeType, Entry
from mizzen.engine.overlay import Overlay
from mizzen.wire.gen.mizzen.v1 import node_pb2

NOW = 1_767_225_600_000
APP = {"app": "web"}


class Hand:
    """A clock that is set by hand."""

    at = NOW

    def now(self) -> int:
        return self.at

    def monotonic_ms(self) -> int:
        return self.at


def meta(name: str, namespace: str = "shop", **labels: str) -> meta_v1.ObjectMeta:
    return meta_v1.ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}", labels=labels)


def pod(name: str, node: str = "n1", namespace: str = "shop", **labels: str) -> core_v1.Pod:
    return core_v1.Pod(metadata=meta(name, namespace, **labels), spec=core_v1.PodSpec(node_name=node))


def series(value: float, metric: str = "hits", window_ms: int = 0, **labels: str) -> node_pb2.Series:
    return node_pb2.Series(metric=metric, value=value, labels=labels, window_ms=window_ms)


def said(name: str, *found: node_pb2.Series, age_ms: int = 0) -> node_pb2.ScrapedPod:
    return node_pb2.ScrapedPod(uid=f"uid-{name}", age_ms=age_ms, series=found)


def service(name: str, selector: dict[str, str]) -> core_v1.Service:
    return core_v1.Service(metadata=meta(name), spec=core_v1.ServiceSpec(selector=selector))


def ingress(*services: str) -> networking.Ingress:
    """With one path for each Service."""
    found = [
        networking.HTTPIngressPath(
            path="/", backend=networking.IngressBackend(service=networking.IngressServiceBackend(name=name))
        )
        for name in services
    ]
    rule = networking.IngressRule(http=networking.HTTPIngressRuleValue(paths=tuple(found)))
    return networking.Ingress(metadata=meta("front"), spec=networking.IngressSpec(rules=(rule,)))


OBJECTS = (
    core_v1.Namespace(metadata=meta("shop", "")),
    pod("a", app="web"), pod("b", app="web"), pod("c", "n2", app="db"), pod("d", "n2"), pod("x", namespace="other"),
    service("web", APP), service("db", {"app": "db"}), service("none", {}), service("idle", {"app": "idle"}),
    ingress("web", "db", "gone", "web"),
    apps_v1.Deployment(
        metadata=meta("web"), spec=apps_v1.DeploymentSpec(selector=meta_v1.LabelSelector(match_labels=APP))
    ),
)  # fmt: skip


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def usages(clock: Hand) -> Usages:
    """What two nodes have told."""
    made = Usages(None, clock)  # type: ignore[arg-type]  # only usage itself is looked up there
    made.told("n1", node_pb2.Usage(scraped=[
        said("a", series(10, code="200"), series(0.5, code="500")), said("b", series(2.0004, window_ms=30_000)),
        # Neither its own pod nor one that is there.
        said("c", series(1000)), said("gone", series(1000)),
    ]))  # fmt: skip
    made.told("n2", node_pb2.Usage(scraped=[
        said("c", series(4, pod="mine"), series(float("nan")), series(1e18), age_ms=5_000), said("x", series(7)),
    ]))  # fmt: skip
    return made


@pytest.fixture
def values(usages: Usages) -> MetricValues:
    view = Overlay(Cache(indexes.ALL))
    for obj in OBJECTS:
        view.put(obj)
    return MetricValues(lambda: view, usages)


@pytest.mark.parametrize(
    ("resource", "name", "labels", "selector", "expected"),
    [
        ("pods", "*", "app=web", "", {"a": 10500, "b": 2000}),
        ("pods", "*", "", "", {"a": 10500, "b": 2000, "c": 4000}),
        ("pods", "*", "", "code=500", {"a": 500}),
        ("pods", "*", "", "pod in (b,c)", {"b": 2000, "c": 4000}),
        ("pods", "a", "", "", {"a": 10500}),
        ("services", "web", "", "", {"web": 12500}),
        ("services", "*", "", "", {"web": 12500, "db": 4000}),
        ("deployments.apps", "web", "", "", {"web": 12500}),
        ("ingresses.networking.k8s.io", "front", "", "", {"front": 16500}),
        ("namespaces", "shop", "", "", {"shop": 16500}),
    ],
)
def test_values_of_objects(
    values: MetricValues, resource: str, name: str, labels: str, selector: str, expected: dict[str, int]
) -> None:
    found = values.find(Asked("shop", "hits", selector, resource, name, labels))
    assert {one.name: one.milli for one in found} == expected


@pytest.mark.parametrize(
    ("resource", "name", "metric", "why"),
    [
        ("pods", "*", "other", "the server could not find the metric other for pods"),
        ("pods", "d", "hits", "the server could not find the metric hits for pods d"),
        ("pods", "gone", "hits", 'pods "gone" not found'),
        ("services", "idle", "hits", "the server could not find the metric hits for services idle"),
        ("services", "none", "hits", "the server could not find the metric hits for services none"),
        ("configmaps", "x", "hits", "the server could not find the metric hits for configmaps x"),
        ("things.example.com", "x", "hits", "the server could not find the metric hits for things.example.com x"),
    ],
)
def test_what_has_no_value(values: MetricValues, resource: str, name: str, metric: str, why: str) -> None:
    with pytest.raises(errors.ApiError, match=why) as raised:
        values.find(Asked("shop", metric, "", resource, name))
    assert (raised.value.code, raised.value.reason) == (404, "NotFound")
    with pytest.raises(errors.BadRequest):
        values.find(Asked("shop", metric, "a in", resource, name))


def test_external_values_are_series(values: MetricValues) -> None:
    found = values.find(Asked("shop", "hits"))
    assert [(one.milli, one.labels) for one in found] == [
        (10_000, {"code": "200", "pod": "a"}), (500, {"code": "500", "pod": "a"}), (2_000, {"pod": "b"}),
        (4_000, {"exported_pod": "mine", "pod": "c"}),
    ]  # fmt: skip
    assert values.values(Asked("shop", "hits", "code=500")) == [Value("", 500)]
    assert values.find(Asked("shop", "nothing")) == []
    assert values.names() == ["hits"]


def test_what_was_said_long_ago_counts_no_longer(values: MetricValues, clock: Hand, usages: Usages) -> None:
    clock.at += KEPT_MS - 4_000
    assert {one.name for one in values.find(Asked("shop", "hits", "", "pods", "*"))} == {"a", "b"}
    clock.at += 5_000
    assert (values.find(Asked("shop", "hits")), values.names()) == ([], [])
    usages.told("n1", node_pb2.Usage(scraped=[said("a", *[series(1)] * (SERIES_MAX + 1))]))
    assert values.find(Asked("shop", "hits")) == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            f"/apis/{CUSTOM}/v1beta2/namespaces/shop/pods/*/hits?labelSelector=app%3Dweb&metricLabelSelector=a%3Db",
            Asked("shop", "hits", "a=b", "pods", "*", "app=web"),
        ),
        (
            f"/apis/{CUSTOM}/v1beta2/namespaces/shop/deployments.apps/web/hits",
            Asked("shop", "hits", "", "deployments.apps", "web"),
        ),
        (f"/apis/{CUSTOM}/v1beta2/namespaces/shop/metrics/hits", Asked("shop", "hits", "", "namespaces", "shop")),
        (f"/apis/{EXTERNAL}/v1beta1/namespaces/shop/hits?labelSelector=a%3Db", Asked("shop", "hits", "a=b")),
    ],
)
def test_paths(path: str, expected: Asked) -> None:
    plain, _, query = path.partition("?")
    given = MultiDict(tuple(part.replace("%3D", "=").split("=", 1)) for part in query.split("&") if part)
    assert paths.parse(plain, given) == expected
    version = "v1beta2" if expected.resource else "v1beta1"
    assert paths.path_of(expected, version) == path
    assert paths.group_version(plain) == (expected.group, version)


@pytest.mark.parametrize(
    "path",
    [
        f"/apis/{CUSTOM}/v1beta2/nodes/n1/hits", f"/apis/{CUSTOM}/v1beta2/namespaces/shop/hits",
        f"/apis/{EXTERNAL}/v1beta1/namespaces/shop/a/b", f"/apis/{EXTERNAL}/v1beta1/hits",
    ],
)  # fmt: skip
def test_paths_to_nothing(path: str) -> None:
    assert paths.parse(path, MultiDict()) is None


def test_groups_and_versions() -> None:
    for path in ("/apis/custom.metrics.k8s.io", f"/apis/{CUSTOM}/v1/x", "/api/v1/pods", f"/apis/{EXTERNAL}/v1beta2"):
        assert paths.group_version(path) is None


def test_answers(values: MetricValues) -> None:
    asked = Asked("shop", "hits", "code!=500", "pods", "b")
    (new,) = json.loads(forms.values_body(asked, "v1beta2", values.find(asked)))["items"]
    selector = {"matchExpressions": [{"key": "code", "operator": "NotIn", "values": ["500"]}]}
    assert new == {
        "describedObject": {"kind": "Pod", "name": "b", "apiVersion": "v1", "namespace": "shop"},
        "metric": {"name": "hits", "selector": selector},
        "timestamp": "2026-01-01T00:00:00Z", "windowSeconds": 30, "value": "2",
    }  # fmt: skip
    old = json.loads(forms.values_body(asked, "v1beta1", values.find(asked)))
    assert (old["kind"], old["apiVersion"]) == ("MetricValueList", f"{CUSTOM}/v1beta1")
    assert (old["items"][0]["metricName"], old["items"][0]["window"]) == ("hits", 30)
    outside = Asked("shop", "hits", "code=500")
    (external,) = json.loads(forms.values_body(outside, "v1beta1", values.find(outside)))["items"]
    assert external == {
        "metricName": "hits", "metricLabels": {"code": "500", "pod": "a"}, "timestamp": "2026-01-01T00:00:00Z",
        "value": "500m",
    }  # fmt: skip
    assert forms.read(forms.values_body(asked, "v1beta2", values.find(asked))) == [Value("b", 2000)]
    with pytest.raises(errors.BadRequest, match="compared as texts"):
        more = Asked("shop", "hits", "code>1", "pods", "b")
        forms.values_body(more, "v1beta2", values.find(asked))


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"items": [{"value": "many"}]}', b'{"items": [{"value": 1}]}', b"\xff"]
)
def test_answers_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(forms.Unclear, match="the answer is no list of values"):
        forms.read(body)
    assert forms.read(b'{"items": null}') == []


# Wishes


def autoscaler(name: str, *metrics: autoscaling.MetricSpec, generation: int = 1) -> autoscaling.HorizontalPodAutoscaler:
    return autoscaling.HorizontalPodAutoscaler(
        metadata=replace(meta(name), generation=generation),
        spec=autoscaling.HorizontalPodAutoscalerSpec(metrics=metrics),
    )


def of_pods(name: str) -> autoscaling.MetricSpec:
    source = autoscaling.PodsMetricSource(metric=autoscaling.MetricIdentifier(name=name))
    return autoscaling.MetricSpec(type="Pods", pods=source)


def of_object(name: str) -> autoscaling.MetricSpec:
    source = autoscaling.ObjectMetricSource(metric=autoscaling.MetricIdentifier(name=name))
    return autoscaling.MetricSpec(type="Object", object=source)


def outside(name: str) -> autoscaling.MetricSpec:
    source = autoscaling.ExternalMetricSource(metric=autoscaling.MetricIdentifier(name=name))
    return autoscaling.MetricSpec(type="External", external=source)


Put = Callable[[Any, ChangeType], Change]


@pytest.fixture
def cache() -> Cache:
    return Cache(indexes.ALL)


@pytest.fixture
def put(cache: Cache) -> Put:
    """Puts an object into the cache, or takes it away."""

    def put(obj: Any, type_: ChangeType = ChangeType.MODIFIED) -> Change:
        kind, version = kinds.kind_of(obj), cache.revision + 1
        raw = canonical.stamp(kind, canonical.rest(obj), version)
        entry = Entry(kind, obj.metadata.namespace, obj.metadata.name, version, raw)
        if type_ is ChangeType.DELETED:
            cache.remove(kind, entry.namespace, entry.name)
        else:
            cache.put(entry)
        return Change(type_, version, entry)

    return put


def test_what_is_wanted(cache: Cache, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put(autoscaler("a", of_pods("p"), outside("e")), ChangeType.ADDED)
    wanted = Wishes(cache)
    assert wanted.now == {"shop": ("e", "p")}
    assert wanted.follow([put(autoscaler("b", of_object("o"), of_pods("p")), ChangeType.ADDED)])
    assert wanted.now == {"shop": ("e", "o", "p")}
    # Its status is written all the time.
    assert not wanted.follow([put(autoscaler("b", of_pods("p")), ChangeType.MODIFIED)])
    assert wanted.follow([put(autoscaler("b", of_pods("p"), generation=2), ChangeType.MODIFIED)])
    assert not wanted.follow([put(core_v1.Namespace(metadata=meta("shop", "")), ChangeType.ADDED)])
    spec = apiregistration.APIServiceSpec(
        group=EXTERNAL, version="v1beta1", service=apiregistration.ServiceReference(namespace="keda", name="keda")
    )
    other = apiregistration.APIService(metadata=meta(f"v1beta1.{EXTERNAL}", ""), spec=spec)
    assert wanted.follow([put(other, ChangeType.ADDED)])
    assert wanted.now == {"shop": ("p",)}
    assert wanted.follow([put(other, ChangeType.DELETED)])
    monkeypatch.setattr(wishes, "NAMES_MAX", 1)
    assert wanted.follow([put(autoscaler("b"), ChangeType.DELETED)])
    assert wanted.now == {"shop": ("e",)}
    assert wanted.follow([put(autoscaler("a"), ChangeType.DELETED)])
    assert wanted.now == {}
