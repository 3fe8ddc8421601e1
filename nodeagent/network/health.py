"""Answers load balancers of others that ask whether a node has pods of a service, as kube-proxy does.

A Service with `externalTrafficPolicy: Local` has a port for that on every node, `healthCheckNodePort`. Whatever the
path, the answer is 200 while the node has a ready pod of the Service and 503 else.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from aiohttp import web

from nodeagent.network.services import ServiceRule

ANYWHERE = "0.0.0.0"  # like all node ports
_log = structlog.get_logger(__name__)


class HealthPorts:
    """The open health check ports of a node."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._rules: dict[int, ServiceRule] = {}
        self._open: dict[int, web.AppRunner] = {}

    async def sync(self, rules: Iterable[ServiceRule]) -> None:
        """Answer for exactly these services; those without a health check port are passed over.

        A port that somebody else has is logged, and tried again at the next call.
        """
        self._rules = {rule.health_port: rule for rule in rules if rule.health_port}
        for port in [port for port in self._open if port not in self._rules]:
            await self._open.pop(port).cleanup()
        for port, rule in self._rules.items():
            if port not in self._open:
                await self._listen(port, rule)

    async def close(self) -> None:
        """Answer no more."""
        await self.sync(())

    async def _listen(self, port: int, rule: ServiceRule) -> None:
        async def answer(_: web.Request) -> web.Response:
            return _answer(self._rules[port])

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, ANYWHERE, port, reuse_address=True).start()
        except OSError as error:
            await runner.cleanup()
            _log.warning("health_port_not_open", service=rule.key, port=port, error=str(error))
            return
        self._open[port] = runner


def _answer(rule: ServiceRule) -> web.Response:
    namespace, _, name = rule.key.partition("/")
    told = {
        "service": {"namespace": namespace, "name": name},
        "localEndpoints": rule.local_ready,
        "serviceProxyHealthy": True,
    }
    headers = {"X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": str(rule.local_ready)}
    return web.json_response(told, status=200 if rule.local_ready else 503, headers=headers)
