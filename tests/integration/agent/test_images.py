"""Images that come through the control plane, over real gRPC, into the engine of a node in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from msgspec.structs import replace

from controlplane.server.image_loads import ImageLoads
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from nodeagent.drive.join import join
from nodeagent.runtime.archive import ImageConfig, build
from tests.fixtures.memory_node import SERVES, Machine
from tests.integration.agent.plane import Plane, plane, pod, stored, until

ARCHIVE = build("placed:1", {}, ImageConfig(command=SERVES), "amd64")[1]


async def load(control: Plane, archive: bytes, *, piece: int = 1000) -> list[pb.LoadImageResponse]:
    """What is told while an archive is loaded on all nodes."""

    async def incoming() -> AsyncIterator[pb.LoadImageRequest]:
        for start in range(0, len(archive), piece):
            yield pb.LoadImageRequest(data=archive[start : start + piece])

    loads = ImageLoads(control.gateway.streams, control.registry.view)
    return [answer async for answer in loads.load((), incoming())]


def waiting(control: Plane) -> str:
    """Why the pod's container waits."""
    found = control.pod()
    status = found.status.container_statuses[0] if found is not None and found.status.container_statuses else None
    return status.state.waiting.reason if status is not None and status.state.waiting is not None else ""


def running(control: Plane) -> bool:
    """Whether the pod runs."""
    found = control.pod()
    return found is not None and found.status.phase == "Running"


async def test_a_pod_that_waits_for_an_image_starts_when_it_is_placed(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        joined = await join(control.server, await control.token(), "n1")
        async with Machine(tmp_path).agent(joined):
            await control.give_addresses()
            wanted = pod(command=SERVES)
            app = replace(wanted.spec.containers[0], image="placed:1")
            await control.create(replace(wanted, spec=replace(wanted.spec, containers=(app,))))
            await until(lambda: waiting(control) in ("ErrImagePull", "ImagePullBackOff"))
            told = await load(control, ARCHIVE)
            assert [list(one.loaded.names) for one in told if one.WhichOneof("body") == "loaded"] == [["placed:1"]]
            assert max(one.taken_bytes for one in told) == len(ARCHIVE)
            # A back-off of 10 s has begun; nobody waits for its end.
            await until(lambda: running(control), 5)


async def test_an_archive_that_is_none(tmp_path: Path) -> None:
    async with stored() as registry, plane(tmp_path, registry) as control:
        joined = await join(control.server, await control.token(), "n1")
        async with Machine(tmp_path).agent(joined):
            await until(lambda: control.gateway.connected() == ["n1"])
            (answer,) = [one for one in await load(control, b"junk") if one.WhichOneof("body") == "error"]
            assert "archive" in answer.error
