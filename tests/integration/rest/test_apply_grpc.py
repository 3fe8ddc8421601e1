"""Applying over gRPC, by a program and by the command line: the same semantics, typed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from mizzen.api import errors, kinds
from mizzen.api.managed import entries, sets
from mizzen.api.types import apps_v1 as apps
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.client import Client
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2, cluster_pb2_grpc
from tests.fixtures.control_plane import Plane, channel, control_plane

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, size: big}
"""


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    """A running control plane."""
    async with control_plane(tmp_path) as running:
        yield running


def config_map(**data: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name="a", namespace="default"), data=data)


def who(obj: core.ConfigMap) -> dict[str, list[str]]:
    return {one.manager: list(sets.paths(entries.fields_in(one))) for one in obj.metadata.managed_fields}


async def test_a_program_applies(plane: Plane) -> None:
    async with plane.client() as client:
        first = await client.apply(config_map(a="1", b="1"), field_manager="one")
        assert who(first) == {"one": [".data.a", ".data.b"]}
        second = await client.apply(config_map(a="1", c="1"), field_manager="one")
        assert second.data == {"a": "1", "c": "1"}
        assert await client.apply(config_map(a="1", c="1"), field_manager="one") == second
        with pytest.raises(errors.Conflict) as refused:
            await client.apply(config_map(a="2"), field_manager="two")
        assert refused.value.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
        assert refused.value.details is not None
        assert [cause.field for cause in refused.value.details.causes] == [".data.a"]
        dry = await client.apply(config_map(a="2"), field_manager="two", force=True, dry_run=True)
        assert who(dry) == {"one": [".data.c"], "two": [".data.a"]}
        forced = await client.apply(config_map(a="2"), field_manager="two", force=True)
        assert forced.data == {"a": "2", "c": "1"}


async def test_what_is_only_printed_is_not_applied(plane: Plane) -> None:
    container = core.Container(name="c", image="i:1")
    template = core.PodTemplateSpec(
        metadata=meta.ObjectMeta(labels={"app": "web"}), spec=core.PodSpec(containers=(container,))
    )
    spec = apps.DeploymentSpec(selector=meta.LabelSelector(match_labels={"app": "web"}), template=template)
    deployment = apps.Deployment(metadata=meta.ObjectMeta(name="web", namespace="default"), spec=spec)
    async with plane.client() as client:
        made = await client.apply(deployment)
        (entry,) = made.metadata.managed_fields
        assert entry.manager == "mizzen"
        item = '.spec.template.spec.containers[name="c"]'
        assert list(sets.paths(entries.fields_in(entry))) == [
            ".spec.selector", ".spec.template.metadata.labels.app", item, f"{item}.image", f"{item}.name",
        ]  # fmt: skip


async def test_other_verbs_say_who_they_are(plane: Plane) -> None:
    async with plane.client() as client:
        made = await client.create(config_map(a="1"))
        assert who(made) == {"mizzen": [".data", ".data.a"]}
        await client.patch(kinds.CONFIG_MAP, "default", "a", b'{"data":{"b":"1"}}')
        now = await client.get(kinds.CONFIG_MAP, "default", "a")
        assert who(now) == {"mizzen": [".data", ".data.a", ".data.b"]}


async def test_who_applies_must_be_said_and_may_apply_a_status(plane: Plane) -> None:
    async with channel(plane.config) as connection, plane.client() as client:
        stub = cluster_pb2_grpc.ClusterStub(connection)
        packed = convert.to_any(config_map(a="1"))
        with pytest.raises(Exception, match="field_manager: say who applies"):
            await stub.Apply(cluster_pb2.ApplyRequest(object=packed))
        with pytest.raises(Exception, match="field_manager: at most 128 bytes"):
            await stub.Apply(cluster_pb2.ApplyRequest(object=packed, field_manager="m" * 129))
        with pytest.raises(Exception, match='no subresource "status"'):
            await stub.Apply(cluster_pb2.ApplyRequest(object=packed, field_manager="m", subresource="status"))
        await stub.Create(cluster_pb2.CreateRequest(object=packed))
        (entry,) = (await client.get(kinds.CONFIG_MAP, "default", "a")).metadata.managed_fields
        assert entry.manager == "grpc-python-asyncio"
        node = core.Node(metadata=meta.ObjectMeta(name="n1"))
        await client.create(node)
        status = replace(node, status=core.NodeStatus(phase="Running"))
        request = cluster_pb2.ApplyRequest(object=convert.to_any(status), field_manager="m", subresource="status")
        answer = convert.from_any((await stub.Apply(request)).object)
        assert [(one.manager, one.subresource) for one in answer.metadata.managed_fields] == [("m", "status")]


async def mizzen(plane: Plane, *args: str, stdin: str = "") -> tuple[int, str]:
    """The exit code of the command line and what it says."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mizzen.cli.main", *args, "--kubeconfig", str(plane.kubeconfig),
        stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate(stdin.encode())
    return process.returncode or 0, out.decode()


async def test_the_command_line_applies(plane: Plane) -> None:
    apply = ("apply", "-f", "-")
    server_side = (*apply, "--server-side")
    assert await mizzen(plane, *apply, stdin=MANIFEST) == (0, "configmap/settings created\n")
    assert await mizzen(plane, *apply, stdin=MANIFEST) == (0, "configmap/settings unchanged\n")
    shorter = MANIFEST.replace(", size: big", "")
    assert await mizzen(plane, *apply, stdin=shorter) == (0, "configmap/settings configured\n")
    assert await mizzen(plane, *server_side, stdin=shorter) == (0, "configmap/settings serverside-applied\n")
    async with plane.client() as client:
        assert (await changed_by_hand(client)).data == {"colour": "green"}
    code, said = await mizzen(plane, *server_side, stdin=shorter)
    assert code == 1
    assert 'Apply failed with 1 conflict: conflict with "hand": .data.colour' in said
    dry = await mizzen(plane, *server_side, "--force-conflicts", "--dry-run", stdin=shorter)
    assert dry == (0, "configmap/settings serverside-applied (server dry run)\n")
    assert (await mizzen(plane, *server_side, "--force-conflicts", stdin=shorter))[0] == 0
    other = await mizzen(plane, *server_side, "--field-manager", "other", stdin=MANIFEST)
    assert other == (0, "configmap/settings serverside-applied\n")
    async with plane.client() as client:
        now = await client.get(kinds.CONFIG_MAP, "default", "settings")
        assert who(now) == {"mizzen": [".data.colour"], "other": [".data.colour", ".data.size"]}
    code, said = await mizzen(plane, *apply, "--force-conflicts", stdin=shorter)
    assert code == 2
    assert "--force-conflicts only works with --server-side" in said


async def changed_by_hand(client: Client) -> core.ConfigMap:
    """The config map after somebody else has changed it."""
    value = core.ConfigMap(metadata=meta.ObjectMeta(name="settings", namespace="default"), data={"colour": "green"})
    taken = await client.apply(value, field_manager="hand", force=True)
    assert "hand" in who(taken)
    return taken
