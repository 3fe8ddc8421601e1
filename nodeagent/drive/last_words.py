"""What ended containers leave behind for their status: the termination message, read once per instance.

It is the file that the container was given for it, or where the pod asks for that and the file is empty after a
failure, the end of the container's log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from mizzen.api.types import core_v1 as core
from nodeagent.drive.perform import termination_file
from nodeagent.lifecycle.containers import find
from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import ContainerState, LogQuery, Status
from nodeagent.volumes.port import VolumeFailure, Volumes

TERMINATION_MAX_BYTES = 4096
LOG_LINES = 80
LOG_MAX_BYTES = 2048
DEADLINE_S = 5.0

_LOG = structlog.get_logger(__name__)


class LastWords:
    """The messages, by pod and container id."""

    def __init__(self, runtime: Runtime, volumes: Volumes) -> None:
        self._runtime = runtime
        self._volumes = volumes
        self._messages: dict[str, dict[str, str]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self.changed: Callable[[str], None] = lambda _: None
        self.group: asyncio.TaskGroup | None = None
        """Where reading happens; set before the first question."""

    def of(self, uid: str) -> Mapping[str, str]:
        """The messages of a pod's ended containers."""
        return self._messages.get(uid, {})

    def known(self, pod: core.Pod, containers: Iterable[ContainerState]) -> bool:
        """Whether all messages of a pod have been read; otherwise that begins here, and ends with `changed`."""
        uid = pod.metadata.uid
        if uid in self._reading:
            return False
        known = self._messages.get(uid, {})
        unread = [state for state in containers if state.status is Status.EXITED and state.id not in known]
        if not unread:
            return True
        assert self.group is not None, "not started"
        self._reading[uid] = self.group.create_task(self._read_all(pod, unread))
        return False

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._messages.pop(uid, None)

    async def _read_all(self, pod: core.Pod, states: list[ContainerState]) -> None:
        uid = pod.metadata.uid
        messages = self._messages.setdefault(uid, {})
        for state in states:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    messages[state.id] = await self._read(pod, state)
            except (VolumeFailure, RuntimeFailure, TimeoutError) as error:
                _LOG.warning("termination_message_unreadable", container=state.name, error=str(error))
                messages[state.id] = ""
        del self._reading[uid]
        self.changed(uid)

    async def _read(self, pod: core.Pod, state: ContainerState) -> str:
        name = termination_file(state.name, state.attempt)
        text = await self._volumes.read(pod.metadata.uid, name, TERMINATION_MAX_BYTES)
        container = find(pod.spec, state.name)
        wants_log = container is not None and container.termination_message_policy == "FallbackToLogsOnError"
        if not text and wants_log and state.exit_code:
            pieces = [piece async for _, piece in self._runtime.logs(state.id, LogQuery(tail=LOG_LINES))]
            text = b"".join(pieces)[-LOG_MAX_BYTES:]
        return text.decode(errors="replace")
