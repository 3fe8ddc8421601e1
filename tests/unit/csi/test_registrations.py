"""Storage drivers register, are told whether they are taken, and are gone with their socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.csi.registrations import Registrations
from nodeagent.csi.session import NodeInfo
from nodeagent.volumes.port import VolumeFailure
from tests.fixtures.csi_driver import NAME, TestDriver, serving


async def test_a_driver_comes_and_goes(disk: Path) -> None:
    registrations, told = Registrations(disk / "plugins_registry"), []
    registrations.changed = lambda: told.append(sorted(registrations.drivers))
    await registrations.look()
    with pytest.raises(VolumeFailure, match=f"driver name {NAME} not found in the list of registered CSI drivers"):
        registrations.endpoint(NAME)
    driver = TestDriver(backend=disk, volumes_max=7, topology={"disks.example.org/rack": "r1"})
    async with serving(driver, disk):
        await registrations.look()
        await registrations.look()
        assert registrations.endpoint(NAME) == driver.endpoint
        info = NodeInfo(node_id="node-of-disks", volumes_max=7, topology={"disks.example.org/rack": "r1"})
        assert registrations.drivers[NAME].info == info
        assert driver.status == [""], "told once that it was taken"
    await registrations.look()
    assert told == [[NAME], []]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"type": "DevicePlugin"}, "no handler registered for plugin type: DevicePlugin"),
        ({"versions": ("0.3.0",)}, f"CSI driver {NAME} serves versions 0.3.0; this node speaks 1"),
        (
            {"refuses": "NodeGetInfo"},
            "NodeGetInfo failed: rpc error: code = Internal desc = the back end is on fire",
        ),
    ],
    ids=["not a driver", "old version", "broken"],
)
async def test_what_is_not_taken_is_told_why(disk: Path, changes: dict[str, object], why: str) -> None:
    registrations = Registrations(disk / "plugins_registry")
    driver = TestDriver(backend=disk, **changes)  # type: ignore[arg-type]
    async with serving(driver, disk):
        await registrations.look()
        assert driver.status == [why]
        assert not registrations.drivers
        driver.type, driver.versions, driver.refuses = "CSIPlugin", ("1.11.0",), ""
        for _ in range(3):
            await registrations.look()
        assert list(registrations.drivers) == [NAME], "tried again"
