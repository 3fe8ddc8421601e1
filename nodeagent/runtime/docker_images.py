"""Images in Docker Engine: look, pull, load, remove.

Docker's own library is used here for what it knows and an engine does not tell: the credentials that `docker login`
has left on this machine, which serve pulls whose pod brings none. It is imported at the first such pull.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientResponse

from nodeagent.runtime import references
from nodeagent.runtime.docker_engine import Engine, EngineError
from nodeagent.runtime.errors import ImageFailure, ImageInUse, ImageNotFound, RegistryUnavailable
from nodeagent.runtime.values import ImageInfo, PullProgress, RegistryAuth

# Over a pull's errors the engine has no codes, only the words of what failed below it.
_NETWORK_TROUBLE = re.compile(
    r"dial tcp|timeout|deadline exceeded|connection re(fused|set)|no such host|server misbehaving|\bEOF\b|\btls\b|x509"
    r"|toomanyrequests|HTTP status: 5\d\d",
    re.IGNORECASE,
)
_ABSENT = re.compile(r"not found|manifest unknown|pull access denied|name unknown|does not exist", re.IGNORECASE)
_NAMELESS = re.compile(r"(manifest|name) unknown")
"""What the engine passes on from a registry that answers without details; elsewhere it says what it looked for."""


_LOADED = re.compile(r"Loaded image(?: ID)?: (\S+)")


class _Config(msgspec.Struct, frozen=True, rename="pascal"):
    user: str = ""


class _Image(msgspec.Struct, frozen=True, rename="pascal"):
    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    size: int = 0
    config: _Config | None = None


class _Detail(msgspec.Struct, frozen=True):
    current: int = 0
    total: int = 0


class _Progress(msgspec.Struct, frozen=True, rename="camel"):
    status: str = ""
    id: str = ""
    progress_detail: _Detail = _Detail()
    stream: str = ""
    error: str = ""


_decode_image = msgspec.json.Decoder(_Image).decode
_decode_images = msgspec.json.Decoder(list[_Image]).decode
_decode_progress = msgspec.json.Decoder(_Progress).decode


class DockerImages:
    """The image part of the port; see `port.Runtime` for the contract of each method."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def status(self, ref: str) -> ImageInfo | None:
        """The image that a reference or id names."""
        target = ref if references.is_id(ref) else references.parse(ref).locator
        try:
            return _info(_decode_image(await self._engine.call("GET", f"/images/{target}/json")))
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    async def list(self) -> tuple[ImageInfo, ...]:
        """All images, by id."""
        found = _decode_images(await self._engine.call("GET", "/images/json"))
        return tuple(sorted((_info(image) for image in found), key=lambda image: image.id))

    async def pull(
        self, ref: str, auth: RegistryAuth | None, progress: Callable[[PullProgress], None] | None
    ) -> ImageInfo:
        """Fetch an image and say what came."""
        wanted = references.parse(ref)
        found = auth or await asyncio.to_thread(node_credentials, wanted.registry)
        headers = {"X-Registry-Auth": _encoded(found)} if found else {}
        query = {"fromImage": wanted.name, "tag": wanted.digest or wanted.tag}
        try:
            async with self._engine.stream(
                "POST", "/images/create", query=query, headers=headers, idle_s=self._engine.settings.idle_deadline_s
            ) as response:
                await _watch(response, ref, progress)
        except EngineError as error:
            raise pull_failure(ref, error.message, error.status) from error
        image = await self.status(ref)
        if image is None:
            raise ImageNotFound(f'Failed to pull image "{ref}": it is not on the node after the pull')
        return image

    async def load(self, archive: bytes | AsyncIterable[bytes]) -> tuple[str, ...]:
        """Take images out of an archive."""
        names = []
        data = io.BytesIO(archive) if isinstance(archive, bytes) else archive
        idle_s = self._engine.settings.idle_deadline_s
        headers = {"Content-Type": "application/x-tar"}
        try:
            async with self._engine.stream(
                "POST", "/images/load", headers=headers, data=data, idle_s=idle_s
            ) as response:
                async for line in _lines(response):
                    if line.error:
                        raise ImageFailure(f"the image archive cannot be loaded: {line.error}")
                    names += _LOADED.findall(line.stream)
        except EngineError as error:
            raise ImageFailure(f"the image archive cannot be loaded: {error.message}") from error
        return tuple(names)

    async def files(self, image_id: str, folder: str) -> None:
        """Put an image's files into a folder: those of a container that is made from it and never started."""
        name = f"mizzen-files-{uuid.uuid4().hex}"
        body = {"Image": image_id, "Cmd": ["none"], "NetworkDisabled": True}
        try:
            await self._engine.call("POST", "/containers/create", query={"name": name}, body=body)
        except EngineError as error:
            if error.status == 404:
                raise ImageNotFound(f'image "{image_id}" is not on the node') from error
            raise
        try:
            idle_s = self._engine.settings.idle_deadline_s
            async with self._engine.stream("GET", f"/containers/{name}/export", idle_s=idle_s) as response:
                await _unpacked(response.content.iter_any(), folder)
        finally:
            await self._engine.call("DELETE", f"/containers/{name}", query={"force": "1"})

    async def remove(self, image_id: str) -> None:
        """Remove an image by taking away each of its names, so that nothing goes while a container needs it."""
        image = await self.status(image_id)
        if image is None:
            return
        filters = json.dumps({"ancestor": [image.id]})
        users = json.loads(
            await self._engine.call("GET", "/containers/json", query={"all": "1", "limit": "1", "filters": filters})
        )
        if users:
            raise ImageInUse(f"image {image_id} is used by container {users[0]['Names'][0].lstrip('/')}")
        for name in (*image.tags, *image.digests) or (image.id,):
            try:
                await self._engine.call("DELETE", f"/images/{name}", deadline_s=self._engine.settings.start_deadline_s)
            except EngineError as error:
                if error.status == 409:
                    raise ImageInUse(error.message) from error
                if error.status != 404:  # the last tag takes the digests with it
                    raise


def _info(image: _Image) -> ImageInfo:
    return ImageInfo(
        id=image.id,
        tags=tuple(sorted(tag for tag in image.repo_tags or () if not tag.startswith("<none>"))),
        digests=tuple(sorted(digest for digest in image.repo_digests or () if not digest.startswith("<none>"))),
        size_bytes=image.size,
        user=image.config.user if image.config else "",
    )


async def _lines(response: ClientResponse) -> AsyncIterator[_Progress]:
    async for line in response.content:
        if line.strip():
            yield _decode_progress(line)


async def _watch(response: ClientResponse, ref: str, progress: Callable[[PullProgress], None] | None) -> None:
    layers: dict[str, _Detail] = {}
    async for line in _lines(response):
        if line.error:
            raise pull_failure(ref, line.error, 0)
        if line.status == "Downloading" and line.progress_detail.total:
            layers[line.id] = line.progress_detail
        elif line.status in ("Download complete", "Pull complete") and line.id in layers:
            size = layers[line.id].total
            layers[line.id] = _Detail(size, size)
        if progress is not None:
            done = sum(layer.current for layer in layers.values())
            total = sum(layer.total for layer in layers.values())
            progress(PullProgress(status=line.status, done_bytes=done, total_bytes=total))


def pull_failure(ref: str, message: str, status: int) -> ImageFailure:
    """What the words of a failed pull mean; the status is 0 for one that failed while it was under way."""
    cause = f"manifest for {ref} not found: {message}" if _NAMELESS.fullmatch(message) else message
    text = f'Failed to pull image "{ref}": {cause}'
    if status == 404:
        return ImageNotFound(text)
    if _NETWORK_TROUBLE.search(message):
        return RegistryUnavailable(text)
    return ImageNotFound(text) if _ABSENT.search(message) else ImageFailure(text)


def _encoded(auth: RegistryAuth) -> str:
    if auth.identity_token:
        content = {"identitytoken": auth.identity_token, "serveraddress": auth.server}
    else:
        content = {"username": auth.username, "password": auth.password, "serveraddress": auth.server}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def node_credentials(registry: str) -> RegistryAuth | None:
    """What `docker login` has left on this machine for the registry; None without. Blocking. Raises ImageFailure."""
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    if not Path(folder, "config.json").exists():
        return None  # and Docker's library, 6 MB of it, stays out of memory

    from docker.auth import load_config
    from docker.errors import DockerException

    try:
        found: dict[str, Any] | None = load_config().resolve_authconfig(registry)
    except DockerException as error:
        raise ImageFailure(f"this node's Docker credentials for {registry} cannot be read: {error}") from error
    if not found:
        return None
    return RegistryAuth(
        username=found.get("username") or found.get("Username") or "",
        password=found.get("password") or found.get("Password") or "",
        identity_token=found.get("identitytoken") or found.get("IdentityToken") or "",
        server=found.get("serveraddress") or found.get("ServerAddress") or registry,
    )


async def _unpacked(pieces: AsyncIterable[bytes], folder: str) -> None:
    """Unpack an archive as it comes. Raises ImageFailure."""
    # The program and not Python's own: it keeps owners and attributes, and follows no link that the archive brings.
    tar = await asyncio.create_subprocess_exec(
        "tar", "--extract", "--numeric-owner", "--preserve-permissions", "--xattrs", "--directory", folder,
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert tar.stdin is not None
    try:
        async for piece in pieces:
            tar.stdin.write(piece)
            await tar.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has ended, and says why
    except BaseException:
        tar.kill()
        raise
    finally:
        tar.stdin.close()
        _, said = await tar.communicate()
    if tar.returncode != 0:
        raise ImageFailure(f"the files of the image cannot be unpacked: {said.decode(errors='replace').strip()}")
