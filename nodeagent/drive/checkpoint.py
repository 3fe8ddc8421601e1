"""What the agent needs to go on without the control plane: one versioned file, replaced as a whole.

It holds the objects that were sent, the facts of the cluster, and of each pod what can't be read from the machine.
With it pods, probes and services go on after a restart of the agent, or a boot of the machine, while nobody answers.
A file that can't be read is put aside and the agent starts with nothing, which is safe: it adopts what runs and
touches nothing before the control plane has told everything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from nodeagent.lifecycle.memory import PodMemory

VERSION = 1
_LOG = structlog.get_logger(__name__)


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """One object: resource, namespace, name, version and its JSON."""

    resource: str
    namespace: str
    name: str
    version: int
    raw: msgspec.Raw


class ClusterFacts(msgspec.Struct, frozen=True):
    """What the control plane says of the cluster when a session begins."""

    pod_cidr: str = ""
    cluster_cidr: str = ""
    service_cidr: str = ""
    cluster_dns: str = ""
    cluster_domain: str = "cluster.local"


class Checkpoint(msgspec.Struct, frozen=True):
    """Everything that is kept."""

    version: int = VERSION
    boot_id: str = ""
    epoch: str = ""
    position: int = 0
    facts: ClusterFacts = ClusterFacts()
    objects: tuple[Kept, ...] = ()
    pods: Mapping[str, PodMemory] = {}
    """By uid."""


class CheckpointFile:
    """The file itself."""

    def __init__(self, path: Path) -> None:
        """`path` need not exist yet."""
        self._path = path

    def load(self) -> Checkpoint:
        """What was kept; an empty checkpoint when there is none, or none that can be used."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return Checkpoint()
        try:
            kept = msgspec.json.decode(raw, type=Checkpoint)
        except msgspec.DecodeError as error:
            return self._put_aside(str(error))
        return kept if kept.version == VERSION else self._put_aside(f"version {kept.version} is not {VERSION}")

    def _put_aside(self, why: str) -> Checkpoint:
        aside = self._path.with_suffix(".unreadable")
        self._path.replace(aside)
        _LOG.error("checkpoint_unreadable", path=str(self._path), moved_to=str(aside), error=why)
        return Checkpoint()

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the file; a crash leaves the old one or the new one. Raises OSError. Blocks on the disk."""
        write_file(self._path, msgspec.json.encode(checkpoint))


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file as a whole, readable by nobody else. Raises OSError."""
    scratch = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
