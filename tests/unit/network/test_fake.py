"""The network for tests behaves as the port says."""

from __future__ import annotations

import pytest

from nodeagent.network.fake import FakeNetwork
from nodeagent.network.node import NodeNetwork
from nodeagent.network.port import NamespaceGone, Network, NetworkError


async def test_attachments_outlive_a_restart() -> None:
    """As links in a kernel do, unless they are removed."""
    network = FakeNetwork()
    attached = await network.attach("uid", "default", "web", "/proc/1/ns/net", "10.244.1.2")
    assert (attached.ip, attached.gateway) == ("10.244.1.2", "169.254.1.1")
    await network.stop(remove=False)
    assert [pod.ip for pod in (await network.adopt()).values()] == ["10.244.1.2"]
    await network.detach("uid")
    await network.detach("uid")
    assert await network.adopt() == {}


async def test_it_fails_when_told() -> None:
    """Once per failure."""
    network = FakeNetwork()
    network.failures.append(NamespaceGone("the sandbox has ended"))
    with pytest.raises(NetworkError):
        await network.attach("uid", "default", "web", "/proc/1/ns/net", "10.244.1.2")
    await network.attach("uid", "default", "web", "/proc/1/ns/net", "10.244.1.2")


async def test_the_real_one_says_when_it_is_not_started() -> None:
    """Before `start` there is nothing to attach to; `stop` is harmless. Both are networks for the type checker."""
    networks: list[Network] = [FakeNetwork(), NodeNetwork()]
    with pytest.raises(NetworkError, match="not started"):
        await networks[1].attach("uid", "default", "web", "/proc/1/ns/net", "10.244.1.2")
    await networks[1].stop(remove=True)
