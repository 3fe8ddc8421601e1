"""Removes everything that an agent made on this machine: pods, links, rules, volumes, and its data folder.

It needs no control plane and no memory: containers carry labels, the network and the volumes know their own. What
can't be removed is said, and the rest is removed all the same.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

import structlog

from nodeagent.csi.abandon import abandon
from nodeagent.drive.checkpoint import Checkpoint
from nodeagent.drive.ingress import FOLDER
from nodeagent.ingress.proxy import Proxy
from nodeagent.network.port import Network, NetworkConfig, NetworkError
from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.port import Runtime
from nodeagent.volumes.port import VolumeFailure, Volumes

_LOG = structlog.get_logger(__name__)


async def reset(
    data_dir: Path,
    kubelet_dir: Path,
    kept: Checkpoint,
    node_ip: str,
    runtime: Runtime,
    network: Network,
    volumes: Volumes,
) -> list[str]:
    """Remove it all; what could not be removed, in words. Of what drivers share, only what is empty goes."""
    problems: list[str] = []
    await _try(_remove_containers(runtime), "containers", problems)
    await _try(_remove_network(network, kept, node_ip), "network", problems)
    await _try(_remove_volumes(volumes), "volumes", problems)
    await _try(asyncio.to_thread(abandon, data_dir / "csi"), "volumes of storage drivers", problems)
    await Proxy(data_dir / FOLDER).stop()
    if not problems:
        await asyncio.to_thread(_remove_shared, kubelet_dir)
        await asyncio.to_thread(_remove_data, data_dir)
    return problems


async def _try(work: Awaitable[None], what: str, problems: list[str]) -> None:
    try:
        await work
    except (RuntimeFailure, NetworkError, VolumeFailure, OSError) as error:
        problems.append(f"{what}: {error}")


async def _remove_containers(runtime: Runtime) -> None:
    snapshot = await runtime.list()
    for container in snapshot.containers:
        await runtime.remove_container(container.id, force=True)
    for sandbox in snapshot.sandboxes:
        await runtime.remove_sandbox(sandbox.id)
    _LOG.info("containers_removed", containers=len(snapshot.containers), sandboxes=len(snapshot.sandboxes))


async def _remove_network(network: Network, kept: Checkpoint, node_ip: str) -> None:
    """`stop` takes away what `start` has found again, so the network is started first where that is possible."""
    facts = kept.facts
    if facts.pod_cidr and node_ip:
        await network.start(
            NetworkConfig(
                node_ip=node_ip,
                pod_cidr=facts.pod_cidr,
                cluster_cidr=facts.cluster_cidr,
                service_cidrs=(facts.service_cidr,),
                cluster_dns=facts.cluster_dns,
                cluster_domain=facts.cluster_domain,
            )
        )
        await network.stop(remove=True)
    for uid in await network.adopt():
        await network.detach(uid)


async def _remove_volumes(volumes: Volumes) -> None:
    for uid in await volumes.orphans(()):
        await volumes.teardown(uid)


def _remove_shared(kubelet_dir: Path) -> None:
    """The agent's own folders there, from the inmost; what drivers have left in them stays, and so do these."""
    own = [kubelet_dir / name for name in ("pods", "plugins/kubernetes.io", "plugins_registry")]
    inmost_first = [Path(path) for folder in own for path, _, _ in os.walk(folder, topdown=False)]
    for folder in (*inmost_first, kubelet_dir / "plugins", kubelet_dir):
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()


def _remove_data(data_dir: Path) -> None:
    """Only what is the agent's own: a server may share the folder above."""
    for name in ("checkpoint.json", "checkpoint.unreadable", "images.json", "agent.lock"):
        (data_dir / name).unlink(missing_ok=True)
    for folder in (data_dir / "pki", data_dir / "pods", data_dir / "image-volumes", data_dir / FOLDER):
        shutil.rmtree(folder, ignore_errors=True)
