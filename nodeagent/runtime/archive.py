"""Builds container images in memory, as archives in the form of `docker save`, without any registry or build tool.

Why: the pause image (and a demo or a test image) must be there on a machine that cannot reach a registry. The same
files and settings always give the same bytes, hence the same image id: loading twice changes nothing. One layer, no
base image; not a general image builder.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodeagent.runtime import pause

PAUSE_REF = "mizzen/pause:1"


@dataclass(frozen=True, slots=True)
class File:
    """A regular file of an image."""

    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link of an image."""

    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    """An empty folder of an image; parents of files are made without it."""

    mode: int = 0o755


Entry = File | Link | Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """How containers of an image start when their pod does not say."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    env: Sequence[str] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""


def build(ref: str, entries: Mapping[str, Entry], config: ImageConfig, architecture: str) -> tuple[str, bytes]:
    """The image's id (`sha256:...`) and the archive to load. Paths have no leading slash."""
    layer = _tar(entries)
    layer_digest = hashlib.sha256(layer).hexdigest()
    settings = {
        "Entrypoint": list(config.entrypoint) or None,
        "Cmd": list(config.command) or None,
        "Env": list(config.env) or None,
        "User": config.user,
        "WorkingDir": config.working_dir,
    }
    if config.stop_signal:
        settings["StopSignal"] = config.stop_signal
    described = {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "mizzen"}],
    }
    text = json.dumps(described, sort_keys=True).encode()
    image_digest = hashlib.sha256(text).hexdigest()
    manifest = [{"Config": f"{image_digest}.json", "RepoTags": [ref], "Layers": [f"{layer_digest}/layer.tar"]}]
    files: dict[str, Entry] = {
        f"{image_digest}.json": File(text),
        f"{layer_digest}/layer.tar": File(layer),
        "manifest.json": File(json.dumps(manifest).encode()),
    }
    return f"sha256:{image_digest}", _tar(files)


def pause_image(architecture: str) -> tuple[str, bytes]:
    """Id and archive of the sandboxes' image for `amd64` or `arm64`; KeyError for any other."""
    entries = {"pause": File(pause.executable(architecture), 0o755)}
    return build(PAUSE_REF, entries, ImageConfig(entrypoint=("/pause",), user="65535:65535"), architecture)


def _tar(entries: Mapping[str, Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, entry in sorted(_with_parents(entries).items()):
            member = tarfile.TarInfo(path)
            content = b""
            match entry:
                case File():
                    content = entry.content
                    member.size, member.mode = len(content), entry.mode
                case Link():
                    member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.target, 0o777
                case Folder():
                    member.type, member.mode = tarfile.DIRTYPE, entry.mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _with_parents(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for path, entry in entries.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            found.setdefault("/".join(parts[:depth]), Folder())
        found[path] = entry
    return found
