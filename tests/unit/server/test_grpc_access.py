"""Every method of the gRPC service asks whether its caller may; nodes get tokens for their own pods alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from msgspec.structs import replace

from controlplane.server import pki
from controlplane.server.verbs_write import WriteOptions
from mizzen.api import kinds
from mizzen.api.types import authentication_v1 as authentication
from mizzen.api.types import core_v1 as core
from mizzen.api.types import meta_v1 as meta
from mizzen.api.types import rbac_v1 as rbac
from mizzen.wire import convert
from mizzen.wire.gen.mizzen.v1 import cluster_pb2 as pb
from mizzen.wire.gen.mizzen.v1 import cluster_pb2_grpc, node_pb2, node_pb2_grpc
from tests.fixtures.control_plane import ADMIN, Plane, channel, control_plane

DEADLINE_S = 10.0
POD = core.Pod(
    metadata=meta.ObjectMeta(name="p", namespace="default"),
    spec=core.PodSpec(containers=(core.Container(name="c", image="img:1"),)),
)
REF = pb.ObjectRef(resource="pods", namespace="default", name="p")
PACKED = convert.to_any(POD)


async def _one(message: Any) -> AsyncIterator[Any]:
    yield message


CALLS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    # method: its request, and which roles in the namespace may
    "Get": (lambda: pb.GetRequest(ref=REF), ("view", "edit")),
    "List": (lambda: pb.ListRequest(resource="pods", namespace="default"), ("view", "edit")),
    "Watch": (lambda: pb.WatchRequest(resource="pods", namespace="default"), ("view", "edit")),
    "Create": (lambda: pb.CreateRequest(object=PACKED, dry_run=True), ("edit",)),
    "Update": (lambda: pb.UpdateRequest(object=PACKED, dry_run=True), ("edit",)),
    "Patch": (lambda: pb.PatchRequest(ref=REF, type="application/merge-patch+json", patch=b"{}"), ("edit",)),
    "Apply": (lambda: pb.ApplyRequest(object=PACKED, dry_run=True), ("edit",)),
    "Delete": (lambda: pb.DeleteRequest(ref=REF, dry_run=True), ("edit",)),
    "DeleteCollection": (
        lambda: pb.DeleteCollectionRequest(resource="pods", namespace="default", label_selector="no=such"),
        ("edit",),
    ),
    "Scale": (
        lambda: pb.ScaleRequest(ref=pb.ObjectRef(resource="deployments.apps", namespace="default", name="d")),
        ("view", "edit"),
    ),
    "Plan": (pb.PlanRequest, ()),
    "Why": (lambda: pb.WhyRequest(ref=REF), ("view", "edit")),
    "Logs": (lambda: pb.LogsRequest(namespace="default", pod="p"), ("view", "edit")),
    "Exec": (lambda: _one(pb.ExecRequest(start=pb.ExecStart(namespace="default", pod="p"))), ("edit",)),
    "Attach": (lambda: _one(pb.AttachRequest(start=pb.AttachStart(namespace="default", pod="p"))), ("edit",)),
    "PortForward": (
        lambda: _one(pb.PortForwardRequest(start=pb.PortForwardStart(namespace="default", pod="p", port=80))),
        ("edit",),
    ),
    "LoadImage": (lambda: _one(pb.LoadImageRequest(start=pb.LoadImageStart(nodes=["n"]))), ()),
}


async def code_of(connection: grpc.aio.Channel, method: str, metadata: Sequence[Any] = ()) -> grpc.StatusCode:
    """How a call ends, or that its first answer comes."""
    stub = cluster_pb2_grpc.ClusterStub(connection)  # type: ignore[no-untyped-call]  # generated
    call = getattr(stub, method)(CALLS[method][0](), metadata=metadata, timeout=DEADLINE_S)
    try:
        await (call.read() if hasattr(call, "read") else call)
    except grpc.aio.AioRpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    # A stream that was refused ends like one that has nothing to say.
    return await call.code() if hasattr(call, "read") and call.done() else grpc.StatusCode.OK


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    async with control_plane(tmp_path) as running:
        await running.verbs.writes.create(kinds.POD, "default", POD, WriteOptions())
        for role in ("view", "edit"):
            group = kinds.ROLE.group
            binding = rbac.RoleBinding(
                metadata=meta.ObjectMeta(name=role),
                role_ref=rbac.RoleRef(api_group=group, kind="ClusterRole", name=role),
                subjects=(rbac.Subject(kind="User", api_group=group, name=role),),
            )
            await running.verbs.writes.create(kinds.ROLE_BINDING, "default", binding, WriteOptions())
        yield running


def test_every_method_is_in_the_matrix() -> None:
    service = pb.DESCRIPTOR.services_by_name["Cluster"]
    assert sorted(method.name for method in service.methods) == sorted(CALLS)


async def test_every_method_is_for_those_who_may(plane: Plane) -> None:
    for user in ("stranger", "view", "edit", ADMIN.common_name):
        subject = ADMIN if user == ADMIN.common_name else pki.Subject(user)
        async with channel(plane.config_for(subject)) as connection:
            for method, (_, roles) in CALLS.items():
                code = await code_of(connection, method)
                allowed = user in roles or subject is ADMIN
                assert (code is not grpc.StatusCode.PERMISSION_DENIED) is allowed, f"{user}: {method}: {code}"


async def test_a_node_is_a_stranger_here(plane: Plane) -> None:
    async with plane.node_channel("n1") as connection:
        for method in CALLS:
            assert await code_of(connection, method) is grpc.StatusCode.PERMISSION_DENIED, method


async def test_acting_as_somebody(plane: Plane) -> None:
    question = pb.CreateRequest(object=convert.to_any(authentication.SelfSubjectReview()))
    metadata = (("impersonate-user", "view"), ("impersonate-group", "devs"))
    async with channel(plane.config_for(ADMIN)) as connection:
        stub = cluster_pb2_grpc.ClusterStub(connection)  # type: ignore[no-untyped-call]  # generated
        answer = convert.from_any((await stub.Create(question, metadata=metadata, timeout=DEADLINE_S)).object)
        assert (answer.status.user_info.username, answer.status.user_info.groups[0]) == ("view", "devs")
        assert await code_of(connection, "Get", metadata) is grpc.StatusCode.OK
        assert await code_of(connection, "Create", metadata) is grpc.StatusCode.PERMISSION_DENIED
    async with channel(plane.config_for(pki.Subject("edit"))) as connection:
        assert await code_of(connection, "Get", metadata) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_node_gets_tokens_for_its_own_pods(plane: Plane) -> None:
    source = core.ServiceAccountTokenProjection(path="token", expiration_seconds=3607)
    projection = core.VolumeProjection(service_account_token=source)
    volume = core.Volume(name="v", projected=core.ProjectedVolumeSource(sources=(projection,)))
    mine = replace(
        POD,
        metadata=meta.ObjectMeta(name="mine", namespace="default"),
        spec=replace(POD.spec, node_name="n1", volumes=(volume,)),
    )
    account = core.ServiceAccount(metadata=meta.ObjectMeta(name="default"))
    await plane.verbs.writes.create(kinds.SERVICE_ACCOUNT, "default", account, WriteOptions())
    pod = (await plane.verbs.writes.create(kinds.POD, "default", mine, WriteOptions())).object
    request = node_pb2.TokenRequest(
        namespace="default", pod="mine", uid=pod.metadata.uid, audience="", expiration_seconds=3607
    )
    for node, allowed in (("n1", True), ("n2", False)):
        async with plane.node_channel(node) as connection:
            stub = node_pb2_grpc.NodeControlStub(connection)  # type: ignore[no-untyped-call]  # generated
            if allowed:
                answer = await stub.Token(request, timeout=DEADLINE_S)
                assert (answer.token.count("."), answer.lifetime_ms > 3_600_000) == (2, True)
                continue
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Token(request, timeout=DEADLINE_S)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
