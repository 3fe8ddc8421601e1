"""The images of the in-memory runtime: those on the node, and those a registry would give."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nodeagent.runtime import archive, references
from nodeagent.runtime.errors import ImageFailure, ImageNotFound
from nodeagent.runtime.values import ImageInfo, PullProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeImage:
    """An image, and what its containers run when their spec does not say."""

    info: ImageInfo
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    pull_ms: int = 0
    """How long a pull of it takes, in the event loop's time."""


class FakeImages:
    """A node's images beside a registry's."""

    def __init__(self) -> None:
        self.local: dict[str, FakeImage] = {}
        """By id."""
        self.remote: dict[str, FakeImage] = {}
        """By `name:tag`."""

    def find(self, ref: str) -> FakeImage | None:
        """The image on the node that a reference or id names. Raises InvalidImageName."""
        if references.is_id(ref):
            return self.local.get(ref if ref.startswith("sha256:") else f"sha256:{ref}")
        locator = references.parse(ref).locator
        return next((i for i in self.local.values() if locator in (*i.info.tags, *i.info.digests)), None)

    async def pull(self, ref: str, progress: Callable[[PullProgress], None] | None) -> ImageInfo:
        """Take an image over from the registry."""
        image = self.remote.get(references.parse(ref).locator)
        if image is None:
            raise ImageNotFound(f'Failed to pull image "{ref}": manifest for {ref} not found: manifest unknown')
        await asyncio.sleep(image.pull_ms / 1000)
        if progress is not None:
            size = image.info.size_bytes
            progress(PullProgress(status="Pull complete", done_bytes=size, total_bytes=size))
        self.local[image.info.id] = image
        return image.info

    def load(self, content: bytes) -> tuple[str, ...]:
        """Take images out of an archive."""
        try:
            return self._load(content)
        except tarfile.TarError as error:
            raise ImageFailure(f"the image archive cannot be loaded: {error}") from error

    def _load(self, content: bytes) -> tuple[str, ...]:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:

            def member(name: str) -> bytes:
                file = tar.extractfile(name)
                assert file is not None
                return file.read()

            tags: list[str] = []
            for entry in json.loads(member("manifest.json")):
                image = _image(entry, json.loads(member(entry["Config"]))["config"], len(content))
                self.local[image.info.id] = image
                tags += image.info.tags
        return tuple(tags)

    def add_remote(self, ref: str, *, command: tuple[str, ...], pull_ms: int) -> None:
        """Let the registry have an image."""
        locator = references.parse(ref).locator
        image_id, _ = archive.build(locator, {}, archive.ImageConfig(command=(locator, *command)), "amd64")
        digest = f"{references.parse(ref).name}@{image_id}"
        info = ImageInfo(id=image_id, tags=(locator,), digests=(digest,), size_bytes=1)
        self.remote[locator] = FakeImage(info=info, command=command, pull_ms=pull_ms)


def _image(entry: Mapping[str, object], config: Mapping[str, list[str] | str | None], size: int) -> FakeImage:
    digest = str(entry["Config"]).removesuffix(".json")
    tags = entry["RepoTags"]
    assert isinstance(tags, list)
    environment = (line.partition("=") for line in config["Env"] or ())
    return FakeImage(
        info=ImageInfo(id=f"sha256:{digest}", tags=tuple(tags), size_bytes=size, user=str(config["User"] or "")),
        entrypoint=tuple(config["Entrypoint"] or ()),
        command=tuple(config["Cmd"] or ()),
        env=tuple((name, value) for name, _, value in environment),
    )
