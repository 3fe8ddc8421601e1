"""Folders that change all at once."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.volumes.atomic import publish
from nodeagent.volumes.plan import File

NAMES = st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"])
FILES = st.dictionaries(NAMES, st.builds(File, st.binary(max_size=8), st.sampled_from([0o644, 0o600, 0o755])))


def _shown(folder: Path) -> dict[str, File]:
    """What a container sees."""
    found = {}
    for name in sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("..")):
        entry = folder / name
        files = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
        for path in files:
            mode = stat.S_IMODE(path.stat().st_mode)
            found[str(path.relative_to(folder))] = File(path.read_bytes(), mode)
    return found


def test_the_layout_is_kubernetes_own(tmp_path: Path) -> None:
    assert publish(tmp_path, {"key": File(b"1", 0o640), "deep/er": File(b"2", 0o644)}, None)
    assert os.readlink(tmp_path / "key") == "..data/key"  # noqa: PTH115
    assert os.readlink(tmp_path / "deep") == "..data/deep"  # noqa: PTH115
    assert (tmp_path / "..data").is_symlink()
    assert _shown(tmp_path) == {"key": File(b"1", 0o640), "deep/er": File(b"2", 0o644)}


def test_nothing_happens_when_nothing_has_changed(tmp_path: Path) -> None:
    files = {"key": File(b"1", 0o644)}
    publish(tmp_path, files, None)
    before = (tmp_path / "..data").resolve()
    assert not publish(tmp_path, files, None)
    assert (tmp_path / "..data").resolve() == before


def test_a_change_leaves_nothing_of_the_old(tmp_path: Path) -> None:
    publish(tmp_path, {"key": File(b"1", 0o644), "old": File(b"", 0o644)}, None)
    assert publish(tmp_path, {"key": File(b"2", 0o644), "new": File(b"", 0o644)}, None)
    assert _shown(tmp_path) == {"key": File(b"2", 0o644), "new": File(b"", 0o644)}
    assert len([entry for entry in tmp_path.iterdir() if entry.name.startswith("..v")]) == 1


def test_an_open_folder_keeps_its_old_files(tmp_path: Path) -> None:
    publish(tmp_path, {"key": File(b"1", 0o644)}, None)
    with (tmp_path / "key").open("rb") as reader:
        publish(tmp_path, {"key": File(b"2", 0o644)}, None)
        assert reader.read() == b"1"
    assert (tmp_path / "key").read_bytes() == b"2"


def test_what_an_interrupted_change_left_is_taken_away(tmp_path: Path) -> None:
    publish(tmp_path, {"key": File(b"1", 0o644)}, None)
    (tmp_path / "..vleft").mkdir()
    (tmp_path / "..data_tmp").symlink_to("..vleft")
    publish(tmp_path, {"key": File(b"2", 0o644)}, None)
    assert _shown(tmp_path) == {"key": File(b"2", 0o644)}
    assert not (tmp_path / "..vleft").exists()


@given(st.lists(FILES, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_it_always_shows_exactly_the_last_files(versions: list[dict[str, File]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for files in versions:
            publish(Path(folder), files, None)
            assert _shown(Path(folder)) == files
