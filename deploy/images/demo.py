"""The demo image: busybox as a web server that says which version it is and on which host it runs.

Built by writing the archive that `docker load` reads: no registry, no `docker build`, no Engine. The same inputs give
the same bytes, so loading it twice changes nothing. Besides the server it holds every busybox applet (sh, wget,
nslookup, sleep, ...), which is what tests of exec, probes and DNS need.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

REPOSITORY = "demo"
PORT = 8080
PT_INTERP = 3

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Docker's names where they differ from the kernel's."""

SERVE = """#!/bin/sh
# The page is fixed at start: version and host name never change during a run.
mkdir -p /tmp/www
echo "demo $VERSION on $(hostname)" >/tmp/www/index.html
echo ok >/tmp/www/healthz
httpd -f -p "${PORT:-8080}" -h /tmp/www &
server=$!
# Asked to end, keep serving for a moment: others still send requests here until they have heard.
trap 'sleep "${DRAIN_S:-1}"; kill $server; exit 0' TERM INT
echo "demo $VERSION on $(hostname) serves on port ${PORT:-8080}"
wait $server
"""


class ImageError(RuntimeError):
    """The image cannot be built; the message says what the box lacks."""


def build(folder: Path, version: str = "v1") -> Path:
    """Write `demo:<version>` as an archive for `docker load` into `folder` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{REPOSITORY}-{version}.tar"
    path.write_bytes(_archive(version, _static_busybox()))
    return path


def _archive(version: str, busybox: Path) -> bytes:
    layer = _layer(busybox)
    config = json.dumps(_config(version, layer), sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [f"{REPOSITORY}:{version}"], "Layers": ["layer.tar"]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        _add(tar, config_name, config)
        _add(tar, "layer.tar", layer)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return out.getvalue()


def _config(version: str, layer: bytes) -> dict[str, object]:
    return {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Cmd": ["/bin/serve"],
            "Env": ["PATH=/bin", f"VERSION={version}"],
            "ExposedPorts": {f"{PORT}/tcp": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }


def _layer(busybox: Path) -> bytes:
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("var", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        _add(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        _add(tar, "bin/busybox", busybox.read_bytes(), mode=0o755)
        _add(tar, "bin/serve", SERVE.encode(), mode=0o755)
        for applet in sorted(set(applets) - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def _static_busybox() -> Path:
    """A busybox that needs no libraries; a dynamic one would start nowhere but here."""
    found = shutil.which("busybox")
    if found is None:
        raise ImageError("the demo image needs busybox: apt-get install busybox-static")
    program = Path(found).resolve()
    if _needs_loader(program.read_bytes()):
        raise ImageError(f"{program} is linked to shared libraries: apt-get install busybox-static")
    return program


def _needs_loader(elf: bytes) -> bool:
    """Whether a 64-bit ELF program names an interpreter (PT_INTERP), that is, wants shared libraries."""
    offset, size, count = (*struct.unpack_from("<Q", elf, 0x20), *struct.unpack_from("<HH", elf, 0x36))
    return any(struct.unpack_from("<I", elf, offset + i * size)[0] == PT_INTERP for i in range(count))
