"""What the agent runs with: the engine, as soon as it answers, and its own version."""

from __future__ import annotations

import asyncio
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import structlog

from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.port import Runtime
from nodeagent.runtime.values import RuntimeInfo

ENGINE_RETRY_S = 1.0

_LOG = structlog.get_logger(__name__)


async def engine_info(runtime: Runtime) -> RuntimeInfo:
    """What the engine is, as soon as it answers; without it there is no node."""
    told = False
    while True:
        try:
            return await runtime.version()
        except RuntimeFailure as error:
            if not told:
                _LOG.error("engine_unreachable", error=str(error), hint="is Docker Engine running?")
                told = True
            await asyncio.sleep(ENGINE_RETRY_S)


def own_version() -> str:
    """The agent's own version."""
    try:
        return installed("mizzen")
    except PackageNotFoundError:
        return "unknown"
