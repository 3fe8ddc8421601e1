"""Pages of pods move autoscalers: a whole control plane, and agents that read pages which are really served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from aiohttp import web

from controlplane.reconcilers import autoscaler
from mizzen.api import kinds
from mizzen.api.types import apps_v1, core_v1, meta_v1
from mizzen.api.types import autoscaling_v2 as autoscaling
from mizzen.client import Client
from mizzen.client.config import load
from nodeagent.drive import scrape, usage
from tests.fixtures.memory_node import Machine
from tests.fixtures.whole_cluster import whole_cluster

pytestmark = [pytest.mark.etcd, pytest.mark.timeout(180)]

WAIT_S = 60.0


class Page:
    """A page that all pods on the nodes' own network show."""

    text, port = "", 0

    async def answer(self, request: web.Request) -> web.Response:
        return web.Response(text=self.text)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """It, on this machine."""
    made, app = Page(), web.Application()
    app.add_routes([web.get("/metrics", made.answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def _here(folder: Path, name: str, address: str, images: Sequence[str]) -> Machine:
    return Machine(folder, name, "127.0.0.1", images)


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """An administrator of a cluster that looks often."""
    # Another cluster of this process may have registered its metrics.
    monkeypatch.setattr(prometheus_client, "REGISTRY", prometheus_client.CollectorRegistry())
    monkeypatch.setattr(scrape, "INTERVAL_S", 0.5)
    monkeypatch.setattr(usage, "INTERVAL_S", 0.5)
    monkeypatch.setattr(autoscaler, "SYNC_MS", 1_000)
    async with whole_cluster(tmp_path, _here) as kubeconfig, Client(load(kubeconfig)) as made:
        yield made


def web_of(name: str, page: Page, replicas: int = 1) -> apps_v1.Deployment:
    """A Deployment whose pods show the page."""
    notes = {"prometheus.io/scrape": "true", "prometheus.io/port": str(page.port)}
    labels = {"app": name}
    spec = core_v1.PodSpec(host_network=True, containers=(core_v1.Container(name="c", image="web:1"),))
    template = core_v1.PodTemplateSpec(metadata=meta_v1.ObjectMeta(labels=labels, annotations=notes), spec=spec)
    return apps_v1.Deployment(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default"),
        spec=apps_v1.DeploymentSpec(
            replicas=replicas, selector=meta_v1.LabelSelector(match_labels=labels), template=template
        ),
    )


def scaling(name: str, least: int, **source: Any) -> autoscaling.HorizontalPodAutoscaler:
    """An autoscaler that goes down without waiting."""
    ((word, given),) = source.items()
    quick = autoscaling.HPAScalingRules(stabilization_window_seconds=0)
    return autoscaling.HorizontalPodAutoscaler(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default"),
        spec=autoscaling.HorizontalPodAutoscalerSpec(
            scale_target_ref=autoscaling.CrossVersionObjectReference(
                api_version="apps/v1", kind="Deployment", name=name
            ),
            min_replicas=least,
            max_replicas=4,
            metrics=(autoscaling.MetricSpec(type=word.capitalize(), **{word: given}),),
            behavior=autoscaling.HorizontalPodAutoscalerBehavior(scale_down=quick),
        ),
    )


def metric(name: str) -> autoscaling.MetricIdentifier:
    return autoscaling.MetricIdentifier(name=name)


def each(amount: str) -> autoscaling.MetricTarget:
    return autoscaling.MetricTarget(type="AverageValue", average_value=amount)


async def until(what: str, holds: Callable[[], Any]) -> None:
    """Wait until it holds."""
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                if await holds():
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"waited for {what}")


async def size_is(client: Client, name: str, replicas: int) -> bool:
    found = await client.get(kinds.DEPLOYMENT, "default", name)
    return found.spec.replicas == replicas


async def test_pages_move_autoscalers(client: Client, page: Page) -> None:
    page.text = "depth 10\nqueue 0\n"
    pods = autoscaling.PodsMetricSource(metric=metric("depth"), target=each("10"))
    queue = autoscaling.ExternalMetricSource(metric=metric("queue"), target=each("5"))
    for obj in (web_of("web", page), web_of("work", page)):
        await client.create(obj)
    await client.create(scaling("web", 1, pods=pods))
    await client.create(scaling("work", 0, external=queue))
    await until("nothing to do", partial(size_is, client, "work", 0))
    page.text = "depth 25\nqueue 14\n"
    await until("more pods for more to do", partial(size_is, client, "web", 4))
    # The queue is told of by every pod of the namespace that shows it.
    await until("the worker to come back", partial(size_is, client, "work", 4))
    page.text = "depth 1\nqueue 0\n"
    await until("fewer", partial(size_is, client, "web", 1))
    await until("none", partial(size_is, client, "work", 0))
    found = await client.get(kinds.HORIZONTAL_POD_AUTOSCALER, "default", "work")
    conditions = {one.type: one.status for one in found.status.conditions}
    assert conditions["ScaledToZero"] == "True"
