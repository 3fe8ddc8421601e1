"""Docker's event stream as the port's hints. It is followed for ever; each connection begins with a `resync`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator

import msgspec
import structlog

from nodeagent.runtime import naming
from nodeagent.runtime.docker_engine import Engine
from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.values import Event

_ACTIONS = ["create", "start", "die", "oom", "destroy", "pause", "unpause"]  # not exec_*: every probe makes three
_log = structlog.get_logger(__name__)


class _Actor(msgspec.Struct, frozen=True, rename="pascal"):
    id: str = msgspec.field(name="ID")
    attributes: dict[str, str] = {}


class _Message(msgspec.Struct, frozen=True, rename="pascal"):
    action: str
    actor: _Actor


_decode = msgspec.json.Decoder(_Message).decode


async def follow(engine: Engine) -> AsyncGenerator[Event, None]:
    """Hints without end; a lost connection is made again after a growing pause."""
    first_ms, longest_ms = engine.settings.reconnect_ms
    pause_ms = first_ms
    while True:
        try:
            async for event in _connection(engine):
                pause_ms = first_ms
                yield event
            failure = "closed by the engine"
        except RuntimeFailure as error:
            failure = error.message
        _log.warning("docker_events_lost", failure=failure, again_in_ms=pause_ms)
        await asyncio.sleep(pause_ms / 1000)
        pause_ms = min(pause_ms * 2, longest_ms)


async def _connection(engine: Engine) -> AsyncGenerator[Event, None]:
    query = {
        "filters": json.dumps({"type": ["container"], "label": [naming.TYPE], "event": _ACTIONS}),
        # The engine answers before it has begun to listen; what falls between comes from its memory.
        "since": str(int(time.time()) - 1),
    }
    async with engine.stream("GET", "/events", query=query) as response:
        yield Event(action="resync")
        async for line in response.content:
            yield _event(line)


def _event(line: bytes) -> Event:
    message = _decode(line)
    labels = message.actor.attributes
    return Event(
        action=message.action,
        container_id=message.actor.id,
        pod_uid=labels.get(naming.POD_UID, ""),
        container=labels.get(naming.CONTAINER, ""),
    )
