"""Image archives on this machine: files in the forms of `docker save` and of the OCI, and images of the local engine.

Engines take the form of `docker save`. An OCI layout holds the same pieces under other names, so all that it lacks is
a `manifest.json`, which is put before it; layers may stay compressed. See the OCI image layout specification 1.1.

Reading blocks; `pieces` does it in threads.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote

PIECE_BYTES = 512 * 1024
SOCKET = "/var/run/docker.sock"
_GZIP = b"\x1f\x8b"
_MANIFEST = "manifest.json"
_INDEX = "index.json"
_DOCUMENT_MAX_BYTES = 4 << 20
_DEPTH_MAX = 4
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


class ArchiveError(Exception):
    """What was named is no image that can be loaded; the text says why and what to do."""


class Archive:
    """A file with images."""

    def __init__(self, path: Path, name: str = "", architectures: Sequence[str] = ()) -> None:
        """`name` is for the image of an OCI layout; `architectures` are the machines' that it is for.

        Raises ArchiveError.
        """
        self._path = path
        try:
            with path.open("rb") as file:
                packed = file.read(2) == _GZIP
            with tarfile.open(path, "r:*") as tar:
                documents = _documents(tar)
        except (OSError, EOFError, tarfile.TarError) as error:
            raise ArchiveError(f"{path} cannot be read as an image archive: {error}") from error
        if _MANIFEST not in documents and _INDEX not in documents:
            raise ArchiveError(f"{path} is no image archive: it has neither {_MANIFEST} nor {_INDEX}")
        self._head = b""
        self._unpacked = False
        if _MANIFEST not in documents:
            self._head = _member(_MANIFEST, _manifest(documents, name, _only(architectures)))
            self._unpacked = packed
        self.size_bytes = len(self._head) + path.stat().st_size if not self._unpacked else 0
        """Of all pieces; 0 where that is not known beforehand."""

    async def pieces(self) -> AsyncIterator[bytes]:
        """What an engine takes. Raises ArchiveError."""
        if self._head:
            yield self._head
        try:
            with await asyncio.to_thread(self._open) as file:
                while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                    yield piece
        except (OSError, EOFError) as error:
            raise ArchiveError(f"{self._path} cannot be read: {error}") from error

    def _open(self) -> IO[bytes]:
        if self._unpacked:
            return cast("IO[bytes]", gzip.GzipFile(self._path))
        return self._path.open("rb")


async def of_engine(ref: str, socket: str = "") -> AsyncIterator[bytes]:
    """An image of the engine on this machine, as `docker save` writes it. Raises ArchiveError."""
    import aiohttp  # large, and only needed here

    socket = socket or os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or SOCKET
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as session,
            session.get(f"http://docker/images/{quote(ref, safe='/:@')}/get") as response,
        ):
            if response.status == 404:
                raise ArchiveError(f"{ref} is neither a file nor an image of the engine at {socket}")
            if response.status != 200:
                raise ArchiveError(f"the engine at {socket} gives no {ref}: {(await response.text()).strip()}")
            async for piece in response.content.iter_chunked(PIECE_BYTES):
                yield piece
    except (aiohttp.ClientError, OSError) as error:
        raise ArchiveError(f"{ref} is no file, and the engine at {socket} cannot be asked for it: {error}") from error


async def kept(pieces: AsyncIterator[bytes], file: IO[bytes]) -> None:
    """Write what comes into a file."""
    async with aclosing(pieces) as found:  # type: ignore[type-var]  # generators, all of them
        async for piece in found:
            await asyncio.to_thread(file.write, piece)
    file.flush()


def _documents(tar: tarfile.TarFile) -> dict[str, Any]:
    """The members that are JSON and small, read, by name; blobs are under their path."""
    found: dict[str, Any] = {}
    for member in tar:
        name = member.name.removeprefix("./")
        small = member.isfile() and member.size <= _DOCUMENT_MAX_BYTES
        if not small or not (name in (_MANIFEST, _INDEX) or name.startswith("blobs/")):
            continue
        file = tar.extractfile(member)
        content = file.read() if file is not None else b""
        if content[:1] in (b"{", b"["):
            try:
                found[name] = json.loads(content)
            except ValueError:
                continue
    return found


def _manifest(documents: dict[str, Any], name: str, architecture: str) -> bytes:
    """The `manifest.json` for an OCI layout."""
    entries = []
    for described in documents[_INDEX].get("manifests", ()):
        annotations = described.get("annotations", {})
        found = _image(documents, described, architecture, _DEPTH_MAX)
        if found is None:
            continue
        names = [name] if name else [annotations[key] for key in _NAMES if key in annotations][:1]
        if not names or (not name and ":" not in names[0]):
            raise ArchiveError("the OCI archive does not say what its image is called; give it a name with --name")
        layers = [_blob(layer["digest"]) for layer in found["layers"]]
        entries.append({"Config": _blob(found["config"]["digest"]), "RepoTags": names, "Layers": layers})
    if not entries:
        raise ArchiveError(f"the OCI archive has no image for linux/{architecture}")
    if name and len(entries) > 1:
        raise ArchiveError(f"the OCI archive has {len(entries)} images, and one name is not for all of them")
    return json.dumps(entries).encode()


def _image(documents: dict[str, Any], described: dict[str, Any], architecture: str, depth: int) -> Any | None:
    """The manifest of the image that a descriptor leads to, for this architecture."""
    platform = described.get("platform", {})
    if platform.get("architecture", architecture) != architecture or platform.get("os", "linux") != "linux":
        return None
    document = documents.get(_blob(described.get("digest", "")))
    if document is None or not depth:
        return None
    if described.get("mediaType") in _INDEXES or "manifests" in document:
        found = (_image(documents, one, architecture, depth - 1) for one in document.get("manifests", ()))
        return next((one for one in found if one is not None), None)
    return document if "layers" in document and "config" in document else None


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/', 1)}"


def _member(name: str, content: bytes) -> bytes:
    """One member of an archive, to stand before others."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
        end = tar.offset
    return buffer.getvalue()[:end]


def _only(architectures: Sequence[str]) -> str:
    """The one architecture that an OCI layout, which may hold an image for each, is to be read for."""
    found = sorted(set(architectures)) or ["amd64"]
    if len(found) > 1:
        raise ArchiveError(f"the nodes have several architectures ({', '.join(found)}); choose nodes with --node")
    return found[0]
