"""Pulls by a real engine from a real registry, and what comes of those that fail."""

from __future__ import annotations

import pytest

from nodeagent.runtime.docker import DockerRuntime
from nodeagent.runtime.errors import ImageFailure, ImageNotFound, RegistryUnavailable
from nodeagent.runtime.values import PullProgress, RegistryAuth
from tests.fixtures.registry import PASSWORD, USER

pytestmark = pytest.mark.docker


async def test_a_pull(runtime: DockerRuntime, registry: str) -> None:
    seen: list[PullProgress] = []
    image = await runtime.pull_image(f"{registry}/team/app:1", progress=seen.append)
    assert image.tags == (f"{registry}/team/app:1",)
    (digest,) = image.digests
    assert digest.startswith(f"{registry}/team/app@sha256:")
    assert image.user == "web"
    assert seen
    assert all(0 <= step.done_bytes <= step.total_bytes for step in seen)
    by_digest = await runtime.pull_image(digest)
    assert by_digest.id == image.id
    await runtime.remove_image(image.id)
    assert await runtime.image_status(digest) is None


async def test_credentials(runtime: DockerRuntime, closed_registry: str) -> None:
    ref = f"{closed_registry}/team/app:1"
    with pytest.raises(ImageFailure):
        await runtime.pull_image(ref)
    with pytest.raises(ImageFailure):
        await runtime.pull_image(ref, RegistryAuth(username=USER, password="wrong", server=closed_registry))
    image = await runtime.pull_image(ref, RegistryAuth(username=USER, password=PASSWORD, server=closed_registry))
    assert image.tags == (ref,)
    await runtime.remove_image(image.id)


async def test_failures_are_told_apart(runtime: DockerRuntime, registry: str) -> None:
    with pytest.raises(ImageNotFound, match=f'Failed to pull image "{registry}/missing/app:1": '):
        await runtime.pull_image(f"{registry}/missing/app:1")
    with pytest.raises(RegistryUnavailable):
        await runtime.pull_image(f"{registry}/broken/app:1")
    with pytest.raises(RegistryUnavailable):
        await runtime.pull_image("127.0.0.1:1/app:1")


async def test_an_archive_that_is_none(runtime: DockerRuntime) -> None:
    with pytest.raises(ImageFailure, match="archive cannot be loaded"):
        await runtime.load_image(b"no archive")
