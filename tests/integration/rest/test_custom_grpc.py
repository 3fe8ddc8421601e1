"""Users' kinds over gRPC: objects travel as their JSON."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.store.memory import MemoryBackend, MemoryStore
from mizzen.api import codec, kinds
from mizzen.api.types import meta_v1
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from mizzen.wire.gen.mizzen.v1 import cluster_pb2_grpc
from tests.fixtures.control_plane import Plane, channel, control_plane
from tests.fixtures.deciders import deciding
from tests.integration.rest.widgets import DEFINITION, definition, widget

WIDGETS = "widgets.example.com"
WAIT_S = 10.0


def packed(value: dict[str, Any]) -> AnyMessage:
    """An object as a program sends it."""
    return convert.to_any(meta_v1.CustomObject(json=json.dumps(value).encode()))


def unpacked(message: AnyMessage) -> dict[str, Any]:
    """An object as a program reads it."""
    custom = convert.from_any(message)
    assert isinstance(custom, meta_v1.CustomObject)
    found: dict[str, Any] = json.loads(custom.json)
    return found


async def served(plane: Plane) -> None:
    """Define widgets and wait until they are served."""
    obj, _ = codec.decode_dict(definition(), kinds.CUSTOM_RESOURCE_DEFINITION)
    async with plane.client() as client:
        await client.create(obj)
    async with asyncio.timeout(WAIT_S):
        while WIDGETS not in plane.registry.catalog.best:  # noqa: ASYNC110  # a test waits on what it sees
            await asyncio.sleep(0.01)


async def test_widgets_over_grpc(tmp_path: Path) -> None:
    store = MemoryStore(MemoryBackend())
    async with control_plane(tmp_path, store=store) as plane, deciding(store, plane.registry):
        await served(plane)
        assert plane.registry.view.get(kinds.CUSTOM_RESOURCE_DEFINITION, "", DEFINITION) is not None
        async with channel(plane.config) as connection:
            cluster = cluster_pb2_grpc.ClusterStub(connection)
            value = widget("a")
            value["metadata"]["namespace"] = "default"
            made = unpacked((await cluster.Create(pb.CreateRequest(object=packed(value)))).object)
            assert made["spec"] == {"replicas": 1, "size": "small"}
            ref = pb.ObjectRef(resource=WIDGETS, namespace="default", name="a")
            merge = pb.PatchRequest(ref=ref, type="application/merge-patch+json", patch=b'{"spec":{"size":"large"}}')
            assert unpacked((await cluster.Patch(merge)).object)["spec"]["size"] == "large"
            scaled = await cluster.Scale(pb.ScaleRequest(ref=ref, replicas=4))
            assert (scaled.desired, scaled.current) == (4, 0)
            listed = await cluster.List(pb.ListRequest(resource=WIDGETS, field_selector="spec.size=large"))
            assert [unpacked(item)["spec"]["replicas"] for item in listed.items] == [4]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await cluster.Create(pb.CreateRequest(object=packed(value | {"kind": "Gadget"})))
            assert "no definition is established for a Gadget" in (refused.value.details() or "")
            gone = await cluster.Delete(pb.DeleteRequest(ref=ref))
            assert unpacked(gone.object)["metadata"]["name"] == "a"
