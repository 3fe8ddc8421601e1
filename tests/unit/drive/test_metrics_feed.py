"""Metrics for autoscalers: our own at once, those of an extension server as soon as it has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from controlplane.drive import metrics_feed
from controlplane.drive.metrics_feed import MetricsFeed
from controlplane.reconcilers.scalingmetrics import NotYet
from controlplane.reconcilers.usageratios import NoMetric
from controlplane.server.aggregation.claims import Claims, Served
from controlplane.server.aggregation.fetch import FetchFailed
from mizzen.api import errors, kinds
from mizzen.api.metric_values import CUSTOM, EXTERNAL, Asked, Value
from mizzen.api.types import apiregistration_v1 as apiregistration
from mizzen.api.types import meta_v1
from mizzen.base.clocks import SystemClock
from mizzen.engine import canonical, indexes
from mizzen.engine.cache import Cache
from mizzen.engine.entry import Entry

OF_PODS = Asked("shop", "hits", "", "pods", "*", "app=web")
OUTSIDE = Asked("shop", "queue")
LIST = msgspec.json.encode({"items": [{"describedObject": {"name": "a"}, "value": "1500m"}]})


class Own:
    """What is served here."""

    def values(self, asked: Asked) -> Sequence[Value]:
        if asked == OUTSIDE:
            return [Value("", 1)]
        raise errors.ApiError("the server could not find the metric hits for pods", code=404)


class Server:
    """An extension server that answers as it is told."""

    def __init__(self) -> None:
        self.answer: Any = (200, LIST)
        self.asked: list[str] = []

    async def ask(self, served: Served, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        found: tuple[int, bytes] = self.answer
        return found


def registered(cache: Cache, group: str, version: str, available: str = "True") -> None:
    """An extension server has a group and version."""
    service = apiregistration.ServiceReference(namespace="monitoring", name="adapter")
    condition = apiregistration.APIServiceCondition(type="Available", status=available)
    made = apiregistration.APIService(
        metadata=meta_v1.ObjectMeta(name=f"{version}.{group}"),
        spec=apiregistration.APIServiceSpec(group=group, version=version, service=service),
        status=apiregistration.APIServiceStatus(conditions=(condition,)),
    )
    raw = canonical.stamp(kinds.API_SERVICE, canonical.rest(made), cache.revision + 1)
    cache.put(Entry(kinds.API_SERVICE, "", made.metadata.name, cache.revision + 1, raw))


async def told(feed: MetricsFeed, asked: Asked) -> Sequence[Value]:
    """The first answer. Raises NoMetric."""
    async with asyncio.timeout(5):
        while True:
            try:
                return feed.metrics(asked)
            except NotYet:
                await asyncio.sleep(0.01)


@pytest.fixture
def cache() -> Cache:
    return Cache(indexes.ALL)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def feed(cache: Cache, server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A feed that runs."""
    monkeypatch.setattr(metrics_feed, "EVERY_MS", 20)
    made = MetricsFeed(Own(), Claims(cache), server.ask, SystemClock())  # type: ignore[arg-type]  # a stand-in
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_our_own_need_no_waiting(feed: MetricsFeed, server: Server) -> None:
    assert feed.metrics(OUTSIDE) == [Value("", 1)]
    with pytest.raises(NoMetric, match="the server could not find the metric hits for pods"):
        feed.metrics(OF_PODS)
    assert server.asked == []


async def test_who_has_registered_is_asked(feed: MetricsFeed, server: Server, cache: Cache) -> None:
    registered(cache, CUSTOM, "v1beta1")
    assert await told(feed, OF_PODS) == [Value("a", 1500)]
    assert server.asked[0] == f"/apis/{CUSTOM}/v1beta1/namespaces/shop/pods/*/hits?labelSelector=app%3Dweb"
    # The other group is still ours.
    assert feed.metrics(OUTSIDE) == [Value("", 1)]
    registered(cache, CUSTOM, "v1beta2")
    async with asyncio.timeout(5):
        while "v1beta2" not in server.asked[-1]:
            assert feed.metrics(OF_PODS)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (FetchFailed('Get "/apis": context deadline exceeded'), "context deadline exceeded"),
        (errors.ServiceUnavailable("spec.caBundle cannot be read"), "spec.caBundle cannot be read"),
        ((404, b'{"kind": "Status", "message": "no such metric"}'), "no such metric"),
        ((500, b"oops"), "the server responded with the status code 500 but did not return more information"),
        ((200, b"<html>"), "the answer is no list of values"),
    ],
)
async def test_what_goes_wrong(feed: MetricsFeed, server: Server, cache: Cache, answer: Any, why: str) -> None:
    registered(cache, EXTERNAL, "v1beta1")
    server.answer = answer
    with pytest.raises(NoMetric, match=why):
        await told(feed, OUTSIDE)
    server.answer = (200, LIST)
    async with asyncio.timeout(5):
        while True:
            try:
                assert feed.metrics(OUTSIDE) == [Value("a", 1500)]
            except NoMetric:
                await asyncio.sleep(0.01)
            else:
                return


async def test_who_is_away_is_not_asked(feed: MetricsFeed, server: Server, cache: Cache) -> None:
    registered(cache, CUSTOM, "v1beta2", available="False")
    with pytest.raises(NoMetric, match=r"currently unable to handle the request \(get pods.custom.metrics.k8s.io \*\)"):
        await told(feed, OF_PODS)
    registered(cache, EXTERNAL, "v2")
    with pytest.raises(NoMetric, match="that is known here"):
        await told(feed, OUTSIDE)
    assert server.asked == []


async def test_questions_have_a_bound_and_an_end(
    feed: MetricsFeed, server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(cache, EXTERNAL, "v1beta1")
    monkeypatch.setattr(metrics_feed, "QUESTIONS_MAX", 1)
    await told(feed, OUTSIDE)
    with pytest.raises(NoMetric, match="more than 1 different metrics"):
        feed.metrics(Asked("shop", "another"))
    monkeypatch.setattr(metrics_feed, "FORGOTTEN_MS", 0)
    async with asyncio.timeout(5):
        while True:
            try:
                await told(feed, Asked("shop", "another"))
            except NoMetric:
                await asyncio.sleep(0.01)
            else:
                return
