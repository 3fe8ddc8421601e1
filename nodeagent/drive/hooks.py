"""Runs `postStart` and `preStop`: a command in the container, a request to it, or just time that passes."""

from __future__ import annotations

import asyncio

from mizzen.api.types import core_v1 as core
from nodeagent.drive.metrics import Metrics
from nodeagent.drive.prober import http_get, tcp_connect
from nodeagent.lifecycle import actions as act
from nodeagent.lifecycle.containers import find
from nodeagent.lifecycle.observation import Failure
from nodeagent.lifecycle.probes import Outcome, port_of
from nodeagent.runtime.port import Runtime

REASONS = {"postStart": "FailedPostStartHook", "preStop": "FailedPreStopHook"}


class Hooks:
    """The runner."""

    def __init__(self, runtime: Runtime, metrics: Metrics) -> None:
        self._runtime = runtime
        self._metrics = metrics

    async def run(self, pod: core.Pod, operation: act.RunHook, ip: str) -> Failure | None:
        """Run it to its end or its time-out; why it failed, if it did. Raises RuntimeFailure."""
        container = find(pod.spec, operation.container)
        lifecycle = container.lifecycle if container is not None else None
        if container is None or lifecycle is None:
            return None
        handler = lifecycle.post_start if operation.hook == "postStart" else lifecycle.pre_stop
        if handler is None:
            return None
        try:
            async with asyncio.timeout(operation.timeout_ms / 1000):
                problem = await self._run(handler, container, operation, ip)
        except TimeoutError:
            problem = f"{operation.hook} did not end within {operation.timeout_ms / 1000:g} s"
        return Failure(REASONS[operation.hook], problem) if problem else None

    async def _run(
        self, handler: core.LifecycleHandler, container: core.Container, operation: act.RunHook, ip: str
    ) -> str:
        limit_s = operation.timeout_ms / 1000
        if handler.exec is not None:
            with self._metrics.operation("exec_sync"):
                result = await self._runtime.exec_sync(operation.container_id, handler.exec.command, limit_s)
            shown = " ".join(handler.exec.command)
            return "" if result.exit_code == 0 else f"command '{shown}' exited with {result.exit_code}"
        if handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
            return ""
        if handler.http_get is not None:
            outcome, message = await http_get(handler.http_get, container, ip, limit_s)
        elif handler.tcp_socket is not None:
            port = port_of(container, handler.tcp_socket.port)
            outcome, message = await tcp_connect(handler.tcp_socket.host or ip, port, limit_s)
        else:
            return ""
        return "" if outcome is Outcome.SUCCESS else message
