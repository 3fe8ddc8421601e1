"""The demo image is an archive that `docker load` takes, the same every time, with everything in it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from deploy.images import demo


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """`demo:v7`, or a skip where busybox-static is missing."""
    try:
        return demo.build(tmp_path, "v7")
    except demo.ImageError as error:
        pytest.skip(str(error))


def test_archive_holds_what_it_names(archive: Path) -> None:
    """Manifest, configuration and layer agree, by digest too."""
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        read = {name: file.read() for name, file in files.items() if file is not None}
    (manifest,) = json.loads(read["manifest.json"])
    assert manifest["RepoTags"] == ["demo:v7"]
    config = json.loads(read[manifest["Config"]])
    assert manifest["Config"] == f"{hashlib.sha256(read[manifest['Config']]).hexdigest()}.json"
    (layer,) = manifest["Layers"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(read[layer]).hexdigest()}"]
    assert "VERSION=v7" in config["config"]["Env"]
    with tarfile.open(fileobj=io.BytesIO(read[layer])) as content:
        assert {"bin/busybox", "bin/sh", "bin/wget", "bin/nslookup", "bin/serve", "tmp"} <= set(content.getnames())


def test_builds_are_reproducible(archive: Path, tmp_path: Path) -> None:
    """The same bytes, so that loading again changes nothing; another version is another image."""
    first = archive.read_bytes()
    assert demo.build(tmp_path, "v7").read_bytes() == first
    assert demo.build(tmp_path, "v8").read_bytes() != first


def test_a_dynamic_busybox_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would start nowhere but here; the message names the package."""
    monkeypatch.setattr("shutil.which", lambda _: "/bin/ls")
    with pytest.raises(demo.ImageError, match="busybox-static"):
        demo.build(tmp_path)
