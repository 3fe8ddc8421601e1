"""Runs the pods of a folder of files, and shows the control plane a mirror of each.

Level-triggered: every few seconds, and whenever a mirror changes, the folder, the pods and the mirrors are compared,
and the next step towards each other is taken. What is wrong with a file is said in an event of the node, and keeps the
pod as it was.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from mizzen.api import kinds
from mizzen.api.errors import AlreadyExists, ApiError, NotFound
from mizzen.api.types import core_v1 as core
from mizzen.engine.values import Clock
from nodeagent.drive.context import NodeContext
from nodeagent.drive.outbox import Outbox
from nodeagent.drive.pods import Pods
from nodeagent.lifecycle.actions import Record
from nodeagent.lifecycle.memory import PodMemory
from nodeagent.lifecycle.static import is_mirror, is_static, mirror_of, refusal, shows, static_pod

LOOK_S = 5.0
FILE_MAX_BYTES = 1 << 20
ENDINGS = (".yaml", ".yml", ".json")

_LOG = structlog.get_logger(__name__)
Name = tuple[str, str]


class MirrorKeeper(Protocol):
    """Who makes and removes mirrors at the control plane; both raise ApiError."""

    async def create(self, mirror: core.Pod) -> None:
        """Make one."""
        ...

    async def delete(self, mirror: core.Pod) -> None:
        """Remove one at once, by its uid."""
        ...


class NoPod(Exception):
    """A file is no pod that can be run; the text says why."""


class StaticPods:
    """The folder, the pods and the mirrors."""

    def __init__(
        self, *, folder: Path, node: NodeContext, pods: Pods, outbox: Outbox, clock: Clock, mirrors: MirrorKeeper
    ) -> None:
        """Nothing is read before `load`."""
        self._folder = folder
        self._node = node
        self._pods = pods
        self._outbox = outbox
        self._clock = clock
        self._keeper = mirrors
        self._wanted: dict[Name, core.Pod] = {}
        self._mirrors: dict[Name, core.Pod] = {}
        self._wake = asyncio.Event()
        self._files: dict[Path, tuple[bytes, core.Pod | None]] = {}
        """What each file held when it was looked at, and the pod that it described."""

    def load(self, memories: Mapping[str, PodMemory]) -> None:
        """Begin with what the folder has, and with what is remembered of these pods, by uid. Blocking."""
        self._take(self._read())
        for pod in self._wanted.values():
            self._pods.update(pod, memories.get(pod.metadata.uid))

    def told(self, namespace: str, name: str, pod: core.Pod | None) -> bool:
        """The control plane has this pod, or has it no longer; whether it is a mirror and thereby dealt with."""
        full = (namespace, name)
        known = self._mirrors.pop(full, None) is not None
        if pod is not None and is_mirror(pod):
            self._mirrors[full] = pod
        elif pod is not None and full in self._wanted:
            _LOG.error("pod_held_up", pod="/".join(full), why="this node has a static pod of the name")
        elif not known:
            return False
        self._pods.mirrored(namespace, name, self._mirrors.get(full))
        self._wake.set()
        return pod is None or is_mirror(pod) or full in self._wanted

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            self._take(await asyncio.to_thread(self._read))
            self._compare()
            await self._show()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    # the folder

    def _read(self) -> dict[Path, bytes]:
        try:
            paths = [path for path in sorted(self._folder.iterdir()) if path.suffix in ENDINGS and path.name[0] != "."]
        except OSError:
            return {}
        found = {}
        for path in paths:
            try:
                with path.open("rb") as file:
                    found[path] = file.read(FILE_MAX_BYTES + 1)
            except OSError as error:
                found[path] = f"cannot be read: {error}".encode()
        return found

    def _take(self, files: Mapping[Path, bytes]) -> None:
        """Learn what is wanted now. A file that can't be understood keeps what it said before."""
        fresh: dict[Path, tuple[bytes, core.Pod | None]] = {}
        for path, content in files.items():
            before = self._files.get(path, (b"", None))
            fresh[path] = before if before[0] == content else (content, self._understood(path, content, before[1]))
        self._files = fresh
        wanted: dict[Name, core.Pod] = {}
        for path, (_, pod) in fresh.items():
            if pod is None:
                continue
            name = (pod.metadata.namespace, pod.metadata.name)
            if name in wanted:
                _LOG.error("static_pod_twice", file=str(path), pod="/".join(name))
                continue
            wanted[name] = pod
        self._wanted = wanted

    def _understood(self, path: Path, content: bytes, before: core.Pod | None) -> core.Pod | None:
        try:
            return _parsed(content, self._node.name)
        except NoPod as error:
            self._complain(path, str(error))
            return before

    def _complain(self, path: Path, why: str) -> None:
        _LOG.error("static_pod_refused", file=str(path), error=why)
        self._outbox.node_event(Record("Warning", "InvalidStaticPod", f"{path.name}: {why}"), self._clock.now())

    # the pods

    def _compare(self) -> None:
        here = {(slot.pod.metadata.namespace, slot.pod.metadata.name): slot for slot in self._pods.slots()}
        for name, pod in self._wanted.items():
            slot = here.get(name)
            if slot is None:
                self._pods.update(pod)
                self._pods.mirrored(*name, self._mirrors.get(name))
            elif not is_static(slot.pod):
                continue  # the control plane's pod of the name is still here
            elif slot.pod.metadata.uid != pod.metadata.uid:
                self._pods.end(slot.pod.metadata.uid)
        for name, slot in here.items():
            if is_static(slot.pod) and name not in self._wanted:
                self._pods.end(slot.pod.metadata.uid)

    # the mirrors

    async def _show(self) -> None:
        own = self._node.objects.cache.get(kinds.NODE, "", self._node.name)
        if own is None or not own.metadata.uid or not self._node.objects.synced:
            return
        here = {(slot.pod.metadata.namespace, slot.pod.metadata.name): slot.pod for slot in self._pods.slots()}
        for name, mirror in list(self._mirrors.items()):
            # One that is on its way out is shown until it is gone.
            shown = here.get(name) or self._wanted.get(name)
            if shown is None or not is_static(shown) or not shows(mirror, shown):
                await self._try(self._keeper.delete(mirror), "mirror_not_removed", name)
        for name, pod in self._wanted.items():
            running = here.get(name)
            if name not in self._mirrors and running is not None and running.metadata.uid == pod.metadata.uid:
                await self._try(self._keeper.create(mirror_of(pod, own)), "mirror_not_made", name)

    async def _try(self, deed: Any, event: str, name: Name) -> None:
        try:
            await deed
        except (AlreadyExists, NotFound):
            return  # that news is on its way
        except ApiError as error:
            _LOG.warning(event, pod="/".join(name), error=str(error), retry_s=LOOK_S)


def _parsed(content: bytes, node: str) -> core.Pod:
    """The pod that a file describes. Raises NoPod."""
    # Only nodes that have static pods pay for these.
    import yaml

    from mizzen.api import codec, defaults, validate

    if len(content) > FILE_MAX_BYTES:
        raise NoPod(f"more than {FILE_MAX_BYTES} bytes")
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NoPod(f"neither YAML nor JSON: {error}") from error
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != ("v1", "Pod"):
        raise NoPod("a file holds one object of apiVersion v1 and kind Pod")
    try:
        written, _ = codec.decode_dict(document, core.Pod, validation="Strict")
    except ApiError as error:
        raise NoPod(error.message) from error
    identity = hashlib.sha256(node.encode() + b"\0" + content).hexdigest()[:32]
    pod = defaults.apply(static_pod(written, node, identity))
    problems = [f"{problem.field}: {problem.detail}" for problem in validate.validate_create(pod)]
    if problems or (why := refusal(pod)):
        raise NoPod("; ".join(problems) or why)
    return pod
