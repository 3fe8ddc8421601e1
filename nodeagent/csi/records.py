"""What drivers were asked to show to pods, noted on disk before they are asked, so that it can always be undone.

<folder>/<pod uid>/<the pod's name of the volume>.json
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One volume of one pod."""

    driver: str
    handle: str
    target: str
    """Where the driver shows it."""
    staging: str = ""
    """Where it is ready for all pods of the node; empty when the driver does not stage."""
    boot: str = ""
    """During which run of the machine; mounts do not outlive one."""
    is_attachable: bool = False
    is_renewed: bool = False
    """The driver is asked again and again."""
    is_staged: bool = False
    is_published: bool = False


class Records:
    """The records. Blocking, but only small files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, pod_uid: str) -> dict[str, Record]:
        """A pod's records by its names of the volumes."""
        found = sorted((self._folder / pod_uid).glob("*.json"))
        return {path.stem: msgspec.json.decode(path.read_bytes(), type=Record) for path in found}

    def all(self) -> dict[str, dict[str, Record]]:
        """All records by pod."""
        if not self._folder.exists():
            return {}
        return {entry.name: self.of(entry.name) for entry in sorted(self._folder.iterdir())}

    def put(self, pod_uid: str, volume: str, record: Record) -> None:
        """Note one; what is read later is all of it or the one before."""
        path = self._folder / pod_uid / f"{volume}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(record))
        beside.replace(path)

    def drop(self, pod_uid: str, volume: str) -> None:
        """Forget one, and the pod with its last."""
        folder = self._folder / pod_uid
        (folder / f"{volume}.json").unlink(missing_ok=True)
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
