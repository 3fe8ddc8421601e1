"""Transactions encoded by hand are what the message classes would have made, and positions are where they belong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aetcd.rpc import rpc_pb2 as pb

from controlplane.store.txn import Pending, encode
from controlplane.store.values import Op, Put, Remove, Require
from controlplane.store.versions import expected_revision, pack

GROUP: list[tuple[Op, ...]] = [
    (Put("/mizzen/a", b"x", 0),),
    (Remove("/mizzen/b", 700 * 128 + 3),),
    (
        Put("/mizzen/" + "k" * 200, b"y" * 20_000, 3_000_000 * 128),
        Require("/mizzen/ü", 5),
        Remove("/mizzen/d", 1 << 40),
    ),
    (Require("/mizzen/e", 0),),
    (Put("/mizzen/f", b"z" * 130, 129),),
]


def by_classes(group: list[tuple[Op, ...]]) -> Any:
    """Build the request with the message classes."""
    nested = []
    position = 0
    for ops in group:
        compare = []
        success = []
        failure = []
        for op in ops:
            key = op.key.encode()
            target = pb.Compare.CompareTarget.MOD
            compare.append(pb.Compare(target=target, key=key, mod_revision=expected_revision(op.expect)))
            failure.append(pb.RequestOp(request_range=pb.RangeRequest(key=key)))
            if isinstance(op, Put):
                put = pb.PutRequest(key=key, value=pack(op.value, position, b"test.1"))
                success.append(pb.RequestOp(request_put=put))
                position += 1
            elif isinstance(op, Remove):
                success.append(pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key)))
        nested.append(pb.RequestOp(request_txn=pb.TxnRequest(compare=compare, success=success, failure=failure)))
    return pb.TxnRequest(success=nested)


async def pending(ops: tuple[Op, ...]) -> Pending:
    """Wrap operations as the queue does."""
    return Pending(ops, b"test.1", 0, asyncio.get_running_loop().create_future())


@pytest.mark.parametrize("group", [GROUP, *([ops] for ops in GROUP)])
async def test_the_encoding_is_that_of_the_message_classes(group: list[tuple[Op, ...]]) -> None:
    encoded = encode([await pending(ops) for ops in group], None)
    assert pb.TxnRequest.FromString(encoded) == by_classes(group)


async def test_the_size_is_not_underestimated() -> None:
    for ops in GROUP:
        waiting = await pending(ops)
        assert waiting.size >= len(encode([waiting], None)) - 2 * sum(len(op.key.encode()) for op in ops) - 100
        assert waiting.size >= sum(len(op.value) for op in ops if isinstance(op, Put))
