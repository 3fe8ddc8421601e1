"""Pages of pods: what is read of them, what counters make of it, and what becomes of pods that do not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from mizzen.api.types import core_v1 as core
from nodeagent.drive import samples, scrape
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.samples import Rates, Reading, Sample, Unreadable, read
from nodeagent.drive.scrape import Scraper, url_of
from tests.unit.agent.world import LoopClock, pod

PAGE = """\
# HELP queue_depth Jobs that wait.
# TYPE queue_depth gauge
queue_depth{queue="mail"} 12
queue_depth{queue="a \\"b\\""} 3.5
# TYPE http_requests_total counter
http_requests_total{code="200"} 1027 1395066363000
http_requests_total{code="500"} NaN
# TYPE busy_seconds_total counter
busy_seconds_total 17.25
bare_total 4
bare 7
lone 1
# TYPE took_seconds histogram
took_seconds_bucket{le="0.1"} 8
took_seconds_bucket{le="+Inf"} 9
took_seconds_sum 5.5
took_seconds_count 9
# TYPE lag summary
lag{quantile="0.5"} 2
lag_sum 30
lag_count 10
huge 1e300
"""


@pytest.mark.parametrize(
    ("wanted", "gauges", "counters"),
    [
        pytest.param("queue_depth", {(("queue", "mail"),): 12, (("queue", 'a "b"'),): 3.5}, {}, id="gauge"),
        pytest.param("http_requests", {}, {(("code", "200"),): 1027}, id="counter, without what is no number"),
        pytest.param("busy", {}, {(): 17.25}, id="counter of seconds"),
        pytest.param("bare", {(): 7}, {}, id="a gauge comes before a counter"),
        pytest.param("lone", {(): 1}, {}, id="untyped"),
        pytest.param("took_seconds_count", {}, {(): 9}, id="how often"),
        pytest.param("took_seconds_sum", {}, {(): 5.5}, id="how much"),
        pytest.param("took_seconds_bucket", {}, {}, id="no buckets"),
        pytest.param("took_seconds", {}, {}, id="a histogram is no number"),
        pytest.param("lag", {(("quantile", "0.5"),): 2}, {}, id="quantiles"),
        pytest.param("lag_count", {}, {(): 10}, id="of a summary"),
        pytest.param("huge", {}, {}, id="more than a quantity holds"),
        pytest.param("http_requests_total", {}, {}, id="counters have their served name only"),
        pytest.param("nothing", {}, {}, id="not there"),
    ],
)
def test_the_plain_format(wanted: str, gauges: dict[Any, float], counters: dict[Any, float]) -> None:
    def named(found: dict[Any, float]) -> dict[Any, float]:
        return {(wanted, labels): value for labels, value in found.items()}

    assert read(PAGE, {wanted}) == Reading(named(gauges), named(counters))


def test_open_metrics() -> None:
    page = '# TYPE hits counter\nhits_total{a="b"} 5 # {trace="x"} 1\nhits_created{a="b"} 1.5e9\n# EOF\n'
    assert read(page, {"hits"}, is_open_metrics=True).counters == {("hits", (("a", "b"),)): 5}
    assert read("# TYPE hits counter\nhits_total 5\n", {"hits"}).counters == {("hits", ()): 5}


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("hits one\n", "not in Prometheus' text format"),
        ('hits{a="b 1\n', "not in Prometheus' text format"),
        ("<html>\nhits</html>", "not in Prometheus' text format"),
        ("".join(f'hits{{n="{n}"}} 1\n' for n in range(samples.SERIES_MAX + 1)), "more than 200 series of hits"),
        (f'hits{{n="{"x" * samples.LABELS_MAX_BYTES}"}} 1\n', "labels of more than 2048 bytes"),
    ],
)
def test_what_cannot_be_read(page: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(page, {"hits"})


def test_rates() -> None:
    def counted(value: float | None) -> Reading:
        return Reading({}, {} if value is None else {("hits", ()): value})

    rates, found = Rates(), []
    for second, value in enumerate((100, 150, 10, 40, None, 50, 60)):
        found.append([(one.value, one.window_ms) for one in rates.take(counted(value), second * 10_000)])
    # What falls has begun again; what was away is new.
    assert found == [[], [(5, 10_000)], [(3, 20_000)], [(3, 30_000)], [], [], [(1, 10_000)]]
    rates = Rates()
    for second in range(0, 200, 10):
        (*_, last) = rates.take(counted(second if second < 100 else 100), second * 1000) or (None,)
    assert last == Sample("hits", (), 0, samples.RATE_MS)


def noted(**annotations: str) -> core.Pod:
    """A pod with annotations of its own."""
    made = pod()
    notes = {f"prometheus.io/{name}": text for name, text in annotations.items()}
    return replace(made, metadata=replace(made.metadata, annotations=notes))


def with_port(given: core.Pod, *ports: core.ContainerPort) -> core.Pod:
    """The pod with ports of its first container."""
    (first, *rest) = given.spec.containers
    return replace(given, spec=replace(given.spec, containers=(replace(first, ports=ports), *rest)))


def test_where_pages_are() -> None:
    udp, tcp = core.ContainerPort(container_port=53, protocol="UDP"), core.ContainerPort(container_port=8080)
    assert url_of(with_port(noted(), udp, tcp), "10.0.0.1") == "http://10.0.0.1:8080/metrics"
    assert url_of(noted(port="9100", path="m", scheme="https"), "fd00::1") == "https://[fd00::1]:9100/m"
    for given, why in (
        (noted(port="http"), "prometheus.io/port is 'http'; write a number"),
        (noted(port="70000"), "prometheus.io/port is '70000'"),
        (noted(port="1", scheme="ftp"), "prometheus.io/scheme is 'ftp'"),
        (with_port(noted(), udp), "no container has a port; write prometheus.io/port"),
    ):
        with pytest.raises(Unreadable, match=why):
            url_of(given, "10.0.0.1")


class Page:
    """A page that changes."""

    def __init__(self) -> None:
        self.text, self.status, self.asked, self.headers = "hits_total 1\n", 200, 0, dict[str, str]()
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(text=self.text, status=self.status, headers=self.headers)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A pod's page on this machine."""
    made = Page()
    app = web.Application()
    app.add_routes([web.get("/metrics", made.answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def reasons(outbox: Outbox) -> list[str]:
    """The messages of events that wait."""
    found = [item.value.message for item in outbox.take() if isinstance(item.value, core.Event)]
    outbox.stored()
    return found


async def test_only_what_is_wanted_is_read(page: Page) -> None:
    clock, outbox = LoopClock(), Outbox("n1")
    given = noted(scrape="true", port=str(page.port))
    scraper = Scraper(lambda: [(given, "127.0.0.1"), (pod(name="other"), "127.0.0.1")], outbox, clock)
    await scraper.round()
    scraper.want({"elsewhere": frozenset({"hits"})})
    await scraper.round()
    assert (page.asked, scraper.found()) == (0, ())
    page.text = "depth 3\nother 1\n"
    scraper.want({given.metadata.namespace: frozenset({"depth"})})
    await scraper.round()
    (found,) = scraper.found()
    assert (found.uid, found.samples) == (given.metadata.uid, (Sample("depth", (), 3.0),))
    scraper.want({})
    await scraper.round()
    assert (page.asked, scraper.found()) == (1, ())


async def test_a_pod_that_does_not_answer(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, outbox = LoopClock(), Outbox("n1")
    given = noted(scrape="true", port=str(page.port))
    scraper = Scraper(lambda: [(given, "127.0.0.1")], outbox, clock)
    scraper.want({given.metadata.namespace: frozenset({"depth"})})
    page.text = "depth 3\n"
    await scraper.round()
    page.status = 302
    page.headers = {"Location": "http://127.0.0.1:1/secret"}
    for _ in range(scrape.TOLD_AFTER):
        await scraper.round()
    # Where it sends one to is not asked, and what it said lately counts.
    (told,) = reasons(outbox)
    assert told.endswith("/metrics answers with 302")
    assert len(scraper.found()) == 1
    monkeypatch.setattr(scrape, "GOOD_MS", -1)
    assert scraper.found() == ()
    page.status, page.text = 200, "x" * 100
    monkeypatch.setattr(scrape, "PAGE_MAX_BYTES", 50)
    scraper._known.clear()
    for _ in range(scrape.TOLD_AFTER):
        await scraper.round()
    assert reasons(outbox)[0].endswith("has more than 50 bytes")


async def test_a_node_has_a_bound(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [replace(one, metadata=replace(one.metadata, uid=f"u{number}")) for number, one in enumerate(
        [noted(scrape="true", port=str(page.port))] * 3
    )]  # fmt: skip
    scraper = Scraper(lambda: [(one, "127.0.0.1") for one in pods], Outbox("n1"), LoopClock())
    scraper.want({pods[0].metadata.namespace: frozenset({"depth"})})
    page.text = 'depth{n="1"} 1\ndepth{n="2"} 2\n'
    monkeypatch.setattr(scrape, "NODE_SERIES_MAX", 5)
    await scraper.round()
    assert [one.uid for one in scraper.found()] == ["u0", "u1"]
    monkeypatch.setattr(scrape, "PODS_MAX", 1)
    await scraper.round()
    assert [one.uid for one in scraper.found()] == ["u0"]
