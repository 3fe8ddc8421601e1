"""Image archives on this machine: what engines take passes as it is, what others write is put into their form."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from mizzen.client.archives import Archive, ArchiveError
from nodeagent.runtime.archive import ImageConfig, build
from tests.fixtures.oci import layout

SAVED = build("shop:1", {}, ImageConfig(command=("x",)), "amd64")[1]


def whole(archive: Archive) -> bytes:
    """All that an engine is given."""

    async def read() -> bytes:
        return b"".join([piece async for piece in archive.pieces()])

    return asyncio.run(read())


def manifest(given: bytes) -> list[dict[str, object]]:
    """What an engine reads first; everything that it names is there."""
    with tarfile.open(fileobj=io.BytesIO(given)) as tar:
        assert tar.getnames()[0] == "manifest.json"
        file = tar.extractfile("manifest.json")
        assert file is not None
        found: list[dict[str, object]] = json.load(file)
        for entry in found:
            layers = entry["Layers"]
            assert isinstance(layers, list)
            assert {entry["Config"], *layers} <= set(tar.getnames())
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_what_an_engine_takes_passes_as_it_is(tmp_path: Path, packed: bool) -> None:
    content = gzip.compress(SAVED) if packed else SAVED
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    archive = Archive(path)
    assert whole(archive) == content
    assert archive.size_bytes == len(content)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_an_oci_layout_gets_what_an_engine_reads_first(tmp_path: Path, packed: bool, nested: bool) -> None:
    written = layout(SAVED, name="docker.io/library/shop:1", nested=nested)
    path = tmp_path / "image.tar"
    path.write_bytes(gzip.compress(written) if packed else written)
    archive = Archive(path)
    given = whole(archive)
    assert given.endswith(written)
    assert archive.size_bytes == (0 if packed else len(given))
    (entry,) = manifest(given)
    assert entry["RepoTags"] == ["docker.io/library/shop:1"]
    named = Archive(path, "other:2", ["amd64", "amd64"])
    assert manifest(whole(named))[0]["RepoTags"] == ["other:2"]


@pytest.mark.parametrize(
    ("content", "architectures", "why"),
    [
        (b"no archive", [], "cannot be read as an image archive"),
        (build("x:1", {}, ImageConfig(), "amd64")[1][:700], [], "cannot be read|neither manifest.json nor index.json"),
        (layout(SAVED), [], "give it a name with --name"),
        (layout(SAVED, name="latest"), [], "give it a name with --name"),
        (layout(SAVED, name="shop:1", nested=True), ["arm64"], "no image for linux/arm64"),
        (layout(SAVED, name="shop:1", nested=True), ["arm64", "amd64"], r"several architectures \(amd64, arm64\)"),
    ],
)
def test_what_can_not_be_loaded_says_why(tmp_path: Path, content: bytes, architectures: list[str], why: str) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=why):
        Archive(path, architectures=architectures)
