"""Takes away what drivers have mounted for pods, without asking them: on a machine that is no longer to be a node."""

from __future__ import annotations

import shutil
from pathlib import Path

from nodeagent.csi.records import Records
from nodeagent.volumes import mounts
from nodeagent.volumes.port import VolumeFailure


def abandon(folder: Path) -> None:
    """Unmount all that the records in a folder name, and remove the folder. Raises VolumeFailure, OSError.

    What is at the drivers' back ends stays as it is: detaching is the control plane's to do.
    """
    records = [record for found in Records(folder).all().values() for record in found.values()]
    for path in [*(one.target for one in records), *sorted({one.staging for one in records if one.staging})]:
        for point in mounts.mounted_under(path):
            mounts.unmount(point)
        # Removing through a mount that is still there would delete what is behind it.
        if mounts.mounted_under(path):
            raise VolumeFailure(f"{path} is still mounted")
        place = Path(path)
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    shutil.rmtree(folder, ignore_errors=True)
