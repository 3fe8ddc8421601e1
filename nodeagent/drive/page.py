"""The node's only open port: the agent's metrics page by page as the kubelet has them, and whether it is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from nodeagent.drive.metrics import Metrics
from nodeagent.drive.resource_metrics import ResourcePages
from nodeagent.drive.usage import Meter

Page = Callable[[], Awaitable[bytes]]


class MetricsPage:
    """The HTTP server for `/metrics` and the pages below it, and for `/healthz`."""

    def __init__(self, metrics: Metrics, meter: Meter, health: Callable[[], str], before: Callable[[], None]) -> None:
        """`health` says what is wrong (empty: nothing); `before` sets gauges that are only known when asked."""
        self._metrics = metrics
        self._health = health
        self._before = before
        resources = ResourcePages(meter)
        self._pages: Mapping[str, Page] = {
            "/metrics": self._own,
            "/metrics/probes": self._probes,
            "/metrics/resource": resources.resource,
            "/metrics/cadvisor": resources.cadvisor,
        }
        self._runner: web.AppRunner | None = None
        self.port = 0
        self._host = ""

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        app = web.Application()
        app.add_routes([web.get(path, self._answer) for path in self._pages])
        app.add_routes([web.get("/healthz", self._healthz)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, reuse_address=True)
        await site.start()
        self.port = next(iter(self._runner.addresses))[1]
        self._host = host

    @property
    def address(self) -> tuple[str, int]:
        """Where the page is reached from this machine; port 0 where it is not served."""
        return ("127.0.0.1" if self._host in ("", "0.0.0.0", "::") else self._host), self.port

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._pages[request.path](), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _own(self) -> bytes:
        self._before()
        return self._metrics.page()

    async def _probes(self) -> bytes:
        return self._metrics.probe_page()

    async def _healthz(self, _: web.Request) -> web.Response:
        problem = self._health()
        return web.Response(text=problem or "ok", status=503 if problem else 200)
