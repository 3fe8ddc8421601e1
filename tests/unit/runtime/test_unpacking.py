"""The files of an image are unpacked as they come."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodeagent.runtime.docker_images import _unpacked
from nodeagent.runtime.errors import ImageFailure

pytestmark = pytest.mark.timeout(30)


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o640
            made.addfile(entry, io.BytesIO(content))
    return out.getvalue()


async def pieces(data: bytes, size: int = 4096) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_an_archive_comes_in_pieces(tmp_path: Path) -> None:
    await _unpacked(pieces(archive(small=b"x", large=b"y" * 300_000)), str(tmp_path))
    assert (tmp_path / "small").read_bytes() == b"x"
    assert (tmp_path / "large").stat().st_size == 300_000
    assert (tmp_path / "small").stat().st_mode & 0o777 == 0o640


async def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageFailure, match="cannot be unpacked: tar: "):
        await _unpacked(pieces(b"no archive at all" * 100_000), str(tmp_path))


async def test_an_archive_that_breaks_off_ends_the_unpacking(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield archive(small=b"x")[:600]
        raise OSError("the engine is gone")

    with pytest.raises(OSError, match="the engine is gone"):
        await _unpacked(broken(), str(tmp_path))
