"""Volumes that are the files of an image, over the other volumes.

    <folder>/images/<image>/          the files, taken out of the image once for all pods of the node
    <folder>/users/<pod uid>/<volume> a link to them: who uses what, so that what nobody uses goes

A pod keeps the image that its volume was first made from. Containers are given the files read-only.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from mizzen.api.types import core_v1 as core
from nodeagent.lifecycle.downward import Sources
from nodeagent.lifecycle.storage import Shown
from nodeagent.runtime.errors import RuntimeFailure
from nodeagent.runtime.port import Runtime
from nodeagent.volumes.over import Over
from nodeagent.volumes.port import VolumeFailure, Volumes


class ImageVolumes(Over):
    """`port.Volumes` with images; which image a volume is made from comes with the sources (`storage.images`)."""

    def __init__(self, others: Volumes, runtime: Runtime, folder: Path) -> None:
        super().__init__(others)
        self._runtime = runtime
        self._images = folder / "images"
        self._users = folder / "users"
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def setup(self, pod: core.Pod, sources: Sources) -> Mapping[str, str]:
        """Make the volumes ready or up to date."""
        shown = {}
        for volume in pod.spec.volumes:
            if volume.image is not None:
                try:
                    found = await self._files(
                        pod.metadata.uid, volume.name, sources.storage.images.get(volume.name, "")
                    )
                except (RuntimeFailure, OSError) as error:
                    raise VolumeFailure(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from error
                shown[volume.name] = Shown(path=str(found))
        if shown:
            storage = replace(sources.storage, shown={**sources.storage.shown, **shown})
            sources = replace(sources, storage=storage)
        return await super().setup(pod, sources)

    async def teardown(self, pod_uid: str) -> None:
        """Take everything of a pod away."""
        await super().teardown(pod_uid)
        for image in await asyncio.to_thread(self._forget, pod_uid):
            async with self._locks[image]:
                await asyncio.to_thread(self._drop, image)

    async def orphans(self, known: Iterable[str]) -> tuple[str, ...]:
        """The pods that nobody knows."""
        expected = frozenset(known)
        mine = await asyncio.to_thread(lambda: {path.name for path in self._users.glob("*")})
        return tuple(sorted((mine - expected).union(await super().orphans(expected))))

    async def _files(self, uid: str, volume: str, image: str) -> Path:
        link = self._users / uid / volume
        if link.is_dir():
            return link.resolve()
        if not image:
            raise VolumeFailure(f'the image of volume "{volume}" is not on the node')
        name = image.removeprefix("sha256:")
        async with self._locks[name]:
            folder = self._images / name
            if not folder.exists():
                await self._take_out(image, folder)
            await asyncio.to_thread(_link, link, folder)
        return folder

    async def _take_out(self, image: str, folder: Path) -> None:
        """Beside its place first: a folder that is there has all files of its image."""
        beside = await asyncio.to_thread(self._beside)
        try:
            await self._runtime.image_files(image, str(beside))
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, beside)
            raise
        await asyncio.to_thread(beside.replace, folder)

    def _beside(self) -> Path:
        self._images.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=self._images))
        made.chmod(0o755)
        return made

    def _forget(self, uid: str) -> list[str]:
        """The images that the pod has used."""
        folder = self._users / uid
        links = sorted(folder.iterdir()) if folder.exists() else []
        images = sorted({link.readlink().name for link in links})
        if folder.exists():
            shutil.rmtree(folder)
        return images

    def _drop(self, image: str) -> None:
        """Remove an image's files when nobody uses them."""
        links = self._users.glob("*/*") if self._users.exists() else ()
        folder = self._images / image
        if folder.exists() and all(link.readlink().name != image for link in links):
            shutil.rmtree(folder)


def _link(link: Path, folder: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder)
