"""Ends the pods in order before the machine goes down, and lets the control plane know.

Who ends when is decided in `nodeagent.lifecycle.shutdown`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from nodeagent.drive.context import NodeContext
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.pods import Pods
from nodeagent.lifecycle.shutdown import Group, groups

SLACK_S = 5.0
"""What ending by force takes beyond the time that a group has."""
DELIVERY_S = 5.0
"""How long the control plane may take to hear of it."""
LOOK_S = 0.1

_LOG = structlog.get_logger(__name__)


class ShutDown(Exception):
    """All pods have ended, because the machine goes down; the agent is to end, too."""


class Shutdown:
    """Waits for the end of the machine."""

    def __init__(
        self, *, node: NodeContext, pods: Pods, outbox: Outbox, tell: Callable[[], None], grace_s: int, critical_s: int
    ) -> None:
        """`tell` reports the node's status; `grace_s` is for all, `critical_s` of it for critical pods."""
        self._node = node
        self._pods = pods
        self._outbox = outbox
        self._tell = tell
        self._grace_s = grace_s
        self._critical_s = critical_s
        self.begun = asyncio.Event()
        """Set when the machine is going down."""

    async def run(self) -> None:
        """Wait for it, and end the pods. Raises ShutDown then."""
        await self.begun.wait()
        self._node.shutting_down = True
        self._tell()
        for group in groups(self._pods.active(), self._grace_s, self._critical_s):
            await self._end(group)
        try:
            async with asyncio.timeout(DELIVERY_S):
                while not self._outbox.idle:  # noqa: ASYNC110  # what is stored is not told to anybody
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            _LOG.warning("shutdown_not_told", hint="the control plane did not answer; it hears after the next boot")
        raise ShutDown

    async def _end(self, group: Group) -> None:
        _LOG.info("pods_end", pods=len(group.pods), within_s=group.within_s)
        for pod in group.pods:
            self._pods.fail(pod.metadata.uid, group.failure_of(pod))
        try:
            async with asyncio.timeout(group.within_s + SLACK_S):
                while any(not self._pods.has_ended(pod.metadata.uid) for pod in group.pods):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            _LOG.error("pods_not_ended", hint="the engine did not end them in time")
