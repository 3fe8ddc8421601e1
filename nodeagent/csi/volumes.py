"""The volumes port with storage drivers: they are asked first, and what they show is then a volume like any other.

Where drivers show and stage volumes is laid out as under the kubelet's folder, because drivers count on it:

    <kubelet>/pods/<pod uid>/volumes/kubernetes.io~csi/<volume>/mount
    <kubelet>/plugins/kubernetes.io/csi/<driver>/<hash of the handle>/globalmount
    <kubelet>/plugins/kubernetes.io/csi/volumeDevices/{staging,publish}/<volume>[/<pod uid>]
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from mizzen.api.csivolumes import unique_name
from mizzen.api.types import core_v1 as core
from nodeagent.csi.records import Record, Records
from nodeagent.csi.registrations import Registrations
from nodeagent.csi.session import EXPANDS, MOUNTS_FOR_GROUP, STAGES, STATS, Driver, driver_at
from nodeagent.csi.wanted import Wanted, wanted_of
from nodeagent.lifecycle.downward import ConfigError, Sources
from nodeagent.lifecycle.storage import Shown
from nodeagent.volumes.over import Over
from nodeagent.volumes.port import Usage, VolumeFailure, Volumes


class CsiVolumes(Over):
    """`port.Volumes` over another, with drivers; the port's docstrings are the contract of these methods."""

    def __init__(
        self, others: Volumes, registrations: Registrations, kubelet: Path, records: Path, boot_id: str
    ) -> None:
        """`kubelet` is the folder that drivers share with the agent, `records` one of the agent alone."""
        super().__init__(others)
        self._registrations = registrations
        self._kubelet = kubelet
        self._records = Records(records)
        self._boot = boot_id
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.grown: Callable[[str, str, int], None] = lambda namespace, claim, size_bytes: None
        """Called when a claim's volume has become as large on the node as it is at its back end."""
        self.used: Callable[[], None] = lambda: None
        """Called before a volume is mounted that must stay attached from then on, and when one need no longer."""

    # the port

    async def setup(self, pod: core.Pod, sources: Sources) -> Mapping[str, str]:
        """Make the volumes ready or up to date."""
        shown = {}
        for volume in pod.spec.volumes:
            try:
                wanted = wanted_of(pod, volume, sources)
                if wanted is not None:
                    shown[volume.name] = await self._show(pod, volume.name, wanted)
            except (ConfigError, VolumeFailure, OSError) as error:
                why = error.message if isinstance(error, ConfigError | VolumeFailure) else str(error)
                raise VolumeFailure(f'MountVolume.SetUp failed for volume "{volume.name}" : {why}') from error
        if shown:
            storage = replace(sources.storage, shown={**sources.storage.shown, **shown})
            sources = replace(sources, storage=storage)
        return await super().setup(pod, sources)

    async def teardown(self, pod_uid: str) -> None:
        """Take everything of a pod away."""
        await super().teardown(pod_uid)
        for volume, record in self._records.of(pod_uid).items():
            try:
                await self._hide(pod_uid, volume, record)
                if record.is_attachable:
                    self.used()
            except (VolumeFailure, OSError) as error:
                why = error.message if isinstance(error, VolumeFailure) else str(error)
                raise VolumeFailure(f'UnmountVolume.TearDown failed for volume "{volume}" : {why}') from error

    async def orphans(self, known: Iterable[str]) -> tuple[str, ...]:
        """The pods that nobody knows."""
        expected = frozenset(known)
        mine = {uid for uid in self._records.all() if uid not in expected}
        return tuple(sorted(mine.union(await super().orphans(expected))))

    async def usage(self, pod_uid: str, volume: str) -> Usage | None:
        """How full a volume is: what its driver says, where it does."""
        record = self._records.of(pod_uid).get(volume)
        if record is None:
            return await super().usage(pod_uid, volume)
        async with driver_at(self._registrations.endpoint(record.driver)) as driver:
            if driver.can(STATS):
                return await driver.stats(record.handle, record.target, record.staging)
        return await super().usage(pod_uid, volume)

    # for the node's status and its loops

    def in_use(self) -> tuple[str, ...]:
        """The names of the attached volumes that must stay attached."""
        records = (record for found in self._records.all().values() for record in found.values())
        return tuple(sorted({unique_name(one.driver, one.handle) for one in records if one.is_attachable}))

    def renewed(self) -> tuple[str, ...]:
        """The pods with volumes whose drivers are to be asked again and again."""
        found = self._records.all().items()
        return tuple(uid for uid, records in found if any(record.is_renewed for record in records.values()))

    # drivers

    async def _show(self, pod: core.Pod, volume: str, wanted: Wanted) -> Shown:
        uid = pod.metadata.uid
        before = self._records.of(uid).get(volume)
        done = before is not None and before.is_published and before.boot == self._boot
        endpoint = self._registrations.endpoint(wanted.driver)
        async with driver_at(endpoint) as driver:
            for_group = wanted.group is not None and not driver.can(MOUNTS_FOR_GROUP)
            target = self._target(uid, wanted)
            shown = Shown(path=str(target), is_owned_by_group=for_group)
            staging = str(self._staging(wanted)) if driver.can(STAGES) and not wanted.is_ephemeral else ""
            if not done or wanted.is_published_again:
                record = Record(
                    driver=wanted.driver, handle=wanted.handle, target=str(target), staging=staging, boot=self._boot,
                    is_attachable=wanted.is_attachable, is_renewed=wanted.is_published_again,
                )  # fmt: skip
                await self._publish(uid, volume, wanted, record, driver)
            if wanted.grow_to_bytes:
                await self._grow(pod, wanted, driver, staging, str(target))
        return shown

    async def _publish(self, uid: str, volume: str, wanted: Wanted, record: Record, driver: Driver) -> None:
        if record.staging:
            async with self._locks[record.staging]:
                is_staged = any(
                    other.staging == record.staging and other.is_staged and other.boot == self._boot
                    for records in self._records.all().values()
                    for other in records.values()
                )
                self._note(uid, volume, msgspec.structs.replace(record, is_staged=is_staged))
                if not is_staged:
                    _make(Path(record.staging))
                    await driver.stage(wanted, record.staging)
                    self._records.put(uid, volume, msgspec.structs.replace(record, is_staged=True))
        else:
            self._note(uid, volume, record)
        _make(Path(record.target).parent)
        await driver.publish(wanted, record.staging, record.target)
        self._records.put(
            uid, volume, msgspec.structs.replace(record, is_staged=bool(record.staging), is_published=True)
        )

    def _note(self, uid: str, volume: str, record: Record) -> None:
        self._records.put(uid, volume, record)
        if record.is_attachable:
            self.used()

    async def _grow(self, pod: core.Pod, wanted: Wanted, driver: Driver, staging: str, target: str) -> None:
        size_bytes = 0
        if driver.can(EXPANDS):
            size_bytes = await driver.expand(wanted, staging, target)
        self.grown(pod.metadata.namespace, wanted.claim, size_bytes or wanted.grow_to_bytes)

    async def _hide(self, uid: str, volume: str, record: Record) -> None:
        async with driver_at(self._registrations.endpoint(record.driver)) as driver:
            await driver.unpublish(record.handle, record.target)
            _remove_empty(Path(record.target))
            _remove_empty(Path(record.target).parent)
            if not record.staging:
                self._records.drop(uid, volume)
                return
            async with self._locks[record.staging]:
                if self._is_last(uid, volume, record):
                    await driver.unstage(record.handle, record.staging)
                    _remove_empty(Path(record.staging))
                    _remove_empty(Path(record.staging).parent)
                self._records.drop(uid, volume)

    def _is_last(self, uid: str, volume: str, record: Record) -> bool:
        return not any(
            other.staging == record.staging and (pod, name) != (uid, volume)
            for pod, found in self._records.all().items()
            for name, other in found.items()
        )

    def _target(self, uid: str, wanted: Wanted) -> Path:
        if wanted.is_block:
            return self._kubelet / "plugins/kubernetes.io/csi/volumeDevices/publish" / wanted.name / uid
        return self._kubelet / "pods" / uid / "volumes/kubernetes.io~csi" / wanted.name / "mount"

    def _staging(self, wanted: Wanted) -> Path:
        plugins = self._kubelet / "plugins/kubernetes.io/csi"
        if wanted.is_block:
            return plugins / "volumeDevices/staging" / wanted.name
        return plugins / wanted.driver / hashlib.sha256(wanted.handle.encode()).hexdigest() / "globalmount"


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)


def _remove_empty(folder: Path) -> None:
    """Drivers may have removed their own part already, and what others left in a folder is not ours."""
    if folder.is_dir() and not folder.is_mount() and not any(folder.iterdir()):
        folder.rmdir()
