"""Images of every runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.runtime.errors import ImageInUse, ImageNotFound, InvalidImageName
from nodeagent.runtime.port import Runtime
from tests.conformance.runtime.rig import IMAGE, Rig
from tests.fixtures.images import busybox_image

OTHER = "mizzen.test/other:2"


async def test_an_image_comes_and_goes(runtime: Runtime) -> None:
    image_id, archive = busybox_image(OTHER, user="web")
    assert await runtime.image_status(OTHER) is None
    assert await runtime.load_image(archive) == (OTHER,)
    found = await runtime.image_status(OTHER)
    assert found is not None
    assert (found.id, found.tags, found.user) == (image_id, (OTHER,), "web")
    assert found.size_bytes > 0
    assert await runtime.image_status(image_id) == found
    assert image_id in [image.id for image in await runtime.list_images()]

    await runtime.remove_image(image_id)
    await runtime.remove_image(image_id)
    assert await runtime.image_status(OTHER) is None


async def test_an_image_in_use_stays(rig: Rig) -> None:
    container_id = await rig.started("true")
    await rig.exited(container_id)
    image = await rig.runtime.image_status(IMAGE)
    assert image is not None
    with pytest.raises(ImageInUse):
        await rig.runtime.remove_image(image.id)
    assert await rig.runtime.image_status(IMAGE) == image


async def test_an_invalid_name(runtime: Runtime) -> None:
    for name in ("Upper:1", "a:b:c", "", "name@sha256:short", "a//b"):
        with pytest.raises(InvalidImageName):
            await runtime.image_status(name)
        with pytest.raises(InvalidImageName):
            await runtime.pull_image(name)


async def test_the_files_of_an_image(runtime: Runtime, tmp_path: Path) -> None:
    image = await runtime.image_status(IMAGE)
    assert image is not None
    before = await runtime.list()
    await runtime.image_files(image.id, str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()), "they are there"  # noqa: ASYNC240
    assert await runtime.list() == before, "no container is left"
    with pytest.raises(ImageNotFound):
        await runtime.image_files("sha256:" + "0" * 64, str(tmp_path))
