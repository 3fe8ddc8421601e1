"""Folders of deleted volumes are taken away, and no others."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mizzen.api import kinds, nfsvolumes
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.volumes import HOME, HOSTNAME, LOCAL, NFS, VOLUME_FINALIZER
from mizzen.base.clocks import SystemClock
from mizzen.engine.values import Key
from nodeagent.drive.objects import Objects, Told
from nodeagent.drive.outbox import VOLUME_GONE, Outbox
from nodeagent.drive.reclaim import Reclaimer
from nodeagent.volumes.nfs import Nfs
from tests.fixtures.nfs_stand_in import stand_in

SOON_S = 20.0
"""Until a folder is gone, mounting included, also where the machine is busy."""


def volume(path: Path, **changes: Any) -> core.PersistentVolume:
    """A volume of node `n1` that is to go, unless the changes say otherwise."""
    home, policy = changes.pop("home", "n1"), changes.pop("policy", "Delete")
    here = core.NodeSelectorRequirement(key=HOSTNAME, operator="In", values=(home,))
    required = core.NodeSelector(node_selector_terms=(core.NodeSelectorTerm(match_expressions=(here,)),))
    marks = {"finalizers": (LOCAL,), "deletion_timestamp": "2026-01-01T00:00:00Z", **changes}
    return core.PersistentVolume(
        metadata=meta.ObjectMeta(name="pv", uid="u", **marks),
        spec=core.PersistentVolumeSpec(
            local=core.LocalVolumeSource(path=str(path)),
            persistent_volume_reclaim_policy=policy,
            node_affinity=core.VolumeNodeAffinity(required=required),
        ),
    )


async def told(folder: Path, made: core.PersistentVolume, nfs: Nfs | None = None, within_s: float = 0.3) -> list[str]:
    """What the agent reports of a volume, or has not by then; by the names of what is gone."""
    objects, outbox = Objects(), Outbox("n1")
    key = Key(kinds.PERSISTENT_VOLUME.resource, "", "pv")
    objects.apply([Told(key, 1, msgspec.json.encode(made))], 1, synced=True)
    volumes = Reclaimer(node="n1", folder=folder, nfs=nfs or Nfs(), objects=objects, outbox=outbox, clock=SystemClock())
    volumes.changed()
    running = asyncio.create_task(volumes.run())
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await outbox.filled.wait()
    running.cancel()
    return [item.name for item in outbox.waiting() if item.kind == VOLUME_GONE]


async def test_the_folder_of_a_deleted_volume_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "pv"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("x")
    assert await told(tmp_path, volume(folder), within_s=SOON_S) == ["pv"]
    assert not folder.exists()
    assert await told(tmp_path, volume(folder), within_s=SOON_S) == ["pv"], (
        "told again, should the first time have been lost"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"deletion_timestamp": None},
        {"finalizers": (VOLUME_FINALIZER, LOCAL)},
        {"finalizers": ()},
        {"policy": "Retain"},
        {"home": "n2"},
    ],
    ids=str,
)
async def test_other_folders_stay(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tmp_path / "pv"
    folder.mkdir()
    assert await told(tmp_path, volume(folder, **changes)) == []
    assert folder.exists()


async def test_no_folder_elsewhere_is_removed_whatever_a_volume_says(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert await told(tmp_path / "local-volumes", volume(elsewhere)) == []
    assert elsewhere.exists()


async def test_a_folder_of_a_share_is_removed_by_the_node_that_was_chosen(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    share = tmp_path / "server" / "nas" / "share"
    (share / "data").mkdir(parents=True)
    marks = {nfsvolumes.SHARE: "/share", HOME: "n1"}
    made = core.PersistentVolume(
        metadata=meta.ObjectMeta(
            name="pv", uid="u", finalizers=(NFS,), annotations=marks, deletion_timestamp="2026-01-01T00:00:00Z"
        ),
        spec=core.PersistentVolumeSpec(
            nfs=core.NFSVolumeSource(server="nas", path="/share/data"), persistent_volume_reclaim_policy="Delete"
        ),
    )
    with stand_in(tmp_path / "server") as nfs:
        others = msgspec.structs.replace(
            made, metadata=msgspec.structs.replace(made.metadata, annotations={HOME: "n2"})
        )
        assert await told(tmp_path, others, nfs) == []
        assert (share / "data").exists()
        assert await told(tmp_path, made, nfs, within_s=SOON_S) == ["pv"]
    assert not (share / "data").exists()
