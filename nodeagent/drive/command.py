"""The command `mizzen agent`: settings, identity, the real parts, signals. Stopping the agent stops no pod."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog
import uvloop

from mizzen.base.clocks import SystemClock
from mizzen.base.settings import SettingsError
from mizzen.base.telemetry import set_up_logs, set_up_metrics
from nodeagent.drive import machine
from nodeagent.drive.agent import Agent, Parts
from nodeagent.drive.checkpoint import CheckpointFile
from nodeagent.drive.credentials import Credentials, CredentialsError, CredentialsStore
from nodeagent.drive.engine import engine_info
from nodeagent.drive.join import JoinRefused, JoinUnreachable, join
from nodeagent.drive.reset import reset
from nodeagent.drive.settings import AgentSettings, parse
from nodeagent.network.node import NodeNetwork
from nodeagent.runtime.docker import DockerRuntime
from nodeagent.runtime.docker_engine import DockerSettings
from nodeagent.volumes.disk import DiskVolumes

_M_ARENA_MAX = -8
JOIN_PAUSE_S, JOIN_PAUSE_MAX_S = 1.0, 15.0

_LOG = structlog.get_logger(__name__)


class AgentError(Exception):
    """The agent can't serve; the message says what to do."""


async def run_agent(settings: AgentSettings) -> None:
    """Serve the node until cancelled. Raises AgentError."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _lock(settings.data_dir)
    parts = _parts(settings)
    try:
        if settings.reset:
            await _reset(settings, parts)
            return
        credentials = await _identity(settings, parts.clock.now())
        host, _, port = credentials.server.rpartition(":")
        node_ip = settings.node_ip or machine.address_towards(host, int(port))
        if not node_ip:
            raise AgentError(f"this machine has no route to {credentials.server}; give its address with --node-ip")
        info = await engine_info(parts.runtime)
        agent = Agent(replace(settings, node_ip=node_ip), parts, credentials, info)
        _LOG.info("agent_started", node=credentials.node, node_ip=node_ip, engine=f"{info.name} {info.version}")
        # What init systems send when the power fails; containers end with it, unlike with SIGTERM.
        asyncio.get_running_loop().add_signal_handler(signal.SIGPWR, agent.power_fails)
        await agent.run()
    finally:
        await parts.runtime.close()
        os.close(lock)


def _parts(settings: AgentSettings) -> Parts:
    return Parts(
        runtime=DockerRuntime(DockerSettings(socket=settings.docker_socket, starts_at_once=settings.starts_at_once)),
        network=NodeNetwork(),
        volumes=DiskVolumes(settings.data_dir / "pods"),
        clock=SystemClock(),
        rng=random.Random(),
    )


def _lock(data_dir: Path) -> int:
    """Held as long as the process lives: two agents on one data folder would undo each other's work."""
    lock = os.open(data_dir / "agent.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        hint = "stop it, or give this one another --data-dir"
        raise AgentError(f"another agent is running on {data_dir}; {hint}") from error
    return lock


async def _identity(settings: AgentSettings, now: int) -> Credentials:
    """The node's certificate: the one it has, or one by joining."""
    store = CredentialsStore(settings.data_dir)
    try:
        known = store.load()
    except CredentialsError as error:
        raise AgentError(str(error)) from error
    if known is not None and known.valid_until_ms > now:
        return known
    if not settings.token:
        if known is None:
            raise AgentError("this node has not joined a cluster: start it with --server and --token")
        _LOG.error("certificate_expired", node=known.node, hint="start the agent once with a new --token")
        return known
    pause_s = JOIN_PAUSE_S
    while True:
        try:
            joined = await join(settings.server, settings.token, settings.node_name)
        except JoinRefused as error:
            raise AgentError(f"join refused: {error}") from error
        except JoinUnreachable as error:
            _LOG.warning("join_failed", error=str(error), retry_s=pause_s)
        else:
            await asyncio.to_thread(store.save, joined)
            return joined
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, JOIN_PAUSE_MAX_S)


async def _reset(settings: AgentSettings, parts: Parts) -> None:
    kept = CheckpointFile(settings.data_dir / "checkpoint.json").load()
    try:
        known = CredentialsStore(settings.data_dir).load()
    except CredentialsError:
        known = None
    node_ip = settings.node_ip
    if not node_ip and known is not None:
        host, _, port = known.server.rpartition(":")
        node_ip = machine.address_towards(host, int(port))
    problems = await reset(
        settings.data_dir, settings.kubelet_dir, kept, node_ip, parts.runtime, parts.network, parts.volumes
    )
    if problems:
        raise AgentError("not everything could be removed:\n  " + "\n  ".join(problems))
    _LOG.info("reset_done", data_dir=str(settings.data_dir))


async def _until_signalled(settings: AgentSettings) -> None:
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main is not None
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, main.cancel)
    try:
        await run_agent(settings)
    except asyncio.CancelledError:
        _LOG.info("agent_stopped", hint="containers go on")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    set_up_logs(settings.log_level, "json" if settings.log_format == "json" else "text")
    set_up_metrics()
    _share_arenas()
    if os.geteuid() != 0:
        sys.stderr.write("the agent makes network links, mounts and firewall rules: run it as root\n")
        return 1
    try:
        uvloop.run(_until_signalled(settings))
    except (AgentError, OSError) as error:
        sys.stderr.write(f"mizzen agent: {error}\n")
        return 1
    return 0


def _share_arenas() -> None:
    """Let all threads allocate from two heaps: one for each of fifteen mostly idle threads only keeps memory."""
    with suppress(AttributeError):  # another C library than glibc has no such function
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
